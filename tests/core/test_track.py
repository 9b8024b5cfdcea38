"""The detectors of a version are a fold over its buckets: the same ones always say the same.

Every law holds to the last bit: states are compared as the JSON text that is put away.
"""

import json
import math
from dataclasses import dataclass, replace
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core import track as module
from knowngood.core.model import Comparison, ScoreRange
from knowngood.core.reading import Reading
from knowngood.core.rules import BaselineRule
from knowngood.core.stats import cap_of, mass_of
from knowngood.core.track import GATE_BAD, GATE_REQUESTS, MARKS_MAX, Plan, Split, Track
from knowngood.core.watch import Watch
from knowngood.core.window import EMPTY, Window
from tests.core.build import DAY, HEALTHY_DAY, HOUR, MINUTE, NOW, SECOND, calls, labels

WINDOW = 5 * MINUTE
CRITICAL = Watch("error_rate", Comparison.ABOVE, 0.05, 0.001, WINDOW)
HIGH = Watch("error_rate", Comparison.ABOVE, 0.02, 0.01, WINDOW)
OWN_FAULT = Watch("error_rate", Comparison.ABOVE, 0.03, 0.01, 30 * MINUTE, kinds=("prompt",))
REFUSED = Watch("refusal_rate", Comparison.ABOVE, 0.1, 0.01, 30 * SECOND)
DAILY = Watch("error_rate", Comparison.ABOVE, 0.01, 0.01, DAY)
MORE = Watch("error_rate", Comparison.INCREASE, 1.0, 0.01, WINDOW)
SLOW = Watch("latency_p99", Comparison.INCREASE, 1.0, 0.01, WINDOW)
TOO_SLOW = Watch("latency_p99", Comparison.ABOVE, 2000.0, 0.01, 10 * MINUTE)
WORSE = Watch("quality", Comparison.DROP, 0.2, 0.005, WINDOW)
ALL = (CRITICAL, HIGH, OWN_FAULT, REFUSED, DAILY, MORE, SLOW, TOO_SLOW, WORSE)
RULE = BaselineRule(min_requests=60, min_labels=10)
RANGES = {"quality": ScoreRange(0, 1)}
ALONE = Plan(ALL, RULE, RANGES, day=HEALTHY_DAY, source="previous good v1")
UNKNOWN = Plan(ALL, RULE, RANGES)
TRIAL = Plan(ALL, RULE, RANGES, "v1", HEALTHY_DAY, "previous good v1")
FIRST_TRIAL = Plan(ALL, RULE, RANGES, "v1")
PLANS = st.sampled_from([ALONE, UNKNOWN, TRIAL, FIRST_TRIAL])


@dataclass(frozen=True)
class Tick:
    """One bucket that holds something, so long after the end of the one before."""

    gap_s: int
    own: Window
    theirs: Window = EMPTY
    width_s: int = 1
    share_bp: int = 5_000


def windows(most: int) -> st.SearchStrategy[Window]:
    """A second's calls: fine, failed in two ways, refused, slow, judged, or none."""
    few, rare = st.integers(0, most), st.sampled_from([0, 0, 0, 0, 1, most])

    def made(
        ok: int, failed: int, own: int, refused: int, slow: int, one: int, other: int
    ) -> Window:
        errors = {k: n for k, n in (("provider", failed), ("prompt", own)) if n}
        bins = {k: n for k, n in ((617, ok), (800, slow)) if n}
        scores = {
            k: n for k, n in (((40 + 7 * slow) % 101, one), ((90 + 3 * ok) % 101, other)) if n
        }
        return Window(
            ok=ok + slow,
            errors=errors,
            latency=bins,
            scores={"quality": scores} if scores else {},
            counters={"refusal": refused} if refused else {},
        )

    some = st.builds(made, few, few, few, few, few, few, few)
    return some | st.builds(made, few, rare, rare, rare, rare, rare, rare)


GAPS = st.one_of(
    st.just(0), st.just(0), st.integers(0, 20), st.integers(50, 700), st.integers(3_000, 90_000)
)


@st.composite
def lives(draw, most: int = 4, size: int = 40) -> list[Tick]:
    """A version's ticks: dense or with gaps of up to a day, the control's calls with them."""
    one, other = windows(most), st.one_of(st.just(EMPTY), windows(most * 4))
    ticks = st.builds(
        Tick, GAPS, one, other, st.sampled_from([1, 1, 1, 60]), st.sampled_from([500, 5_000])
    )
    return draw(st.lists(ticks, max_size=size))


def begun(plan: Plan) -> Track:
    track = Track(NOW)
    track.plan(plan)
    return track


def fold(track: Track, ticks: list[Tick]) -> Track:
    """Add the ticks, each after the one before."""
    for tick in ticks:
        at_ms = track.until_ms + tick.gap_s * SECOND
        theirs = tick.theirs if track.planned and track.planned.control else EMPTY
        split = Split(tick.share_bp, NOW) if track.planned and track.planned.control else None
        track.add(at_ms, tick.width_s * SECOND, tick.own, theirs, split)
    return track


def shown(track: Track, later_ms: int = 0) -> Reading:
    """What the detectors show so long after the last tick."""
    return track.read(WINDOW, track.until_ms + later_ms)


def text(track: Track) -> str:
    return json.dumps(track.save())


def again(track: Track, plan: Plan) -> Track:
    """Put away and taken out."""
    return Track.load(json.loads(text(track)), plan)


# --- The same buckets, the same state


@given(lives(), PLANS, st.lists(st.tuples(st.integers(0, 40), st.integers(0, DAY)), max_size=6))
@settings(max_examples=60)
def test_looking_and_planning_again_change_nothing(ticks, plan, looks):
    """In whatever portions the buckets come, and however often it is looked at between them.

    So idle time is folded by the next bucket alone, however it was cut up by looks.
    """
    looked = begun(plan)
    for place, tick in enumerate(ticks):
        for at, later_ms in looks:
            if at == place:
                shown(looked, later_ms)
                looked.plan(replace(plan))
        fold(looked, [tick])
    assert text(looked) == text(fold(begun(plan), ticks))


@given(lives(), PLANS, st.lists(st.integers(0, 40), max_size=3))
@settings(max_examples=60)
def test_a_track_that_was_put_away_goes_on_as_if_it_never_was(ticks, plan, stops):
    """Saved, written as JSON, read and loaded at any time: the same state and the same reading."""
    stopped = begun(plan)
    for place, tick in enumerate(ticks):
        if place in stops:
            stopped = again(stopped, plan)
        fold(stopped, [tick])
    never = fold(begun(plan), ticks)
    assert text(again(stopped, plan)) == text(stopped) == text(never)
    for later_ms in (0, 20 * SECOND, 2 * HOUR):
        now_ms = never.until_ms + later_ms
        assert stopped.read(WINDOW, now_ms) == never.read(WINDOW, now_ms)


@given(lives(), PLANS, st.integers(2, 30))
@settings(max_examples=60)
def test_thinning_changes_no_reading(ticks, plan, marks_max):
    """Marks that no window's edge can fall on are let go, and nothing else."""
    with patch.object(module, "MARKS_MAX", marks_max):
        thin = begun(plan)
        for tick in ticks:
            fold(thin, [tick])
        whole = begun(plan)
        with patch.object(module, "MARKS_MAX", math.inf):
            fold(whole, ticks)
    for later_ms in (0, SECOND, 59 * SECOND, 14 * MINUTE, HOUR, DAY):
        now_ms = whole.until_ms + later_ms
        assert thin.read(WINDOW, now_ms) == whole.read(WINDOW, now_ms)


def test_a_long_life_keeps_few_marks():
    """Three hours of calls each second and days of a few: never more than is needed."""
    track = begun(replace(ALONE, watches=(CRITICAL,)))
    for gap_s, count in ((0, 10_000), (40, 2_000), (1_000, 300)):
        for _ in range(count):
            fold(track, [Tick(gap_s, calls(ok=1))])
            assert len(track.marks) == len(track.mark_ms) <= MARKS_MAX
    assert len(json.dumps(track.save())) < 100_000


# --- What the windows hold


def recounted(ticks: list[Tick], span_ms: int, now_ms: int, grain_ms: int = SECOND) -> list[Window]:
    """The ticks that end within the window, looked up one by one."""
    edge_ms = (now_ms - span_ms) // grain_ms * grain_ms
    found, until_ms = [], NOW
    for tick in ticks:
        until_ms += (tick.gap_s + tick.width_s) * SECOND
        if until_ms > edge_ms:
            found.append(tick.own)
    return found


def chance(n: int, bad: int) -> float:
    """How likely so many or more of n calls fail when 5 % do."""
    return sum(math.comb(n, k) * 0.05**k * 0.95 ** (n - k) for k in range(bad, n + 1))


def gate(ticks: list[Tick], watch: Watch, now_ms: int) -> tuple[bool, int, int, int]:
    """The plain threshold by hand: the worst short window of 20 calls, or the shortest long one."""

    def counted(span_ms: int, grain_ms: int = SECOND) -> tuple[int, int, int]:
        held = recounted(ticks, span_ms, now_ms, grain_ms) if span_ms else [t.own for t in ticks]
        return sum(w.call_count for w in held), sum(w.error_count for w in held), span_ms

    def is_over(n: int, bad: int, span_ms: int) -> bool:
        surely = span_ms >= WINDOW or not span_ms or chance(n, bad) <= 0.001
        still = 0 < span_ms <= WINDOW or counted(WINDOW)[1] > 0
        return bad >= GATE_BAD and bad > 0.05 * n and surely and still

    held = [counted(s) for s in (15 * SECOND, MINUTE, WINDOW)]
    held = [found for found in held if found[0] >= GATE_REQUESTS]
    if not held:
        long = (counted(HOUR, MINUTE), counted(DAY, 15 * MINUTE), counted(0))
        held = [next((found for found in long if found[0] >= GATE_REQUESTS), long[-1])]
    over = [found for found in held if is_over(*found)]
    worst = max(over, key=lambda f: f[1] / f[0]) if over else held[-1]
    return (bool(over), *worst)


@given(lives(), st.sampled_from([0, 1, 14, 59, 299, 1_000, 5_000, 100_000]))
@settings(max_examples=100)
def test_the_gate_is_what_a_recount_says(ticks, later_s):
    """Up to five minutes to the second, an hour to the minute, a day to the quarter of an hour."""
    track = fold(begun(ALONE), ticks)
    now_ms = track.until_ms + later_s * SECOND
    (sign,) = track.read(WINDOW, now_ms).rates[CRITICAL.key]
    assert (sign.over, sign.n, sign.bad, sign.window_ms) == gate(ticks, CRITICAL, now_ms)


@pytest.mark.parametrize(
    ("before", "newest", "over", "window_ms"),
    [
        pytest.param((960, 40), (18, 2), False, WINDOW, id="2 of 20: two are never enough"),
        pytest.param((960, 40), (17, 3), False, WINDOW, id="3 of 20: 1 in 13 at 5 %"),
        pytest.param((960, 40), (16, 4), False, WINDOW, id="4 of 20: 1 in 63"),
        pytest.param((960, 40), (14, 6), True, 15 * SECOND, id="6 of 20: no more by chance"),
        pytest.param((930, 70), (17, 3), True, WINDOW, id="7 % in five minutes are enough"),
    ],
)
def test_a_short_window_is_passed_surely_or_not_at_all(before, newest, over, window_ms):
    """A quarter of a minute that a version at the limit may show by chance opens no gate."""
    track = fold(begun(ALONE), [Tick(0, calls(*before)), Tick(100, calls(*newest))])
    (sign,) = shown(track).rates[CRITICAL.key]
    assert (sign.over, sign.window_ms) == (over, window_ms)


def test_what_is_over_is_no_breach_of_a_version_that_is_hardly_called():
    """Fifteen failures long ago pass the limit again only when a call fails again."""
    track = fold(begun(ALONE), [Tick(0, calls(15, 15)), Tick(20 * 60, calls(1))])
    (sign,) = shown(track).rates[CRITICAL.key]
    assert (sign.over, sign.bad, sign.n) == (False, 15, 31)
    (sign,) = shown(fold(track, [Tick(60, calls(errors=1))])).rates[CRITICAL.key]
    assert (sign.over, sign.bad, sign.n) == (True, 16, 32)


def test_a_short_window_that_is_too_empty_gives_way_to_the_next_longer_one():
    """What a minute cannot say five minutes do, before an hour is asked."""
    watch = Watch("error_rate", Comparison.ABOVE, 0.05, 0.001, MINUTE)
    track = begun(Plan((watch,), RULE, RANGES))
    fold(track, [Tick(0, calls(50, 25)), Tick(10 * 60, calls(19)), Tick(2 * 60, calls(10, 1))])
    (sign,) = shown(track).rates[watch.key]
    assert (sign.over, sign.n, sign.bad, sign.window_ms) == (False, 30, 1, 5 * MINUTE)


@pytest.mark.parametrize("window_ms", [15 * SECOND, MINUTE])
def test_a_window_that_the_policy_asks_for_is_taken_at_its_word(window_ms):
    """A trigger over a short window is passed by more than its limit, surprising or not."""
    watch = Watch("error_rate", Comparison.ABOVE, 0.05, 0.001, window_ms)
    track = fold(begun(Plan((watch,), RULE, RANGES)), [Tick(0, calls(92, 8))])
    (sign,) = shown(track).rates[watch.key]
    assert (sign.over, sign.n, sign.bad, sign.window_ms) == (True, 100, 8, window_ms)


@given(lives())
@settings(max_examples=100)
def test_since_when_the_threshold_is_passed(ticks):
    """Over since the end of the first of the newest ticks that were all over."""
    track, since_ms = begun(ALONE), None
    for place, tick in enumerate(ticks):
        fold(track, [tick])
        over = gate(ticks[: place + 1], CRITICAL, track.until_ms)[0]
        since_ms = (track.until_ms if since_ms is None else since_ms) if over else None
    (sign,) = shown(track).rates[CRITICAL.key]
    assert sign.over_since_ms == since_ms


@given(lives(), PLANS)
@settings(max_examples=40)
def test_the_lifetime_is_the_sum_of_all_ticks(ticks, plan):
    """Everything since the evidence began, to the last label."""
    track = fold(begun(plan), ticks)
    assert track.lifetime.call_count == sum(t.own.call_count for t in ticks)
    assert track.lifetime.errors.get("prompt", 0) == sum(
        t.own.errors.get("prompt", 0) for t in ticks
    )
    seen = shown(track).scores
    n = sum(sum(t.own.scores.get("quality", {}).values()) for t in ticks)
    assert (seen[WORSE.key].n if seen else 0) == n


def test_wide_windows_hold_what_they_say():
    """A window of half an hour and one of a day count from the edges that are kept for them."""
    track = fold(begun(ALONE), [Tick(0, calls(ok=70, errors=30, kind="prompt"))])
    for minutes, n in ((29, 100), (32, 0)):
        signs = shown(track, minutes * MINUTE).rates
        (sign,) = signs[OWN_FAULT.key]
        assert (sign.n, sign.window_ms) == (100, 30 * MINUTE if n else HOUR)
    (daily,) = shown(track, 23 * HOUR).rates[DAILY.key]
    assert (daily.n, daily.bad, daily.window_ms) == (100, 30, DAY)


# --- The evidence


@given(lives(most=400, size=20), PLANS)
@settings(max_examples=60)
def test_one_tick_is_never_an_alarm(ticks, plan):
    """No tick raises evidence by more than a third of what an alarm needs, whatever it holds.

    Besides the fresh weight that flows in with time.
    """
    track = begun(plan)
    for tick in ticks:
        before = shown(track).rates
        fold(track, [tick])
        fresh = mass_of((tick.gap_s + tick.width_s) * SECOND)
        after = shown(track).rates
        for key in before.keys() & after.keys():
            for old, new in zip(before[key], after[key], strict=True):
                most = (math.exp(old.log_e) + fresh) * math.exp(cap_of(old.alpha)) + fresh
                assert math.exp(new.log_e) <= most * (1 + 1e-9)


@pytest.mark.parametrize("plan", [ALONE, UNKNOWN], ids=["a known healthy level", "none"])
def test_four_distinct_seconds_make_an_alarm(plan):
    """From the deploy on and at any rate of calls, when all of them fail."""
    for errors in (1, 1000):
        track = begun(plan)
        es = []
        for _ in range(4):
            fold(track, [Tick(0, calls(errors=errors))])
            (sign,) = shown(track).rates[CRITICAL.key]
            es.append(math.exp(sign.log_e))
        assert es[2] < 1000 <= es[3]


def test_good_calls_are_evidence_of_health():
    """After a healthy hour the same failures take longer: more has to be outweighed."""
    fresh, healthy = begun(ALONE), fold(begun(ALONE), [Tick(0, calls(ok=10))] * 3_600)
    taken = []
    for track in (fresh, healthy):
        seconds = 0
        while shown(track).rates[CRITICAL.key][0].log_e < math.log(1000):
            fold(track, [Tick(0, calls(errors=10))])
            seconds += 1
        taken.append(seconds)
    assert taken == [4, 9]


def test_time_brings_fresh_weight():
    """An idle day adds half of the start's weight: a version that breaks late is found as fast."""
    track = fold(begun(ALONE), [Tick(DAY // SECOND - 1, EMPTY)])
    (sign,) = shown(track).rates[CRITICAL.key]
    assert math.exp(sign.log_e) == pytest.approx(0.5 + 0.5)


def test_a_metric_counts_what_it_names():
    """Kinds of errors, refusals, calls slower than a limit, shares of the timed calls."""
    second = Window(
        ok=70,
        errors={"provider": 20, "prompt": 10},
        latency={617: 50, 800: 50},
        counters={"refusal": 25},
    )
    track = fold(begun(ALONE), [Tick(0, second)] * 2)
    signs = shown(track).rates
    bad = {key: (signs[key][0].bad, signs[key][0].n) for key in signs}
    assert bad[CRITICAL.key] == (60, 200)
    assert bad[OWN_FAULT.key] == (20, 200)
    assert bad[REFUSED.key] == (50, 200)
    assert bad[TOO_SLOW.key] == (100, 200)
    assert [sign.bad for sign in signs[SLOW.key]] == [100] * 3


# --- Against a control


def test_a_latency_waits_for_its_baseline_and_then_begins():
    """Without an old day the control's calls so far are one, as soon as there are enough."""
    track = begun(FIRST_TRIAL)
    waiting = {SLOW.key, MORE.key}
    pair = Tick(0, calls(ok=4, p99=2500), calls(ok=58, errors=2, p99=800))
    assert set(shown(track).waiting) == waiting
    fold(track, [pair])
    assert MORE.key not in shown(track).waiting  # 60 calls, 2 failed
    fold(track, [pair])
    seen = shown(track)
    assert seen.waiting == () and all(sign.bad == 0 for sign in seen.rates[SLOW.key])
    fold(track, [pair] * 3)
    seen = shown(track)
    # What came before it was counted is not in its windows.
    assert {(s.bad, s.n) for s in seen.rates[SLOW.key]} == {(12, 12)}


def test_a_control_that_comes_late():
    """Nothing is compared while only one arm is called; then the relative evidence grows."""
    late = begun(TRIAL)
    fold(late, [Tick(0, calls(ok=5, errors=5))] * 3)
    alone = shown(late).relative["error_rate"]
    fold(late, [Tick(0, calls(ok=5, errors=5), calls(ok=10))] * 10)
    both = shown(late).relative["error_rate"]
    assert math.log(20) < alone + 3 < both


def test_both_arms_failing_alike_is_no_evidence_against_one():
    """Given that something fails, it fails as often in each: nothing to blame the version for."""
    track = fold(begun(TRIAL), [Tick(0, calls(ok=15, errors=5), calls(ok=15, errors=5))] * 100)
    assert shown(track).relative["error_rate"] < math.log(20)


def test_the_share_is_what_the_router_gave_or_the_calls_show():
    """A candidate with a twentieth of the calls and half of the failures does far worse."""
    half = Tick(0, calls(ok=1, errors=1), calls(ok=37, errors=1), share_bp=500)
    even = Tick(0, calls(ok=19, errors=1), calls(ok=19, errors=1))
    es = []
    for tick in (half, even):
        track = fold(begun(TRIAL), [tick] * 10)
        es.append(shown(track).relative["error_rate"])
    assert es[0] > math.log(100) > 0 > es[1]


def test_another_control_is_compared_anew():
    """What was seen of one control says nothing of the next; the version's own evidence stays."""
    track = fold(begun(TRIAL), [Tick(0, calls(ok=5, errors=5), calls(ok=10))] * 10)
    before = shown(track)
    track.plan(replace(TRIAL, control="v0"))
    after = shown(track)
    assert after.rates == before.rates
    assert before.relative["error_rate"] > 0 > after.relative["error_rate"]
    track.plan(ALONE)
    assert shown(track).relative == {}


# --- A change of the policy


@given(lives(), lives(), PLANS, st.sets(st.sampled_from(ALL)), st.sets(st.sampled_from(ALL)))
@settings(max_examples=60)
def test_a_policy_change_keeps_what_goes_on(before, after, plan, first, then):
    """A detector that is asked for before and after never notices; others come and go."""
    changed = begun(replace(plan, watches=tuple(sorted(first, key=lambda w: w.key))))
    fold(changed, before)
    changed.plan(replace(plan, watches=tuple(sorted(then, key=lambda w: w.key))))
    fold(changed, after)
    never = fold(begun(plan), before + after)
    seen, expected = (shown(t) for t in (changed, never))
    for watch in first & then:
        for sign, same in zip(*(r.rates.get(watch.key, ()) for r in (seen, expected)), strict=True):
            assert sign.log_e == same.log_e
            if watch is not MORE and watch is not SLOW:  # they may have begun to count later
                assert sign == same
        assert seen.scores.get(watch.key) == expected.scores.get(watch.key)
    known = {watch.key for watch in then}
    told = {*seen.rates, *seen.scores, *seen.waiting, *seen.inseparable}
    assert told <= known


def test_a_detector_that_comes_new_begins_at_the_change():
    """What it would have seen before is not made up."""
    track = begun(replace(ALONE, watches=(HIGH,)))
    fold(track, [Tick(0, calls(ok=5, errors=5))] * 10)
    track.plan(replace(ALONE, watches=(HIGH, CRITICAL)))
    (sign,) = shown(track).rates[CRITICAL.key]
    assert math.exp(sign.log_e) == pytest.approx(0.5)
    assert (sign.n, sign.bad) == (100, 50)  # errors were counted for the other one already


def test_labels_count_when_they_come():
    """A correction is no label; the newest labels decide whether the limit is passed."""
    track = begun(ALONE)
    fold(track, [Tick(0, calls(ok=1, scores=labels(0.2, times=2)))] * 30)
    (sign,) = shown(track).scores.values()
    assert (sign.n, sign.recent_n, sign.over) == (60, 50, True)
    fold(track, [Tick(0, Window(scores={"quality": {20: -2, 80: 2}}))] * 30)
    (sign,) = shown(track).scores.values()
    assert (sign.n, sign.recent_n, sign.over) == (60, 50, True)

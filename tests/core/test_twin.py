"""The vectorised twin of the decision says what core says, second by second.

The bars on false alarms and delays are measured on the twin: they hold for the product as far as
this does.
"""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest

from bench.laboratory import BAD, GOOD, evidence_of, played, rules, sessions
from bench.twin import (
    DEFAULT_LIMITS,
    LAG_S,
    Days,
    Level,
    Phase,
    Verdicts,
    beside,
    day_of,
    evidence,
    judge,
    level,
    passed_since,
    relative_evidence,
    ticks_of,
    traffic,
)
from knowngood.core.decide import decide
from knowngood.core.look import LOOKBACK_MS, WORSE_THAN_CONTROL, breaches, plan_for, split_at
from knowngood.core.model import Evidence, MoveRoute, Observed, Record, State
from knowngood.core.reading import RateSign, Reading
from knowngood.core.stats import WEIGHT_AT_START
from knowngood.core.track import Track
from knowngood.core.watch import Watch, alert_triggers, watch_of, watches
from knowngood.core.window import EMPTY, Bucket, Window
from tests.core.build import ALL_HERE, DEFAULT, HEALTHY_DAY, SECOND, calls, changed, entry, state

BEGIN_S = 1_800_000_437  # no whole minute, so that the edges of windows are put to the test
NEVER = math.inf
ALERT = "first_hour.error_rate"


@dataclass
class Told:
    """What core said of one day: what its detectors showed each second, and what it did first."""

    readings: list[Reading] = field(default_factory=list)
    first_s: dict[str, float] = field(default_factory=dict)

    def note(self, what: str, at_s: int) -> None:
        self.first_s.setdefault(what, at_s + LAG_S)


def judged_by_core(days: Days) -> Told:
    """Play a day to the real detectors and the real decision, as the engine would."""
    before = _start(days)
    track, told = Track(BEGIN_S * SECOND), Told()
    track.plan(plan_for(before, "v2", DEFAULT, watches(DEFAULT)))
    buckets: dict[str, deque[Bucket]] = {"v1": deque(), "v2": deque()}
    due_ms = 0
    for second in range(days.shape[0]):
        at_ms = (BEGIN_S + second) * SECOND
        own, theirs = _windows(days, second)
        if own is not EMPTY or theirs is not EMPTY:
            track.add(at_ms, SECOND, own, theirs, split_at(before, at_ms))
            for version, window in (("v1", theirs), ("v2", own)):
                if window is not EMPTY:
                    buckets[version].append(Bucket(at_ms, window))
            due_ms = 0
        for line in buckets.values():
            while line and line[0].at_ms < at_ms + SECOND - LOOKBACK_MS:
                line.popleft()
        told.readings.append(track.read(DEFAULT.window_ms, at_ms + SECOND))
        now_ms = at_ms + SECOND * (1 + LAG_S)
        if now_ms >= due_ms:
            seen = _seen(track, buckets, told.readings[-1], at_ms + SECOND)
            before, due_ms = _look(before, seen, told, second + 1, now_ms)
        if "rollback" in told.first_s:
            break
    return told


def _start(days: Days) -> State:
    """v2 has just come, alone or beside v1."""
    since = 437 * SECOND
    ledger = (entry("v1", "good", -90_000_000, HEALTHY_DAY), entry("v2", "candidate", since))
    if days.their_n is None:
        found: State = state("v2", *ledger, since=since)
    else:
        found = state("v1", *ledger, trial=("v2", round(10_000 * days.share)), since=since)
    return found


def _windows(days: Days, second: int) -> tuple[Window, Window]:
    own = _window(int(days.n[second, 0]), int(days.bad[second, 0]))
    if days.their_n is None or days.their_bad is None:
        return own, EMPTY
    return own, _window(int(days.their_n[second, 0]), int(days.their_bad[second, 0]))


def _window(n: int, bad: int) -> Window:
    return calls(ok=n - bad, errors=bad) if n else EMPTY


def _seen(
    track: Track, buckets: dict[str, deque[Bucket]], reading: Reading, until_ms: int
) -> Observed:
    versions = {
        "v1": Evidence(tuple(buckets["v1"])),
        "v2": Evidence(tuple(buckets["v2"]), track.lifetime, reading),
    }
    return Observed(until_ms, versions, ALL_HERE)


def _look(before: State, seen: Observed, told: Told, at_s: int, now_ms: int) -> tuple[State, int]:
    """One tick of the engine on the prompt: decide and apply until nothing more is wanted."""
    while True:
        decision = decide(before, seen, DEFAULT, now_ms)
        for finding in breaches(decision.findings, "v2"):
            told.note(finding.trigger, at_s)
        for action in decision.actions:
            if isinstance(action, MoveRoute):
                told.note("rollback", at_s)
            if isinstance(action, Record) and action.kind in ("rollback.held", "watchdog"):
                told.note(action.kind, at_s)
        if not decision.actions or "rollback" in told.first_s:
            return before, now_ms + decision.recheck_after_ms
        before = changed(before, decision.actions, now_ms, "system")


def lines_of(days: Days) -> tuple[Level, Level, Level]:
    """The levels of 5 %, 2 % and 0.5 % against the tests' healthy day."""
    n = np.full(days.shape[1], HEALTHY_DAY.call_count)
    bad = np.full(days.shape[1], HEALTHY_DAY.error_count)
    first, second, third = (level(limit, alpha, n, bad) for limit, alpha in DEFAULT_LIMITS)
    return first, second, third


def watches_of_errors() -> list[Watch]:
    """The real detectors of these limits, in the same order."""
    alerts = [t for rule in DEFAULT.alerts for t in alert_triggers(rule, DEFAULT)]
    asked = [w for t in (*DEFAULT.triggers, *alerts) if (w := watch_of(t))]
    found = {w.limit: w for w in asked if w.metric == "error_rate"}
    return [found[limit] for limit, _ in DEFAULT_LIMITS]


SUDDEN = (Phase(0, 0.005, 0.005), Phase(1_200, 0.2, 0.005))
SLOW = (Phase(0, 0.004, 0.004), Phase(5_400, 0.3, 0.3), Phase(7_200, 0.5, 0.004))
WORLDS = [
    pytest.param(10, 1.0, (Phase(0, 0.06),), 400, id="6 % from the deploy, 10 a second"),
    pytest.param(1, 1.0, (Phase(0, 0.03),), 2_400, id="3 %, 1 a second"),
    pytest.param(10, 1.0, SUDDEN, 1_300, id="a break after 20 minutes"),
    pytest.param(0.05, 1.0, SLOW, 10_800, id="a late break, a call in 20 seconds"),
    pytest.param(2, 0.25, SUDDEN, 1_400, id="a break of a 25 % canary"),
    pytest.param(2, 0.95, SUDDEN, 1_400, id="a break in the bake"),
    pytest.param(2, 0.25, (Phase(0, 0.2, 0.2),), 900, id="both arms fail, 25 % canary"),
    pytest.param(2, 0.95, (Phase(0, 0.2, 0.2),), 900, id="both arms fail, bake"),
    pytest.param(0.2, 0.5, SLOW, 9_000, id="an outage, then a break, halves"),
    pytest.param(4, 0.5, (Phase(0, 0.01, 0.01),), 900, id="all well, halves"),
    pytest.param(0.6, 1.0, (Phase(0, 0.01),), 3_000, id="all well, 6 calls in 10 seconds"),
    pytest.param(0.15, 1.0, (Phase(0, 0.09),), 3_600, id="9 %, a call in 7 seconds"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "share", "phases", "seconds"), WORLDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_twin_is_the_product(rate, share, phases, seconds, seed):
    """The same counts give the same evidence, gates, comparison and decision in every second."""
    rng = np.random.default_rng(seed)
    late_s = rng.integers(0, 90, 1)
    days = traffic(rng, (seconds, 1), rate, phases, share, late_s, BEGIN_S)
    lines = lines_of(days)
    told = judged_by_core(days)
    for watch, line in zip(watches_of_errors(), lines, strict=True):
        signs = [reading.rates[watch.key][0] for reading in told.readings]
        assert_same_evidence(signs, days, line)
        assert_same_gate(signs, days, line)
    if days.their_n is not None:
        assert_same_comparison(told.readings, days)
    assert_same_decision(told, judge(days, *lines))


def assert_same_evidence(signs: list[RateSign], days: Days, line: Level) -> None:
    """E at the end of every second."""
    assert {sign.limit for sign in signs} == {line.limit[0]}
    ticks = ticks_of(days.busy())
    after = np.concatenate([*evidence(days, line, ticks)])[:, 0]
    found = day_of(days, 0).spread(ticks.at[:, 0], after)
    found[: ticks.at[0, 0] + 1] = WEIGHT_AT_START
    expected = [sign.log_e for sign in signs]
    assert np.log(found[1 : len(signs) + 1]) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def assert_same_gate(signs: list[RateSign], days: Days, line: Level) -> None:
    """Whether the plain threshold is passed, at what rate, and since when, in every second."""
    day, at = day_of(days, 0), np.arange(1, len(signs) + 1)
    over, rate = day.gate(line.gate, at)
    assert [sign.over for sign in signs] == over.tolist()
    assert [sign.bad / max(1, sign.n) for sign in signs] == rate.tolist()
    since = [NEVER if (ms := s.over_since_ms) is None else ms // SECOND - BEGIN_S for s in signs]
    assert passed_since(day, line.gate, at).tolist() == since


def assert_same_comparison(readings: list[Reading], days: Days) -> None:
    """E of the candidate against its control, at the end of every second."""
    found = beside(day_of(days, 0), relative_evidence(days), 0)
    expected = [reading.relative["error_rate"] for reading in readings]
    assert np.log(found[1 : len(readings) + 1]) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def assert_same_decision(told: Told, verdicts: Verdicts) -> None:
    """When it first rolled back, was held, asked and alerted; after a rollback nobody is asked."""
    end_s = told.first_s.get("rollback", NEVER)
    assert verdicts.rollback_s[0] == end_s
    for name, found in (
        ("rollback.held", verdicts.held_s[0]),
        ("watchdog", verdicts.watchdog_s[0]),
        ("error_high", verdicts.ask_s[0]),
        (WORSE_THAN_CONTROL, verdicts.worse_s[0]),
        (ALERT, verdicts.alert_s[0]),
    ):
        assert told.first_s.get(name, NEVER) == (found if found <= end_s else NEVER), name


@pytest.mark.slow
@pytest.mark.parametrize("own", [BAD, GOOD], ids=["the new version is worse", "as good"])
def test_the_laboratory_bets_as_the_product_does(own):
    """The twin of the bets on scores has the product's evidence after each label."""
    by = rules()
    some = sessions(np.random.default_rng(5), 1_200, 2, own)
    ticks, found = evidence_of(some, by)
    for day in range(2):
        expected = [
            track.bets.signs()[by.watch.key].log_e for _second, track in played(some, day, by)
        ]
        count = int(ticks.count[day])
        assert count > 200  # the labels before there was a control are not bet on
        assert np.log(found[:count, day]) == pytest.approx(expected[-count:], rel=1e-9, abs=1e-9)

"""The cache of recent buckets and detectors: dropping it at any time changes nothing."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core.look import plan_for, split_at
from knowngood.core.model import Arm, Entry, Evidence, Route, Standing, State, whole
from knowngood.core.policy import parse
from knowngood.core.track import Track
from knowngood.core.watch import elevated, watches
from knowngood.core.window import EMPTY, Bucket, Window
from knowngood.engine.recent import REACH_MS, SAVE_EVERY_MS, Recent
from knowngood.store.memory import open_memory
from tests.engine.shop import DAY, HOUR, MINUTE, SECOND, Shop

RULES = parse({}).for_prompt("cs")
LOOKBACK_MS = 10 * MINUTE
ELEVATED = elevated(RULES.window_ms).key


class Counting:
    """A series that counts what is read from it."""

    def __init__(self, series):
        self.series = series
        self.spans: list[int] = []

    def read(self, key, since_ms, until_ms):
        self.spans.append(until_ms - since_ms)
        return self.series.read(key, since_ms, until_ms)

    def append(self, at_s: int, version: str = "v2", **window: Any) -> None:
        key = ("production", "cs", version)
        self.series.append([(key, Bucket(at_s * SECOND, Window(**(window or {"ok": 1}))))], [], {})


class Shelf:
    """Checkpoints that remember when something was saved, and what."""

    def __init__(self):
        self.inner = open_memory().checkpoints
        self.saves: list[dict[str, int]] = []

    def save(self, rows):
        self.saves.append({version: until_ms for (_, _, version), (until_ms, _) in rows.items()})
        self.inner.save(rows)

    def load(self, key):
        return self.inner.load(key)

    def forget(self, before_ms):
        return self.inner.forget(before_ms)


def opened(shelf: Any = None) -> tuple[Any, Any]:
    """A series and checkpoints over nothing."""
    series: Any = Counting(open_memory().series)
    return series, shelf or Shelf()


def route(routed_s: int = 0, trial_bp: int = 0) -> State:
    """v2 serves everybody since `routed_s`, or is on trial against v1 with so much."""
    arms = (Arm("v1", 10_000 - trial_bp), Arm("v2", trial_bp)) if trial_bp else whole("v2")
    ledger = (
        Entry("v1", Standing.GOOD, 0, 0),
        Entry("v2", Standing.CANDIDATE, routed_s * SECOND, routed_s * SECOND),
    )
    return State("production", "cs", 1, Route(arms, "salt", 2, routed_s * SECOND), ledger)


def asked(recent: Recent, where: State, until_s: int, back_s: int = 600) -> dict[str, Evidence]:
    return recent.evidence(where, RULES, (until_s - back_s) * SECOND, until_s * SECOND)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 90),  # how far the closed buckets advance, in seconds
        st.lists(  # rows in the buckets that are open
            st.tuples(st.integers(0, 3), st.sampled_from(["v1", "v2"]), st.integers(0, 3)),
            max_size=3,
        ),
        st.integers(1, 300),  # how far back is asked, in seconds
        st.sampled_from(["", "", "save", "save idle", "drop", "restart"]),
    ),
    max_size=25,
)


@given(STEPS, st.sampled_from([0, 7, 25]), st.sampled_from([0, 500, 5_000]))
@settings(max_examples=100)
def test_the_cache_shows_what_reading_afresh_shows(steps, routed_s, trial_bp):
    """However often and for whatever is asked, dropped or restarted: as without a cache.

    The same buckets, the same sums and the same evidence, to the last bit.
    """
    series, shelf = opened()
    where, until_s = route(routed_s, trial_bp), 30
    cached = Recent(series, shelf)
    for further, rows, back_s, then in steps:
        for ahead, version, bad in rows:
            series.append(until_s + ahead, version, ok=2, errors={"provider": bad})
        until_s += further
        fresh = Recent(series, Shelf())
        assert asked(cached, where, until_s, back_s) == asked(fresh, where, until_s, back_s)
        if then.startswith("save"):
            cached.save(idle_before_ms=until_s * SECOND if then == "save idle" else 0)
        if then == "drop":
            cached.drop_idle((until_s - 10) * SECOND)
        if then == "restart":
            cached = Recent(series, shelf)


def test_evidence_is_the_fold_of_what_the_store_has():
    """What is shown of a trial is a track over both arms' closed buckets, the control's with it."""
    series, shelf = opened()
    where, until_s = route(0, 2_500), 90
    track = Track(0)
    track.plan(plan_for(where, "v2", RULES, watches(RULES)))
    for at_s in range(until_s):
        own = Window(ok=3, errors={"provider": at_s % 3}) if at_s % 4 else EMPTY
        theirs = Window(ok=5, errors={"provider": at_s % 2}) if at_s % 3 else EMPTY
        for version, window in (("v2", own), ("v1", theirs)):
            if window is not EMPTY:
                series.append(at_s, version, ok=window.ok, errors=window.errors)
        if own is not EMPTY or theirs is not EMPTY:
            at_ms = at_s * SECOND
            track.add(at_ms, SECOND, own, theirs, split_at(where, at_ms))
    found = asked(Recent(series, shelf), where, until_s)
    assert found["v2"].reading == track.read(RULES.window_ms, until_s * SECOND)
    assert found["v2"].lifetime == track.lifetime
    assert found["v2"].reading.relative and not found["v1"].reading.relative


def test_open_buckets_are_left_out():
    """What is not final is not shown: it may still grow."""
    series, shelf = opened()
    for at_s in (8, 9, 10):
        series.append(at_s, errors={"provider": 5})
    found = asked(Recent(series, shelf), route(), 10)["v2"]
    assert [b.at_ms for b in found.buckets] == [8 * SECOND, 9 * SECOND]
    assert found.lifetime.error_count == 10 and found.last_ms == 9 * SECOND
    assert found.reading.rates[ELEVATED][0].bad == 10


def test_a_tick_reads_only_what_is_new():
    """After the first look a tick reads one second, however long the window and the evidence are.

    The first look reads what the window shows, and once what the detectors missed before it.
    """
    series, shelf = opened()
    cached, begins_s = Recent(series, shelf), 0
    for until_s in range(1_000, 1_030):
        series.append(until_s - 1)
        asked(cached, route(begins_s), until_s)
    assert series.spans == [600 * SECOND, 1_000 * SECOND] + [SECOND] * 29


def test_a_version_that_came_back_is_judged_anew():
    """After a second deploy nothing of the first one counts, neither for the bake nor as proof."""
    series, shelf = opened()
    for at_s in range(20):
        series.append(at_s, errors={"provider": 3})
    cached = Recent(series, shelf)
    before = asked(cached, route(0), 20)["v2"]
    after = asked(cached, route(15), 20)["v2"]
    assert (before.lifetime.error_count, after.lifetime.error_count) == (60, 15)
    assert after.reading.rates[ELEVATED][0].log_e < before.reading.rates[ELEVATED][0].log_e
    assert after == asked(Recent(series, Shelf()), route(15), 20)["v2"]


def test_after_an_alarm_that_ended_the_evidence_begins_anew():
    """What is over is no part of the next proof; what was done since the deploy stays known."""
    series, shelf = opened()
    for at_s in range(20):
        series.append(at_s, errors={"provider": 3})
    cached, where = Recent(series, shelf), route(0)
    asked(cached, where, 20)
    renewed = tuple(replace(e, fresh_ms=18_400) for e in where.ledger)
    found = asked(cached, replace(where, ledger=renewed), 20)["v2"]
    assert found.lifetime.error_count == 60 and found.reading.since_ms == 19 * SECOND
    (sign,) = found.reading.rates[elevated(RULES.window_ms).key]
    assert sign.n == 0 and sign.log_e < 0


@pytest.mark.parametrize("until_s", [20, 22], ids=["as it ends", "a while later"])
@pytest.mark.parametrize("kept", [False, True], ids=["nothing was kept", "kept of another deploy"])
def test_what_was_done_before_an_alarm_ended_is_known_to_whoever_reads_it_anew(until_s, kept):
    """A stage is proven by all of its calls, also to a server that did not live through them."""
    series, shelf = opened()
    for at_s in range(22):
        series.append(at_s, errors={"provider": 3})
    if kept:
        earlier = Recent(series, shelf)
        asked(earlier, route(0), 4)
        earlier.save(idle_before_ms=20 * SECOND)
    where = route(5)
    lived = Recent(series, Shelf())
    asked(lived, where, 20)
    renewed = tuple(replace(e, fresh_ms=18_400) for e in where.ledger)
    where = replace(where, ledger=renewed)
    found = asked(Recent(series, shelf), where, until_s)["v2"]
    assert found.lifetime.error_count == 3 * (until_s - 5)
    assert found.lifetime == asked(lived, where, until_s)["v2"].lifetime


def test_the_future_of_a_deploy_counts_from_the_deploy():
    """The sum starts at the deploy, also when the closed buckets end before it."""
    series, shelf = opened()
    series.append(21, ok=100)
    series.append(23, ok=1)
    cached = Recent(series, shelf)
    assert asked(cached, route(22), 20)["v2"].lifetime.ok == 0
    assert asked(cached, route(22), 25)["v2"].lifetime.ok == 1


def test_what_was_never_saved_is_read_from_its_last_day():
    """A version that serves for days and was never saved: nobody waits for a year to be read."""
    series, shelf = opened()
    until_s = 3 * DAY // SECOND
    for ago_s in (2 * DAY // SECOND, HOUR // SECOND):
        series.append(until_s - ago_s, ok=5)
    found = asked(Recent(series, shelf), route(0), until_s)["v2"]
    assert found.lifetime.ok == 5
    assert max(series.spans) == REACH_MS


# --- Putting away


def lived(series, recent: Recent, where: State, seconds: range) -> Recent:
    """A trial's life of so many seconds, looked at and perhaps saved in each of them."""
    for at_s in seconds:
        if at_s % 5 != 4:
            series.append(at_s, "v2", ok=3, errors={"provider": at_s % 2})
            series.append(at_s, "v1", ok=40, scores={"quality": {80: 2, 60: at_s % 3}})
        asked(recent, where, at_s + 1)
        recent.save()
    return recent


def test_detectors_are_saved_once_a_minute():
    """Each second they go on, each minute they are put away, both arms in one write."""
    series, shelf = opened()
    lived(series, Recent(series, shelf), route(0, 2_500), range(200))
    saved = [save["v2"] for save in shelf.saves]
    assert len(saved) == 3
    assert all(b - a >= SAVE_EVERY_MS for a, b in pairwise(saved))
    assert all(set(save) == {"v1", "v2"} for save in shelf.saves)


@pytest.mark.parametrize("stop_s", [1, 59, 61, 130, 299])
def test_a_restart_is_no_restart(stop_s):
    """Whenever a server stops: the next one shows and saves the same, to the last bit."""
    where = route(0, 2_500)
    (series, shelf), (twin_series, twin_shelf) = opened(), opened()
    lived(series, Recent(series, shelf), where, range(stop_s))
    after = lived(series, Recent(series, shelf), where, range(stop_s, 300))
    never = lived(twin_series, Recent(twin_series, twin_shelf), where, range(300))
    assert asked(after, where, 300) == asked(never, where, 300)
    for recent in (after, never):
        recent.save(idle_before_ms=301 * SECOND)
    for version in ("v1", "v2"):
        key = ("production", "cs", version)
        kept, twin = (json.dumps(s.load(key)) for s in (shelf, twin_shelf))
        assert kept == twin


def test_a_restart_reads_a_minute_and_the_window():
    """Not the version's whole life: what it had read before stands in its checkpoint."""
    series, shelf = opened()
    lived(series, Recent(series, shelf), route(), range(300))
    series.spans.clear()
    asked(Recent(series, shelf), route(), 300, back_s=30)
    window_ms, rest_ms = series.spans
    assert window_ms == 30 * SECOND and 0 < rest_ms <= SAVE_EVERY_MS + 2 * SECOND


def test_an_idle_version_is_saved_before_it_is_dropped():
    """Seconds that no minute was full of are not lost when its line is forgotten."""
    series, shelf = opened()
    cached = lived(series, Recent(series, shelf), route(), range(30))
    assert shelf.saves == []
    until_s = 30 + LOOKBACK_MS // SECOND
    asked(cached, route(), until_s)
    before_ms = until_s * SECOND - LOOKBACK_MS
    cached.save(idle_before_ms=before_ms + SECOND)
    cached.drop_idle(before_ms + SECOND)
    assert shelf.saves == [{"v2": 29 * SECOND}]
    series.spans.clear()
    found = asked(cached, route(), until_s)
    assert max(series.spans) <= LOOKBACK_MS + SECOND
    assert found == asked(Recent(series, Shelf()), route(), until_s)


def test_nothing_new_is_not_saved_again():
    """A quiet version costs no write."""
    series, shelf = opened()
    cached = lived(series, Recent(series, shelf), route(), range(70))
    for until_s in range(70, 300):
        asked(cached, route(), until_s)
        cached.save(idle_before_ms=until_s * SECOND)
    assert len(shelf.saves) == 2


def test_a_checkpoint_of_another_deploy_is_not_taken():
    """What was saved of the version's first time on the route says nothing of its second."""
    series, shelf = opened()
    lived(series, Recent(series, shelf), route(0), range(70))
    found = asked(Recent(series, shelf), route(60), 70)
    assert found == asked(Recent(series, Shelf()), route(60), 70)


def test_a_checkpoint_of_the_future_is_not_taken():
    """A look at an earlier moment, as a replay makes it, does not know what came later."""
    series, shelf = opened()
    lived(series, Recent(series, shelf), route(0), range(70))
    found = asked(Recent(series, shelf), route(0), 40)
    assert found == asked(Recent(series, Shelf()), route(0), 40)


def test_through_the_whole_engine_a_dropped_line_comes_back_as_it_was(monkeypatch):
    """Traffic, an hour of silence, traffic: as in a server that remembers, also after a restart."""
    readings = []
    for forgets in (False, True):
        shop = Shop()
        shop.promotes("v1")
        shop.seconds(45, ok=99, errors=1)
        with monkeypatch.context() as patched:
            if not forgets:
                patched.setattr(Recent, "drop_idle", lambda self, before_ms: None)
            for _ in range(60):
                shop.now_ms += MINUTE - SECOND
                shop.second()
        lines = shop.engine.reconciler.outlook.recent._lines
        assert bool(lines) is not forgets
        if forgets:
            shop.open()
        shop.seconds(10, ok=99, errors=1)
        recent = shop.engine.reconciler.outlook.recent
        until_ms = shop.engine.until_ms
        seen = recent.evidence(shop.state(), RULES, until_ms - LOOKBACK_MS, until_ms)
        readings.append(seen["v1"])
    assert readings[0] == readings[1]
    assert readings[0].lifetime.call_count > 50 * 100

"""The cache of recent buckets: dropping it at any time changes nothing."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core.window import Bucket, Window
from knowngood.engine.recent import Recent
from knowngood.store.memory import open_memory

KEY = ("production", "cs", "v2")
SECOND = 1_000


class Counting:
    """A series that counts what is read from it."""

    def __init__(self, series):
        self.series = series
        self.spans: list[int] = []

    def read(self, key, since_ms, until_ms):
        self.spans.append(until_ms - since_ms)
        return self.series.read(key, since_ms, until_ms)

    def append(self, at_s: int, ok: int = 1) -> None:
        self.series.append([(KEY, Bucket(at_s * SECOND, Window(ok=ok)))], [], {})


STEPS = st.lists(
    st.tuples(
        st.integers(0, 5),  # how far the closed buckets advance
        st.lists(st.integers(0, 3), max_size=3),  # rows in the buckets that are open
        st.integers(1, 30),  # how far back is asked
        st.sampled_from([None, 0, 7, 25]),  # where the sum begins
        st.booleans(),  # whether idle lines are dropped
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_the_cache_shows_what_reading_afresh_shows(steps):
    """However often and for whatever is asked: the same evidence as without a cache."""
    series: Any = Counting(open_memory().series)
    cached, until_s = Recent(series), 20
    for further, rows, back_s, lifetime_s, drop in steps:
        for ahead in rows:
            series.append(until_s + ahead)
        until_s += further
        lifetime_ms = None if lifetime_s is None else lifetime_s * SECOND
        ask = (KEY, (until_s - back_s) * SECOND, lifetime_ms, until_s * SECOND)
        assert cached.evidence(*ask) == Recent(series).evidence(*ask)
        if drop:
            cached.drop_idle((until_s - 10) * SECOND)


def test_open_buckets_are_left_out():
    """What is not final is not shown: it may still grow."""
    series: Any = Counting(open_memory().series)
    for at_s in (8, 9, 10):
        series.append(at_s)
    found = Recent(series).evidence(KEY, 0, 0, 10 * SECOND)
    assert [b.at_ms for b in found.buckets] == [8 * SECOND, 9 * SECOND]
    assert found.lifetime.ok == 2 and found.last_ms == 9 * SECOND


def test_a_tick_reads_only_what_is_new():
    """After the first look a tick reads one second, however long the window is."""
    series: Any = Counting(open_memory().series)
    cached = Recent(series)
    for until_s in range(600, 630):
        series.append(until_s - 1)
        cached.evidence(KEY, (until_s - 600) * SECOND, 0, until_s * SECOND)
    assert series.spans == [600 * SECOND] + [SECOND] * 29


def test_a_version_that_came_back_is_summed_anew():
    """After a second deploy nothing of the first one counts for the bake."""
    series: Any = Counting(open_memory().series)
    for at_s in range(20):
        series.append(at_s)
    cached = Recent(series)
    assert cached.evidence(KEY, 0, 0, 20 * SECOND).lifetime.ok == 20
    assert cached.evidence(KEY, 0, 15 * SECOND, 20 * SECOND).lifetime.ok == 5


def test_the_future_of_a_deploy_counts_from_the_deploy():
    """The sum starts at the deploy, also when the closed buckets end before it."""
    series: Any = Counting(open_memory().series)
    series.append(21, ok=100)
    series.append(23, ok=1)
    cached = Recent(series)
    assert cached.evidence(KEY, 0, 22 * SECOND, 20 * SECOND).lifetime.ok == 0
    assert cached.evidence(KEY, 0, 22 * SECOND, 25 * SECOND).lifetime.ok == 1

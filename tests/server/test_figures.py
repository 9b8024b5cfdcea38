"""Figures in stretches of time: what is remembered of them is what would be read anew."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core.model import ScoreRange
from knowngood.core.window import Bucket, Window
from knowngood.server.figures import (
    BINS_MAX,
    Figures,
    at_least,
    points_of,
    shared_out,
    width_for,
    wilson,
)
from knowngood.store.memory import open_memory

KEY = ("production", "faq", "v1")
SCORES = {"quality": ScoreRange(0.0, 1.0)}
SECOND_MS = 1_000


def bucket(second: int, ok: int = 9, bad: int = 1) -> Bucket:
    window = Window(
        ok=ok,
        errors={"prompt": bad} if bad else {},
        latency={500 + second % 7: ok},
        scores={"quality": {80: ok}},
    )
    return Bucket(second * SECOND_MS, window)


@given(st.integers(1, 400 * 86_400_000))
def test_a_stretch_has_at_most_so_many_points(span_ms):
    """However long it is."""
    assert 1 <= -(-span_ms // width_for(span_ms)) <= BINS_MAX


def test_points_are_no_narrower_than_what_is_kept():
    """Old seconds are kept as minutes: points of two seconds would be islands of a minute."""
    assert at_least(2_000, [bucket(0)]) == 2_000
    assert at_least(2_000, [Bucket(0, Window(ok=1), 60_000)]) == 60_000


def test_figures_rest_on_the_calls():
    """Rate, p99 and quality of a stretch, each with its bounds around it and its n."""
    (found,) = points_of("v1", [bucket(0), bucket(1)], 10_000, SCORES)
    assert (found.at_ms, found.calls, found.failed, found.rate) == (0, 20, 2, 0.1)
    assert (found.low, found.high) == wilson(2, 20)
    assert found.p99_low_ms is not None and found.p99_ms is not None
    assert found.p99_low_ms <= found.p99_ms <= (found.p99_high_ms or 0)
    assert found.quality == pytest.approx(0.8) and found.labels == 18
    assert (found.quality_low or 1) < 0.8 < (found.quality_high or 0) <= 1


def test_no_quality_where_none_is_declared():
    """A score that the policy does not know has no scale."""
    (found,) = points_of("v1", [bucket(0)], 10_000, {})
    assert found.quality is None and found.labels == 0


def test_shares_add_up():
    """What the versions served at one time is all that was served then."""
    found = shared_out(
        [
            points_of("v1", [bucket(0), bucket(10)], 10_000, SCORES),
            points_of("v2", [bucket(0, 29)], 10_000, SCORES),
        ]
    )
    assert [(p.at_ms, p.version, p.share) for p in found] == [
        (0, "v1", 0.25),
        (0, "v2", 0.75),
        (10_000, "v1", 1.0),
    ]


@settings(max_examples=60)
@given(
    seconds=st.sets(st.integers(0, 300), max_size=80),
    looks=st.lists(st.integers(1, 300), min_size=1, max_size=6),
    width_s=st.sampled_from([1, 10, 60]),
)
def test_what_is_remembered_is_what_would_be_read(seconds, looks, width_s):
    """Look by look, also when the clock goes back; and no point leaves the stretch."""
    store, width_ms = open_memory(), width_s * SECOND_MS
    store.series.append([(KEY, bucket(s, 1 + s % 5, s % 2)) for s in seconds], [], {})
    figures = Figures(store.series)
    for until_s in looks:
        until_ms = until_s * SECOND_MS
        since_ms = max(0, -(-(until_ms - 120_000) // width_ms) * width_ms)
        found = figures.of(KEY, width_ms, SCORES, since_ms, until_ms)
        assert found == points_of(
            "v1", store.series.read(KEY, since_ms, until_ms), width_ms, SCORES
        )
        assert all(since_ms <= point.at_ms < until_ms for point in found)
        assert all(point.at_ms % width_ms == 0 for point in found)


def test_a_look_reads_what_is_new(monkeypatch):
    """A second look reads one second, not the whole stretch again."""
    store, reads = open_memory(), []
    kind: Any = type(store.series)
    read = kind.read

    def noted(series: Any, key: Any, since_ms: int, until_ms: int) -> Any:
        reads.append((since_ms, until_ms))
        return read(series, key, since_ms, until_ms)

    monkeypatch.setattr(kind, "read", noted)
    figures = Figures(store.series)
    for until_ms in (600_000, 601_000, 601_000):
        figures.of(KEY, 10_000, SCORES, 0, until_ms)
    assert reads == [(0, 600_000), (600_000, 601_000)]

"""Each version's figures in stretches of time: what every chart of calls is drawn from."""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

from knowngood.core.measure import measure
from knowngood.core.model import ScoreRange
from knowngood.core.window import EMPTY, Bucket, Window, total
from knowngood.ports import Series, VersionKey
from knowngood.server.chart_layers import Point

Z_95 = 1.96  # of a normal distribution: 95 % lie within
BINS_MAX = 90  # more points than this are a scribble at the width of a chart
WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400)
# Of one version at one width, some 25 KB each: a hundred prompts that are looked at in each stretch
# of time, with two versions.
ROWS_MAX = 1_000

Scores = Mapping[str, ScoreRange]


def width_for(span_ms: int) -> int:
    """How far the points of a stretch of time stand apart, in ms: BINS_MAX of them at most."""
    widest_ms = 1000 * WIDTHS_S[-1]
    fits = (1000 * w for w in WIDTHS_S if span_ms <= 1000 * w * BINS_MAX)
    return next(fits, -(-span_ms // (BINS_MAX * widest_ms)) * widest_ms)


def at_least(width_ms: int, buckets: Iterable[Bucket]) -> int:
    """The width, or the narrowest one that no bucket is wider than: what is old is kept coarsely.

    Narrower points would be islands of a minute's calls, with silence between them.
    """
    widest_ms = max((bucket.width_ms for bucket in buckets), default=0)
    fits = (1000 * w for w in WIDTHS_S if max(width_ms, widest_ms) <= 1000 * w)
    return next(fits, max(width_ms, widest_ms))


def points_of(
    version: str, buckets: Iterable[Bucket], width_ms: int, scores: Scores
) -> list[Point]:
    """The version's points, in order, without their share; none where it had no calls."""
    windows = _by_bin(buckets, width_ms)
    points = (_point(version, at_ms, total(windows[at_ms]), scores) for at_ms in sorted(windows))
    return [point for point in points if point is not None]


def shared_out(found: Iterable[Sequence[Point]]) -> list[Point]:
    """The points of all versions by time, each with its share of the calls of that time."""
    lines = list(found)
    calls: dict[int, int] = {}
    for line in lines:
        for point in line:
            calls[point.at_ms] = calls.get(point.at_ms, 0) + point.calls
    every = [replace(p, share=p.calls / calls[p.at_ms]) for line in lines for p in line]
    return sorted(every, key=lambda p: p.at_ms)  # stable: versions stay in the order given


def wilson(bad: int, n: int) -> tuple[float, float]:
    """Wilson's interval of a rate: it holds for few calls and for no failure, too."""
    rate, z2 = bad / n, Z_95**2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class _Row:
    """One version's points from `since_ms` to `until_ms`, and the window of the last bin."""

    since_ms: int
    until_ms: int
    points: Mapping[int, Point] = field(default_factory=dict)
    last_ms: int = 0
    last: Window = EMPTY


class Figures:
    """The points of versions in stretches that end now, so that each look reads what is new.

    A cache over `Series` and nothing else: a bucket that is closed never changes. Thread-safe.
    """

    def __init__(self, series: Series) -> None:
        """An empty cache over these."""
        self._series = series
        self._rows: OrderedDict[tuple[VersionKey, int, ScoreRange | None], _Row] = OrderedDict()
        self._lock = Lock()

    def of(
        self, key: VersionKey, width_ms: int, scores: Scores, since_ms: int, until_ms: int
    ) -> list[Point]:
        """The version's points from `since_ms`, the start of one, to `until_ms`.

        Buckets that begin at `until_ms` or later are not final, and left out.
        """
        place = (key, width_ms, scores.get("quality"))
        with self._lock:
            row = self._rows.get(place)
        if row is None or row.since_ms > since_ms or row.until_ms > until_ms:
            row = _Row(since_ms, since_ms)
        if row.until_ms < until_ms:
            buckets = self._series.read(key, row.until_ms, until_ms)
            row = _onward(row, key[2], buckets, width_ms, scores, since_ms, until_ms)
            with self._lock:
                self._rows[place] = row
                self._rows.move_to_end(place)
                while len(self._rows) > ROWS_MAX:
                    self._rows.popitem(last=False)
        return [row.points[at_ms] for at_ms in sorted(row.points) if at_ms >= since_ms]


def _onward(
    row: _Row,
    version: str,
    buckets: Iterable[Bucket],
    width_ms: int,
    scores: Scores,
    since_ms: int,
    until_ms: int,
) -> _Row:
    """The row with what is new, without what is older than `since_ms`."""
    points = {at_ms: point for at_ms, point in row.points.items() if at_ms >= since_ms}
    last_ms, last = row.last_ms, row.last
    for at_ms, windows in sorted(_by_bin(buckets, width_ms).items()):
        last = total([last, *windows]) if at_ms == last_ms else total(windows)
        last_ms = at_ms
        point = _point(version, at_ms, last, scores)
        if point is not None:
            points[at_ms] = point
    return _Row(since_ms, until_ms, points, last_ms, last)


def _by_bin(buckets: Iterable[Bucket], width_ms: int) -> dict[int, list[Window]]:
    windows: dict[int, list[Window]] = {}
    for bucket in buckets:
        windows.setdefault(bucket.at_ms - bucket.at_ms % width_ms, []).append(bucket.window)
    return windows


def _point(version: str, at_ms: int, window: Window, scores: Scores) -> Point | None:
    n, bad = window.call_count, window.error_count
    if not n:
        return None
    low, high = wilson(bad, n)
    slow = measure("latency_p99", window, (), scores)
    mean = measure("quality", window, (), scores) if "quality" in scores else None
    value, half = (mean.estimate, mean.se) if mean else (None, None)
    declared = scores["quality"] if mean else None
    bounds: tuple[float | None, float | None] = None, None
    if value is not None and half is not None and declared is not None:
        half *= Z_95
        bounds = max(declared.min, value - half), min(declared.max, value + half)
    return Point(
        at_ms,
        version,
        calls=n,
        failed=bad,
        rate=bad / n,
        low=low,
        high=high,
        p99_ms=slow.estimate,
        p99_low_ms=slow.low,
        p99_high_ms=slow.high,
        timed=slow.n,
        quality=value,
        quality_low=bounds[0],
        quality_high=bounds[1],
        labels=mean.n if mean else 0,
    )

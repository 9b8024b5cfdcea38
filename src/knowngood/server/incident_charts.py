"""What the charts of an incident show: its versions' figures in stretches of time."""

import math
from dataclasses import dataclass
from typing import Any

from knowngood.core.errors import StoreUnavailable
from knowngood.core.incident_record import Record, first_trigger
from knowngood.core.measure import measure
from knowngood.core.model import Comparison
from knowngood.core.window import EMPTY, Window, merge
from knowngood.server import charts
from knowngood.server.charts import Mark, Point
from knowngood.server.desk import Desk

Z_95 = 1.96  # of a normal distribution: 95 % lie within
BINS_MAX = 90  # more points than this are a scribble at this width
WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400)
MARGIN_SHARE = 0.15  # of the incident's length, shown before and after it
MARGIN_MS = (15_000, 1_800_000)  # at least and at most


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with the name that its file ends with."""

    name: str
    title: str
    spec: dict[str, Any]


def charts_of(desk: Desk, record: Record, theme: str) -> list[Chart]:
    """The charts of the incident that have anything to show."""
    found: list[Chart] = []
    points = _points(desk, record)
    marks = _marks(record)
    trigger = first_trigger(record.facts)
    limit = trigger.when.limit if trigger and trigger.when.comparison is Comparison.ABOVE else None
    metric = trigger.when.metric if trigger else ""
    errors = limit if metric == "error_rate" else None
    if points:
        found.append(
            Chart(
                "error-rate",
                "Error rate of each version",
                charts.error_rate(points, errors, marks, theme),
            )
        )
        found.append(
            Chart(
                "traffic-share",
                "Share of the calls that each version served",
                charts.traffic_share(points, marks, theme),
            )
        )
    if any(point.p99_ms is not None for point in points):
        slow = limit if metric == "latency_p99" else None
        found.append(Chart("p99", "p99 latency", charts.p99(points, slow, marks, theme)))
    if any(point.quality is not None for point in points):
        found.append(Chart("quality", "Quality", charts.quality(points, None, marks, theme)))
    if record.spread:
        found.append(
            Chart(
                "propagation",
                "Processes that serve the good version, after the switch",
                charts.propagation(record.spread, theme),
            )
        )
    return found


def _marks(record: Record) -> list[Mark]:
    filed, m = record.facts.filed, record.moments
    found = [
        (m.began_ms, f"{filed.incident.version} deployed"),
        (m.detected_ms, "detected"),
        (m.acted_ms, f"rolled back to {record.good_version}"),
        (m.recovered_ms, "recovered" if m.acted_ms else "resolved"),
    ]
    return [Mark(at_ms, label) for at_ms, label in found if at_ms is not None]


def _span(record: Record) -> tuple[int, int]:
    m, facts = record.moments, record.facts
    begin_ms = m.detected_ms if m.began_ms is None else m.began_ms
    end_ms = m.recovered_ms or m.closed_ms or facts.now_ms
    low_ms, high_ms = MARGIN_MS
    margin_ms = min(max(round(MARGIN_SHARE * (end_ms - begin_ms)), low_ms), high_ms)
    return begin_ms - margin_ms, min(end_ms + margin_ms, facts.now_ms)


def _points(desk: Desk, record: Record) -> list[Point]:
    """Each version's figures; none when the observations cannot be read."""
    begin_ms, end_ms = _span(record)
    seconds = max(1, (end_ms - begin_ms) // 1000)
    width_s = next((w for w in WIDTHS_S if seconds <= w * BINS_MAX), WIDTHS_S[-1])
    width_ms = 1000 * width_s
    first_ms = begin_ms - begin_ms % width_ms
    try:
        sums = _sums(desk, record, first_ms, end_ms, width_ms)
    except StoreUnavailable:
        return []
    totals: dict[int, int] = {}
    for (_, at_ms), window in sums.items():
        totals[at_ms] = totals.get(at_ms, 0) + window.call_count
    points = [
        _point(record, version, at_ms, window, totals[at_ms])
        for (version, at_ms), window in sums.items()
        if window.call_count
    ]
    return _whole(sorted(points, key=lambda p: (p.at_ms, _age(record, p.version))))


def _age(record: Record, version: str) -> int:
    """What serves first has the first colour: the good version before the bad one."""
    return 1 if version == record.facts.filed.incident.version else 0


def _sums(
    desk: Desk, record: Record, first_ms: int, end_ms: int, width_ms: int
) -> dict[tuple[str, int], Window]:
    filed = record.facts.filed
    found: dict[tuple[str, int], Window] = {}
    for entry in record.facts.state.ledger:
        key = (filed.environment, filed.prompt, entry.version)
        for bucket in desk.store.series.read(key, first_ms, end_ms):
            place = (entry.version, bucket.at_ms - (bucket.at_ms - first_ms) % width_ms)
            found[place] = merge(found.get(place, EMPTY), bucket.window)
    return found


def _whole(points: list[Point]) -> list[Point]:
    """With a point of no calls for each version that others served beside: a share of nothing."""
    versions = list(dict.fromkeys(point.version for point in points))
    there = {(point.at_ms, point.version): point for point in points}
    times = sorted({point.at_ms for point in points})
    return [
        there.get((at_ms, version), Point(at_ms, version, 0, 0, 0.0))
        for at_ms in times
        for version in versions
    ]


def _point(record: Record, version: str, at_ms: int, window: Window, total: int) -> Point:
    scores = record.facts.policy.scores
    n, bad = window.call_count, window.error_count
    low, high = wilson(bad, n)
    slow = measure("latency_p99", window, (), scores)
    mean = measure("quality", window, (), scores) if "quality" in scores else None
    return Point(
        at_ms,
        version,
        n,
        bad,
        n / total,
        bad / n,
        low,
        high,
        slow.estimate,
        mean.estimate if mean else None,
    )


def wilson(bad: int, n: int) -> tuple[float, float]:
    """Wilson's interval of a rate: it holds for few calls and for no failure, too."""
    rate, z2 = bad / n, Z_95**2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)

"""What the charts of an incident show: its versions' figures in stretches of time."""

from knowngood.core.errors import StoreUnavailable
from knowngood.core.explain import amount
from knowngood.core.incident_record import Record, first_trigger
from knowngood.core.model import Comparison
from knowngood.core.window import Bucket
from knowngood.server import charts
from knowngood.server.charts import Chart, Limit, Mark, Point, Sheet, TableRow
from knowngood.server.desk import Desk
from knowngood.server.figures import at_least, points_of, shared_out, width_for

MARGIN_SHARE = 0.15  # of the incident's length, shown before and after it
MARGIN_MS = (15_000, 1_800_000)  # at least and at most
NAMES = ("error-rate", "traffic-share", "p99", "quality", "propagation")


def charts_of(desk: Desk, record: Record, theme: str, *, is_wide: bool = False) -> list[Chart]:
    """The charts of the incident that have anything to show.

    Wide ones are as wide as what they stand in, for pages; others are for documents.
    """
    points, sheet = _drawn(desk, record, theme, is_wide)
    limits = _limits(record)
    found: list[Chart] = []
    if points:
        rates = charts.error_rate(points, limits.get("error_rate", []), sheet)
        found.append(Chart("error-rate", "Error rate of each version", rates))
        title = "Share of the calls that each version served"
        found.append(Chart("traffic-share", title, charts.traffic_share(points, sheet)))
    if any(point.p99_ms is not None for point in points):
        slow = charts.p99(points, limits.get("latency_p99", []), sheet)
        found.append(Chart("p99", "p99 latency", slow))
    if any(point.quality is not None for point in points):
        scored = charts.quality(points, limits.get("quality", []), sheet)
        found.append(Chart("quality", "Quality", scored))
    if record.spread:
        title = "Processes that serve the good version, after the switch"
        found.append(Chart("propagation", title, charts.propagation(record.spread, sheet)))
    return found


def table_of(desk: Desk, record: Record) -> list[TableRow]:
    """The figures behind the charts, the newest first."""
    return charts.table_of(_drawn(desk, record, charts.LIGHT, False)[0])


def _limits(record: Record) -> dict[str, list[Limit]]:
    """The limit of the trigger that opened the incident, unless it is relative."""
    trigger = first_trigger(record.facts)
    if trigger is None or trigger.when.comparison not in (Comparison.ABOVE, Comparison.BELOW):
        return {}
    metric, value = trigger.when.metric, trigger.when.limit
    return {metric: [Limit(value, f"limit {amount(metric, value)}")]}


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


def _drawn(desk: Desk, record: Record, theme: str, is_wide: bool) -> tuple[list[Point], Sheet]:
    """Each version's figures; none when the observations cannot be read."""
    begin_ms, end_ms = _span(record)
    width_ms = width_for(end_ms - begin_ms)
    try:
        buckets = _buckets(desk, record, begin_ms - begin_ms % width_ms, end_ms)
    except StoreUnavailable:
        buckets = {}
    width_ms = at_least(width_ms, (bucket for found in buckets.values() for bucket in found))
    scores = record.facts.policy.scores
    lines = [points_of(version, found, width_ms, scores) for version, found in buckets.items()]
    points = shared_out(lines)
    known = (entry.version for entry in record.facts.state.ledger)
    shades = charts.colours(known, (point.version for point in points))
    since_ms = begin_ms - begin_ms % width_ms
    return points, Sheet(since_ms, end_ms, width_ms, _marks(record), theme, shades, is_wide)


def _buckets(desk: Desk, record: Record, since_ms: int, until_ms: int) -> dict[str, list[Bucket]]:
    filed = record.facts.filed
    return {
        entry.version: desk.store.series.read(
            (filed.environment, filed.prompt, entry.version), since_ms, until_ms
        )
        for entry in record.facts.state.ledger
    }

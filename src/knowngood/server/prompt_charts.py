"""What the charts of a prompt show: how its versions do now, against the limits in force."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from knowngood.core.errors import BadRequest, UnknownChart
from knowngood.core.explain import amount
from knowngood.core.history import AuditEntry
from knowngood.core.ladder import share
from knowngood.core.look import CASCADE, WORSE_THAN_CONTROL
from knowngood.core.model import Comparison, Finding, Response, State
from knowngood.core.rules import PromptPolicy, Trigger
from knowngood.server import charts
from knowngood.server.charts import Chart, Limit, Mark, Point, Sheet, Spec, TableRow
from knowngood.server.desk import Desk
from knowngood.server.figures import shared_out, width_for

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
SPANS_MS = {
    "15m": 15 * MINUTE_MS,
    "1h": HOUR_MS,
    "6h": 6 * HOUR_MS,
    "24h": 24 * HOUR_MS,
    "7d": 7 * 24 * HOUR_MS,
}
VERSIONS_MAX = 12  # read for one chart; more than six share their colours
# A process that lags behind serves a version after it left the route, for this long at most.
STRAGGLES_MS = HOUR_MS
MARKS_MAX = 500  # of a stretch of time; what is older than the newest dozen has no words anyway
MOVED, STAGE, GRADUAL = "route.moved", "rollout.stage", "rollback.gradual"
HAPPENINGS = {
    "rollback.switched": "rolled back to {to}",
    "rollback.completed": "rolled back to {to}",
    GRADUAL: "{from} gives way to {to}",
    "rollback.verified": "recovered",
    "rollback.not_recovered": "not recovered",
    "rollback.inconclusive": "recovery not proven",
}
ALWAYS = (CASCADE, WORSE_THAN_CONTROL)  # findings that are no line of the policy


@dataclass(frozen=True, slots=True)
class _Seen:
    """Everything that one prompt's charts are drawn from."""

    points: list[Point]
    limits: dict[str, list[Limit]]
    sheet: Sheet

    def of(self, metric: str) -> list[Limit]:
        return self.limits.get(metric, [])


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    has: Callable[[Point], bool]
    draw: Callable[[_Seen], Spec]


def _any(point: Point) -> bool:
    return point.calls > 0


KINDS = {
    "error-rate": _Kind(
        "Error rate",
        _any,
        lambda seen: charts.error_rate(seen.points, seen.of("error_rate"), seen.sheet),
    ),
    "p99": _Kind(
        "p99 latency",
        lambda point: point.p99_ms is not None,
        lambda seen: charts.p99(seen.points, seen.of("latency_p99"), seen.sheet),
    ),
    "quality": _Kind(
        "Quality",
        lambda point: point.quality is not None,
        lambda seen: charts.quality(seen.points, seen.of("quality"), seen.sheet),
    ),
    "traffic-share": _Kind(
        "Share of the calls", _any, lambda seen: charts.traffic_share(seen.points, seen.sheet)
    ),
}


def charts_of(
    desk: Desk,
    environment: str,
    prompt: str,
    span_ms: int,
    theme: str,
    now_ms: int,
    *,
    is_wide: bool = True,
) -> list[Chart]:
    """The charts of the prompt's last `span_ms`, one of SPANS_MS, that have anything to show.

    Wide ones are as wide as what they stand in. Raises BadRequest, UnknownEnvironment or
    UnknownPrompt.
    """
    seen = _look(desk, environment, prompt, span_ms, theme, is_wide, now_ms)
    return [
        Chart(name, kind.title, kind.draw(seen))
        for name, kind in KINDS.items()
        if any(map(kind.has, seen.points))
    ]


def one_of(
    desk: Desk,
    environment: str,
    prompt: str,
    name: str,
    span_ms: int,
    theme: str,
    now_ms: int,
    *,
    is_wide: bool = True,
) -> Chart:
    """One of them by its name, also where it has nothing to show yet.

    Raises UnknownChart, BadRequest, UnknownEnvironment or UnknownPrompt.
    """
    if name not in KINDS:
        raise UnknownChart(f"there is no chart {name[:80]!r}", known=list(KINDS))
    seen = _look(desk, environment, prompt, span_ms, theme, is_wide, now_ms)
    return Chart(name, KINDS[name].title, KINDS[name].draw(seen))


def table_of(
    desk: Desk, environment: str, prompt: str, span_ms: int, now_ms: int
) -> list[TableRow]:
    """The figures behind the charts, the newest first. Raises as `charts_of`."""
    state = _state(desk, environment, prompt, span_ms)
    return charts.table_of(_points(desk, state, span_ms, now_ms)[0])


def _state(desk: Desk, environment: str, prompt: str, span_ms: int) -> State:
    if span_ms not in SPANS_MS.values():
        raise BadRequest(f"no chart shows the last {span_ms} ms", known=list(SPANS_MS))
    return desk.state(environment, prompt)


def _look(
    desk: Desk,
    environment: str,
    prompt: str,
    span_ms: int,
    theme: str,
    is_wide: bool,
    now_ms: int,
) -> _Seen:
    if theme not in charts.THEMES:
        raise BadRequest(f"there is no theme {theme!r}", known=list(charts.THEMES))
    state = _state(desk, environment, prompt, span_ms)
    points, since_ms, until_ms = _points(desk, state, span_ms, now_ms)
    limits: dict[str, list[Limit]] = {}
    if state.route is not None:
        look = desk.look(environment, prompt, now_ms)
        suspect = look.state.route.suspect.version if look.state.route else ""
        limits = limits_of((f for f in look.decision.findings if f.version == suspect), look.policy)
    sheet = Sheet(
        since_ms,
        until_ms,
        width_for(span_ms),
        _marks(desk, state, since_ms, until_ms),
        theme,
        charts.colours((e.version for e in state.ledger), (p.version for p in points)),
        is_wide,
    )
    return _Seen(points, limits, sheet)


def _points(desk: Desk, state: State, span_ms: int, now_ms: int) -> tuple[list[Point], int, int]:
    """Every version's points with the stretch that they are in: whole bins, up to the newest."""
    width_ms = width_for(span_ms)
    until_ms = desk.written_until_ms(now_ms)
    since_ms = -(-(until_ms - span_ms) // width_ms) * width_ms
    scores = desk.policy.for_prompt(state.prompt).scores
    found = [
        desk.figures.of(
            (state.environment, state.prompt, version), width_ms, scores, since_ms, until_ms
        )
        for version in _versions(state, since_ms)
    ]
    return shared_out(found), since_ms, until_ms


def _versions(state: State, since_ms: int) -> list[str]:
    """The versions that may have had calls since, the newest on the route at last."""
    routed = [
        (entry.routed_ms, entry.version)
        for entry in state.ledger
        if entry.routed_ms is not None
        and (entry.left_ms is None or max(entry.left_ms, entry.routed_ms) > since_ms - STRAGGLES_MS)
    ]
    return [version for _, version in sorted(routed)[-VERSIONS_MAX:]]


# --- Limits


def limits_of(findings: Iterable[Finding], policy: PromptPolicy) -> dict[str, list[Limit]]:
    """By metric, the limits that the findings are held against, each value once.

    A relative limit is drawn where the baseline puts it; without a baseline it has no place.
    """
    triggers = {trigger.name: trigger for trigger in policy.triggers}
    found: dict[str, dict[float, list[str]]] = {}
    for finding in findings:
        value = _value(finding)
        if value is not None and finding.trigger not in ALWAYS:
            words = _follows(finding, triggers.get(finding.trigger))
            there = found.setdefault(finding.metric, {}).setdefault(round(value, 9), [])
            if words not in there:
                there.append(words)
    return {
        metric: [
            Limit(value, f"{amount(metric, value)}: {', '.join(words)}")
            for value, words in sorted(by_value.items())
        ]
        for metric, by_value in found.items()
    }


def _value(finding: Finding) -> float | None:
    match finding.comparison:
        case Comparison.ABOVE | Comparison.BELOW:
            return finding.limit
        case Comparison.INCREASE:
            return finding.baseline * (1 + finding.limit) if finding.baseline else None
        case Comparison.DROP:
            return finding.baseline * (1 - finding.limit) if finding.baseline else None


def _follows(finding: Finding, trigger: Trigger | None) -> str:
    """What follows from a breach: `rolls back`, `asks on-call`, `alerts`."""
    what = {
        Response.ROLLBACK: "rolls back",
        Response.ASK: f"asks {trigger.who}" if trigger else "asks",
        Response.OBSERVE: "observes",
        Response.ALERT: "alerts",
    }[finding.response]
    kinds = f" ({' or '.join(trigger.kinds)} errors)" if trigger and trigger.kinds else ""
    return f"{what}{kinds}{' (dry run)' if trigger and trigger.dry_run else ''}"


# --- Marks


def _marks(desk: Desk, state: State, since_ms: int, until_ms: int) -> list[Mark]:
    kinds = (MOVED, STAGE, *HAPPENINGS)
    lines = desk.store.log.between(
        state.environment, state.prompt, since_ms, until_ms, MARKS_MAX, kinds
    )
    return [mark for line in lines if (mark := mark_of(line)) is not None]


def mark_of(line: AuditEntry) -> Mark | None:
    """What a line of history is on a chart; nothing for most of them."""
    detail = line.detail
    if line.kind == MOVED and detail.get("to"):
        version, bp = detail["to"][-1]  # the candidate comes last
        return Mark(line.at_ms, f"{version} to {share(bp)}")
    if line.kind == STAGE:
        return Mark(line.at_ms, f"{detail['version']} to {share(detail['share_bp'])}")
    words = HAPPENINGS.get(line.kind)
    return Mark(line.at_ms, words.format_map(detail)) if words else None

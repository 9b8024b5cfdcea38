"""What an incident was: folded from its file, the lines of history and the state it left behind.

Nothing in here is remembered on its own account, so a record can be made anew from the history at
any time and comes out the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from knowngood.core.asking import Stage
from knowngood.core.frozen import FROZEN
from knowngood.core.history import AuditEntry, Delivery
from knowngood.core.incident import Filed
from knowngood.core.model import Response, Standing, State, Verifying
from knowngood.core.rollout import RolloutKind
from knowngood.core.rules import PromptPolicy, Trigger

HOUR_MS = 3_600_000
# Harm that begins later than this after a deploy is not put down to it (definitions: no deploy).
DEPLOY_MS = 24 * HOUR_MS
# The article: the good version is served by every process in under a minute, never more than five.
PROPAGATE_GOAL_MS, PROPAGATE_MAX_MS = 60_000, 300_000

NOTE, ROLE, REVIEWED, CLOSED = (
    "incident.note",
    "incident.role",
    "incident.reviewed",
    "incident.closed",
)
BY_PEOPLE = (NOTE, ROLE, REVIEWED)  # what may be said of an incident long after it is over
OPENS = ("incident.opened", "rollback.held", "rollback.confirmed", "rollback.requested")
DECIDES = ("rollback.confirmed", "question.approved", "rollback.requested")
ASKS = ("incident.opened", "incident.grown", "observation.persists")
SWITCHES = ("rollback.switched", "rollback.completed")
VERDICTS = ("rollback.verified", "rollback.not_recovered", "rollback.inconclusive")
TAKES = ("page.acknowledged", "question.declined", "question.approved", "rollback.requested")


class Progress(StrEnum):
    """How far people and the system have come with an incident."""

    DETECTED = "detected"
    ACKED = "acked"
    MITIGATING = "mitigating"
    VERIFYING = "verifying"
    MONITORING = "monitoring"
    RESOLVED = "resolved"
    REVIEWED = "reviewed"
    FALSE_POSITIVE = "false_positive"
    DUPLICATE = "duplicate"


class Kept(StrEnum):
    """How a clock stands against its limit."""

    WITHIN = "within"
    LATE = "late"  # past what is aimed for, within what is allowed
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Clock:
    """One stretch of the incident. `ms` is None when it never began or its beginning is unknown.

    A running one shows the time so far. `limit_ms` is what is aimed for, `at_most_ms` what is
    allowed.
    """

    name: str
    ms: int | None = None
    is_running: bool = False
    limit_ms: int | None = None
    at_most_ms: int | None = None

    @property
    def kept(self) -> Kept | None:
        """Against the limit; None without a time or without a limit."""
        if self.ms is None or self.limit_ms is None:
            return None
        if self.ms <= self.limit_ms:
            return None if self.is_running else Kept.WITHIN
        return Kept.LATE if self.at_most_ms and self.ms <= self.at_most_ms else Kept.OVER


@dataclass(frozen=True, slots=True)
class Moments:
    """When each thing happened that a clock runs between, in ms; None for what has not."""

    began_ms: int | None  # the deploy; None when no deploy explains it
    detected_ms: int
    decided_ms: int | None = None
    acted_ms: int | None = None  # everybody's route leads to the good version
    propagated_ms: int | None = None
    recovered_ms: int | None = None
    closed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Impact:
    """What users got of the bad version: calls that it served, and how many of them failed."""

    since_ms: int
    until_ms: int
    call_count: int
    failed_count: int
    all_call_count: int  # of the prompt in this time, whatever version served them


@dataclass(frozen=True, slots=True)
class Spread:
    """How many processes had confirmed the route, so long after the switch."""

    after_ms: int
    current_count: int
    live_count: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a record is made of.

    `lines` are those of the prompt from the deploy, or shortly before the incident, to its end, and
    what people said of it since; `policy` is the one that judged it.
    """

    filed: Filed
    lines: tuple[AuditEntry, ...]
    state: State
    policy: PromptPolicy
    now_ms: int
    parts: tuple[Filed, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    impact: Impact | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One incident, whole. The lines are parts of its timeline."""

    facts: Facts
    progress: Progress
    moments: Moments
    clocks: tuple[Clock, ...]
    timeline: tuple[AuditEntry, ...]
    evidence: AuditEntry | None  # the line that the decision's evidence is frozen in
    decision: AuditEntry | None
    action: AuditEntry | None
    verification: AuditEntry | None
    spread: tuple[Spread, ...]
    roles: Mapping[str, str]
    notes: tuple[AuditEntry, ...]
    fixed_by: str | None
    duplicate_of: str = ""
    alternatives: tuple[str, ...] = field(default=())

    @property
    def good_version(self) -> str | None:
        """What a rollback put in the bad version's place, if there was one."""
        return self.action.detail.get("to") if self.action else None


def record_of(facts: Facts) -> Record:
    """Fold the facts into the record."""
    timeline = _timeline(facts)
    moments = _moments(facts, timeline)
    decision = _decision(timeline)
    action = _first(timeline, ("rollback.switched", "rollback.gradual"))
    verification = _last(timeline, VERDICTS)
    said = [line for line in timeline if line.kind in BY_PEOPLE]
    return Record(
        facts=facts,
        progress=_progress(facts, timeline),
        moments=moments,
        clocks=_clocks(facts, moments),
        timeline=timeline,
        evidence=_evidence(timeline),
        decision=decision,
        action=action,
        verification=verification,
        spread=_spread(timeline, moments.acted_ms),
        roles={str(e.detail["role"]): str(e.detail["person"]) for e in said if e.kind == ROLE},
        notes=tuple(line for line in said if line.kind == NOTE),
        fixed_by=fixed_by(facts, action),
        duplicate_of=_duplicate_of(timeline),
        alternatives=_alternatives(decision or _evidence(timeline)),
    )


# --- The timeline


def routed_ms(filed: Filed, state: State, lines: Sequence[AuditEntry]) -> int | None:
    """When the incident's version had come onto the route, as was known when it was detected."""
    for line in lines:
        look = line.detail.get(FROZEN)
        if look and line.at_ms <= filed.incident.opened_ms:
            for entry in look["state"].get("ledger", ()):
                if entry["version"] == filed.incident.version and "routed_ms" in entry:
                    return int(entry["routed_ms"])
    entry = state.entry(filed.incident.version)
    known = entry.routed_ms if entry else None
    return known if known is not None and known <= filed.incident.opened_ms else None


def _timeline(facts: Facts) -> tuple[AuditEntry, ...]:
    """The lines, each once, without what belongs to another incident."""
    mine, seen = [], set()
    for line in facts.lines:
        named = line.detail.get("incident")
        if line.id in seen or (named and named != facts.filed.id):
            continue
        seen.add(line.id)
        mine.append(line)
    return tuple(sorted(mine, key=lambda line: line.id))


def _first(
    lines: Sequence[AuditEntry], kinds: Sequence[str], since_ms: int = 0
) -> AuditEntry | None:
    found = (line for line in lines if line.kind in kinds and line.at_ms >= since_ms)
    return next(found, None)


def _last(lines: Sequence[AuditEntry], kinds: Sequence[str]) -> AuditEntry | None:
    return next((line for line in reversed(lines) if line.kind in kinds), None)


def _at(line: AuditEntry | None) -> int | None:
    return line.at_ms if line else None


def _evidence(timeline: Sequence[AuditEntry]) -> AuditEntry | None:
    """The line of the decision, else that of the opening: what was seen stands frozen in it."""
    return _last(timeline, ("rollback.confirmed", "rollback.requested")) or _first(timeline, OPENS)


def _decision(timeline: Sequence[AuditEntry]) -> AuditEntry | None:
    """What led to the switch; without a switch, a person's word to investigate."""
    switch = _first(timeline, ("rollback.switched", "rollback.gradual"))
    if switch is None:
        return _last(timeline, ("question.declined",))
    before = [line for line in timeline if line.kind in DECIDES and line.id <= switch.id]
    approvals = [line for line in before if line.kind == "question.approved"]
    return (approvals or before or [switch])[-1]


def _alternatives(line: AuditEntry | None) -> tuple[str, ...]:
    """The other versions that were known good when it was decided."""
    look = line.detail.get(FROZEN) if line else None
    ledger = look["state"].get("ledger", ()) if look else ()
    return tuple(e["version"] for e in ledger if e["standing"] == Standing.GOOD.value)


def _duplicate_of(timeline: Sequence[AuditEntry]) -> str:
    line = _last(timeline, (CLOSED, REVIEWED))
    return str(line.detail.get("duplicate_of", "")) if line else ""


# --- Clocks


def _moments(facts: Facts, timeline: Sequence[AuditEntry]) -> Moments:
    filed = facts.filed
    detected_ms = _detected_ms(filed, facts.lines)
    began_ms = routed_ms(filed, facts.state, facts.lines)
    if began_ms is not None and detected_ms - began_ms > DEPLOY_MS:
        began_ms = None
    decision = _decision(timeline)
    gradual = _first(timeline, ("rollback.gradual",))
    acted = _first(timeline, ("rollback.completed",) if gradual else SWITCHES)
    acted_ms = _at(acted)
    recovered = _first(timeline, ("rollback.verified",)) or (
        None if acted else _first(timeline, ("incident.resolved",))
    )
    return Moments(
        began_ms=began_ms,
        detected_ms=detected_ms,
        decided_ms=_at(decision),
        acted_ms=acted_ms,
        propagated_ms=_at(_first(timeline, ("rollback.propagated",), acted_ms or 0))
        if acted
        else None,
        recovered_ms=_at(recovered),
        closed_ms=filed.closed_ms,
    )


def _detected_ms(filed: Filed, lines: Sequence[AuditEntry]) -> int:
    """When the breach was first seen that opened it: a suspicion comes before its confirmation."""
    opened_ms = found = filed.incident.opened_ms
    for line in sorted(lines, key=lambda line: line.id):
        if line.at_ms > opened_ms:
            break
        of_another = line.detail.get("incident") not in (None, filed.id)
        if line.kind == "rollback.suspected":
            found = line.at_ms
        elif line.kind == "rollback.not_confirmed" or of_another:
            found = opened_ms
    return found


def _clocks(facts: Facts, m: Moments) -> tuple[Clock, ...]:
    """Detect, decide, act and recover follow each other; propagate runs beside recover."""
    trigger = first_trigger(facts)
    verify = facts.policy.verify
    end_ms = facts.filed.closed_ms
    now_ms = facts.now_ms if end_ms is None else None
    since_ms = m.detected_ms if m.acted_ms is None and m.recovered_ms is not None else m.acted_ms
    decide_ms = trigger.limit_ms if trigger else None
    return (
        _clock("detect", m.began_ms, m.detected_ms, now_ms=now_ms),
        _clock("decide", m.detected_ms, m.decided_ms, decide_ms, now_ms=now_ms),
        _clock("act", m.decided_ms, m.acted_ms, now_ms=now_ms),
        _clock(
            "propagate",
            m.acted_ms,
            m.propagated_ms,
            PROPAGATE_GOAL_MS,
            PROPAGATE_MAX_MS,
            now_ms=now_ms,
        ),
        _clock(
            "recover", since_ms, m.recovered_ms, verify.goal_ms, verify.deadline_ms, now_ms=now_ms
        ),
        _clock("total", m.began_ms or m.detected_ms, m.recovered_ms or end_ms, now_ms=now_ms),
    )


def _clock(
    name: str,
    from_ms: int | None,
    to_ms: int | None,
    limit_ms: int | None = None,
    at_most_ms: int | None = None,
    *,
    now_ms: int | None,
) -> Clock:
    """A clock between two instants; without a `now_ms` it is over, and what never came is none."""
    if from_ms is None or (to_ms is None and now_ms is None):
        return Clock(name, None, False, limit_ms, at_most_ms)
    if to_ms is not None:
        return Clock(name, to_ms - from_ms, False, limit_ms, at_most_ms)
    assert now_ms is not None
    return Clock(name, now_ms - from_ms, True, limit_ms, at_most_ms)


def first_trigger(facts: Facts) -> Trigger | None:
    """The trigger whose limit holds: the strongest of those that were breached."""
    mine = [t for t in facts.policy.triggers if t.name in facts.filed.incident.triggers]
    ranks = list(Response)
    return min(mine, key=lambda t: ranks.index(t.action), default=None)


# --- How it stands


def _progress(facts: Facts, timeline: Sequence[AuditEntry]) -> Progress:
    if facts.filed.closed_ms is not None:
        return _after(timeline)
    state, incident = facts.state, facts.filed.incident
    if isinstance(state.phase, Verifying):
        return Progress.VERIFYING
    if state.rollout is not None and state.rollout.kind is RolloutKind.GRADUAL:
        return Progress.MITIGATING
    question = state.question
    if question is not None and question.stage is Stage.OBSERVING:
        return Progress.MONITORING
    if any(line.kind in TAKES for line in timeline) or any(
        alarm.acked_ms is not None and alarm.thread.startswith(incident.id)
        for alarm in state.alarms
    ):
        return Progress.ACKED
    if question is None and incident.response is Response.OBSERVE:
        return Progress.MONITORING
    return Progress.DETECTED


def _after(timeline: Sequence[AuditEntry]) -> Progress:
    """How a closed incident ended, by the last word of a person."""
    for line in reversed(timeline):
        if line.kind in (CLOSED, REVIEWED) and (said := line.detail.get("as")):
            return Progress(said)
    return Progress.RESOLVED


def _spread(timeline: Sequence[AuditEntry], acted_ms: int | None) -> tuple[Spread, ...]:
    """How the route arrived, by every look that stands frozen after the switch."""
    if acted_ms is None:
        return ()
    points: list[Spread] = []
    for line in timeline:
        look = line.detail.get(FROZEN)
        if look is None or line.at_ms <= acted_ms:
            continue
        census = look["census"]
        current, live = census.get("current_count", 0), census.get("live_count", 0)
        points.append(Spread(line.at_ms - acted_ms, current, live))
        if line.kind == "rollback.propagated":
            break
    if not points:
        return ()
    return (Spread(0, 0, points[0].live_count), *points)


def fixed_by(facts: Facts, action: AuditEntry | None) -> str | None:
    """The first other version that became good after the incident was opened."""
    incident = facts.filed.incident
    known = {incident.version, action.detail.get("to") if action else None}
    later = [
        entry
        for entry in facts.state.ledger
        if entry.standing is Standing.GOOD
        and entry.version not in known
        and entry.since_ms > incident.opened_ms
    ]
    first = min(later, key=lambda entry: entry.since_ms, default=None)
    return first.version if first else None

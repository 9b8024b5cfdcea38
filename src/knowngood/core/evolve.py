"""What actions do to a state. Every store uses these same functions inside its transaction."""

from collections.abc import Iterable
from dataclasses import replace

from knowngood.core.asking import Alarm, Purpose, Question, unapproved_version
from knowngood.core.history import AuditEntry, Outgoing
from knowngood.core.model import (
    Action,
    Approve,
    Change,
    CountRollback,
    Enter,
    Entry,
    Freeze,
    Incident,
    Join,
    MoveRoute,
    Notify,
    Record,
    Renew,
    Route,
    SetAlarm,
    SetAutomation,
    SetIncident,
    SetQuestion,
    SetRollout,
    Severity,
    ShareStep,
    Spell,
    Stand,
    Standing,
    State,
    Steady,
    Strike,
    Told,
)

HOUR_MS = 3_600_000
SPELLS_MAX = 100  # of the last days; whoever has more incidents has no healthy day to look for
EVIDENCE_CHARS_MAX = 1_000  # of a page, kept in the state; a finding's sentence has about a hundred
ALARMS_MAX = 20  # threads of one incident; there are two or three
APPROVALS_MAX = 50  # of one prompt in one environment, within the day that they hold
STEPS_MAX = 50  # a ladder has four; what is older concerns no detector any more


def evolve(state: State, change: Change, generation: int, now_ms: int) -> State:
    """The state after `change`, one revision later.

    `generation` is the environment's generation after the transaction; a moved route takes it.
    """
    for action in change.actions:
        state = _step(state, action, change.actor, generation, now_ms)
    return replace(state, revision=state.revision + 1)


def moves_route(changes: Iterable[Change]) -> bool:
    """Whether any of the changes moves a route, and the generation has to rise."""
    return any(isinstance(a, MoveRoute) for change in changes for a in change.actions)


def audit_entries(change: Change, after: State, generation: int, now_ms: int) -> list[AuditEntry]:
    """The lines of history that a change writes, in order; `after` is the evolved state."""
    return [
        AuditEntry(
            at_ms=now_ms,
            environment=change.environment,
            prompt=change.prompt,
            kind=action.kind,
            because=action.because,
            actor=change.actor,
            revision=after.revision,
            generation=after.route.generation if after.route else generation,
            policy_revision=change.policy_revision,
            detail=action.detail,
        )
        for action in change.actions
        if isinstance(action, Record)
    ]


def outgoing(change: Change, now_ms: int) -> list[Outgoing]:
    """The messages that a change queues."""
    return [
        Outgoing(
            key=action.key,
            environment=change.environment,
            prompt=change.prompt,
            audience=action.audience,
            severity=action.severity,
            subject=action.subject,
            body=action.body,
            created_ms=now_ms,
            next_try_ms=now_ms,
            purpose=action.purpose,
            thread=action.thread,
            question=action.question,
            targets=action.targets,
            channels=action.channels,
        )
        for action in change.actions
        if isinstance(action, Notify)
    ]


def ended(before: State, after: State, change: Change, now_ms: int) -> list[Outgoing]:
    """The word that a page is over, for each alarm that a change ends without saying so itself.

    A pager that escalates by itself would go on calling about what is closed here.
    """
    kept = {alarm.thread for alarm in after.alarms}
    said = {
        action.thread
        for action in change.actions
        if isinstance(action, Notify) and action.purpose is Purpose.RESOLVED
    }
    lines = [action for action in change.actions if isinstance(action, Record)]
    because = lines[-1].because if lines else "what it was about is over"
    return [
        Outgoing(
            key=f"{alarm.thread}:ended:{now_ms}",
            environment=change.environment,
            prompt=change.prompt,
            audience=alarm.audience,
            severity=Severity.LOW,
            subject=f"{change.prompt} ({change.environment}): over, {alarm.thread}",
            body=because,
            created_ms=now_ms,
            next_try_ms=now_ms,
            purpose=Purpose.RESOLVED,
            thread=alarm.thread,
        )
        for alarm in before.alarms
        if alarm.thread not in kept | said
    ]


def _step(state: State, action: Action, actor: str, generation: int, now_ms: int) -> State:
    match action:
        case MoveRoute(arms, salt):
            route = Route(arms, salt, generation, now_ms)
            return _move(state, replace(route, steps=_steps(state, route)), actor, now_ms)
        case Stand(version, standing, because):
            entry = state.entry(version) or Entry(version, standing, now_ms)
            stood = replace(entry, standing=standing, since_ms=now_ms, because=because, actor=actor)
            return _write(_unapproved(state, version, standing), stood)
        case Freeze(version, baseline):
            left = state.entry(version)
            return _write(state, replace(left, baseline=baseline)) if left else state
        case Join(version, release):
            member = state.entry(version)
            return _write(state, replace(member, release=release)) if member else state
        case Renew(version):
            alarmed = state.entry(version)
            return _write(state, replace(alarmed, fresh_ms=now_ms)) if alarmed else state
        case Strike(version):
            return replace(state, ledger=tuple(e for e in state.ledger if e.version != version))
        case Enter(phase):
            return replace(state, phase=phase)
        case SetIncident(incident):
            return _set_incident(state, incident, now_ms)
        case SetRollout(rollout):
            return replace(state, rollout=rollout)
        case Told(notice, forget):
            kept = tuple(n for n in state.told if n != notice)
            return replace(state, told=kept if forget else (*kept, notice))
        case SetAutomation(hold):
            return replace(state, automation=hold)
        case CountRollback():
            recent = tuple(ms for ms in state.rollbacks_ms if ms > now_ms - HOUR_MS)
            return replace(state, rollbacks_ms=(*recent, now_ms))
        case SetQuestion(question):
            return _ask(state, question)
        case SetAlarm(alarm):
            others = tuple(a for a in state.alarms if a.thread != alarm.thread)
            return replace(state, alarms=(*others, alarm))
        case Approve(approval):
            valid = tuple(a for a in state.approvals if a.until_ms > now_ms)
            return replace(state, approvals=(*valid, approval)[-APPROVALS_MAX:])
        case Notify():
            return _alarm(state, action, now_ms)
        case Record():
            return state


def _unapproved(state: State, version: str, standing: Standing) -> State:
    """A version that was found at fault has to be approved anew, also once it is rehabilitated."""
    if standing is not Standing.QUARANTINED:
        return state
    return replace(state, approvals=tuple(a for a in state.approvals if a.version != version))


def _ask(state: State, question: Question | None) -> State:
    count = max(state.question_count, question.number if question else 0)
    return replace(state, question=question, question_count=count)


def _alarm(state: State, page: Notify, now_ms: int) -> State:
    """A page raises an alarm, unless its thread has one: that goes on as it is."""
    known = any(alarm.thread == page.thread for alarm in state.alarms)
    if page.purpose is Purpose.RESOLVED:
        return replace(state, alarms=tuple(a for a in state.alarms if a.thread != page.thread))
    if page.purpose is not Purpose.PAGE or not page.thread or known:
        return state
    alarm = Alarm(
        page.thread,
        page.audience,
        page.severity.value,
        page.subject,
        now_ms,
        level=page.level,
        evidence=page.evidence[:EVIDENCE_CHARS_MAX],
    )
    return replace(state, alarms=(*state.alarms, alarm)[-ALARMS_MAX:])


def incident_of(thread: str) -> str:
    """The incident that a thread belongs to: what follows a colon tells its threads apart."""
    return thread.partition(":")[0]


def _set_incident(state: State, incident: Incident | None, now_ms: int) -> State:
    before = state.incident
    if before is not None and incident is not None and before.id == incident.id:
        return replace(state, incident=incident)
    spells = state.spells
    if before is not None:
        spells = (*spells, Spell(before.opened_ms, now_ms, before.version))[-SPELLS_MAX:]
    count = state.incident_count + (incident is not None)
    ended = before.id if before is not None else None
    alarms = tuple(a for a in state.alarms if incident_of(a.thread) != ended)
    return replace(
        state,
        incident=incident,
        incident_count=count,
        spells=spells,
        question=None,
        alarms=alarms,
    )


def _move(state: State, route: Route, actor: str, now_ms: int) -> State:
    before = {arm.version for arm in state.route.arms} if state.route else set()
    first = state.route is None and not any(e.routed_ms is not None for e in state.ledger)
    for arm in route.arms:
        if arm.version in before:
            continue
        entry = state.entry(arm.version)
        if entry is None:
            declared = first and arm == route.control
            standing = Standing.GOOD if declared else Standing.CANDIDATE
            because = "first version routed here: good as declared" if declared else "deployed"
            entry = Entry(arm.version, standing, now_ms, because=because, actor=actor)
        state = _write(state, replace(entry, routed_ms=now_ms, fresh_ms=None, release=None))
    for version in sorted(before - {arm.version for arm in route.arms}):
        if gone := state.entry(version):
            state = _write(state, replace(gone, left_ms=now_ms))
    return replace(
        state,
        route=route,
        phase=Steady(),
        told=(),
        incident_count=0,
        rollout=None,
        question=None,
        alarms=tuple(a for a in state.alarms if not _is_over(a, state, route)),
    )


def _is_over(alarm: Alarm, state: State, route: Route) -> bool:
    """Whether a page is over with the route that was.

    Those about a generation that is no more are, such as its blindness, and what was promoted
    without a second person once it is served no more.
    """
    version = unapproved_version(alarm.thread)
    gone = version is not None and not route.weight_bp(version)
    return gone or alarm.thread.startswith(_of_old(state))


def _of_old(state: State) -> str:
    """How the threads of the route's generation begin that belong to no incident."""
    generation = state.route.generation if state.route else 0
    return f"{state.environment}/{state.prompt}/g{generation}:"


def _steps(state: State, route: Route) -> tuple[ShareStep, ...]:
    """The candidate's shares so far and the new one; another pair of versions begins anew."""
    if route.candidate is None:
        return ()
    before: tuple[ShareStep, ...] = ()
    if state.route and [a.version for a in state.route.arms] == [a.version for a in route.arms]:
        before = state.route.steps[-STEPS_MAX:]
    return (*before, ShareStep(route.since_ms, route.candidate.weight_bp))


def _write(state: State, entry: Entry) -> State:
    others = tuple(e for e in state.ledger if e.version != entry.version)
    return replace(state, ledger=(*others, entry))

"""Steady: a breach starts a confirmation, opens or grows an incident, or is only remembered."""

from knowngood.core.explain import few
from knowngood.core.look import breaches
from knowngood.core.model import (
    Confirming,
    Enter,
    Finding,
    Incident,
    Method,
    Notify,
    Outcome,
    Record,
    Renew,
    Response,
    SetIncident,
    Severity,
    Told,
    Verdict,
    Wait,
)
from knowngood.core.rollout import RolloutKind
from knowngood.core.steps.brakes import told_brake
from knowngood.core.steps.case import (
    IDLE,
    Case,
    Step,
    evidence,
    incident_for,
    page,
    sentence,
    title,
)
from knowngood.core.steps.parts import part_of, release_of
from knowngood.core.steps.switch import SYSTEM

AUDIENCE_OF_SYSTEM = "on-call"  # a trigger that the system decides still tells a person


def respond(case: Case) -> Step:
    """What to do about breaches while nothing is under way. Rollback > ask > observe."""
    dry_run = _remember_dry_runs(case)
    if case.state.incident and case.state.incident.outcome is Outcome.NOT_RECOVERED:
        return Step(dry_run, (Wait("operator", detail="the rollback did not recover"),))
    live = tuple(f for f in case.findings if not is_dry_run(case, f))
    severe = breaches(live, case.suspect, Response.ROLLBACK)
    if severe and not is_giving_way(case, severe):
        # A version that flickers around its limit behind the same brake is no news each time.
        if held := told_brake(case):
            return Step(dry_run, (Wait("brake", detail=held.words),))
        return Step((*dry_run, *_suspect(case, severe)), (Wait("next_look"),))
    for response in (Response.ASK, Response.OBSERVE):
        if found := breaches(live, case.suspect, response):
            asked = _tell(case, found, response)
            return Step((*dry_run, *asked), (_decision_of(case, found[0]),))
    if failing := _failing_control(case, live):
        asked = _tell(case, failing, Response.ASK)
        return Step((*dry_run, *asked), (_decision_of(case, failing[0]),))
    return Step(dry_run)


def is_giving_way(case: Case, severe: tuple[Finding, ...]) -> bool:
    """Whether the version is being rolled back already, as gently as what it breaches asks for."""
    rollout = case.state.rollout
    if rollout is None or rollout.kind is not RolloutKind.GRADUAL:
        return False
    if rollout.pause is not None and rollout.pause.actor != SYSTEM:
        return False  # a person's hold masks no rollback
    methods = {trigger.name: trigger.method for trigger in case.policy.triggers}
    return all(methods.get(finding.trigger) is Method.GRADUAL for finding in severe)


def _failing_control(case: Case, live: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Breaches of the control alone: taking the candidate off would not help, so ask."""
    assert case.state.route is not None
    control = case.state.route.control.version
    if control == case.suspect:
        return ()
    return breaches(live, control, Response.ROLLBACK) or breaches(live, control, Response.ASK)


def is_dry_run(case: Case, finding: Finding) -> bool:
    """Whether the finding's trigger only records what it would have done."""
    return any(t.name == finding.trigger and t.dry_run for t in case.policy.triggers)


def _suspect(case: Case, found: tuple[Finding, ...]) -> tuple[Enter | Record, ...]:
    phase = Confirming(found[0].trigger, case.suspect, case.observed.until_ms, case.now_ms)
    return (
        Enter(phase),
        Record("rollback.suspected", sentence(found), evidence(case, found)),
    )


def _tell(
    case: Case, found: tuple[Finding, ...], response: Response
) -> tuple[SetIncident | Record | Notify, ...]:
    worst = min((f.severity for f in found), key=list(Severity).index)
    grown = incident_for(case, found, worst, response)
    before = case.state.incident
    if before is not None and set(grown.triggers) == set(before.triggers):
        return ()
    same = before is not None and before.response is grown.response
    known = before.triggers if before is not None and same else ()
    news = tuple(f for f in found if f.trigger not in known)
    return (
        SetIncident(grown),
        Record(
            "incident.opened" if before is None else "incident.grown",
            sentence(found),
            {"incident": grown.id, **evidence(case, found)},
        ),
        *_messages(case, news, grown, response),
    )


def _messages(
    case: Case, news: tuple[Finding, ...], incident: Incident, response: Response
) -> tuple[Notify, ...]:
    """One message to everybody who has to decide about something new."""
    question = (
        "Roll back, or investigate? `knowngood rollback "
        f"{case.state.prompt} --env {case.state.environment} --because ...` rolls back."
        if response is Response.ASK
        else "Observing; nothing is changed."
    )
    told: list[Notify] = []
    for who in dict.fromkeys(_who(case, f) for f in news):
        mine = tuple(f for f in news if _who(case, f) == who)
        told += page(
            case,
            f"{incident.id}:{response.value}:{who}",
            who,
            mine[0].severity,
            f"{title(case)}: {mine[0].version} {sentence(mine[:1])}",
            f"{sentence(mine)}. {question}",
        )
    return tuple(told)


def _who(case: Case, finding: Finding) -> str:
    who = next((t.who for t in case.policy.triggers if t.name == finding.trigger), "")
    return who if who and who != "system" else AUDIENCE_OF_SYSTEM


def _decision_of(case: Case, finding: Finding) -> Wait:
    who = _who(case, finding)
    return Wait("operator", detail=f"{who} to decide about {finding.trigger}")


def _remember_dry_runs(case: Case) -> tuple[Told | Record, ...]:
    """Record once an episode what a dry-run trigger would have done; forget when it is over."""
    actions: list[Told | Record] = []
    for finding in case.findings:
        if finding.version != case.suspect or not is_dry_run(case, finding):
            continue
        notice = f"dry_run:{finding.trigger}:{finding.version}"
        if finding.verdict is Verdict.BREACH and not case.told(notice):
            mates = _would_go_along(case, finding)
            detail = {
                "trigger": finding.trigger,
                "together_with": mates,
                **evidence(case, (finding,)),
            }
            along = f", together with {few(mates)}" if mates else ""
            because = f"would {finding.response.value}: {sentence((finding,))}{along}"
            actions += [Told(notice), Record("dry_run", because, detail)]
        elif finding.verdict is Verdict.CLEAR and case.told(notice):
            actions.append(Told(notice, forget=True))
    return tuple(actions)


def _would_go_along(case: Case, finding: Finding) -> list[str]:
    """The prompts that a rollback would take back as well."""
    release = release_of(case.state)
    if finding.response is not Response.ROLLBACK or release is None:
        return []
    mates = (partner.state for partner in case.observed.partners)
    return [mate.prompt for mate in mates if part_of(mate, release) is not None]


def settle(case: Case) -> Step:
    """Close an incident whose triggers have all been clear for a whole window.

    The evidence begins anew: each such end buys half of the budget for false alarms again.
    """
    incident = case.state.incident
    route = case.state.route
    if incident is None or route is None:
        return IDLE
    mine = [f for f in case.findings if f.trigger in incident.triggers]
    quiet_ms = case.now_ms - max(incident.opened_ms, route.since_ms)
    calm = all(f.verdict is Verdict.CLEAR for f in mine)
    if not calm or quiet_ms < case.policy.window_ms:
        return IDLE
    because = f"clear for a whole window: {sentence(tuple(mine))}" if mine else "no trigger left"
    # A brake that holds a later breach of this generation is news again.
    forgotten = tuple(
        Told(notice, forget=True) for notice in case.state.told if notice.startswith("held:")
    )
    return Step(
        (
            SetIncident(None),
            *(Renew(arm.version) for arm in route.arms),
            *forgotten,
            Record("incident.resolved", because, {"incident": incident.id, "renewed": True}),
            *page(
                case,
                f"{incident.id}:resolved",
                "incidents",
                incident.severity,
                f"{title(case)}: resolved, {incident.id}",
                because,
            ),
        )
    )

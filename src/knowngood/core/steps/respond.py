"""Steady: a breach starts a confirmation, opens or grows an incident, or is only remembered."""

from knowngood.core.asking import Question, Stage
from knowngood.core.explain import duration, few, metric_words, wait_words
from knowngood.core.look import breaches
from knowngood.core.model import (
    Action,
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
    SetQuestion,
    Severity,
    Told,
    Verdict,
    Wait,
)
from knowngood.core.rollout import RolloutKind
from knowngood.core.steps.ask import ask, question_page
from knowngood.core.steps.brakes import told_brake
from knowngood.core.steps.case import (
    IDLE,
    Case,
    Step,
    evidence,
    incident_for,
    page,
    resolved,
    sentence,
    title,
)
from knowngood.core.steps.parts import part_of, release_of
from knowngood.core.steps.switch import SYSTEM
from knowngood.core.steps.words import decider


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
            return Step((*dry_run, *asked))
    if failing := _failing_control(case, live):
        asked = _tell(case, failing, Response.ASK)
        return Step((*dry_run, *asked))
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


def _tell(case: Case, found: tuple[Finding, ...], response: Response) -> tuple[Action, ...]:
    worst = min((f.severity for f in found), key=list(Severity).index)
    grown = incident_for(case, found, worst, response)
    before = case.state.incident
    if before is not None and set(grown.triggers) == set(before.triggers):
        return ()
    same = before is not None and before.response is grown.response
    known = before.triggers if before is not None and same else ()
    news = tuple(f for f in found if f.trigger not in known)
    question = ask(case, news, grown, response) if news else None
    return (
        SetIncident(grown),
        *((SetQuestion(question),) if question else ()),
        Record(
            "incident.opened" if before is None else "incident.grown",
            sentence(found),
            {
                "incident": grown.id,
                "question": question.number if question else None,
                **evidence(case, found),
            },
        ),
        *_messages(case, news, grown, question),
    )


def _messages(
    case: Case, news: tuple[Finding, ...], incident: Incident, question: Question | None
) -> tuple[Notify, ...]:
    """One message to everybody who has something to do with what is new; the question to one."""
    told: list[Notify] = []
    for who in dict.fromkeys(decider(case.policy, f.trigger) for f in news):
        mine = tuple(f for f in news if decider(case.policy, f.trigger) == who)
        asked = question if question and question.who == who else None
        if asked is not None and asked.stage is Stage.ASKED:
            told += question_page(case, incident, asked, sentence(mine))
            continue
        words = "Observing; nothing is changed" if asked else "Beside what was asked already"
        until = f" for {duration(asked.due_ms - case.now_ms)}" if asked else ""
        told += page(
            case,
            f"{incident.id}:told:{'+'.join(f.trigger for f in mine)}:{who}",
            who,
            mine[0].severity,
            f"{title(case)}: {mine[0].version} {sentence(mine[:1])}",
            f"{sentence(mine)}. {words}{until}.",
            thread=incident.id,
        )
    return tuple(told)


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


def settling(case: Case) -> Wait | None:
    """What an open incident waits on to close by itself; None if it may close now, or does not.

    An incident with a breach, or one whose rollback did not recover, does not: see `needs_person`.
    """
    incident, route = case.state.incident, case.state.route
    if incident is None or route is None or needs_person(case):
        return None
    unclear = [f for f in _of_incident(case) if f.verdict is not Verdict.CLEAR]
    if unclear:
        worst = unclear[0]
        need = worst.waiting_on[0] if worst.waiting_on else None
        words = f": {wait_words(need)}" if need else ""
        about = f"{metric_words(worst.metric)} of {worst.version} to be found well{words}"
        return Wait("settle", detail=about, eta_ms=need.eta_ms if need else None)
    left_ms = case.policy.window_ms - _quiet_ms(case, incident)
    if left_ms <= 0:
        return None
    return Wait("settle", left_ms, detail=f"{duration(left_ms)} without a breach", eta_ms=left_ms)


def needs_person(case: Case) -> bool:
    """Whether an open incident is more than a suspicion: breached now, or not recovered."""
    incident = case.state.incident
    if incident is None:
        return False
    if incident.outcome is Outcome.NOT_RECOVERED:
        return True
    return any(f.verdict is Verdict.BREACH for f in _of_incident(case))


def _of_incident(case: Case) -> list[Finding]:
    incident = case.state.incident
    return [f for f in case.findings if incident is not None and f.trigger in incident.triggers]


def _quiet_ms(case: Case, incident: Incident) -> int:
    assert case.state.route is not None
    return case.now_ms - max(incident.opened_ms, case.state.route.since_ms)


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
    if wait := settling(case):
        return Step(waiting_on=(wait,))
    mine = _of_incident(case)
    calm = all(f.verdict is Verdict.CLEAR for f in mine)
    if not calm or _quiet_ms(case, incident) < case.policy.window_ms:
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
            *resolved(
                case,
                incident,
                f"{incident.id}:resolved",
                incident.severity,
                f"{title(case)}: resolved, {incident.id}",
                because,
            ),
        )
    )

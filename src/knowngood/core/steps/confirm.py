"""Confirming: the second look. A breach seen again switches, unless a brake holds it."""

from dataclasses import replace

from knowngood.core.asking import Purpose, Question
from knowngood.core.explain import wait_words
from knowngood.core.look import breaches
from knowngood.core.model import (
    Confirming,
    Enter,
    Finding,
    Notify,
    Record,
    Response,
    SetIncident,
    SetQuestion,
    SetRollout,
    Severity,
    Steady,
    Told,
    Wait,
)
from knowngood.core.steps.ask import ask_on_call
from knowngood.core.steps.attribution import Blame, attribute
from knowngood.core.steps.brakes import brake, held_notice
from knowngood.core.steps.case import (
    Case,
    Step,
    env_option,
    evidence,
    incident_for,
    page,
    sentence,
    title,
)
from knowngood.core.steps.respond import is_dry_run
from knowngood.core.steps.switch import automatic_switch
from knowngood.core.steps.target import choose_target
from knowngood.core.steps.together import Back, back_together
from knowngood.core.steps.watchdog import LIMIT_MS


def confirm(case: Case, phase: Confirming) -> Step:
    """Switch if newer data show the breach again; back to steady if they do not.

    While a brake holds the rollback the phase stays, so that it goes on as soon as the brake is off
    and the breach is still there.
    """
    if case.now_ms < phase.began_ms:  # the clock was set back: what was seen is yet to come
        return _not_confirmed(case, phase)
    if case.observed.until_ms <= phase.seen_ms:
        return Step(waiting_on=(Wait("next_look"),))
    live = tuple(f for f in case.findings if not is_dry_run(case, f))
    found = breaches(live, phase.version, Response.ROLLBACK)
    if not found or phase.version != case.suspect:
        return _not_confirmed(case, phase)
    if held := brake(case, found, phase.began_ms):
        return hold(case, found, held.kind, held.words)
    blame = attribute(case, found, phase.began_ms)
    if blame.blame is Blame.UNCLEAR:
        if case.now_ms - phase.began_ms >= _limit_ms(case, phase.trigger):
            words = f"it is not clear yet who is at fault: {wait_words(blame.waiting_on[0])}"
            return hold(case, found, "unclear", words)
        return Step(waiting_on=blame.waiting_on)
    target = choose_target(case.state, case.suspect, case.observed.unfit)
    if target is None:
        return hold(case, found, "no_target", _no_target_words(case))
    step = automatic_switch(case, found, target)
    return with_release(case, step, target, sentence(found))


def with_release(case: Case, step: Step, target: str, because: str) -> Step:
    """What it was released with goes back in the same transaction, and people hear of it."""
    gently = any(isinstance(action, SetRollout) for action in step.actions)
    steps = case.policy.gradual if gently else None
    opened = [a.incident for a in step.actions if isinstance(a, SetIncident) and a.incident]
    back = Back(because, automatic=True, gradual=steps, lead=opened[0] if opened else None)
    along = back_together(case, target, back)
    said = [action for action in along.actions if isinstance(action, Record)]
    words = "".join(f" {record.because}." for record in said)
    actions = tuple(
        replace(action, body=f"{action.body}{words}") if isinstance(action, Notify) else action
        for action in step.actions
    )
    return replace(step, actions=(*actions, *along.actions), companions=along.changes)


def _limit_ms(case: Case, name: str) -> int:
    """How long the trigger may take before a person has to hear of it."""
    limits = (t.limit_ms for t in case.policy.triggers if t.name == name)
    return next((ms for ms in limits if ms is not None), LIMIT_MS)


def _not_confirmed(case: Case, phase: Confirming) -> Step:
    seen = tuple(
        f for f in case.findings if f.trigger == phase.trigger and f.version == phase.version
    )
    because = f"not confirmed: {sentence(seen)}" if seen else "not confirmed"
    return Step((Enter(Steady()), Record("rollback.not_confirmed", because, evidence(case, seen))))


def hold(case: Case, found: tuple[Finding, ...], kind: str, words: str) -> Step:
    """Open the incident and page once for each kind of brake; the breach stays confirmed."""
    waiting = (Wait("brake", detail=words),)
    notice = held_notice(kind)
    if case.told(notice):
        return Step(waiting_on=waiting)
    incident = incident_for(case, found, Severity.CRITICAL, Response.ROLLBACK)
    # Where nothing is known to be good, a rollback that names no target would only be refused.
    target = " VERSION --override not_known_good" if kind == "no_target" else ""
    body = (
        f"{sentence(found)}. The automatic rollback is held: {words}. A person's rollback is never "
        f"held: `knowngood rollback {case.state.prompt}{target} --env {case.state.environment} "
        "--because ...`"
    )
    question = _ask_held(case, found)
    return Step(
        (
            Told(notice),
            SetIncident(incident),
            *((SetQuestion(question),) if question else ()),
            Record(
                "rollback.held",
                words,
                {"incident": incident.id, "brake": kind, **evidence(case, found)},
            ),
            *page(
                case,
                f"{incident.id}:held:{kind}:{case.generation}",
                "on-call",
                Severity.CRITICAL,
                f"{title(case)}: rollback of {case.suspect} held, {words}",
                body,
                purpose=Purpose.PAGE,
                thread=f"{incident.id}:held",  # who took a milder page has not seen this one
                question=question.number if question else None,
            ),
        ),
        waiting,
    )


def _ask_held(case: Case, found: tuple[Finding, ...]) -> Question | None:
    """What the brake keeps the system from doing, a person may do."""
    target = choose_target(case.state, case.suspect, case.observed.unfit)
    asked = case.state.question
    if target is None or (asked is not None and asked.trigger == found[0].trigger):
        return None
    return ask_on_call(case, found[0].trigger, case.suspect, target)


def _no_target_words(case: Case) -> str:
    others = [e for e in case.state.ledger if e.version != case.suspect]
    unfit = case.observed.unfit
    listed = (
        ", ".join(f"{e.version} ({unfit.get(e.version, e.standing.value)})" for e in others)
        or "no other version"
    )
    return (
        f"no known-good version to go back to; the ledger has {listed}; "
        f"`knowngood vouch {case.state.prompt} VERSION{env_option(case.state)} "
        "--because ...` makes one good"
    )

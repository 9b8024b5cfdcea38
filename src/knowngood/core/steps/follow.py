"""What follows from silence: an observation that persists, a question that nobody answers.

The time limits stand in the state (`Question.due_ms`), so that a restart forgets none of them.
"""

from dataclasses import replace
from typing import Any

from knowngood.core.asking import Purpose, Question, Stage
from knowngood.core.evolve import incident_of
from knowngood.core.explain import duration
from knowngood.core.model import (
    Finding,
    Record,
    Response,
    SetQuestion,
    Verdict,
    Wait,
)
from knowngood.core.steps.ask import limit_of, question_page, target_of, trigger_of
from knowngood.core.steps.brakes import brake
from knowngood.core.steps.case import IDLE, Case, Step, evidence, page, sentence, title
from knowngood.core.steps.confirm import hold, with_release
from knowngood.core.steps.switch import automatic_switch
from knowngood.core.steps.words import ON_CALL, answer_words, asked_words

UNANSWERED = ":unanswered"  # a second thread, so that an acknowledged page cannot swallow it


def follow(case: Case) -> Step:
    """What follows when the time of the open question comes; what it waits on until then."""
    question = case.state.question
    if question is None or case.state.incident is None:
        return IDLE
    left_ms = question.due_ms - case.now_ms
    waiting = (Wait("answer", detail=asked_words(question), need=left_ms, eta_ms=left_ms),)
    found = _still(case, question)
    due = left_ms <= 0 or _is_exhausted(case, question)
    unclear = () if question.stage is Stage.OBSERVING else _unclear(case, question)
    # A breach that has gone is nothing to ask about: it may settle. What cannot be judged any more
    # is no reason to fall silent, and none to roll back.
    if not due or not (found or unclear):
        return Step(waiting_on=waiting)
    match question.stage:
        case Stage.OBSERVING:
            return _persists(case, question, found)
        case Stage.ASKED:
            return _unanswered(case, question, found or unclear, proven=bool(found))
        case Stage.INVESTIGATING:
            return _remind(case, question, found or unclear)


def _still(case: Case, question: Question) -> tuple[Finding, ...]:
    """The breaches that the question is about, as they are now."""
    mine = [
        f for f in case.findings if f.version == question.version and f.verdict is Verdict.BREACH
    ]
    own = tuple(f for f in mine if f.trigger == question.trigger)
    incident = case.state.incident
    assert incident is not None
    return own or tuple(f for f in mine if f.trigger in incident.triggers)


def _unclear(case: Case, question: Question) -> tuple[Finding, ...]:
    """What was asked about and cannot be judged any more: too few calls, or no reports."""
    unclear = (Verdict.UNSURE, Verdict.BLIND)
    mine = (f for f in case.findings if f.version == question.version)
    return tuple(f for f in mine if f.trigger == question.trigger and f.verdict in unclear)


def _persists(case: Case, question: Question, found: tuple[Finding, ...]) -> Step:
    """The hour of observation is over, and it is still there."""
    trigger = trigger_of(case, question.trigger)
    then = trigger.then if trigger and trigger.then else Response.ALERT
    incident = case.state.incident
    assert incident is not None
    took = duration(case.now_ms - question.asked_ms)
    because = f"persists after {took}: {sentence(found)}"
    record = Record("observation.persists", because, _detail(case, question, found))
    if then is Response.ROLLBACK:
        return _roll_back(case, question, found, record)
    if then is Response.ASK:
        asked = replace(
            question,
            number=case.state.question_count + 1,
            stage=Stage.ASKED,
            target=target_of(case, question.version),
            asked_ms=case.now_ms,
            due_ms=case.now_ms + limit_of(case, question.trigger),
        )
        return Step((SetQuestion(asked), record, *question_page(case, incident, asked, because)))
    told = page(
        case,
        f"{incident.id}:persists:{question.number}",
        question.who,
        incident.severity,
        f"{title(case)}: {because}",
        because,
        thread=incident.id,
    )
    return Step((SetQuestion(None), record, *told))


def _unanswered(
    case: Case, question: Question, found: tuple[Finding, ...], *, proven: bool
) -> Step:
    """Nobody has answered in time: roll back where the policy says so, else tell more people."""
    trigger = trigger_of(case, question.trigger)
    incident = case.state.incident
    assert incident is not None
    waited = duration(case.now_ms - question.asked_ms)
    because = f"no answer from {question.who} for {waited}: {sentence(found)}"
    overdue = replace(
        question,
        due_ms=case.now_ms + limit_of(case, question.trigger),
        overdue_count=question.overdue_count + 1,
    )
    record = Record("question.overdue", because, _detail(case, question, found))
    silent = trigger is not None and trigger.on_timeout == "rollback"
    if proven and (silent or _is_exhausted(case, question)):
        return _roll_back(case, overdue, found, record)
    told = page(
        case,
        f"{incident.id}:overdue:{question.number}:{overdue.overdue_count}",
        ON_CALL,
        incident.severity,
        f"{title(case)}: nobody has decided about {question.version}, {because}",
        f"{because}.",
        answers=answer_words(case.state, question),
        purpose=Purpose.PAGE,
        thread=f"{incident.id}{UNANSWERED}",
        question=question.number,
    )
    return Step((SetQuestion(overdue), record, *told))


def _is_exhausted(case: Case, question: Question) -> bool:
    """Whether all were called in vain since the question's clock began, and that is an answer.

    It is one where the policy says `on_exhausted: rollback`.
    """
    if case.policy.escalation.on_exhausted != "rollback" or question.stage is not Stage.ASKED:
        return False
    began_ms = question.due_ms - limit_of(case, question.trigger)
    incident = case.state.incident
    mine = [a for a in case.state.alarms if incident and incident_of(a.thread) == incident.id]
    return any(alarm.exhausted and alarm.told_ms > began_ms for alarm in mine)


def _roll_back(case: Case, question: Question, found: tuple[Finding, ...], record: Record) -> Step:
    """What the policy does when nobody answers. The same brakes hold it as any automatic one."""
    held = brake(case, found, question.asked_ms)
    target = target_of(case, question.version)
    if held is not None or target is None:
        kind = held.kind if held else "no_target"
        words = held.words if held else "no known-good version to go back to"
        step = hold(case, found, kind, words)
        return replace(step, actions=(SetQuestion(question), record, *step.actions))
    step = with_release(case, automatic_switch(case, found, target), target, sentence(found))
    return replace(step, actions=(record, *step.actions))


def _remind(case: Case, question: Question, found: tuple[Finding, ...]) -> Step:
    """Somebody investigates, and it is still there."""
    incident = case.state.incident
    assert incident is not None
    who = question.answered_by or question.who
    because = (
        f"{who} investigates for {duration(case.now_ms - question.asked_ms)}: {sentence(found)}"
    )
    again = replace(
        question,
        due_ms=case.now_ms + limit_of(case, question.trigger),
        overdue_count=question.overdue_count + 1,
    )
    told = page(
        case,
        f"{incident.id}:reminder:{question.number}:{again.overdue_count}",
        question.who,
        incident.severity,
        f"{title(case)}: still there, {sentence(found)}",
        f"{because}. {answer_words(case.state, question)}",
        thread=incident.id,
        question=question.number,
    )
    record = Record("question.reminded", because, _detail(case, question, found))
    return Step((SetQuestion(again), record, *told))


def _detail(case: Case, question: Question, found: tuple[Finding, ...]) -> dict[str, Any]:
    incident = case.state.incident
    return {
        "incident": incident.id if incident else None,
        "question": question.number,
        **evidence(case, found),
    }

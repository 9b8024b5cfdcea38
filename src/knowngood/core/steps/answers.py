"""A person's answer: roll back, investigate, or take the page. Bound to the question it saw."""

from dataclasses import replace

from knowngood.core.asking import Alarm, Purpose, Question, Stage, unapproved_version
from knowngood.core.errors import NothingAsked, StaleAnswer
from knowngood.core.explain import duration
from knowngood.core.model import (
    Action,
    Notify,
    Record,
    SetAlarm,
    SetQuestion,
    Severity,
    State,
)
from knowngood.core.steps.ask import limit_of
from knowngood.core.steps.case import Case, page, title
from knowngood.core.steps.words import asked_words, deed


def question_of(state: State, number: int | None) -> Question:
    """The question that is open, if it is the one that was seen (None: whichever it is).

    Raises NothingAsked or StaleAnswer.
    """
    question = state.question
    if question is None or state.incident is None:
        raise NothingAsked(
            f"{state.prompt} ({state.environment}) has no open question",
            next_step=f"knowngood explain {state.prompt} --env {state.environment}",
        )
    if number is not None and number != question.number:
        raise StaleAnswer(
            f"question {number} about {state.prompt} ({state.environment}) is not the one that is "
            f"open: now it is question {question.number}, {asked_words(question)}",
            known=[str(question.number)],
            next_step="look again, and answer that one if you still mean it",
        )
    return question


def approved(case: Case, question: Question, because: str) -> tuple[Action, ...]:
    """The line that stands before the rollback that was approved."""
    detail = {"question": question.number, "trigger": question.trigger, "to": question.target}
    incident = case.state.incident
    detail["incident"] = incident.id if incident else None
    return (Record("question.approved", f"{because} ({deed(question)})", detail),)


def decline(case: Case, number: int | None, because: str, actor: str) -> tuple[Action, ...]:
    """Somebody investigates instead: nothing is changed, and they are reminded.

    Raises NothingAsked or StaleAnswer; none when the same person says it again.
    """
    question = question_of(case.state, number)
    if question.stage is Stage.INVESTIGATING and question.answered_by == actor:
        return ()
    limit_ms = limit_of(case, question.trigger)
    held = replace(
        question,
        stage=Stage.INVESTIGATING,
        asked_ms=case.now_ms,
        due_ms=case.now_ms + limit_ms,
        answered_by=actor,
        because=because,
    )
    incident = case.state.incident
    words = f"{because} (investigates; a reminder comes in {duration(limit_ms)})"
    detail = {"question": question.number, "incident": incident.id if incident else None}
    return (
        SetQuestion(held),
        Record("question.declined", words, detail),
        *taken(case, actor),
    )


def acknowledge(case: Case, thread: str | None, because: str, actor: str) -> tuple[Action, ...]:
    """Somebody looks: nobody else is told of the pages of this prompt, or of one thread.

    None when every such page is acknowledged already. Raises NothingAsked when there is none.
    """
    mine = [a for a in case.state.alarms if thread is None or a.thread == thread]
    if not mine:
        raise NothingAsked(
            f"{title(case)} has no page that waits for anybody",
            next_step=f"knowngood explain {case.state.prompt} --env {case.state.environment}",
        )
    mine_now = taken(case, actor, thread)
    if not mine_now:
        return ()
    incident = case.state.incident
    detail = {
        "incident": incident.id if incident else None,
        "threads": [alarm.thread for alarm in mine],
    }
    return (Record("page.acknowledged", because or "looks at it", detail), *mine_now)


def taken(case: Case, actor: str, thread: str | None = None) -> tuple[Action, ...]:
    """The alarms as somebody's, and the word of it to the channels that called."""
    actions: list[Action] = []
    for alarm in case.state.alarms:
        if alarm.acked_ms is not None or (thread is not None and alarm.thread != thread):
            continue
        if unapproved_version(alarm.thread) is not None:
            actions += _seen(case, alarm, actor)
            continue
        actions.append(SetAlarm(replace(alarm, acked_by=actor, acked_ms=case.now_ms)))
        actions += page(
            case,
            f"{alarm.thread}:acknowledged:{case.now_ms}",
            alarm.audience,
            Severity(alarm.severity),
            f"{title(case)}: {actor} looks at it",
            f"{actor} looks at it: {alarm.subject}",
            purpose=Purpose.ACKNOWLEDGED,
            thread=alarm.thread,
        )
    return tuple(actions)


def _seen(case: Case, alarm: Alarm, actor: str) -> tuple[Notify, ...]:
    """The end of a page that tells of what was done: whoever has seen it is all it asks for."""
    return page(
        case,
        f"{alarm.thread}:over:{case.now_ms}",
        alarm.audience,
        Severity.LOW,
        f"{title(case)}: {actor} has seen it",
        f"{actor} has seen it: {alarm.subject}",
        purpose=Purpose.RESOLVED,
        thread=alarm.thread,
    )

"""Open questions and pages as data with their words, for the API, the CLI and the pages."""

from typing import Any

from knowngood.core.explain import duration
from knowngood.core.model import State
from knowngood.core.steps.words import answer_words, asked_words
from knowngood.server.words import when


def question_data(state: State, now_ms: int) -> dict[str, Any] | None:
    """The open question, None if there is none."""
    question = state.question
    if question is None:
        return None
    left_ms = question.due_ms - now_ms
    return {
        "number": question.number,
        "stage": question.stage.value,
        "trigger": question.trigger,
        "version": question.version,
        "target": question.target,
        "gradual": question.gradual,
        "who": question.who,
        "words": asked_words(question),
        "answers": answer_words(state, question),
        "left_ms": left_ms,
        "left": duration(left_ms) if left_ms > 0 else "overdue",
        "overdue_count": question.overdue_count,
        "answered_by": question.answered_by or None,
        "because": question.because or None,
        **when("asked", question.asked_ms),
        **when("due", question.due_ms),
    }


def alarms_data(state: State, now_ms: int) -> list[dict[str, Any]]:
    """The pages about what is not over yet, oldest first."""
    return [
        {
            "thread": alarm.thread,
            "audience": alarm.audience,
            "severity": alarm.severity,
            "subject": alarm.subject,
            "level": alarm.level + 1,
            "told_ago": duration(now_ms - alarm.told_ms),
            "acknowledged_by": alarm.acked_by or None,
            "undelivered": alarm.undelivered,
            "exhausted": alarm.exhausted,
            **when("told", alarm.told_ms),
        }
        for alarm in state.alarms
    ]

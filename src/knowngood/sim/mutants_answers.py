"""Planted bugs of questions and pages: nobody is heard, or nobody is told."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from knowngood.core import decide
from knowngood.core.asking import Question
from knowngood.core.steps import follow as follow_step
from knowngood.core.steps.case import Case, Step
from knowngood.core.steps.escalate import escalate
from knowngood.core.steps.follow import follow
from knowngood.engine import reconcile
from knowngood.sim import traps_answers
from knowngood.sim.scenarios import Scenario

Patch = tuple[Any, str, Any]


def acknowledged_in_vain() -> list[Patch]:
    """Who looks at a page keeps nobody from being told further."""

    def deaf(case: Case) -> Step:
        alarms = tuple(replace(alarm, acked_ms=None) for alarm in case.state.alarms)
        return escalate(replace(case, state=replace(case.state, alarms=alarms)))

    return [(decide, "escalate", deaf)]


def questions_wait_for_ever() -> list[Patch]:
    """What nobody answers is told to nobody else."""

    def patient(case: Case) -> Step:
        return Step(waiting_on=follow(case).waiting_on)

    return [(decide, "follow", patient)]


def moves_untold() -> list[Patch]:
    """A rollback that the engine makes is no change event."""
    return [(reconcile, "with_news", lambda changes, policy: changes)]


def silence_is_no_answer() -> list[Patch]:
    """`on_timeout: rollback` tells more people, like any other question."""
    return [(follow_step, "_unanswered", _as_if(on_timeout="escalate"))]


def silence_is_always_an_answer() -> list[Patch]:
    """What nobody answers is rolled back, whatever the policy says."""
    return [(follow_step, "_unanswered", _as_if(on_timeout="rollback"))]


def called_in_vain_for_ever() -> list[Patch]:
    """`on_exhausted: rollback` is only written down."""
    return [(follow_step, "_is_exhausted", lambda case, question: False)]


def called_in_vain_is_always_an_answer() -> list[Patch]:
    """Once everybody was called it is rolled back, whatever the policy says."""
    real = follow_step._is_exhausted

    def hasty(case: Case, question: Question) -> bool:
        rule = replace(case.policy.escalation, on_exhausted="rollback")
        return real(replace(case, policy=replace(case.policy, escalation=rule)), question)

    return [(follow_step, "_is_exhausted", hasty)]


def _as_if(on_timeout: str) -> Callable[..., Step]:
    real = follow_step._unanswered

    def unanswered(case: Case, *given: Any, **more: Any) -> Step:
        triggers = tuple(replace(t, on_timeout=on_timeout) for t in case.policy.triggers)
        rules = replace(case.policy, triggers=triggers)
        return real(replace(case, policy=rules), *given, **more)

    return unanswered


ANSWER_STORIES: Mapping[Callable[[], list[Patch]], Callable[[], Scenario]] = {
    silence_is_no_answer: traps_answers.silence_that_rolls_back,
    silence_is_always_an_answer: traps_answers.silence_that_asks_on,
    called_in_vain_for_ever: traps_answers.calls_in_vain_that_roll_back,
    called_in_vain_is_always_an_answer: traps_answers.calls_in_vain_that_are_held,
}
ANSWER_MUTANTS = (
    acknowledged_in_vain,
    questions_wait_for_ever,
    moves_untold,
    *ANSWER_STORIES,
)

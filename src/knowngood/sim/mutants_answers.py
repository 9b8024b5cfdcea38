"""Planted bugs of questions and pages: nobody is heard, or nobody is told."""

from dataclasses import replace
from typing import Any

from knowngood.core import decide
from knowngood.core.steps.case import Case, Step
from knowngood.core.steps.escalate import escalate
from knowngood.core.steps.follow import follow
from knowngood.engine import reconcile

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


ANSWER_MUTANTS = (acknowledged_in_vain, questions_wait_for_ever, moves_untold)

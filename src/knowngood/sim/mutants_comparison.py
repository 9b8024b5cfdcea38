"""Planted bugs of the A/B gate: what is counted, what is answered, and who passes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from knowngood.core import experiment
from knowngood.core.model import Record, SetRollout
from knowngood.core.rollout import Rollout
from knowngood.core.steps import advance, comparison, ladder, rollouts, stage
from knowngood.core.steps.case import Case
from knowngood.core.trial import Experiment
from knowngood.engine import ingest
from knowngood.sim import traps_comparison
from knowngood.sim.scenarios import Scenario

Patch = tuple[Any, str, Any]


def comparison_not_asked() -> list[Patch]:
    """A stage is left whatever its comparison says."""
    return [(stage, "ab_gate", lambda *given: ())]


def comparison_left_out() -> list[Patch]:
    """A canary climbs without what its policy compares."""
    real = comparison.with_comparison

    def without(rollout: Rollout, *given: Any) -> Rollout:
        return replace(real(rollout, *given), begun=None)

    return [(rollouts, "with_comparison", without)]


def skewed_arms_compared() -> list[Patch]:
    """Units that are not split as intended are compared all the same."""
    return [(experiment, "SAMPLE_RATIO_ALPHA", 0.0)]


def answer_not_kept() -> list[Patch]:
    """A final answer is told and forgotten, and the next look may say something else."""
    real = comparison.answered

    def forgotten(case: Case, rollout: Rollout, found: Experiment) -> tuple[Any, ...]:
        return tuple(a for a in real(case, rollout, found) if not isinstance(a, SetRollout))

    return [(ladder, "answered", forgotten)]


def answer_told_to_nobody() -> list[Patch]:
    """A comparison that does not let through asks nobody."""
    return [(comparison, "_ask", lambda *given: ())]


def compared_at_once() -> list[Patch]:
    """A comparison passes in however little time, with however few units."""
    return [(experiment, "_waits", lambda *given: ())]


def units_repeated() -> list[Patch]:
    """What single units did is added up again when a flush is repeated."""
    real = ingest.Ingest._unit_sums

    def at_once(self: Any, batch: Any) -> dict[Any, Any]:
        self._add_units(real(self, batch), self.ignored_counts)
        return {}

    return [(ingest.Ingest, "_unit_sums", at_once)]


def units_lost_after_a_refusal() -> list[Patch]:
    """What could not be written of single units is forgotten; the rest is tried again."""
    real = ingest.Ingest._put_back

    def put_back(self: Any, rows: Any, unsaved: Any, late: Any, units: Any) -> None:
        real(self, rows, unsaved, late, {})

    return [(ingest.Ingest, "_put_back", put_back)]


def skip_unnamed() -> list[Patch]:
    """The history tells of a skipped gate as of an open one."""
    real = advance.stage_actions

    def silent(state: Any, onward: Any, because: str, *given: Any) -> tuple[Any, ...]:
        return real(state, onward, "every gate is open", *given)

    return [(rollouts, "stage_actions", silent)]


def override_unnamed() -> list[Patch]:
    """The history does not tell what a promotion went over."""
    real = rollouts.begin

    def begin(*given: Any) -> tuple[Any, ...]:
        return tuple(_without_override(action) for action in real(*given))

    return [(rollouts, "begin", begin)]


def _without_override(action: Any) -> Any:
    if isinstance(action, Record) and "override" in action.detail:
        return replace(action, detail={**action.detail, "override": []})
    return action


def another_rule_at_a_stage() -> list[Patch]:
    """The next stage compares by whatever is easier."""
    real = advance.stage_actions

    def easier(*given: Any) -> tuple[Any, ...]:
        return tuple(_easier(action) for action in real(*given))

    return [(ladder, "stage_actions", easier)]


def _easier(action: Any) -> Any:
    if not isinstance(action, SetRollout) or action.rollout is None or not action.rollout.begun:
        return action
    begun = action.rollout.begun
    rule = replace(begun.rule, min_units_count=1)
    return replace(action, rollout=replace(action.rollout, begun=replace(begun, rule=rule)))


COMPARISON_STORIES: Mapping[Callable[[], list[Patch]], Callable[[], Scenario]] = {
    skewed_arms_compared: traps_comparison.astray,
    compared_at_once: traps_comparison.too_early,
    another_rule_at_a_stage: traps_comparison.two_stages,
    skip_unnamed: traps_comparison.skipped,
    units_lost_after_a_refusal: traps_comparison.losses,
}
COMPARISON_MUTANTS = (
    comparison_not_asked,
    comparison_left_out,
    skewed_arms_compared,
    answer_not_kept,
    answer_told_to_nobody,
    compared_at_once,
    units_repeated,
    units_lost_after_a_refusal,
    skip_unnamed,
    override_unnamed,
    another_rule_at_a_stage,
)

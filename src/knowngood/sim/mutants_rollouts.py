"""Planted bugs of rollouts: what moves traffic on purpose, and does it wrongly."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from knowngood.core import decide as core_decide
from knowngood.core import ladder as core_ladder
from knowngood.core import look
from knowngood.core.gate import Gate, allow
from knowngood.core.model import SetRollout, State
from knowngood.core.rollout import Ladder, Rollout
from knowngood.core.steps import (
    advance,
    bake,
    gradual,
    ladder,
    operator,
    respond,
    rollouts,
    stage,
    switch,
)
from knowngood.core.steps.case import IDLE, Case, Step
from knowngood.core.watch import TARGET_ILL, WORSE_THAN_REPLACED
from knowngood.sim import traps_rollouts
from knowngood.sim.scenarios import Scenario

Patch = tuple[Any, str, Any]


def _open(name: str) -> Any:
    def gate(*given: Any) -> Gate:
        return allow(name, "whatever it is")

    return gate


def stage_left_without_proof() -> list[Patch]:
    """A stage is left when nothing was found wrong on it, however few called."""
    return [(stage, "_errors", _open("errors"))]


def earlier_calls_prove() -> list[Patch]:
    """A stage is proven by what the version did at a smaller share."""

    def since_it_came(case: Case, rollout: Rollout) -> tuple[int, int]:
        calls = case.observed.evidence(rollout.moving).lifetime
        return calls.call_count, calls.error_count

    return [(stage, "of_stage", since_it_came), (bake, "of_stage", since_it_came)]


def stage_time_ignored() -> list[Patch]:
    """A stage is left as soon as it is proven, however short it was."""
    return [(stage, "_time", _open("time"))]


def pause_ignored() -> list[Patch]:
    """A canary that is paused goes on climbing."""
    return [(stage, "_paused", _open("pause"))]


def freeze_ignored() -> list[Patch]:
    """Stages are left during a change freeze."""
    return [(stage, "_freeze", _open("freeze"))]


def incident_ignored() -> list[Patch]:
    """More users get a version that people are asked about."""
    return [(stage, "_incident", _open("incident")), (stage, "_breach", _open("breach"))]


def automation_off_ignored() -> list[Patch]:
    """Stages are left while a person has turned automation off."""
    return [(stage, "_automation", _open("automation"))]


def salt_changed_at_a_stage() -> list[Patch]:
    """Each stage gives the version to other users."""
    real = advance.stage_actions

    def changed(state: State, *given: Any) -> Any:
        first: Any
        first, *rest = real(state, *given)
        return (replace(first, salt=f"{first.salt}{state.revision}"), *rest)

    return [(each, "stage_actions", changed) for each in (ladder, gradual, rollouts)]


def gradual_stage_raised() -> list[Patch]:
    """A gradual rollback begins at its first stage, whatever share the bad version has."""

    def whole(steps: Ladder, share_bp: int) -> Ladder:
        return steps

    return [(core_ladder, "below", whole)]


def holdback_never_released() -> list[Patch]:
    """The old version keeps its share until the new one is proven, if it ever is."""
    real = bake.bake

    def kept(case: Case) -> Step:
        step = real(case)
        released = any(getattr(a, "kind", "") == "rollout.released" for a in step.actions)
        return Step(waiting_on=step.waiting_on) if released else step

    return [(core_decide, "bake", kept)]


def bake_good_without_proof() -> list[Patch]:
    """A version is good when its bake's time is over."""

    def safe(bad: int, n: int, limit: float) -> bool:
        return True

    return [(bake, "is_safe", safe), (bake, "percent", lambda rate: f"{rate:.1%}")]


def rollout_kept_after_rollback() -> list[Patch]:
    """A rollback takes the version off, and its ladder goes on."""
    real = switch.switch_actions

    def kept(case: Case, *given: Any, **named: Any) -> Any:
        actions = real(case, *given, **named)
        rollout = case.state.rollout
        return (*actions, SetRollout(rollout)) if rollout else actions

    return [(switch, "switch_actions", kept), (operator, "switch_actions", kept)]


def breach_ignored_while_paused() -> list[Patch]:
    """Somebody looks into a canary that is paused, so it is left alone."""
    real = respond.respond

    def respond_unless_paused(case: Case) -> Step:
        rollout = case.state.rollout
        return IDLE if rollout is not None and rollout.pause is not None else real(case)

    return [(core_decide, "respond", respond_unless_paused)]


def target_not_watched() -> list[Patch]:
    """A gradual rollback goes on to a target that fails."""
    real = look.breaches

    def unseen(findings: Any, version: str, *given: Any) -> Any:
        found = real(findings, version, *given)
        return tuple(f for f in found if f.trigger not in (TARGET_ILL, WORSE_THAN_REPLACED))

    return [(gradual, "breaches", unseen)]


def gradual_time_ignored() -> list[Patch]:
    """Each look takes the next users off the bad version."""
    real = gradual.descend

    def at_once(case: Case) -> Step:
        rollout = case.state.rollout
        if rollout is None:
            return real(case)
        hasty = replace(rollout, ladder=replace(rollout.ladder, hold_ms=0))
        step = real(replace(case, state=replace(case.state, rollout=hasty)))
        return Step(tuple(_with_ladder(a, rollout.ladder) for a in step.actions), step.waiting_on)

    return [(core_decide, "descend", at_once)]


def _with_ladder(action: Any, steps: Ladder) -> Any:
    rollout = getattr(action, "rollout", None)
    if isinstance(rollout, Rollout):
        return replace(action, rollout=replace(rollout, ladder=steps))
    return action


def never_asks() -> list[Patch]:
    """A stage that is never proven waits for ever, and nobody is asked."""
    real = ladder.climb

    def silent(case: Case) -> Step:
        step = real(case)
        asks = any(getattr(a, "kind", "") == "rollout.waiting" for a in step.actions)
        return Step(waiting_on=step.waiting_on) if asks else step

    return [(core_decide, "climb", silent)]


def late_stage_unnoticed() -> list[Patch]:
    """A stage's time begins with the decision, however much later it came into force."""
    return [(advance, "LATE_LOOK_MS", 86_400_000)]


def promotion_over_a_rollout() -> list[Patch]:
    """A second promotion takes the place of the rollout under way."""
    return [(operator, "_check_free", lambda *given: None)]


ROLLOUT_STORIES: Mapping[Callable[[], list[Patch]], Callable[[], Scenario]] = {
    pause_ignored: traps_rollouts.paused_canary,
    freeze_ignored: traps_rollouts.canary_in_a_freeze,
    incident_ignored: traps_rollouts.canary_beside_an_incident,
    automation_off_ignored: traps_rollouts.canary_under_a_hold,
    holdback_never_released: traps_rollouts.bake_without_traffic,
    target_not_watched: traps_rollouts.target_that_fails,
    late_stage_unnoticed: traps_rollouts.late_stage,
    breach_ignored_while_paused: traps_rollouts.paused_canary_that_fails,
    promotion_over_a_rollout: traps_rollouts.second_promotion,
}
ROLLOUT_MUTANTS = (
    stage_left_without_proof,
    earlier_calls_prove,
    stage_time_ignored,
    pause_ignored,
    freeze_ignored,
    incident_ignored,
    automation_off_ignored,
    salt_changed_at_a_stage,
    gradual_stage_raised,
    holdback_never_released,
    bake_good_without_proof,
    rollout_kept_after_rollback,
    breach_ignored_while_paused,
    target_not_watched,
    gradual_time_ignored,
    never_asks,
    late_stage_unnoticed,
    promotion_over_a_rollout,
)

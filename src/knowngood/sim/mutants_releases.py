"""Planted bugs of releases: what belongs together comes apart."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from knowngood.core.model import Record
from knowngood.core.steps import confirm, gradual, jointly, ladder, parts, together
from knowngood.core.steps.case import Case
from knowngood.core.steps.together import Along, Back, back_together
from knowngood.sim import traps_releases
from knowngood.sim.scenarios import Scenario

Patch = tuple[Any, str, Any]


def partners_left_behind() -> list[Patch]:
    """What breaks is rolled back, and what it was released with stays."""

    def alone(case: Case, target: str, back: Back) -> Along:
        return Along()

    return [(confirm, "back_together", alone)]


def orders_reach_one() -> list[Patch]:
    """A person's order is for the prompt that it names, whatever that was released with."""
    return [(jointly, "_mates", lambda *given: ())]


def half_aborted() -> list[Patch]:
    """An abort takes off what can still be taken off."""
    return [(jointly, "_through", lambda *given: [])]


def stages_left_apart() -> list[Patch]:
    """Whoever is ready goes on to the next stage, and the others follow when they look."""
    return [(ladder, "onward_together", lambda *given: ())]


def gives_way_apart() -> list[Patch]:
    """Each prompt of a gradual rollback goes down by itself."""
    return [(gradual, "downward_together", lambda *given: ())]


def paused_apart() -> list[Patch]:
    """A target that fails holds its own prompt only."""
    return [(gradual, "pause_together", lambda *given: ())]


def one_stuck_holds_all() -> list[Patch]:
    """One prompt that cannot go back keeps the others from going along."""
    real = back_together

    def all_or_none(case: Case, target: str, back: Back) -> Along:
        along = real(case, target, back)
        return Along() if along.left_behind else along

    return [(confirm, "back_together", all_or_none), (jointly, "back_together", all_or_none)]


def stuck_one_untold() -> list[Patch]:
    """One prompt that cannot go back stays, and nobody hears of it."""
    return [(together, "_stay", lambda *given: ())]


def lead_unsaid() -> list[Patch]:
    """What went along does not say with whom."""
    real = parts.led

    def silent(*given: Any) -> Any:
        change = real(*given)
        actions = tuple(
            replace(a, detail={k: v for k, v in a.detail.items() if k != parts.TOGETHER})
            if isinstance(a, Record)
            else a
            for a in change.actions
        )
        return replace(change, actions=actions)

    return [(together, "led", silent)]


RELEASE_STORIES: Mapping[Callable[[], list[Patch]], Callable[[], Scenario]] = {
    partners_left_behind: traps_releases.one_that_breaks,
    orders_reach_one: traps_releases.release_that_is_paused,
    stages_left_apart: traps_releases.release_that_climbs,
    gives_way_apart: traps_releases.gradual_release,
    paused_apart: traps_releases.target_of_one_that_fails,
    half_aborted: traps_releases.abort_when_one_is_through,
    one_stuck_holds_all: traps_releases.one_that_cannot_go_back,
    stuck_one_untold: traps_releases.one_that_cannot_go_back,
    lead_unsaid: traps_releases.one_that_breaks,
}
RELEASE_MUTANTS = (
    partners_left_behind,
    orders_reach_one,
    half_aborted,
    stages_left_apart,
    gives_way_apart,
    paused_apart,
    one_stuck_holds_all,
    stuck_one_untold,
    lead_unsaid,
)

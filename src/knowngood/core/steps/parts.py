"""Which prompts serve parts of one release, and what a line says that a partner's deed wrote."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from knowngood.core.model import Action, Change, Partner, Record, State
from knowngood.core.release import Release
from knowngood.core.rollout import RolloutKind
from knowngood.core.steps.case import Case

# Where a line that another prompt's decision wrote says whose that was.
TOGETHER = "together"


def parts(state: State) -> dict[str, Release]:
    """The versions on the route that were promoted with others, each with its release."""
    versions = [arm.version for arm in state.route.arms] if state.route else []
    entries = [state.entry(version) for version in reversed(versions)]
    return {entry.version: entry.release for entry in entries if entry and entry.release}


def part_of(state: State, release: Release) -> str | None:
    """The version on the prompt's route that came with this release."""
    return next((version for version, each in parts(state).items() if each == release), None)


def release_of(state: State) -> Release | None:
    """The release that the version on trial, or in service, was promoted with."""
    return parts(state).get(state.route.suspect.version) if state.route else None


def moving_part(state: State) -> Release | None:
    """The release whose version is being moved by stages, whichever way."""
    return parts(state).get(state.rollout.moving) if state.rollout else None


def same_way(state: State, partners: tuple[Partner, ...]) -> tuple[Partner, ...]:
    """The partners whose part of the same release is on the same way: up, or down."""
    rollout, release = state.rollout, moving_part(state)
    if rollout is None or release is None:
        return ()
    return tuple(
        each
        for each in partners
        if each.state.rollout is not None
        and each.state.rollout.kind is rollout.kind
        and moving_part(each.state) == release
    )


def on_stages(case: Case, kind: RolloutKind) -> tuple[Partner, ...]:
    """The partners on the same way that have stages left to go."""
    rollout = case.state.rollout
    if rollout is None or rollout.kind is not kind:
        return ()
    return tuple(
        each
        for each in same_way(case.state, case.observed.partners)
        if each.state.rollout is not None and not each.state.rollout.is_baking
    )


def with_words(lead: State, release: Release | None, because: str) -> str:
    """Why a partner moves, for its own history."""
    name = f"the release {release.name}" if release else "its release"
    return f"with {name}, for {lead.prompt}: {because}"


def led(
    lead: State, partner: State, actions: tuple[Action, ...], actor: str, policy_revision: str
) -> Change:
    """A partner's change, for the same transaction; each of its lines says where it was judged.

    The decision is the lead's: what it rested on stands in the lead's lines of the revision that
    the transaction gives it.
    """
    source: Mapping[str, Any] = {
        "lead": lead.prompt,
        "revision": lead.revision + 1,
    }
    return Change(
        partner.environment,
        partner.prompt,
        partner.revision,
        tuple(
            replace(action, detail={**action.detail, TOGETHER: source})
            if isinstance(action, Record)
            else action
            for action in actions
        ),
        actor,
        policy_revision,
    )

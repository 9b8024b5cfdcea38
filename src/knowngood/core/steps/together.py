"""What was released as one climbs and goes back as one, in one transaction."""

from dataclasses import replace

from knowngood.core import ladder
from knowngood.core.model import (
    Action,
    Change,
    Incident,
    Observed,
    SetIncident,
    State,
    Steady,
    Told,
)
from knowngood.core.release import Release
from knowngood.core.rollout import Ladder, Rollout, RolloutKind
from knowngood.core.steps.advance import stage_actions
from knowngood.core.steps.case import Case, incident_for
from knowngood.core.steps.switch import SYSTEM, gradual_actions, switch_actions
from knowngood.core.steps.target import choose_target

READY = "stage:ready:"


def release_of(state: State) -> Release | None:
    """The release that the version on trial, or in service, was promoted with."""
    if state.route is None:
        return None
    entry = state.entry(state.route.suspect.version)
    return entry.release if entry else None


def back_together(
    case: Case,
    because: str,
    *,
    automatic: bool,
    gradual: Ladder | None = None,
    quarantine: bool = True,
    actor: str = SYSTEM,
    lead: Incident | None = None,
) -> tuple[Change, ...]:
    """The partners' rollbacks, each to its own newest good version; for the same transaction.

    What goes back at once has an incident that is part of `lead`, until its recovery is proven.

    A partner without one stays where it is: `left_behind` names it. What goes back is quarantined,
    so that nothing chooses the half of a release again.
    """
    made: list[Change] = []
    release = release_of(case.state)
    for partner in case.observed.partners:
        theirs = _case_of(case, partner)
        target = choose_target(partner, theirs.suspect, {})
        if target is None or release is None:
            continue
        words = f"with the release {release.name}, for {case.state.prompt}: {because}"
        if gradual is None or not _has_stages(partner, gradual):
            part = _part_of(theirs, lead)
            opens: tuple[Action, ...] = (SetIncident(part),) if part else ()
            moves = switch_actions(
                theirs, target, words, part, quarantine=quarantine, automatic=automatic
            )
            actions = (*opens, *moves)
        else:
            actions = gradual_actions(
                theirs, target, gradual, words, None, quarantine=quarantine, actor=actor
            )
        made.append(_change(case, partner, actions, actor))
    return tuple(made)


def _part_of(theirs: Case, lead: Incident | None) -> Incident | None:
    """The partner's incident, or one without a breach of its own, as a part of the lead's."""
    if lead is None:
        return None
    own = incident_for(theirs, (), lead.severity, lead.response)
    return replace(own, part_of=lead.id)


def _has_stages(partner: State, gradual: Ladder) -> bool:
    """Whether a gradual rollback would have a stage between the share that there is and none."""
    assert partner.route is not None
    share_bp = partner.route.suspect.weight_bp
    return any(0 < bp < share_bp for bp in gradual.stages_bp)


def has_target(state: State) -> bool:
    """Whether the prompt has a known-good version to go back to."""
    assert state.route is not None
    return choose_target(state, state.route.suspect.version, {}) is not None


def left_behind(case: Case) -> tuple[str, ...]:
    """The partners that have no known-good version to go back to."""
    return tuple(partner.prompt for partner in case.observed.partners if not has_target(partner))


def climbing(case: Case) -> tuple[State, ...]:
    """The partners that are on their way up as well."""
    return tuple(
        partner
        for partner in case.observed.partners
        if partner.rollout is not None
        and partner.rollout.kind is RolloutKind.CANARY
        and not partner.rollout.is_baking
    )


def not_ready(case: Case, rollout: Rollout) -> tuple[str, ...]:
    """The partners on their way up whose own gates of this stage are not open.

    One that is confirming a breach has not taken its word back: nobody moves it meanwhile.
    """
    return tuple(
        partner.prompt
        for partner in climbing(case)
        if not isinstance(partner.phase, Steady)
        or partner.incident is not None
        or partner.rollout is None
        or partner.rollout.pause is not None
        or partner.rollout.share_bp != rollout.share_bp
        or f"{READY}{partner.rollout.stage}" not in partner.told
    )


def readiness(case: Case, stage: int, is_open: bool) -> tuple[Action, ...]:
    """Tell the partners that this prompt's own gates are open, or are no more."""
    notice = f"{READY}{stage}"
    if not climbing(case) or is_open is case.told(notice):
        return ()
    return (Told(notice, forget=not is_open),)


def onward_together(case: Case, because: str) -> tuple[Change, ...]:
    """The partners' next stage, for the same transaction."""
    return tuple(
        _change(
            case,
            partner,
            stage_actions(partner, ladder.onward(partner.rollout, case.now_ms), because),
            SYSTEM,
        )
        for partner in climbing(case)
        if partner.rollout is not None
    )


def _case_of(case: Case, partner: State) -> Case:
    """What is known of a partner: what it is remembered by, and nothing that it reported."""
    return Case(partner, Observed(case.observed.until_ms), case.policy, (), case.now_ms)


def _change(case: Case, partner: State, actions: tuple[Action, ...], actor: str) -> Change:
    return Change(
        partner.environment,
        partner.prompt,
        partner.revision,
        actions,
        actor,
        case.policy.revision,
    )

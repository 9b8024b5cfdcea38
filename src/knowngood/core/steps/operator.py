"""What a person asked for, as actions: promote, split, roll back, vouch, lift a quarantine, hold.

A person's rollback is never held by a brake. Every function either returns actions or raises the
error that says what to do instead; nothing is done by halves.
"""

from dataclasses import dataclass

from knowngood.core.errors import (
    BadRequest,
    InProgress,
    NoTarget,
    NotConfirmed,
    NotKnownGood,
    NotRouted,
    Quarantined,
    TargetUnfit,
)
from knowngood.core.explain import duration, route_words
from knowngood.core.frozen import FROZEN, freeze
from knowngood.core.ladder import busy_words
from knowngood.core.look import breaches
from knowngood.core.model import (
    WHOLE_BP,
    Action,
    Arm,
    Confirming,
    Enter,
    Freeze,
    Hold,
    Incident,
    MoveRoute,
    Record,
    Response,
    SetAutomation,
    SetIncident,
    Severity,
    Stand,
    Standing,
    State,
    Steady,
    Verifying,
    whole,
)
from knowngood.core.rollout import Ladder, Rollout, RolloutKind
from knowngood.core.steps.case import (
    Case,
    env_option,
    evidence,
    incident_for,
    page,
    sentence,
    title,
)
from knowngood.core.steps.switch import gradual_actions, salt_for, switch_actions
from knowngood.core.steps.target import choose_target
from knowngood.core.window import Window

MAX_HOLD_MS = 7 * 24 * 3_600_000  # automation that is off for longer is automation forgotten


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    """A person's rollback. `target` None means the newest known-good version.

    `override` names the refusals to step over: `quarantined`, `not_known_good`. `if_confirmed`
    aborts when nothing is found wrong. `gradual` are the stages of a rollback that takes its time.
    """

    because: str
    target: str | None = None
    if_confirmed: bool = False
    override: tuple[str, ...] = ()
    quarantine: bool = True
    gradual: Ladder | None = None
    actor: str = ""


def roll_back(case: Case, request: RollbackRequest) -> tuple[Action, ...]:
    """The actions of a person's rollback; none when the target already serves everybody.

    Without a target, a rollback that was just made is not made again. Raises NotRouted, NoTarget,
    NotConfirmed, Quarantined, NotKnownGood, TargetUnfit, InProgress, BadLadder, or BadRequest for
    the version on trial.
    """
    state = case.state
    if state.route is None:
        raise NotRouted(
            f"{title(case)} has no route, so there is nothing to roll back",
            next_step=f"knowngood promote {state.prompt} VERSION --env {state.environment}",
        )
    if request.target is None and _is_repeated(case):
        return ()
    target = request.target or choose_target(state, case.suspect, case.observed.unfit)
    if target is None:
        known = [f"{e.version} ({e.standing.value})" for e in state.ledger]
        raise NoTarget(
            f"{title(case)} has no known-good version besides {case.suspect}",
            known=known,
            next_step=f"knowngood vouch {state.prompt} VERSION{env_option(state)} --because ...",
        )
    if state.route.weight_bp(target) == WHOLE_BP:
        return ()
    giving_way = state.rollout is not None and state.rollout.kind is RolloutKind.GRADUAL
    if request.gradual is not None and giving_way and "in_progress" not in request.override:
        assert state.rollout is not None
        raise _busy(state, state.rollout)
    if target == case.suspect:
        raise BadRequest(
            f"{target} is what is on trial; a rollback takes it off the route",
            next_step=f"knowngood promote {state.prompt} {target}{env_option(state)} "
            "serves it to everybody",
        )
    _check_target(case, target, request.override)
    found = breaches(case.findings, case.suspect)
    if request.if_confirmed and not found:
        raise NotConfirmed(
            f"Problem not confirmed: no trigger is breached on {case.suspect}; nothing was changed",
            next_step="roll back without asking for confirmation, if you mean it all the same",
        )
    return _manual_switch(case, request, target)


def _is_repeated(case: Case) -> bool:
    """Whether a rollback was just made and nothing is found wrong with its target.

    Somebody who asks once more, because an answer was lost or two people were at it, means the same
    rollback, not one further back. Who means another names the target.
    """
    phase, route = case.state.phase, case.state.route
    assert route is not None
    made = isinstance(phase, Verifying) and route.weight_bp(phase.to_version) == WHOLE_BP
    return made and not breaches(case.findings, case.suspect)


def _check_target(case: Case, target: str, override: tuple[str, ...]) -> None:
    state = case.state
    if (why := case.observed.unfit.get(target)) and "target_evaluation" not in override:
        raise TargetUnfit(
            f"{target} is no target by its last evaluation: {why}",
            known=[e.version for e in state.ledger if e.standing is Standing.GOOD],
            next_step="roll back to another good version, or --override target_evaluation",
        )
    standing = state.standing(target)
    good = [e.version for e in state.ledger if e.standing is Standing.GOOD]
    if standing is Standing.QUARANTINED and "quarantined" not in override:
        raise Quarantined(
            f"{target} is quarantined: it was rolled back before",
            known=good,
            next_step=f"knowngood unquarantine {state.prompt} {target}{env_option(state)} "
            "--because ...",
        )
    if standing in (Standing.CANDIDATE, None) and "not_known_good" not in override:
        raise NotKnownGood(
            f"{target} was never known to be good in {state.environment}",
            known=good,
            next_step=f"knowngood vouch {state.prompt} {target} --env {state.environment} "
            "--because ...",
        )


def _manual_switch(case: Case, request: RollbackRequest, target: str) -> tuple[Action, ...]:
    found = breaches(case.findings, case.suspect)
    actions: tuple[Action, ...] = ()
    incident = case.state.incident
    if found:
        incident = incident_for(case, found, found[0].severity, Response.ROLLBACK)
        actions = (SetIncident(incident),)
    checked = sentence(found) or "nothing was found wrong"
    asked = "confirmed" if request.if_confirmed else "confirmation skipped by the operator"
    record = Record(
        "rollback.requested",
        f"{request.because} ({asked}; {checked})",
        {
            "to": target,
            "override": list(request.override),
            **evidence(case, case.findings),
            FROZEN: freeze(case.state, case.observed, case.now_ms),
        },
    )
    switch = _moves(case, request, target, incident)
    gradually = ", gradually" if request.gradual else ""
    name = incident.id if incident else f"{case.state.environment}/{case.state.prompt}"
    told = page(
        case,
        f"{name}:rollback:{case.generation}:manual",
        "incidents",
        Severity.HIGH,
        f"{title(case)}: rolled back by hand{gradually} {case.suspect} -> {target}",
        request.because,
        thread=incident.id if incident else "",
    )
    return (record, *actions, *_released(case.state, target), *switch, *told)


def _moves(
    case: Case, request: RollbackRequest, target: str, incident: Incident | None
) -> tuple[Action, ...]:
    because, quarantine = request.because, request.quarantine
    if request.gradual is not None:
        return gradual_actions(
            case,
            target,
            request.gradual,
            because,
            incident,
            quarantine=quarantine,
            actor=request.actor,
        )
    return switch_actions(case, target, because, incident, quarantine=quarantine, automatic=False)


def _released(state: State, target: str) -> tuple[Stand, ...]:
    """A quarantined target that a person insists on is a candidate again."""
    if state.standing(target) is not Standing.QUARANTINED:
        return ()
    return (Stand(target, Standing.CANDIDATE, "quarantine overridden by a rollback"),)


def promote(
    state: State,
    version: str,
    because: str,
    override: tuple[str, ...],
    outgoing: Window | None,
) -> tuple[Action, ...]:
    """Serve `version` to everybody; none when it does already.

    `outgoing` is the healthy day of the version that leaves, frozen as its baseline. Raises
    Quarantined, or InProgress while a rollback is confirmed or verified (`override` names
    `quarantined` or `in_progress` to go on all the same).
    """
    return move(state, whole(version), because, override, outgoing)


def move(
    state: State,
    arms: tuple[Arm, ...],
    because: str,
    override: tuple[str, ...],
    outgoing: Window | None,
) -> tuple[Action, ...]:
    """Serve these arms; the salt stays while the same candidate is on trial, so users stay put."""
    before = state.route
    if before is not None and before.arms == arms:
        return ()
    released = admit(state, arms, because, override)
    salt = salt_for(state, arms[-1].version)
    frozen: tuple[Action, ...] = ()
    if before and outgoing is not None and outgoing.call_count:
        frozen = (Freeze(before.control.version, outgoing),)
    detail = {
        "from": route_words(before),
        "to": [[arm.version, arm.weight_bp] for arm in arms],
        "override": list(override),
    }
    moved = (MoveRoute(arms, salt), Record("route.moved", because, detail))
    return (*released, *frozen, *moved, *_superseded(state, arms))


def admit(
    state: State, arms: tuple[Arm, ...], because: str, override: tuple[str, ...]
) -> tuple[Stand, ...]:
    """The quarantines that are lifted for these arms. Raises InProgress or Quarantined."""
    _check_free(state, override)
    for arm in arms:
        if state.standing(arm.version) is Standing.QUARANTINED and "quarantined" not in override:
            raise Quarantined(
                f"{arm.version} is quarantined: {_why(state, arm.version)}",
                next_step=f"knowngood unquarantine {state.prompt} {arm.version}{env_option(state)} "
                "--because ...",
            )
    return tuple(
        Stand(arm.version, Standing.CANDIDATE, f"quarantine overridden: {because}")
        for arm in arms
        if state.standing(arm.version) is Standing.QUARANTINED
    )


def _superseded(state: State, arms: tuple[Arm, ...]) -> tuple[Action, ...]:
    """Close an incident that the move ends: what comes is judged, and told of, afresh.

    Its version leaves, or its rollback was over and this is what a person does about it.
    """
    incident = state.incident
    if incident is None:
        return ()
    stays = incident.version in {arm.version for arm in arms}
    if stays and incident.outcome is None:
        return ()
    because = "a person moved the traffic after its rollback"
    if not stays:
        because = f"{incident.version} was taken off the route by hand"
    return (SetIncident(None), Record("incident.closed", because, {"incident": incident.id}))


def _check_free(state: State, override: tuple[str, ...]) -> None:
    if "in_progress" in override:
        return
    match state.phase:
        case Confirming() if any(notice.startswith("held:") for notice in state.told):
            return  # the rollback waits for a person, and here is one
        case Confirming(version=version):
            what = f"a breach of {version} is being confirmed"
        case Verifying(from_version=old, to_version=new):
            what = f"the rollback {old} -> {new} is being verified"
        case Steady() if state.rollout is None:
            return
        case Steady():
            raise _busy(state, state.rollout)
    raise InProgress(
        f"{what}; a promotion now would get in its way",
        next_step=f"knowngood explain {state.prompt}{env_option(state)} says how far it is; "
        "to go on all the same: --override in_progress",
    )


def _busy(state: State, rollout: Rollout) -> InProgress:
    prompt, env = state.prompt, env_option(state)
    end = f"knowngood abort {prompt}{env} --because ... ends it"
    if rollout.is_baking and not rollout.holdback_bp:
        end = f"knowngood rollback {prompt}{env} --because ... takes it off"
    if rollout.kind is RolloutKind.GRADUAL:
        end = f"knowngood rollback {prompt}{env} --because ... makes it instant"
    return InProgress(
        f"{busy_words(rollout)}: one rollout at a time",
        next_step=f"knowngood skip {prompt}{env} --because ... goes on without waiting, {end}; "
        "to begin another all the same: --override in_progress",
    )


def _why(state: State, version: str) -> str:
    entry = state.entry(version)
    return entry.because if entry else ""


def vouch(state: State, version: str, because: str) -> tuple[Action, ...]:
    """Make a version good by a person's word; none when it is good already."""
    standing = state.standing(version)
    if standing is Standing.GOOD:
        return ()
    if standing is Standing.QUARANTINED:
        raise Quarantined(
            f"{version} is quarantined: {_why(state, version)}",
            next_step=f"knowngood unquarantine {state.prompt} {version}{env_option(state)} "
            "--because ..., then vouch",
        )
    return (
        Stand(version, Standing.GOOD, f"vouched for: {because}"),
        Record("version.vouched", because, {"version": version}),
    )


def unquarantine(state: State, version: str, because: str) -> tuple[Action, ...]:
    """Make a quarantined version a candidate again; BadRequest when it is not quarantined."""
    if state.standing(version) is not Standing.QUARANTINED:
        quarantined = [e.version for e in state.ledger if e.standing is Standing.QUARANTINED]
        raise BadRequest(
            f"{version} is not quarantined",
            known=quarantined,
        )
    return (
        Stand(version, Standing.CANDIDATE, f"quarantine lifted: {because}"),
        Record("version.unquarantined", because, {"version": version}),
    )


def set_automation(
    state: State, off_ms: int | None, because: str, actor: str, now_ms: int
) -> tuple[Action, ...]:
    """Turn automation off for `off_ms` (at most a week), or on (None). It always has an end."""
    if off_ms is None:
        if state.automation is None:
            return ()
        return (SetAutomation(None), Record("automation.on", because))
    if not 0 < off_ms <= MAX_HOLD_MS:
        raise BadRequest(
            f"automation can be off for up to {duration(MAX_HOLD_MS)}, not {duration(off_ms)}",
            next_step="name an end with --for, such as --for 2h",
        )
    hold = Hold(now_ms + off_ms, because, actor)
    detail = {"until_ms": hold.until_ms}
    return (SetAutomation(hold), Record("automation.off", because, detail))


def waive_verification(state: State, because: str) -> tuple[Action, ...]:
    """End a verification that cannot be made, such as that of recorded traffic."""
    if not isinstance(state.phase, Verifying):
        return ()
    return (
        Enter(Steady()),
        SetIncident(None),
        Record("rollback.not_verifiable", because),
    )

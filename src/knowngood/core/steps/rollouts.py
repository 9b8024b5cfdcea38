"""What a person asks of a rollout: begin, pause, resume, skip, replan, abort.

Every function either returns actions or raises the error that says what to do instead.
"""

from dataclasses import dataclass, replace

from knowngood.core import ladder
from knowngood.core.errors import (
    AlreadyServed,
    BadLadder,
    BadRequest,
    InProgress,
    NoRollout,
)
from knowngood.core.explain import duration, moment
from knowngood.core.ladder import busy_words, share, stages_words
from knowngood.core.model import (
    WHOLE_BP,
    Action,
    Confirming,
    MoveRoute,
    Record,
    Renew,
    SetRollout,
    State,
    Verifying,
    whole,
)
from knowngood.core.rollout import Ladder, Pause, Rollout, RolloutKind
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps import operator
from knowngood.core.steps.abreast import unready
from knowngood.core.steps.advance import completed, stage_actions
from knowngood.core.steps.bake import done_actions
from knowngood.core.steps.case import Case, env_option
from knowngood.core.steps.comparison import with_comparison
from knowngood.core.window import Window

AT_ONCE = Ladder((WHOLE_BP,), hold_ms=0, wait_ms=0)


@dataclass(frozen=True, slots=True)
class Promotion:
    """A person's promotion of `version` up a ladder, with a holdback while it bakes.

    `policy` is the one in force; None: its A/B gate is left out of the first stage.
    """

    version: str
    ladder: Ladder
    holdback_bp: int
    because: str
    actor: str
    override: tuple[str, ...] = ()
    policy: PromptPolicy | None = None


def refuse_served(state: State, version: str, now_ms: int) -> None:
    """Raises AlreadyServed if the version serves everybody: there is nobody left to promote it to.

    Whoever repeats an order whose answer was lost reads here that it was done, and when.
    """
    route = state.route
    if route is None or route.weight_bp(version) < WHOLE_BP:
        return
    prompt, env = state.prompt, env_option(state)
    since = f"since {moment(route.since_ms)} ({duration(now_ms - route.since_ms)})"
    doing = ""
    if isinstance(state.phase, Verifying):
        doing = f"; the rollback to it from {state.phase.from_version} is being verified"
    elif state.rollout is not None and state.rollout.is_baking:
        doing = "; it bakes, and is not known good yet"
    raise AlreadyServed(
        f"{version} serves everybody in {state.environment} already, {since}{doing}",
        known=[entry.version for entry in state.ledger if entry.version != version],
        next_step=f"knowngood status {prompt}{env} says how it does; promote another version, or "
        f"knowngood rollback {prompt}{env} --because ... takes it off",
    )


def begin(
    state: State, asked: Promotion, outgoing: Window | None, now_ms: int
) -> tuple[Action, ...]:
    """The first stage of a promotion; none when the version serves everybody already.

    A part of a release may; who means this version alone asks `refuse_served` first.

    The first version ever has nobody beside it and gets everybody at once. Raises BadLadder,
    Quarantined, InProgress (`override` names `quarantined` or `in_progress` to go on all the same),
    or BadRequest for a version that is the control of the rollout under way.
    """
    steps = ladder.check(asked.ladder, RolloutKind.CANARY)
    route = state.route
    if route is None or route.weight_bp(asked.version) == WHOLE_BP:
        return operator.promote(state, asked.version, asked.because, asked.override, outgoing)
    candidate = route.candidate
    is_served = candidate is not None and candidate.version == asked.version
    if candidate is not None and is_served and len(steps.stages_bp) > 1:
        rest = ladder.above(steps, candidate.weight_bp)
        steps = replace(steps, stages_bp=(candidate.weight_bp, *rest.stages_bp))
    control = route.control.version
    if state.rollout is not None and state.rollout.is_baking:
        control = state.rollout.to_version  # what nearly everybody has
    if control == asked.version:
        _refuse_baking(state, asked.version)
        raise BadRequest(
            f"{asked.version} is what {route.suspect.version} is tried against",
            next_step=f"knowngood abort {state.prompt}{env_option(state)} --because ... "
            "gives it back all of the traffic",
        )
    rollout = Rollout(
        kind=RolloutKind.CANARY,
        from_version=control,
        to_version=asked.version,
        ladder=steps,
        began_ms=now_ms,
        stage_ms=now_ms,
        because=asked.because,
        actor=asked.actor,
        holdback_bp=asked.holdback_bp if len(steps.stages_bp) > 1 else 0,
    )
    if asked.policy is not None:
        rollout = with_comparison(rollout, state, asked.policy, outgoing, now_ms)
    arms = ladder.arms(rollout)
    if arms == route.arms:  # it is taken over where it stands, if it may be
        moved: tuple[Action, ...] = operator.admit(state, arms, asked.because, asked.override)
        if rollout.begun is not None:  # clients hear with a route that its units are compared
            moved = (*moved, MoveRoute(arms, route.salt))
    else:
        moved = operator.move(state, arms, asked.because, asked.override, outgoing)
    words = f"{asked.version} {stages_words(rollout)}: {asked.because}"
    detail = {
        "version": asked.version,
        "from": control,
        "stages_bp": list(steps.stages_bp),
        "override": list(asked.override),
    }
    return (*moved, SetRollout(rollout), Record("rollout.started", words, detail))


def _refuse_baking(state: State, version: str) -> None:
    """What has come to its last stage has nothing to climb: only its bake is left."""
    rollout = state.rollout
    if rollout is None or not rollout.is_baking or rollout.to_version != version:
        return
    prompt, env = state.prompt, env_option(state)
    raise InProgress(
        f"{busy_words(rollout)}: everybody but {share(rollout.holdback_bp)} has it",
        next_step=f"knowngood skip {prompt}{env} --because ... ends the bake and gives it to all, "
        f"knowngood abort {prompt}{env} --because ... takes it off",
    )


def pause(state: State, because: str, actor: str, now_ms: int) -> tuple[Action, ...]:
    """Stay at this stage until somebody resumes; none when it is paused. Raises NoRollout.

    A breach rolls back all the same.
    """
    rollout = under_way(state)
    if rollout.pause is not None:
        return ()
    paused = replace(rollout, pause=Pause(now_ms, because, actor))
    return (SetRollout(paused), Record("rollout.paused", because, _detail(rollout)))


def resume(state: State, because: str, now_ms: int) -> tuple[Action, ...]:
    """Go on; the stage's time begins anew. None when it is not paused. Raises NoRollout."""
    rollout = under_way(state)
    if rollout.pause is None:
        return ()
    going = replace(rollout, pause=None, stage_ms=now_ms)
    # What the target did before is known to whoever says that it goes on all the same.
    gradual = rollout.kind is RolloutKind.GRADUAL
    anew = (Renew(rollout.to_version),) if gradual else ()
    resumed = Record("rollout.resumed", because, _detail(rollout))
    return (SetRollout(going), *anew, *unready(state), resumed)


def replan(state: State, steps: Ladder, because: str, now_ms: int) -> tuple[Action, ...]:
    """Other stages from here on; nobody is moved now. Raises NoRollout or BadLadder.

    The share in force stays the first stage, and its time goes on.
    """
    rollout = under_way(state)
    ladder.check(steps, rollout.kind)
    if rollout.is_baking:
        raise BadLadder(
            f"{rollout.to_version} has come to its last stage and bakes",
            next_step=f"knowngood skip {state.prompt}{env_option(state)} --because ... ends it",
        )
    canary = rollout.kind is RolloutKind.CANARY
    rest = (ladder.above if canary else ladder.below)(steps, rollout.share_bp)
    planned = replace(steps, stages_bp=(rollout.share_bp, *rest.stages_bp))
    new = replace(rollout, ladder=planned, stage=0)
    if new == rollout:
        return ()
    words = f"{new.moving} {stages_words(new)}: {because}"
    detail = {**_detail(new), "stages_bp": list(planned.stages_bp), "hold_ms": planned.hold_ms}
    return (SetRollout(new), Record("rollout.replanned", words, detail))


def skip(case: Case, because: str, actor: str) -> tuple[Action, ...]:
    """The next stage without waiting for its gates; of a bake, its end. Raises NoRollout.

    A skipped bake makes the version good by a person's word.
    """
    rollout = under_way(case.state)
    _refuse_while_ill(case.state)
    words = f"skipped by {actor}: {because}"
    if rollout.is_baking:
        return done_actions(rollout.to_version, rollout, words, {"skipped": True})
    onward = ladder.onward(rollout, case.now_ms)
    if not onward.share_bp:
        return completed(rollout, words, case.policy.verify.deadline_ms, case.now_ms)
    return stage_actions(case.state, onward, words)


def abort(state: State, because: str) -> tuple[Action, ...]:
    """Take the new version off again, with nothing found wrong. Raises NoRollout or BadRequest.

    It is no quarantine: it may be promoted again.
    """
    rollout = under_way(state)
    if rollout.kind is RolloutKind.GRADUAL:
        raise BadRequest(
            f"{rollout.from_version} is being rolled back, and an abort would bring it back",
            next_step=f"knowngood pause {state.prompt}{env_option(state)} --because ... holds it "
            "where it is",
        )
    _refuse_while_ill(state)
    assert state.route is not None
    control = rollout.from_version
    if rollout.is_baking and state.route.candidate is None:
        raise BadRequest(
            f"{rollout.to_version} serves everybody",
            next_step=f"knowngood rollback {state.prompt} {control}{env_option(state)} "
            "--because ...",
        )
    moved = operator.move(state, whole(control), because, ("in_progress",), None)
    return (*moved, Record("rollout.aborted", because, _detail(rollout)))


def _refuse_while_ill(state: State) -> None:
    """A rollback that is on its way wins, and an open incident makes nothing good."""
    if under_way(state).kind is RolloutKind.GRADUAL:
        return  # it goes the same way
    what = ""
    if isinstance(state.phase, Confirming):
        what = f"a breach of {state.phase.version} is being confirmed"
    elif state.incident is not None:
        what = f"incident {state.incident.id} is open"
    if what:
        raise InProgress(
            f"{what}; whoever skips or aborts now would hide it",
            next_step=f"knowngood rollback {state.prompt}{env_option(state)} --because ... takes "
            "the version off",
        )


def under_way(state: State) -> Rollout:
    """The rollout. Raises NoRollout."""
    if state.rollout is None:
        raise NoRollout(
            f"no rollout of {state.prompt} ({state.environment}) is under way",
            next_step=f"knowngood status {state.prompt}{env_option(state)} says what is served",
        )
    return state.rollout


def _detail(rollout: Rollout) -> dict[str, object]:
    return {
        "kind": rollout.kind.value,
        "version": rollout.moving,
        "stage": rollout.stage,
        "share_bp": rollout.share_bp,
    }

"""What may be done with rollouts, and which gates are open: promote, hold, skip, replan, abort."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from knowngood.core.approvals import GATE as APPROVALS
from knowngood.core.approvals import approvals_gate, overridden
from knowngood.core.errors import BadRequest, Forbidden, GateClosed
from knowngood.core.evaluation import Evaluation
from knowngood.core.explain_experiment import experiment_lines
from knowngood.core.gate import Gate, closed
from knowngood.core.ladder import share
from knowngood.core.model import Action, Change, Partner, Record, State, Steady
from knowngood.core.promotion import (
    Soaked,
    promote_before_ms,
    promotion_gates,
    skip_before_ms,
    soaked_since,
)
from knowngood.core.rollout import Ladder, Rollout, RolloutKind
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps import jointly, operator, rollouts
from knowngood.core.steps.case import Case
from knowngood.core.steps.comparison import shown
from knowngood.core.steps.ladder import every_gate
from knowngood.core.window import total
from knowngood.server.act import (
    EVIDENCE_WAIT_S,
    Ask,
    carry_out,
    case_of,
    check_ask,
    never_late,
    outgoing_day,
    partners_of,
    result_of,
)
from knowngood.server.approvals import approvals_data, tell_approvers, voters_of
from knowngood.server.desk import Desk, within
from knowngood.server.roles import ANYBODY, Caller, Role
from knowngood.server.words import wait_data, when


@dataclass(frozen=True, slots=True)
class Steps:
    """How a person wants a ladder to be; None is what the policy says.

    `now`: no ladder, everybody at once. `timed`: stages are left on time alone.
    """

    now: bool = False
    stages_bp: tuple[int, ...] | None = None
    hold_ms: int | None = None
    wait_ms: int | None = None
    timed: bool = False

    @property
    def says_nothing(self) -> bool:
        """Whether all of it is the policy's."""
        return self == Steps()


def promote(
    desk: Desk,
    environment: str,
    prompt: str,
    version: str,
    ask: Ask,
    steps: Steps,
    now_ms: int,
) -> dict[str, Any]:
    """Begin to serve a version: up a ladder, or (`now`) to everybody at once.

    Where versions soak there are no ladders. Raises Unknown…, BadRequest without a reason,
    BadLadder, AlreadyServed, GateClosed with every gate that is shut, Quarantined, InProgress or
    StaleState.
    """
    desk.check_environment(environment)
    name, wanted = desk.resolve(prompt, version)
    assert wanted is not None
    check_ask(ask, because=True)
    if steps.now and not replace(steps, now=False).says_nothing:
        raise BadRequest("`now` leaves no stages to plan", next_step="leave out one of them")

    def decide(state: State) -> tuple[Action, ...]:
        rollouts.refuse_served(state, wanted, now_ms)
        return promotion_actions(desk, state, wanted, ask, steps, now_ms)

    before = promoted_before(desk, ask, now_ms)
    try:
        done = carry_out(desk, environment, name, ask, decide, now_ms, before=before)
    except GateClosed as error:
        if error.known == [APPROVALS]:
            tell_approvers(desk, [(desk.store.states.get(environment, name), wanted)], ask, now_ms)
        raise
    return result_of(desk, done, now_ms)


def promoted_before(desk: Desk, ask: Ask, now_ms: int) -> Callable[[State], int | None]:
    """Until when a promotion of each prompt may be put in force."""

    def before(state: State) -> int | None:
        policy = desk.policy.for_prompt(state.prompt)
        return promote_before_ms(policy, state.environment, ask.override, now_ms)

    return before


def promotion_actions(
    desk: Desk, state: State, version: str, ask: Ask, steps: Steps, now_ms: int
) -> tuple[Action, ...]:
    """What begins a promotion of the version, once its gates are open. Raises as `promote`."""
    policy = desk.policy.for_prompt(state.prompt)
    outgoing = outgoing_day(desk, state, now_ms)
    if state.environment == policy.soak.environment:
        voters = voters_of(desk, ask.caller, now_ms)
        second = (approvals_gate(state, version, policy.approvals, voters, now_ms),)
        _refuse(second, ask.override, state.prompt, version)
        loud = _broken_glass(state, version, second, ask, policy)
        begun = operator.promote(state, version, ask.because, ask.override, outgoing)
        return (*begun, *loud) if begun else ()
    gates = _promotion_gates(desk, state, version, policy, ask.caller, now_ms)
    _refuse(gates, ask.override, state.prompt, version)
    loud = _broken_glass(state, version, gates, ask, policy)
    ladder = rollouts.AT_ONCE if steps.now else planned(policy.canary, steps)
    asked = rollouts.Promotion(
        version, ladder, policy.bake.holdback_bp, ask.because, ask.actor, ask.override, policy
    )
    begun = rollouts.begin(state, asked, outgoing, now_ms)
    return (*_with_gates(begun, gates), *loud) if begun else ()


def planned(ladder: Ladder, steps: Steps) -> Ladder:
    """The policy's ladder with what a person wants otherwise."""
    stages_bp = ladder.stages_bp if steps.stages_bp is None else steps.stages_bp
    hold_ms = ladder.hold_ms if steps.hold_ms is None else steps.hold_ms
    wait_ms = max(ladder.wait_ms, hold_ms) if steps.wait_ms is None else steps.wait_ms
    return Ladder(stages_bp, hold_ms, wait_ms, steps.timed or ladder.timed)


def _refuse(gates: tuple[Gate, ...], override: tuple[str, ...], name: str, version: str) -> None:
    """Raise GateClosed for the gates that nobody overrides; two refuse in words of their own."""
    own_words = ("quarantined", "in_progress")
    shut = [g for g in closed(gates) if g.name not in override and g.name not in own_words]
    if not shut:
        return
    options = " ".join(f"--override {gate.name}" for gate in shut)
    agree = f"to agree: knowngood approve {name} {version} --because ...; "
    waits = any(gate.name == APPROVALS for gate in shut)
    raise GateClosed(
        f"{name}:{version} may not be promoted: "
        + "; ".join(f"{gate.name}: {gate.because}" for gate in shut),
        known=[gate.name for gate in shut],
        next_step=f"knowngood gates {name} {version} shows them all; "
        f"{agree if waits else ''}to go on all the same: {options} --because ...",
    )


def _broken_glass(
    state: State, version: str, gates: tuple[Gate, ...], ask: Ask, policy: PromptPolicy
) -> tuple[Action, ...]:
    """What follows from stepping over the second person. Raises Forbidden for who is no admin."""
    shut = next((gate for gate in gates if gate.name == APPROVALS and not gate.is_open), None)
    if shut is None or APPROVALS not in ask.override:
        return ()
    if ask.caller.role is not Role.ADMIN:
        raise Forbidden(
            f"only an admin may promote without a second person: {shut.because}",
            known=[Role.ADMIN.value],
            next_step=f"ask for it: knowngood approve {state.prompt} {version} --because ...",
        )
    return overridden(state, version, shut, ask.because, ask.actor, policy.escalation)


def _with_gates(actions: tuple[Action, ...], gates: tuple[Gate, ...]) -> tuple[Action, ...]:
    """The gates as they were, put away with the beginning of the rollout."""
    seen = [{"name": g.name, "answer": g.answer.value, "because": g.because} for g in gates]
    return tuple(
        replace(action, detail={**action.detail, "gates": seen})
        if isinstance(action, Record) and action.kind == "route.moved"
        else action
        for action in actions
    )


# --- Orders about what is under way


def pause(desk: Desk, environment: str, prompt: str, ask: Ask, now_ms: int) -> dict[str, Any]:
    """Stay at this stage until somebody resumes. Raises NoRollout."""

    def verb(state: State) -> tuple[Action, ...]:
        return rollouts.pause(state, ask.because, ask.actor, now_ms)

    return _order(desk, environment, prompt, ask, verb, now_ms)


def resume(desk: Desk, environment: str, prompt: str, ask: Ask, now_ms: int) -> dict[str, Any]:
    """Go on from where it was paused. Raises NoRollout."""

    def verb(state: State) -> tuple[Action, ...]:
        return rollouts.resume(state, ask.because, now_ms)

    return _order(desk, environment, prompt, ask, verb, now_ms)


def abort(desk: Desk, environment: str, prompt: str, ask: Ask, now_ms: int) -> dict[str, Any]:
    """Take the new version off again, with nothing found wrong. Raises NoRollout or BadRequest."""

    def verb(state: State) -> tuple[Action, ...]:
        return rollouts.abort(state, ask.because)

    return _order(desk, environment, prompt, ask, verb, now_ms, jointly.check_abort)


def skip(desk: Desk, environment: str, prompt: str, ask: Ask, now_ms: int) -> dict[str, Any]:
    """The next stage without waiting for its gates. Raises NoRollout."""

    def verb(state: State) -> tuple[Action, ...]:
        rollouts.under_way(state)
        return rollouts.skip(case_of(desk, state, now_ms)[0], ask.because, ask.actor)

    def before(state: State) -> int | None:
        return skip_before_ms(state, desk.policy.for_prompt(state.prompt), now_ms)

    return _order(desk, environment, prompt, ask, verb, now_ms, before=before)


def replan(
    desk: Desk, environment: str, prompt: str, ask: Ask, steps: Steps, now_ms: int
) -> dict[str, Any]:
    """Other stages from here on. Raises NoRollout or BadLadder."""
    if steps.says_nothing or steps.now:
        raise BadRequest(
            "nothing to plan anew", next_step="name stages, a hold, a wait, or `timed`"
        )

    def verb(state: State) -> tuple[Action, ...]:
        rollout = rollouts.under_way(state)
        return rollouts.replan(state, planned(rollout.ladder, steps), ask.because, now_ms)

    return _order(desk, environment, prompt, ask, verb, now_ms)


def _order(
    desk: Desk,
    environment: str,
    prompt: str,
    ask: Ask,
    verb: jointly.Verb,
    now_ms: int,
    check: Callable[[State, tuple[Partner, ...]], None] = lambda _, __: None,
    before: Callable[[State], int | None] = never_late,
) -> dict[str, Any]:
    """Carry out an order, on whatever the version was released with as well."""
    desk.check_environment(environment)
    name = desk.resolve(prompt)[0]
    check_ask(ask, because=True)
    beside: list[Change] = []

    def decide(state: State) -> tuple[Action, ...]:
        mates = partners_of(desk, state, now_ms)
        check(state, mates)
        mine: tuple[Action, ...] = ()
        beside.clear()
        for each, actions in jointly.order(state, mates, verb):
            if each is state:
                mine = actions
            else:
                beside.append(change_of(desk, each, actions, ask, before))
        return mine

    done = carry_out(desk, environment, name, ask, decide, now_ms, lambda: tuple(beside), before)
    rollout = done.after.rollout
    return {
        **result_of(desk, done, now_ms),
        "rollout": rollout_data(rollout) if rollout else None,
    }


def change_of(
    desk: Desk,
    state: State,
    actions: tuple[Action, ...],
    ask: Ask,
    before: Callable[[State], int | None],
) -> Change:
    """What somebody asked for of a prompt, as a change to apply while it is not too late."""
    return Change(
        state.environment,
        state.prompt,
        state.revision,
        actions,
        ask.actor,
        desk.policy.revision,
        before(state),
    )


# --- What may go on


def gates(
    desk: Desk,
    environment: str,
    prompt: str,
    version: str,
    now_ms: int,
    caller: Caller = ANYBODY,
) -> dict[str, Any]:
    """Every gate of a promotion of this version; and of its stage, while it is on its way up.

    Those of a promotion are as `caller` would find them, if they may promote.
    """
    desk.check_environment(environment)
    name, wanted = desk.resolve(prompt, version)
    assert wanted is not None
    policy = desk.policy.for_prompt(name)
    state = desk.store.states.get(environment, name)
    before = _promotion_gates(desk, state, wanted, policy, caller, now_ms)
    rollout = state.rollout
    stage: tuple[Gate, ...] = ()
    compared = None
    if rollout is not None and rollout.to_version == wanted and _climbs(state):
        case = case_of(desk, state, now_ms)[0]
        stage, compared = every_gate(case, rollout), comparison_data(case, rollout)
    return {
        "environment": environment,
        "prompt": name,
        "version": wanted,
        "promotion": [gate_data(gate) for gate in before],
        "stage": [gate_data(gate) for gate in stage],
        "approvals": approvals_data(desk, state, wanted, caller, now_ms),
        "rollout": rollout_data(rollout) if rollout else None,
        "comparison": compared,
        "is_open": all(gate.is_open for gate in (stage or before)),
    }


def _promotion_gates(
    desk: Desk, state: State, version: str, policy: PromptPolicy, caller: Caller, now_ms: int
) -> tuple[Gate, ...]:
    soaked = _soaked(desk, state, version, policy, now_ms)
    evaluations = evaluations_of(desk, policy, state.prompt, version)
    voters = voters_of(desk, caller, now_ms)
    return promotion_gates(state, version, policy, soaked, evaluations, voters, now_ms)


def evaluations_of(
    desk: Desk, policy: PromptPolicy, prompt: str, version: str
) -> Sequence[Evaluation]:
    """What is recorded of a version, where the policy asks for any of it."""
    return desk.store.evaluations.of(prompt, version) if policy.evaluations else ()


def _soaked(desk: Desk, state: State, version: str, policy: PromptPolicy, now_ms: int) -> Soaked:
    """What the version has been through where versions soak.

    Its calls unread are calls not made: the gate then says that there are too few.
    """
    where = policy.soak.environment
    if where == state.environment or where not in desk.store.states.environments():
        return Soaked()
    there = desk.store.states.get(where, state.prompt)
    span = soaked_since(there, version, now_ms)
    if span is None:
        return Soaked(is_used=there.route is not None)
    key = (where, state.prompt, version)
    try:
        read = within(EVIDENCE_WAIT_S, lambda: desk.store.series.read(key, *span))
    except Exception:
        read = []
    entry = there.entry(version)
    incident = there.incident
    return Soaked(
        is_used=True,
        standing=entry.standing if entry else None,
        has_trouble=incident is not None and incident.version == version,
        clean_ms=span[1] - span[0],
        call_count=total(bucket.window for bucket in read).call_count,
    )


def explained(case: Case) -> dict[str, Any] | None:
    """The rollout under way with its gates, for `explain`."""
    rollout = case.state.rollout
    if rollout is None:
        return None
    climbs = _climbs(case.state)
    gates = every_gate(case, rollout) if climbs else ()
    return {
        **rollout_data(rollout),
        "gates": [gate_data(gate) for gate in gates],
        "comparison": comparison_data(case, rollout) if climbs else None,
    }


def comparison_data(case: Case, rollout: Rollout) -> dict[str, Any] | None:
    """What the A/B gate says, in core's words; None while it is not asked."""
    begun, found = rollout.begun, shown(case, rollout)
    if begun is None or found is None:
        return None
    return {
        "state": found.state.value,
        "lines": list(experiment_lines(found)),
        "units_count": found.units_count,
        "share": share(begun.share_bp),
        **when("began", begun.began_ms),
    }


def _climbs(state: State) -> bool:
    """Whether a canary is on its way up, so that the gates of its stage mean something."""
    rollout = state.rollout
    climbs = rollout is not None and rollout.kind is RolloutKind.CANARY and not rollout.is_baking
    return climbs and isinstance(state.phase, Steady)


def gate_data(gate: Gate) -> dict[str, Any]:
    """A gate as data, in core's words."""
    return {
        "name": gate.name,
        "answer": gate.answer.value,
        "because": gate.because,
        "waiting_on": [wait_data(wait) for wait in gate.waiting_on],
    }


def rollout_data(rollout: Rollout) -> dict[str, Any]:
    """A rollout as data."""
    ladder = rollout.ladder
    return {
        "kind": rollout.kind.value,
        "from_version": rollout.from_version,
        "to_version": rollout.to_version,
        "stages_bp": list(ladder.stages_bp),
        "stage": rollout.stage,
        "share": share(rollout.share_bp),
        "is_baking": rollout.is_baking,
        "holdback_bp": rollout.holdback_bp,
        "hold_ms": ladder.hold_ms,
        "wait_ms": ladder.wait_ms,
        "timed": ladder.timed,
        "because": rollout.because,
        "actor": rollout.actor,
        "paused": {
            "because": rollout.pause.because,
            "actor": rollout.pause.actor,
            **when("since", rollout.pause.since_ms),
        }
        if rollout.pause
        else None,
        **when("began", rollout.began_ms),
        **when("stage_began", rollout.stage_ms),
    }

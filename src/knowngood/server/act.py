"""What may be done: names are checked, core says what follows, the store takes all or nothing.

Each order is one transaction together with its line of history. An order that meets somebody
else's change is thought over on the new state; one that names the revision it was thought out on is
refused instead. A rollback needs the control store and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from knowngood.core.check import refuse
from knowngood.core.day import healthy_day, leaving
from knowngood.core.errors import (
    BadRequest,
    NotConfirmed,
    StaleState,
)
from knowngood.core.evolve import evolve, moves_route
from knowngood.core.explain import route_words
from knowngood.core.model import (
    FLEET,
    Action,
    Arm,
    Change,
    MoveRoute,
    Observed,
    Partner,
    Record,
    Route,
    State,
    Verifying,
)
from knowngood.core.news import with_news
from knowngood.core.rollout import Ladder
from knowngood.core.steps import jointly, operator
from knowngood.core.steps.case import Case
from knowngood.core.steps.together import Along, last_release
from knowngood.core.window import Window
from knowngood.engine.ingest import closed_until_ms
from knowngood.engine.observe import partners, unfit
from knowngood.server.desk import Desk, within
from knowngood.server.kept import note_of
from knowngood.server.roles import ANYBODY, Caller
from knowngood.server.words import action_words, arms_data, hold_data, iso, when

ATTEMPTS = 3  # an order loses a race against the engine once, hardly twice; then say so
# Evidence is for the record. A person's rollback waits this long for it and no longer.
EVIDENCE_WAIT_S = 2.0
BECAUSE_CHARS_MAX = 2_000  # a reason, not an essay; it goes into pages and onto phones
NOTE_CHARS_MAX = 2_000
RECENT_COUNT = 200  # lines of history in which an order finds its own, written a moment ago
OVERRIDES = (
    "quarantined",
    "not_known_good",
    "in_progress",
    "freeze",
    "soak",
    "evaluation",
    "approvals",
    "target_evaluation",
)


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks, why, and how carefully. `revision`, if given, is the one that must still hold.

    `actor` is whom the history names, `caller` what a token proves of them. `also` are lines of
    history that belong to the order: written with it, or not at all.
    """

    actor: str
    because: str = ""
    override: tuple[str, ...] = ()
    revision: int | None = None
    dry_run: bool = False
    also: tuple[Record, ...] = ()
    caller: Caller = ANYBODY


@dataclass(frozen=True, slots=True)
class Gradual:
    """How a person wants a rollback to take its time; None is what the policy says."""

    stages_bp: tuple[int, ...] | None = None
    hold_ms: int | None = None

    def of(self, ladder: Ladder) -> Ladder:
        """The policy's ladder with what is wanted otherwise."""
        stages_bp = ladder.stages_bp if self.stages_bp is None else self.stages_bp
        hold_ms = ladder.hold_ms if self.hold_ms is None else self.hold_ms
        return Ladder(stages_bp, hold_ms, max(ladder.wait_ms, hold_ms))


@dataclass(frozen=True, slots=True)
class Done:
    """What an order did, or with `dry_run` would have done."""

    before: State
    after: State
    actions: tuple[Action, ...]
    dry_run: bool
    beside: tuple[Change, ...] = ()  # what was done to its partners in the same transaction


# --- Routes


def set_route(
    desk: Desk,
    environment: str,
    prompt: str,
    arms: list[tuple[str, int]],
    ask: Ask,
    now_ms: int,
) -> dict[str, Any]:
    """Split the traffic between one or two versions, by weights that sum to 10,000.

    Of two, the first is the control and the second on trial, unless the second serves already and
    the first does not. Raises Unknown…, BadWeights, BadRequest without a reason, Quarantined,
    InProgress or StaleState.
    """
    desk.check_environment(environment)
    name = desk.resolve(prompt)[0]
    resolved = tuple(Arm(desk.resolve(name, each)[1] or "", bp) for each, bp in arms)
    Route(resolved)
    check_ask(ask, because=True)

    def decide(state: State) -> tuple[Action, ...]:
        ordered = _ordered(state, resolved)
        outgoing = outgoing_day(desk, state, now_ms)
        return operator.move(state, ordered, ask.because, ask.override, outgoing)

    done = carry_out(desk, environment, name, ask, decide, now_ms)
    return result_of(desk, done, now_ms)


def _ordered(state: State, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """The control first: of two arms the one that serves already, else as given."""
    if len(arms) < 2 or state.route is None:
        return arms
    first, second = arms
    control = state.route.control.version
    newcomer = state.route.weight_bp(first.version) == 0
    serves = state.route.weight_bp(second.version) > 0
    swap = second.version == control or (newcomer and serves)
    return (second, first) if swap else arms


def outgoing_day(desk: Desk, state: State, now_ms: int) -> Window | None:
    """The last healthy day of the version that leaves, if there is one to keep.

    The observations being unavailable holds nobody up.
    """
    policy = desk.policy.for_prompt(state.prompt)
    gone = leaving(state, policy, now_ms)
    if gone is None:
        return None
    key = (state.environment, state.prompt, gone.version)
    try:
        read = within(EVIDENCE_WAIT_S, lambda: desk.store.series.read(key, gone.since_ms, now_ms))
    except Exception:
        return None
    return healthy_day(state, policy, read)


# --- Rollback


def nothing_first(case: Case) -> tuple[Action, ...]:
    """A rollback that answers no question."""
    return ()


def only_from(desk: Desk, seen: str) -> Callable[[Case], tuple[Action, ...]]:
    """For `rollback`'s `first`: refuse unless the version that was seen is on trial still.

    Whoever means that version means no other, wherever it is to go back to.
    """

    def first(case: Case) -> tuple[Action, ...]:
        state = case.state
        if case.suspect == seen:
            return ()
        serving = [arm.version for arm in state.route.arms] if state.route else []
        lines = desk.store.log.read(state.environment, state.prompt, limit=RECENT_COUNT)
        moves = [e for e in lines if e.kind.startswith(("rollback.", "route."))]
        said = f" ({moves[-1].kind} by {moves[-1].actor}: {moves[-1].because})" if moves else ""
        raise StaleState(
            f"{seen} is no longer on trial: {', '.join(serving) or 'nothing'} serves{said}",
            known=serving,
            next_step="look again, and decide anew",
        )

    return first


def rollback(
    desk: Desk,
    environment: str,
    prompt: str,
    target: str | None,
    ask: Ask,
    now_ms: int,
    *,
    confirm: bool = False,
    quarantine: bool = True,
    gradual: Gradual | None = None,
    alone: bool = False,
    suspect: str = "",
    first: Callable[[Case], tuple[Action, ...]] = nothing_first,
) -> dict[str, Any]:
    """Go back to a known-good version, at once and for everybody; no brake holds it.

    Without a target, to the newest known-good version. With `confirm` nothing happens unless
    something is found wrong. With `gradual` it takes its stages. What it was released with goes
    back in the same transaction, unless `alone`. `suspect`, if given, is the version that has to be
    on trial still; `first` gives what is done before it, and may refuse.
    Raises Unknown…, NotRouted, NoTarget, Quarantined,
    NotKnownGood, NotConfirmed, TargetUnfit, BadLadder, InProgress or StaleState.
    """
    desk.check_environment(environment)
    name, wanted = desk.resolve(prompt, target)
    check_ask(ask, because=True)
    steps = gradual.of(desk.policy.for_prompt(name).gradual) if gradual else None
    request = operator.RollbackRequest(
        ask.because, wanted, confirm, ask.override, quarantine, steps, ask.actor
    )

    seen: list[str] = [suspect] if suspect else []
    along: list[Along] = []

    def decide(state: State) -> tuple[Action, ...]:
        case, trouble = case_of(desk, state, now_ms)
        poor = unfit(desk.store, state, case.policy, now_ms)
        mates = () if alone else partners_of(desk, state, now_ms)
        case = replace(case, observed=replace(case.observed, unfit=poor, partners=mates))
        if wanted is None and state.route:
            seen.append(case.suspect)
            _refuse_another(seen[0], case)
        before = first(case)
        actions, others = _decided(case, request, trouble)
        along[:] = [others]
        return (*before, *actions) if actions else ()

    done = carry_out(
        desk, environment, name, ask, decide, now_ms, lambda: along[0].changes if along else ()
    )
    result = _rollback_result(desk, done, now_ms)
    if along and along[0].going:
        result["together_with"] = along[0].with_it
        result["left_behind"] = list(along[0].left_behind)
        result["why_left_behind"] = dict(along[0].left_behind)
    return result


def partners_of(desk: Desk, state: State, now_ms: int) -> tuple[Partner, ...]:
    """What the prompt's versions were released with; what it was taken off last included."""
    gone = last_release(state)
    return partners(
        desk.store,
        desk.policy,
        state,
        now_ms,
        with_targets=True,
        besides=(gone,) if gone else (),
    )


def _refuse_another(suspect: str, case: Case) -> None:
    """Whoever names no target means the version that they saw, not one that came meanwhile."""
    if case.suspect != suspect and not isinstance(case.state.phase, Verifying):
        raise StaleState(
            f"{case.state.environment}/{case.state.prompt} has changed: {suspect} was to be rolled "
            f"back, and {case.suspect} is on trial now",
            next_step="look again and decide anew",
        )


def case_of(desk: Desk, state: State, now_ms: int) -> tuple[Case, str | None]:
    """What is known, with its findings if they can be had in time, else with the trouble."""
    policy = desk.policy.for_prompt(state.prompt)
    if state.route is None:
        return Case(state, Observed(now_ms), policy, (), now_ms), None
    try:
        seen = within(
            EVIDENCE_WAIT_S, lambda: desk.look_afresh(state.environment, state.prompt, now_ms)
        )
    except Exception as error:
        nothing = Observed(closed_until_ms(now_ms))
        return Case(state, nothing, policy, (), now_ms), str(error) or type(error).__name__
    return Case(state, seen.observed, policy, seen.decision.findings, now_ms), None


def _decided(
    case: Case, request: operator.RollbackRequest, trouble: str | None
) -> tuple[tuple[Action, ...], Along]:
    """The rollback and what goes along; without evidence, with a record that says so."""
    if trouble is None:
        return jointly.roll_back(case, request, request.actor)
    actions, along = jointly.roll_back(case, replace(request, if_confirmed=False), request.actor)
    if request.if_confirmed and actions:
        raise NotConfirmed(
            f"Problem not confirmed: the evidence is unavailable ({trouble}); nothing was changed",
            next_step="roll back without asking for confirmation, if you mean it all the same",
        )
    because = f"{request.because} (confirmation skipped; evidence unavailable: {trouble})"
    said = tuple(
        replace(action, because=because, detail={**action.detail, "evidence_unavailable": trouble})
        if isinstance(action, Record) and action.kind == "rollback.requested"
        else action
        for action in actions
    )
    return said, along


def _rollback_result(desk: Desk, done: Done, now_ms: int) -> dict[str, Any]:
    before, after = done.before.route, done.after.route
    assert before is not None and after is not None
    giving_way = done.after.rollout is not None
    moved = "gradual" if giving_way else "switched"
    is_moved = any(isinstance(action, MoveRoute) for action in done.actions)
    outcome = moved if is_moved else "unchanged"
    result: dict[str, Any] = {
        "success": True,
        "id": None,
        "from_version": before.suspect.version,
        "to_version": after.control.version,
        "timestamp": iso(now_ms),
        "generation": after.generation,
        "outcome": outcome,
    }
    if done.dry_run:
        result["outcome"] = "would_switch" if is_moved else "unchanged"
        result["dry_run"] = True
        result["would"] = would(done)
    elif is_moved:
        result["id"] = _entry_id(desk, done.after, f"rollback.{moved}")
    if is_moved and (note := note_of(desk, done.before, after.control.version)):
        result["note"] = note
    return result


# --- The ledger and automation


def vouch(
    desk: Desk, environment: str, prompt: str, version: str, ask: Ask, now_ms: int
) -> dict[str, Any]:
    """Make a version known good by a person's word.

    Raises Unknown…, BadRequest without a reason, Quarantined or StaleState.
    """
    return _on_version(desk, environment, prompt, version, ask, operator.vouch, now_ms)


def unquarantine(
    desk: Desk, environment: str, prompt: str, version: str, ask: Ask, now_ms: int
) -> dict[str, Any]:
    """Make a quarantined version a candidate again.

    Raises Unknown…, BadRequest without a reason or when it is not quarantined, or StaleState.
    """
    return _on_version(desk, environment, prompt, version, ask, operator.unquarantine, now_ms)


def _on_version(
    desk: Desk,
    environment: str,
    prompt: str,
    version: str,
    ask: Ask,
    verb: Callable[[State, str, str], tuple[Action, ...]],
    now_ms: int,
) -> dict[str, Any]:
    desk.check_environment(environment)
    name, wanted = desk.resolve(prompt, version)
    assert wanted is not None
    check_ask(ask, because=True)
    done = carry_out(
        desk, environment, name, ask, lambda state: verb(state, wanted, ask.because), now_ms
    )
    return {**result_of(desk, done, now_ms), "version": wanted}


def automation(
    desk: Desk,
    environment: str,
    prompt: str | None,
    off_ms: int | None,
    ask: Ask,
    now_ms: int,
) -> dict[str, Any]:
    """Turn automation off for `off_ms`, or (None) on; for one prompt, or for all of them.

    Raises Unknown…, BadRequest without a reason or with too long a hold, or StaleState.
    """
    desk.check_environment(environment)
    name = FLEET if prompt is None else desk.resolve(prompt)[0]
    check_ask(ask, because=True)

    def decide(state: State) -> tuple[Action, ...]:
        return operator.set_automation(state, off_ms, ask.because, ask.actor, now_ms)

    done = carry_out(desk, environment, name, ask, decide, now_ms)
    hold = hold_data(done.after.automation, now_ms)
    return {**result_of(desk, done, now_ms), "automation": hold}


# --- Carrying out


def never_late(state: State) -> int | None:
    """An order that holds however late it is written."""
    return None


def check_ask(ask: Ask, *, because: bool) -> None:
    if because and not ask.because.strip():
        raise BadRequest("a reason is needed", next_step="say why with `because`")
    if len(ask.because) > BECAUSE_CHARS_MAX:
        raise BadRequest(
            f"the reason has {len(ask.because)} characters; the limit is {BECAUSE_CHARS_MAX}"
        )
    for name in ask.override:
        if name not in OVERRIDES:
            raise BadRequest(f"{name!r} is nothing that can be overridden", known=OVERRIDES)


def carry_out(
    desk: Desk,
    environment: str,
    prompt: str,
    ask: Ask,
    decide: Callable[[State], tuple[Action, ...]],
    now_ms: int,
    beside: Callable[[], tuple[Change, ...]] = tuple,
    before: Callable[[State], int | None] = never_late,
) -> Done:
    """Decide on the state and apply; a change in between is met by deciding anew.

    `beside` gives what has to happen to other prompts in the same transaction. `before` gives
    the moment from which on it is too late (StaleState).
    """
    for attempt in range(ATTEMPTS):
        state = desk.store.states.get(environment, prompt)
        if ask.revision is not None and state.revision != ask.revision:
            raise _stale(desk, state, ask.revision)
        actions = decide(state)
        revision, others = desk.policy.revision, beside()
        if actions:
            actions = (*ask.also, *actions)
        change = Change(
            environment, prompt, state.revision, actions, ask.actor, revision, before(state)
        )
        changes = with_news((*((change,) if actions else ()), *others), desk.policy)
        if not changes:
            return Done(state, state, (), ask.dry_run)
        if ask.dry_run:
            after = _rehearse(desk, changes, now_ms)[0] if actions else state
            return Done(state, after, actions, True, others)
        try:
            applied = desk.store.states.apply(changes, now_ms)
        except StaleState:
            if ask.revision is not None or attempt + 1 == ATTEMPTS:
                raise
            continue
        return Done(state, applied[0] if actions else state, actions, False, others)
    raise AssertionError("the last attempt returns or raises")


def _rehearse(desk: Desk, changes: tuple[Change, ...], now_ms: int) -> list[State]:
    """The states that the changes would lead to, in their order."""
    environment = changes[0].environment
    generation = desk.store.states.generation(environment) + moves_route(changes)
    made: list[State] = []
    for change in changes:
        before = desk.store.states.get(environment, change.prompt)
        made.append(evolve(before, change, generation, now_ms))
        refuse(made[-1], before=before)
    return made


def would(done: Done) -> list[str]:
    """What was or would be done: to the prompt itself, and to what was released with it."""
    mine = [action_words(action) for action in done.actions]
    return mine + [
        f"{change.prompt}: {action_words(action)}"
        for change in done.beside
        for action in change.actions
    ]


def _stale(desk: Desk, state: State, seen: int) -> StaleState:
    lines = desk.store.log.read(state.environment, state.prompt, limit=RECENT_COUNT)
    since = [f"{e.kind} by {e.actor}: {e.because}" for e in lines if e.revision > seen]
    return StaleState(
        f"{state.environment}/{state.prompt} has changed: revision {seen} was seen, "
        f"it is at {state.revision} now" + (f" ({'; '.join(since[-5:])})" if since else ""),
        known=[str(state.revision)],
        next_step="look again and decide anew",
    )


def result_of(desk: Desk, done: Done, now_ms: int) -> dict[str, Any]:
    """What changed, in one shape for every order but the rollback."""
    route = done.after.route
    records = [action for action in done.actions if isinstance(action, Record)]
    applied = bool(done.actions) and not done.dry_run
    return {
        "outcome": "changed" if done.actions or done.beside else "unchanged",
        "dry_run": done.dry_run,
        "id": _entry_id(desk, done.after, records[-1].kind) if applied and records else None,
        "environment": done.after.environment,
        "prompt": done.after.prompt,
        "revision": done.after.revision,
        "generation": route.generation if route else 0,
        "from_route": route_words(done.before.route),
        "route": route_words(route),
        "arms": arms_data(done.after, route.arms) if route else [],
        "did": would(done),
        "together_with": [change.prompt for change in done.beside],
        **when("at", now_ms),
    }


def _entry_id(desk: Desk, after: State, kind: str) -> int | None:
    """The id of the line of history that the order wrote."""
    lines = desk.store.log.read(after.environment, after.prompt, limit=RECENT_COUNT)
    own = [e.id for e in lines if e.revision == after.revision and e.kind == kind]
    return own[-1] if own else None

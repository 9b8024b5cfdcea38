"""What may be done: names are checked, core says what follows, the store takes all or nothing.

Each order is one transaction together with its line of history. An order that meets somebody
else's change is thought over on the new state; one that names the revision it was thought out on is
refused instead. A rollback needs the control store and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from knowngood.core.check import refuse
from knowngood.core.content import (
    check_environment_name,
    check_prompt_name,
    check_version_name,
    digest,
    parse_content,
)
from knowngood.core.day import healthy_day, leaving
from knowngood.core.errors import (
    BadRequest,
    ContentConflict,
    NotConfirmed,
    StaleState,
    UnknownPrompt,
)
from knowngood.core.evolve import evolve, moves_route
from knowngood.core.explain import route_words
from knowngood.core.history import AuditEntry
from knowngood.core.model import (
    FLEET,
    Action,
    Arm,
    Change,
    Observed,
    Record,
    Route,
    State,
    Verifying,
    Version,
)
from knowngood.core.rollout import Ladder
from knowngood.core.steps import operator
from knowngood.core.steps.case import Case
from knowngood.core.steps.together import back_together, left_behind
from knowngood.core.window import Window
from knowngood.engine.ingest import closed_until_ms
from knowngood.engine.observe import partners, unfit
from knowngood.server.desk import Desk, split, within
from knowngood.server.kept import note_of
from knowngood.server.read import version_data
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
    "target_evaluation",
)


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks, why, and how carefully. `revision`, if given, is the one that must still hold."""

    actor: str
    because: str = ""
    override: tuple[str, ...] = ()
    revision: int | None = None
    dry_run: bool = False


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


# --- Prompts and environments


def push(
    desk: Desk, prompt: str, version: str, data: object, ask: Ask, note: str, now_ms: int
) -> dict[str, Any]:
    """Add a version; `outcome` is `new`, or `unchanged` if this very content is there already.

    Raises BadRequest, BadContent, or ContentConflict when the name is taken by other content.
    """
    name, wanted = split(prompt, version)
    check_prompt_name(name)
    content = parse_content(data)
    if len(note) > NOTE_CHARS_MAX:
        raise BadRequest(f"the note has {len(note)} characters; the limit is {NOTE_CHARS_MAX}")
    pushed = Version(
        prompt=name,
        version=check_version_name(wanted),
        content=content,
        digest=digest(content),
        author=ask.actor,
        created_ms=now_ms,
        note=note,
    )
    there = _same_name(desk, pushed)
    if ask.dry_run:
        new = there is None
    else:
        new = desk.store.registry.put(pushed)
    if new and not ask.dry_run:
        desk.store.log.append([_pushed(desk, pushed, ask)])
    shown = pushed if new or there is None else there
    outcome = "new" if new else "unchanged"
    return {"outcome": outcome, "dry_run": ask.dry_run, **version_data(shown)}


def add_environment(desk: Desk, name: str, ask: Ask, now_ms: int) -> dict[str, Any]:
    """Add an environment; one that is there already is left as it is. Raises BadRequest."""
    check_environment_name(name)
    new = name not in desk.store.states.environments()
    if new and not ask.dry_run:
        desk.store.states.environments(add=name)
        entry = AuditEntry(
            at_ms=now_ms,
            environment=name,
            prompt=FLEET,
            kind="environment.added",
            because=ask.because or "added",
            actor=ask.actor,
            revision=0,
            generation=0,
            policy_revision=desk.policy.revision,
        )
        desk.store.log.append([entry])
    outcome = "new" if new else "unchanged"
    return {"outcome": outcome, "dry_run": ask.dry_run, "name": name}


def _same_name(desk: Desk, pushed: Version) -> Version | None:
    """The version that has this name, if there is one. Raises ContentConflict."""
    try:
        versions = desk.store.registry.versions(pushed.prompt)
    except UnknownPrompt:
        return None
    there = next((v for v in versions if v.version == pushed.version), None)
    if there is not None and there.digest != pushed.digest:
        raise ContentConflict(
            f"{pushed.prompt}:{pushed.version} exists with other content "
            f"({there.digest[:12]}, pushed by {there.author}); versions are immutable",
            known=[v.version for v in versions],
            next_step="push it under another version name",
        )
    return there


def _pushed(desk: Desk, pushed: Version, ask: Ask) -> AuditEntry:
    return AuditEntry(
        at_ms=pushed.created_ms,
        environment="",
        prompt=pushed.prompt,
        kind="version.pushed",
        because=ask.because or pushed.note or "pushed",
        actor=ask.actor,
        revision=0,
        generation=0,
        policy_revision=desk.policy.revision,
        detail={"version": pushed.version, "digest": pushed.digest},
    )


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
    first: Callable[[Case], tuple[Action, ...]] = nothing_first,
) -> dict[str, Any]:
    """Go back to a known-good version, at once and for everybody; no brake holds it.

    Without a target, to the newest known-good version. With `confirm` nothing happens unless
    something is found wrong. With `gradual` it takes its stages. What it was released with goes
    back in the same transaction, unless `alone`. `first` gives what is done before it, and may
    refuse. Raises Unknown…, NotRouted, NoTarget, Quarantined,
    NotKnownGood, NotConfirmed, TargetUnfit, BadLadder, InProgress or StaleState.
    """
    desk.check_environment(environment)
    name, wanted = desk.resolve(prompt, target)
    check_ask(ask, because=True)
    steps = gradual.of(desk.policy.for_prompt(name).gradual) if gradual else None
    request = operator.RollbackRequest(
        ask.because, wanted, confirm, ask.override, quarantine, steps, ask.actor
    )

    seen: list[Case] = []

    def beside() -> tuple[Change, ...]:
        return back_together(
            seen[-1],
            ask.because,
            automatic=False,
            gradual=steps,
            quarantine=quarantine,
            actor=ask.actor,
        )

    def decide(state: State) -> tuple[Action, ...]:
        case, trouble = case_of(desk, state, now_ms)
        poor = unfit(desk.store, state, case.policy, now_ms)
        mates = () if alone else partners(desk.store, state)
        case = replace(case, observed=replace(case.observed, unfit=poor, partners=mates))
        seen.append(case)
        if wanted is None and case.state.route and seen[0].state.route:
            _refuse_another(seen[0].suspect, case)
        before = first(case)
        moved = (
            operator.roll_back(case, request)
            if trouble is None
            else _roll_back_blindly(case, request, trouble)
        )
        return (*before, *moved) if moved else ()

    done = carry_out(desk, environment, name, ask, decide, now_ms, beside)
    result = _rollback_result(desk, done, now_ms)
    if done.actions and seen[-1].observed.partners:
        result["together_with"] = [change.prompt for change in beside()]
        result["left_behind"] = list(left_behind(seen[-1]))
    return result


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


def _roll_back_blindly(
    case: Case, request: operator.RollbackRequest, trouble: str
) -> tuple[Action, ...]:
    """The rollback without evidence, and a record that says so."""
    actions = operator.roll_back(case, replace(request, if_confirmed=False))
    if request.if_confirmed and actions:
        raise NotConfirmed(
            f"Problem not confirmed: the evidence is unavailable ({trouble}); nothing was changed",
            next_step="roll back without asking for confirmation, if you mean it all the same",
        )
    because = f"{request.because} (confirmation skipped; evidence unavailable: {trouble})"
    return tuple(
        replace(action, because=because, detail={**action.detail, "evidence_unavailable": trouble})
        if isinstance(action, Record) and action.kind == "rollback.requested"
        else action
        for action in actions
    )


def _rollback_result(desk: Desk, done: Done, now_ms: int) -> dict[str, Any]:
    before, after = done.before.route, done.after.route
    assert before is not None and after is not None
    giving_way = done.after.rollout is not None
    moved = "gradual" if giving_way else "switched"
    outcome = moved if done.actions else "unchanged"
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
        result["outcome"] = "would_switch" if done.actions else "unchanged"
        result["dry_run"] = True
        result["would"] = [action_words(action) for action in done.actions]
    elif done.actions:
        result["id"] = _entry_id(desk, done.after, f"rollback.{moved}")
    if done.actions and (note := note_of(desk, done.before, after.control.version)):
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
) -> Done:
    """Decide on the state and apply; a change in between is met by deciding anew.

    `beside` gives what has to happen to other prompts in the same transaction.
    """
    for attempt in range(ATTEMPTS):
        state = desk.store.states.get(environment, prompt)
        if ask.revision is not None and state.revision != ask.revision:
            raise _stale(desk, state, ask.revision)
        actions = decide(state)
        change = Change(
            environment, prompt, state.revision, actions, ask.actor, desk.policy.revision
        )
        if not actions:
            return Done(state, state, (), ask.dry_run)
        if ask.dry_run:
            return Done(state, _rehearse(desk, state, change, now_ms), actions, True)
        try:
            after = desk.store.states.apply([change, *beside()], now_ms)[0]
        except StaleState:
            if ask.revision is not None or attempt + 1 == ATTEMPTS:
                raise
            continue
        return Done(state, after, actions, False)
    raise AssertionError("the last attempt returns or raises")


def _rehearse(desk: Desk, state: State, change: Change, now_ms: int) -> State:
    """The state that the change would lead to."""
    generation = desk.store.states.generation(change.environment) + moves_route([change])
    after = evolve(state, change, generation, now_ms)
    refuse(after, before=state)
    return after


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
        "outcome": "changed" if done.actions else "unchanged",
        "dry_run": done.dry_run,
        "id": _entry_id(desk, done.after, records[-1].kind) if applied and records else None,
        "environment": done.after.environment,
        "prompt": done.after.prompt,
        "revision": done.after.revision,
        "generation": route.generation if route else 0,
        "from_route": route_words(done.before.route),
        "route": route_words(route),
        "arms": arms_data(done.after, route.arms) if route else [],
        "did": [action_words(action) for action in done.actions],
        **when("at", now_ms),
    }


def _entry_id(desk: Desk, after: State, kind: str) -> int | None:
    """The id of the line of history that the order wrote."""
    lines = desk.store.log.read(after.environment, after.prompt, limit=RECENT_COUNT)
    own = [e.id for e in lines if e.revision == after.revision and e.kind == kind]
    return own[-1] if own else None

"""Laws of the decisions themselves: kept (P1), made once (P2), never denied to people (P3)."""

from dataclasses import replace
from typing import TYPE_CHECKING

from knowngood.core.check import problems
from knowngood.core.decide import decide
from knowngood.core.errors import (
    BadLadder,
    InProgress,
    NotConfirmed,
    NothingAsked,
    StaleAnswer,
    StaleState,
)
from knowngood.core.model import (
    WHOLE_BP,
    Change,
    Confirming,
    MoveRoute,
    Notify,
    Record,
    SetAlarm,
    Standing,
    State,
)
from knowngood.engine.reconcile import Look, look
from knowngood.sim.engines import SimEngine
from knowngood.sim.laws.base import (
    Checker,
    StateKey,
    generation_of,
    key_of,
    kinds_of,
    name_of,
    rollbacks,
    silence_answers,
)
from knowngood.sim.people import Asked
from knowngood.sim.watch import Applied, Refused

if TYPE_CHECKING:
    from knowngood.sim.world import World

EVER_MS = 2**60  # after every next try
ALL = 1_000_000


class Durable(Checker):
    """P1: what an apply answered is there for good: the state, its history, its messages."""

    def __init__(self, world: "World") -> None:
        """A checker that knows of no decision."""
        super().__init__(world)
        self.states: dict[StateKey, State] = {}
        self.line_id = 0
        self.queued: set[str] = set()

    def applied(self, event: Applied) -> None:
        """Nothing is gone of what was decided before, and all of this decision is there."""
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            key = (change.environment, change.prompt)
            if self.states.get(key, before) != before:
                self.fail(f"{change.prompt}: what was decided before is gone")
            self.states[key] = after
            if self.world.store.states.get(*key) != after:
                self.fail(f"{change.prompt}: what was answered is not what is kept")
        self._history(event)
        self._messages(event)

    def _history(self, event: Applied) -> None:
        lines = self.world.store.log.read(after_id=self.line_id, limit=ALL)
        told = [
            (line.environment, line.prompt, line.kind, line.because)
            for line in lines
            if line.environment  # what is pinned or purged is so in all of them
        ]
        done = [
            (change.environment, change.prompt, action.kind, action.because)
            for change in event.changes
            for action in change.actions
            if isinstance(action, Record)
        ]
        if told != done:
            self.fail(f"the history tells {told} of {done}")
        self.line_id = lines[-1].id if lines else self.line_id

    def _messages(self, event: Applied) -> None:
        notes = (a for c in event.changes for a in c.actions if isinstance(a, Notify))
        fresh = {note.key for note in notes} - self.queued
        if fresh:
            waiting = {m.key for m in self.world.store.outbox.due(EVER_MS, ALL)}
            for key in sorted(fresh - waiting):
                self.fail(f"the message {key} is not in the outbox")
            self.queued |= fresh

    def ended(self) -> None:
        """All of it is still there at the end, after every crash."""
        for key, state in self.states.items():
            if self.world.store.states.get(*key) != state:
                self.fail(f"{key[1]}: what was decided last is gone")
        lines = self.world.store.log.read(limit=ALL)
        ids = [line.id for line in lines]
        if ids != list(range(1, len(ids) + 1)) or len(ids) < self.line_id:
            self.fail("lines of the history are gone")


class OneOutcome(Checker):
    """P2: an operation takes effect once, in order, and never on a state that has moved on."""

    def __init__(self, world: "World") -> None:
        """A checker that has seen no rollback."""
        super().__init__(world)
        self.generations: dict[str, int] = {}
        self.switched: set[tuple[str, str, int]] = set()

    def applied(self, event: Applied) -> None:
        """Revisions rise by one, generations by one a move, and a route moves only by a move."""
        moved = False
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            if change.revision_seen != before.revision:
                self.fail(f"a stale change of {change.prompt} was applied")
            if after.revision != before.revision + 1:
                self.fail(f"{change.prompt}: revision {before.revision} -> {after.revision}")
            moves = any(isinstance(a, MoveRoute) for a in change.actions)
            moved = moved or moves
            if not moves and after.route != before.route:
                self.fail(f"{change.prompt}: the route moved without a move")
            if moves and after.route and after.route.generation != event.generation_after:
                self.fail(f"{change.prompt}: its route is not of the newest generation")
        environment = event.changes[0].environment
        known = self.generations.get(environment, 0)
        if event.generation_before != known:
            self.fail(f"generation {event.generation_before} came from nowhere")
        if event.generation_after != known + moved:
            self.fail(f"generation {known} -> {event.generation_after}")
        self.generations[environment] = event.generation_after
        changes = {change.prompt: change for change in event.changes}
        for record, before, _ in rollbacks(event):
            self._switched(record, before, changes[before.prompt], event.now_ms)

    def _switched(self, record: Record, before: State, change: Change, now_ms: int) -> None:
        key = (*key_of(before), generation_of(before))
        if key in self.switched:
            self.fail(f"{name_of(before)}: a second rollback of generation {key[2]}")
        self.switched.add(key)
        led = "together" in record.detail  # another prompt's breach was confirmed
        if not record.detail["automatic"] or led or isinstance(before.phase, Confirming):
            return
        rules = self.world.policy.for_prompt(before.prompt)
        if not silence_answers(rules, before, change, now_ms):
            self.fail(f"{name_of(before)}: an automatic rollback that nothing confirmed")

    def refused(self, event: Refused) -> None:
        """A refused apply leaves nothing behind."""
        if not event.untouched:
            self.fail("a refused apply changed something")


class Hands(Checker):
    """P3: a person's rollback to a known-good version works, whatever else is down.

    No brake, hold or phase stops it, and neither does it need an engine, a report or a pager.
    `worked_without` names what was down when one worked.
    """

    def __init__(self, world: "World") -> None:
        """A checker that has seen nobody ask."""
        super().__init__(world)
        self.worked_without: set[str] = set()

    def asked(self, asked: Asked) -> None:
        """A refusal is right only when there is nothing good to go to, or it was asked for."""
        state, target, error = asked.state, asked.request.target, asked.error
        if isinstance(error, StaleState | NotConfirmed) or state.route is None:
            return
        if isinstance(error, NothingAsked | StaleAnswer):
            return  # it was an answer to another question than the one that is open
        gradual = asked.request.gradual is not None
        if gradual and isinstance(error, BadLadder | InProgress):
            return  # it is too small to have stages, or under way; at once it always works
        if error is None:
            self._worked(state, target, gradual)
            return
        suspect = state.route.suspect.version
        good = [
            e.version for e in state.ledger if e.standing is Standing.GOOD and e.version != suspect
        ]
        if target in good or (target is None and good):
            self.fail(f"{name_of(state)}: a rollback by hand to {target or good} refused: {error}")

    def _worked(self, state: State, target: str | None, gradual: bool) -> None:
        route = self.world.state(state.prompt, state.environment).route
        least_bp = 1 if gradual else WHOLE_BP
        if target is not None and (route is None or route.weight_bp(target) < least_bp):
            self.fail(f"{name_of(state)}: a rollback by hand to {target} that did nothing")
        if not any(engine.reachable for engine in self.world.engines):
            self.worked_without.add("engines")
        if not any(c.alive and c.up for c in self.world.clients):
            self.worked_without.add("reports")
        if self.world.store.outbox.waiting_count():
            self.worked_without.add("pager")


class Fixpoint(Checker):
    """After a tick has done what it decided, looking again finds nothing more to do.

    That the page it wrote reached nobody is learnt once the looks are over: the next tick's news.
    So is what a partner that was looked at later did to it: it is looked at for that, and held to
    this law, in the tick that follows.
    """

    def __init__(self, world: "World") -> None:
        """A checker that knows of no page that reached nobody."""
        super().__init__(world)
        self.unreached: dict[StateKey, set[str]] = {}  # threads, since the last decision
        self.led: set[StateKey] = set()  # what another prompt's decision changed since its own

    def applied(self, event: Applied) -> None:
        """Note which pages reached nobody, and who was led, since a prompt was last decided on."""
        for place, change in enumerate(event.changes):
            key = (change.environment, change.prompt)
            if place == 0:
                self.led.discard(key)
            else:
                self.led.add(key)
            if kinds_of(change) == {"page.undelivered"}:
                threads = (a.alarm.thread for a in change.actions if isinstance(a, SetAlarm))
                self.unreached.setdefault(key, set()).update(threads)
            else:
                self.unreached.pop(key, None)

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """Look again at every prompt that the tick acted on."""
        if engine.engine is None:
            return
        reconciler, until_ms = engine.engine.reconciler, engine.engine.until_ms
        for key in dict.fromkeys(key_of(seen.state) for seen in acted):
            if key in self.led:
                continue
            last = [seen for seen in acted if key_of(seen.state) == key][-1]
            again = look(reconciler, *key, until_ms, last.now_ms)
            # Siblings that were looked at later in the same tick are news, not a second thought.
            observed = replace(again.observed, siblings=last.observed.siblings)
            state = self._as_decided(again.state)
            decision = decide(state, observed, again.policy, last.now_ms)
            if decision.actions:
                kinds = [type(a).__name__ for a in decision.actions]
                self.fail(f"{key[1]}: decided again at once: {', '.join(kinds)}")

    def _as_decided(self, state: State) -> State:
        """The state without what was learnt about its pages since."""
        unreached = self.unreached.get(key_of(state), ())
        alarms = tuple(
            replace(alarm, undelivered=False) if alarm.thread in unreached else alarm
            for alarm in state.alarms
        )
        return replace(state, alarms=alarms)


class Sound(Checker):
    """No change leaves a state that makes no sense."""

    def applied(self, event: Applied) -> None:
        """Ask core.check of every state after every change."""
        for state in event.after:
            for problem in problems(state):
                if problem.severity == "error":
                    self.fail(problem.message)

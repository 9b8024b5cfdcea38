"""What must hold whatever happens, each law on its own, checked from the outside.

A checker counts for itself: it reads what clients reported and what the store took in, never the
product's own sums. Each names the promise it keeps (docs: P2, P6, ...).
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from knowngood import wire
from knowngood.core.check import problems
from knowngood.core.decide import decide
from knowngood.core.errors import KnowngoodError, NotConfirmed, StaleState
from knowngood.core.model import (
    FLEET,
    AuditEntry,
    Confirming,
    MoveRoute,
    Notify,
    Record,
    Severity,
    Stand,
    Standing,
    State,
    Verifying,
)
from knowngood.core.window import BUCKET_MS, Window
from knowngood.engine.ingest import closed_until_ms
from knowngood.engine.observe import LIVE_MS, SILENT_MS
from knowngood.engine.reconcile import Look, look
from knowngood.ports import Page
from knowngood.sim.clients import ENVIRONMENT
from knowngood.sim.engines import SimEngine
from knowngood.sim.people import Asked
from knowngood.sim.truth import Tally
from knowngood.sim.watch import Applied, Refused

if TYPE_CHECKING:
    from knowngood.sim.world import World

# The article's table, written down a second time on purpose.
MIN_REQUESTS = 20
MIN_ERRORS = 3
PROOF_CALLS = 59  # without a failure, fewer calls cannot exclude a rate of 5 % at level 5 %


def records(event: Applied, kind: str) -> list[tuple[Record, State, State]]:
    """The audit lines of a kind that an apply wrote, each with its state before and after."""
    return [
        (action, before, after)
        for change, before, after in zip(event.changes, event.before, event.after, strict=True)
        for action in change.actions
        if isinstance(action, Record) and action.kind == kind
    ]


class Checker:
    """A law. Each hook may call `fail`; the world stops at the first failure."""

    def __init__(self, world: "World") -> None:
        """A checker of one world."""
        self.world = world

    def fail(self, message: str) -> None:
        """Say what does not hold."""
        self.world.fail(type(self).__name__, message)

    def applied(self, event: Applied) -> None:
        """A transaction was carried out."""

    def refused(self, event: Refused) -> None:
        """A transaction was refused as stale."""

    def taken(
        self, engine: SimEngine, batch: wire.Batch, receipt: wire.Receipt, sent_ms: int
    ) -> None:
        """An intake has answered a flush that was sent at `sent_ms`."""

    def heard(self, client_id: str, boot: str, seq: int) -> None:
        """The store has a client's flushes up to `seq`."""

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """An engine's tick is over."""

    def paged(self, page: Page) -> None:
        """A message was delivered."""

    def asked(self, asked: Asked) -> None:
        """A person wanted a rollback."""

    def ended(self) -> None:
        """The world is over, after a calm in which everything had to settle."""


class OneOutcome(Checker):
    """P2: an operation takes effect once, in order, and never on a state that has moved on."""

    def __init__(self, world: "World") -> None:
        """A checker that has seen no rollback."""
        super().__init__(world)
        self.generation = 0
        self.switched: set[tuple[str, int]] = set()

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
        if event.generation_before != self.generation:
            self.fail(f"generation {event.generation_before} came from nowhere")
        if event.generation_after != self.generation + moved:
            self.fail(f"generation {self.generation} -> {event.generation_after}")
        self.generation = event.generation_after
        for record, before, _ in records(event, "rollback.switched"):
            self._switched(record, before)

    def _switched(self, record: Record, before: State) -> None:
        key = (before.prompt, before.route.generation if before.route else 0)
        if key in self.switched:
            self.fail(f"{key[0]}: a second rollback of generation {key[1]}")
        self.switched.add(key)
        if record.detail["automatic"] and not isinstance(before.phase, Confirming):
            self.fail(f"{key[0]}: an automatic rollback that nothing confirmed")

    def refused(self, event: Refused) -> None:
        """A refused apply leaves nothing behind."""
        if not event.untouched:
            self.fail("a refused apply changed something")


class Evidence(Checker):
    """P6, P8: an automatic rollback rests on enough real failures of what is on the route now."""

    def __init__(self, world: "World") -> None:
        """A checker that knows no route."""
        super().__init__(world)
        self.routed_ms: dict[tuple[str, str], int] = {}
        self.suspected: dict[tuple[str, int], int] = {}

    def applied(self, event: Applied) -> None:
        """Recount the evidence of each automatic rollback, then note what is on the routes."""
        for record, before, _ in records(event, "rollback.suspected"):
            until_ms = max(f["until_ms"] for f in record.detail["findings"])
            self.suspected[_of(before)] = until_ms
        for record, before, _ in records(event, "rollback.confirmed"):
            self._recount(record, before)
        for record, before, _ in records(event, "rollback.switched"):
            if record.detail["automatic"] and not records(event, "rollback.confirmed"):
                self.fail(f"{before.prompt}: switched by itself without frozen evidence")
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            moves = any(isinstance(a, MoveRoute) for a in change.actions)
            confirmed = any(
                isinstance(a, Record) and a.kind == "rollback.confirmed" for a in change.actions
            )
            if moves and change.actor == "system" and not confirmed:
                self.fail(f"{change.prompt}: the system moved a route without a breach")
            self._note(before, after)

    def _note(self, before: State, after: State) -> None:
        old = {arm.version for arm in before.route.arms} if before.route else set()
        for arm in after.route.arms if after.route else ():
            if arm.version not in old:
                # Its first calls are in the bucket that was open when it came.
                open_ms = self.world.now_ms - self.world.now_ms % BUCKET_MS
                self.routed_ms[after.prompt, arm.version] = open_ms

    def _recount(self, record: Record, before: State) -> None:
        found = [f for f in record.detail["findings"] if f["metric"] == "error_rate"]
        if not found:
            self.fail(f"{before.prompt}: a rollback without a finding")
        for finding in found:
            self._finding(finding, record.detail["windows"], before)

    def _finding(self, f: dict[str, Any], windows: list[dict[str, Any]], before: State) -> None:
        name = f"{before.prompt} {f['version']}"
        n, bad, limit = f["n"], f["bad"], f["limit"]
        if n < MIN_REQUESTS or bad < MIN_ERRORS or bad <= limit * n:
            self.fail(f"{name}: rolled back on {bad} of {n}, limit {limit:.0%}")
        frozen = next(w["sum"] for w in windows if w["since_ms"] == f["since_ms"])
        failed = sum(frozen.get("errors", {}).values())
        if (frozen["ok"] + failed, failed) != (n, bad):
            self.fail(f"{name}: the frozen window does not say {bad} of {n}")
        key = (before.environment, before.prompt, f["version"])
        own = self.world.accepted.between(key, f["since_ms"], f["until_ms"])
        # An engine may miss what another intake wrote late; it may never see what is not there.
        if own.n < n or own.bad < bad:
            self.fail(f"{name}: claims {bad} of {n}, the store took {own.bad} of {own.n}")
        if f["since_ms"] < self.routed_ms.get((before.prompt, f["version"]), 0):
            self.fail(f"{name}: evidence from before it came onto the route")
        if f["until_ms"] > closed_until_ms(self.world.now_ms):
            self.fail(f"{name}: evidence from buckets that are still open")
        if f["until_ms"] <= self.suspected.get(_of(before), f["until_ms"]):
            self.fail(f"{name}: confirmed on nothing newer than the suspicion")


def _of(state: State) -> tuple[str, int]:
    return state.prompt, state.route.generation if state.route else 0


class Recovery(Checker):
    """P6: recovery is proven by calls on the target after the switch, and by a census."""

    def __init__(self, world: "World") -> None:
        """A checker that has seen no switch."""
        super().__init__(world)
        self.moved_ms: dict[str, int] = {}
        self.propagated: set[tuple[str, int]] = set()

    def applied(self, event: Applied) -> None:
        """Recount the proof of each verified recovery."""
        for _, before, _ in records(event, "rollback.propagated"):
            self.propagated.add(_of(before))
        for record, before, _ in records(event, "rollback.verified"):
            self._recount(record, before, event.now_ms)
        for before, after in zip(event.before, event.after, strict=True):
            if after.route != before.route:
                self.moved_ms[after.prompt] = self.world.now_ms

    def _recount(self, record: Record, before: State, decided_ms: int) -> None:
        phase = before.phase
        if not isinstance(phase, Verifying):
            self.fail(f"{before.prompt}: verified while nothing was being verified")
            return
        key = (before.environment, before.prompt, phase.to_version)
        # An engine that was held between decision and switch begins its proof later than that.
        switched_ms = max(self.moved_ms[before.prompt], phase.began_ms)
        until_ms = closed_until_ms(decided_ms)
        stored = self.world.accepted.between(key, switched_ms, until_ms)
        entry = before.entry(phase.to_version)
        self._proof(before, stored, entry.baseline if entry else None)
        if _of(before) not in self.propagated:
            self.fail(f"{before.prompt}: verified before the route had arrived")
        if decided_ms == self.world.now_ms:
            self._census(before)

    def _proof(self, state: State, tally: Tally, day: Window | None) -> None:
        # A target whose own healthy day was worse is held to that day (definitions.md, Recovery).
        own = day.error_count / day.call_count if day and day.call_count >= 1_000 else 0.0
        limit = max(0.05, 1.5 * own)
        if tally.n < PROOF_CALLS and limit <= 0.05:
            self.fail(f"{state.prompt}: verified on {tally.n} calls")
        # With two intakes an engine may have missed a few calls, good ones or bad ones.
        level = 0.051 if self.world.plan.engine_count == 1 else 0.5
        if at_most(tally.bad, tally.n, limit) > level:
            self.fail(f"{state.prompt}: {tally.bad} of {tally.n} prove nothing")

    def _census(self, state: State) -> None:
        """Any engine may have verified, and nobody can be heard while an engine does not listen."""
        now_ms = self.world.now_ms
        clients = self.world.store.clients.clients(ENVIRONMENT, now_ms - SILENT_MS)
        seen = [(c.id, c.seen_ms, c.generation) for c in clients if not c.closed]
        objections = [
            self._objection(state, seen, engine.started_ms) for engine in self.world.engines
        ]
        if all(objections):
            self.fail(f"{state.prompt}: verified while {objections[0]}")

    def _objection(
        self, state: State, seen: list[tuple[str, int, int]], began_ms: int
    ) -> str | None:
        now_ms, generation = self.world.now_ms, state.route.generation if state.route else 0
        live = [c for c in seen if now_ms - max(c[1], began_ms) <= LIVE_MS]
        if behind := [name for name, _, of in live if of < generation]:
            return f"{', '.join(behind)} run an older route"
        return "everybody is silent" if seen and not live else None


class Fresh(Checker):
    """P6: what proves a recovery was not only reported after the switch, it happened after it."""

    def __init__(self, world: "World") -> None:
        """A checker that has seen no switch."""
        super().__init__(world)
        self.moved_ms: dict[str, int] = {}

    def applied(self, event: Applied) -> None:
        """Count the calls on the target by when they were really made."""
        for _, before, _ in records(event, "rollback.verified"):
            if isinstance(before.phase, Verifying):
                key = (before.environment, before.prompt, before.phase.to_version)
                moved_ms = self.moved_ms[before.prompt]
                made = self.world.accepted.made_since(key, moved_ms - moved_ms % 1_000)
                stored = self.world.accepted.between(key, moved_ms, self.world.now_ms)
                if made.n < PROOF_CALLS <= stored.n:
                    words = f"{stored.n} calls reported, {made.n} made since the switch"
                    self.fail(f"{before.prompt}: verified on {words}")
        for before, after in zip(event.before, event.after, strict=True):
            if after.route != before.route:
                self.moved_ms[after.prompt] = self.world.now_ms


def at_most(bad: int, n: int, rate: float) -> float:
    """The probability of at most `bad` failures in `n` calls at this rate, exactly."""
    term = (1 - rate) ** n
    whole = term
    for k in range(bad):
        term *= (n - k) / (k + 1) * rate / (1 - rate)
        whole += term
    return whole


class Fixpoint(Checker):
    """After a tick has done what it decided, looking again finds nothing more to do."""

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """Look again at every prompt that the tick acted on."""
        if engine.engine is None:
            return
        reconciler, until_ms = engine.engine.reconciler, engine.engine.until_ms
        for prompt in dict.fromkeys(seen.state.prompt for seen in acted):
            last = [seen for seen in acted if seen.state.prompt == prompt][-1]
            again = look(reconciler, ENVIRONMENT, prompt, until_ms, last.now_ms)
            # Siblings that were looked at later in the same tick are news, not a second thought.
            observed = replace(again.observed, siblings=last.observed.siblings)
            decision = decide(again.state, observed, again.policy, last.now_ms)
            if decision.actions:
                kinds = [type(a).__name__ for a in decision.actions]
                self.fail(f"{prompt}: decided again at once: {', '.join(kinds)}")


class Targets(Checker):
    """P7, T15: nobody is ever sent to a version that is ill, or that is not there."""

    def __init__(self, world: "World") -> None:
        """A checker that knows of no quarantine."""
        super().__init__(world)
        self.quarantined: set[tuple[str, str]] = set()

    def applied(self, event: Applied) -> None:
        """Automatic rollbacks go to good versions; every routed version has content."""
        for record, before, _ in records(event, "rollback.switched"):
            target = record.detail["to"]
            if not record.detail["automatic"]:
                continue
            if (before.prompt, target) in self.quarantined:
                self.fail(f"{before.prompt}: rolled back to {target}, which is quarantined")
            if before.standing(target) is not Standing.GOOD:
                self.fail(f"{before.prompt}: rolled back to {target}, never known good")
        for change in event.changes:
            for action in change.actions:
                if isinstance(action, Stand):
                    key = (change.prompt, action.version)
                    ill = action.standing is Standing.QUARANTINED
                    (self.quarantined.add if ill else self.quarantined.discard)(key)
        for state in event.after:
            self._content(state)

    def _content(self, state: State) -> None:
        for arm in state.route.arms if state.route else ():
            try:
                self.world.store.registry.get(state.prompt, arm.version)
            except KnowngoodError:
                self.fail(f"{state.prompt}: {arm.version} is routed and has no content")
            if (state.prompt, arm.version) in self.quarantined:
                self.fail(f"{state.prompt}: {arm.version} is routed and quarantined")


class Sound(Checker):
    """No change leaves a state that makes no sense."""

    def applied(self, event: Applied) -> None:
        """Ask core.check of every state after every change."""
        for state in event.after:
            for problem in problems(state):
                if problem.severity == "error":
                    self.fail(problem.message)


class Hands(Checker):
    """P3: no brake, hold or phase ever stops a person's rollback to a known-good version."""

    def asked(self, asked: Asked) -> None:
        """A refusal is right only when there is nothing good to go to, or it was asked for."""
        state, target, error = asked.state, asked.request.target, asked.error
        if error is None or isinstance(error, StaleState | NotConfirmed) or state.route is None:
            return
        suspect = state.route.suspect.version
        good = [
            e.version for e in state.ledger if e.standing is Standing.GOOD and e.version != suspect
        ]
        if target in good or (target is None and good):
            self.fail(f"{state.prompt}: a rollback by hand to {target or good} refused: {error}")


class Pages(Checker):
    """A person is paged at most once for one key, and for everything that needs a person."""

    def __init__(self, world: "World") -> None:
        """A checker that has seen no page."""
        super().__init__(world)
        self.keys: set[str] = set()

    def paged(self, page: Page) -> None:
        """A second delivery needs a process that died between the delivery and its note."""
        died = sum(engine.died_count for engine in self.world.engines)
        if page.key in self.keys and not died and "lost_ack" not in self.world.plan.faults:
            self.fail(f"paged twice: {page.key}")
        self.keys.add(page.key)


class Counting(Checker):
    """Evidence may be lost, never invented: a flush counts once, and only calls that were made."""

    def __init__(self, world: "World") -> None:
        """A checker that has seen no flush."""
        super().__init__(world)
        self.pending: dict[tuple[str, str, int], list[tuple[str, int]]] = {}
        self.durable: set[tuple[str, str, int]] = set()

    def taken(
        self, engine: SimEngine, batch: wire.Batch, receipt: wire.Receipt, sent_ms: int
    ) -> None:
        """Note what an intake took in."""
        if "duplicate or out of order" in receipt.ignored or not batch.rows:
            return
        flush = (batch.client_id, batch.boot, batch.seq)
        if flush in self.durable:
            self.fail(f"flush {batch.seq} of {batch.boot} was taken in twice")
        self.pending.setdefault(flush, []).append((engine.name, engine.life))
        for row in batch.rows:
            n, bad = row.window.call_count, row.window.error_count
            key = (batch.environment, row.prompt, row.version)
            self.world.accepted.taken(key, sent_ms - row.ago_ms, n, bad)

    def heard(self, client_id: str, boot: str, seq: int) -> None:
        """What was taken in by a process that still lives is written now."""
        lives = {(e.name, e.life) for e in self.world.engines if e.engine is not None}
        for flush in [f for f in self.pending if f[:2] == (client_id, boot) and f[2] <= seq]:
            takers = [taker for taker in self.pending.pop(flush) if taker in lives]
            if takers:
                self.durable.add(flush)
            if len(takers) > 1:
                self.fail(f"flush {flush[2]} of {boot} counts {len(takers)} times")

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """The store never holds more calls of a version than were made."""
        for (_, prompt, version), (n, bad) in self.world.accepted.totals.items():
            made = self.world.truth.made.get((prompt, version), [0, 0])
            if n > made[0] or bad > made[1]:
                self.fail(f"{prompt} {version}: {bad} of {n} stored, {made[1]} of {made[0]} made")


class HonestBrakes(Checker):
    """A rollback is held as upstream only while something upstream really fails."""

    SLACK_MS = 30_000  # between a look at one prompt and a look at the other

    def applied(self, event: Applied) -> None:
        """Recount the other arm, and every other prompt."""
        for record, before, _ in records(event, "rollback.held"):
            held = record.detail["brake"] == "upstream"
            if held and not self._justified(before, event.now_ms):
                self.fail(f"{before.prompt}: held without reason: {record.because}")

    def _justified(self, state: State, decided_ms: int) -> bool:
        window_ms = self.world.policy.for_prompt(state.prompt).window_ms
        until_ms = closed_until_ms(decided_ms)
        since_ms = until_ms - window_ms - self.SLACK_MS
        suspect = state.route.suspect.version if state.route else ""
        for key in self.world.accepted.lines:
            if key[1:] == (state.prompt, suspect):
                continue
            for cut_ms in range(0, window_ms + self.SLACK_MS, 1_000):
                tally = self.world.accepted.between(key, since_ms + cut_ms, until_ms)
                if tally.bad >= MIN_ERRORS and tally.n >= MIN_REQUESTS and tally.rate > 0.05:
                    return True
        return False


class Settled(Checker):
    """Liveness: after the faults all that is broken ends at a good version or with a page."""

    def __init__(self, world: "World") -> None:
        """A checker that has seen no page queued."""
        super().__init__(world)
        self.queued: list[tuple[str, int, Notify]] = []

    def applied(self, event: Applied) -> None:
        """Note every message with the generation it is about."""
        for change, before in zip(event.changes, event.before, strict=True):
            generation = before.route.generation if before.route else 0
            self.queued += [
                (change.prompt, generation, a) for a in change.actions if isinstance(a, Notify)
            ]

    def ended(self) -> None:
        """Every client is up to date, every phase has come to its end, every breach is known."""
        plan = self.world.plan
        if not plan.calms or plan.end_ms - plan.calm_ms < 200_000:
            return  # too short a calm to demand anything
        newest = self.world.store.states.generation(ENVIRONMENT)
        for client in self.world.clients:
            if client.alive and not client.ending and client.generation != newest:
                self.fail(f"{client.name} serves generation {client.generation}, not {newest}")
        if self.world.store.outbox.waiting_count():
            self.fail("a message was never delivered")
        for state in self.world.store.states.all(ENVIRONMENT):
            if state.prompt != FLEET and state.route is not None:
                self._prompt(state)

    def _prompt(self, state: State) -> None:
        assert state.route is not None
        now_ms = self.world.now_ms
        policy = self.world.policy.for_prompt(state.prompt)
        since_ms = max(state.route.since_ms, now_ms - policy.window_ms) + 2_000
        suspect = state.route.suspect.version
        key = (ENVIRONMENT, state.prompt, suspect)
        seen = self.world.accepted.between(key, since_ms, now_ms - 10_000)
        settled = now_ms - state.route.since_ms > policy.window_ms + 30_000
        ill = seen.n >= 60 and seen.bad >= 9 and seen.rate > 0.07
        well = seen.n >= 60 and seen.rate < 0.004
        match state.phase:
            case Verifying() as phase:
                if now_ms > phase.deadline_ms + 15_000:
                    self.fail(f"{state.prompt}: verifying long past its deadline")
                age_ms = now_ms - phase.began_ms
                if age_ms > 100_000 and seen.n >= 200 and well and not self._behind():
                    self.fail(f"{state.prompt}: {seen.bad} of {seen.n} and not verified")
            case Confirming() if well and settled:
                self.fail(f"{state.prompt}: still confirming a breach that is over")
            case _:
                pass
        if settled and ill and not isinstance(state.phase, Verifying) and not self._known(state):
            self.fail(f"{state.prompt}: {suspect} fails ({seen.bad} of {seen.n}), nobody knows")

    def _behind(self) -> bool:
        newest = self.world.store.states.generation(ENVIRONMENT)
        return any(c.generation < newest for c in self.world.clients if c.alive)

    def _known(self, state: State) -> bool:
        """Whether a critical page about this route went out, or about the rollback to it."""
        generation = state.route.generation if state.route else 0
        return any(
            prompt == state.prompt and at == generation and page.severity is Severity.CRITICAL
            for prompt, at, page in self.queued
        )


def history(world: "World", prompt: str | None = None) -> list[AuditEntry]:
    """The whole audit log of a world."""
    return world.store.log.read(ENVIRONMENT, prompt, limit=1_000_000)


LAWS: tuple[type[Checker], ...] = (
    OneOutcome,
    Evidence,
    Recovery,
    Fixpoint,
    Targets,
    Sound,
    Hands,
    Pages,
    Counting,
    HonestBrakes,
    Fresh,
    Settled,
)

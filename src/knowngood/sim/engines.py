"""Simulated engines: the real tick on a store where the process may die or be held."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from knowngood import wire
from knowngood.core.errors import StaleState, StoreUnavailable
from knowngood.core.policy import PolicyFile
from knowngood.engine.ingest import Ingest
from knowngood.engine.loop import Engine
from knowngood.engine.reconcile import Look, _guarded, new_reconciler
from knowngood.ports import Notifier, Store
from knowngood.sim.faults import Crash, FlakyPager, Gate, Injected, Nemesis, Stall, sim_store

STALL_MAX_MS = 200_000  # how long a process is held at the worst
RESTART_MAX_MS = 30_000
JSON_EVERY = 10  # the JSON of every flush would be a sixth of the run, and has tests of its own


class Host(Protocol):
    """What an engine's process needs of its world."""

    @property
    def now_ms(self) -> int:
        """The time of the world."""

    def later(self, delay_ms: int, what: Callable[[], object]) -> None:
        """Do something after a while."""

    def say(self, who: str, what: str) -> None:
        """Write a line into the trace."""

    def ticked(self, engine: "SimEngine", acted: list[Look]) -> None:
        """A tick is over."""

    def surprised(self, who: str, error: Exception) -> None:
        """Something was raised that nothing injected."""


@dataclass(slots=True)
class SimEngine:
    """One process with an intake and a loop. Its memory goes when it dies; the store stays."""

    name: str
    host: Host
    shared: Store
    pager: Notifier
    policy: PolicyFile
    nemesis: Nemesis
    tick_ms: int
    gate: Gate = field(init=False)
    engine: Engine | None = None
    held: bool = False  # between a decision and its apply
    frozen: bool = False  # the whole process stands still, its intake too
    life: int = 0
    stall_ms: int | None = None  # the next stall's length, when a scenario sets it
    stalled: Stall | None = None
    died_count: int = 0
    started_ms: int = 0

    def __post_init__(self) -> None:
        self.gate = Gate(self.nemesis)

    def start(self) -> None:
        """Begin with an empty memory."""
        store = sim_store(self.shared, self.gate)
        reconciler = new_reconciler(store, self.policy, self.host.now_ms)
        reconciler.on_error = lambda _, error: self._failed(error)
        self.engine = Engine(
            store=store,
            ingest=Ingest(store, lambda: self.policy.scores),
            reconciler=reconciler,
            notifiers={"pager": FlakyPager(self.pager, self.gate)},
            on_error=lambda _, error: self._failed(error),
            compacted_ms=self.host.now_ms,
        )
        self.held = self.frozen = False
        self.stalled = None
        self.life += 1
        self.started_ms = self.host.now_ms
        self.host.say(self.name, "starts")

    @property
    def reachable(self) -> bool:
        """Whether the intake answers."""
        return self.engine is not None and not self.frozen

    def beat(self) -> None:
        """One tick, and the next one after it."""
        self.host.later(self.tick_ms, self.beat)
        engine = self.engine
        if engine is not None and not self.held:
            self._alive(lambda: engine.tick(self.host.now_ms))

    def _alive(self, part: Callable[[], list[Look]]) -> None:
        """Run a part of a tick in which the process may die or be held."""
        try:
            acted = part()
        except Crash as crash:
            self._die(str(crash))
        except Stall as stall:
            self._hold(stall)
        else:
            self.host.ticked(self, acted)

    def take(self, batch: wire.Batch) -> wire.Receipt | None:
        """Take a flush in; None when the process does not answer."""
        if self.engine is None or self.frozen:
            return None
        decoded = batch
        refused: Mapping[str, int] = {}
        if batch.seq % JSON_EVERY == 0:
            decoded, refused = wire.decode_batch(wire.encode_batch(batch))
        try:
            return self.engine.ingest.take(decoded, refused, self.host.now_ms)
        except StoreUnavailable:
            return None

    def _hold(self, stall: Stall) -> None:
        """Stand still with a decision in hand, and carry it out when the process goes on."""
        length_ms = self.nemesis.between_ms(500, STALL_MAX_MS)
        if self.stall_ms is not None:
            length_ms, self.stall_ms = self.stall_ms, None
        elif self.nemesis.rng.random() < 0.5:
            length_ms //= 20
        self.held = True
        self.frozen = self.nemesis.rng.random() < 0.5
        life = self.life
        what = "frozen" if self.frozen else "held"
        self.host.say(self.name, f"{what} for {length_ms} ms before an apply")
        self.stalled = stall
        self.host.later(length_ms, lambda: self._go_on(stall, life))

    def release(self) -> None:
        """Let a held process go on at once."""
        if self.stalled is not None:
            self._go_on(self.stalled, self.life)

    def _go_on(self, stall: Stall, life: int) -> None:
        if self.engine is None or self.life != life or self.stalled is not stall:
            return
        self.held = self.frozen = False
        self.stalled = None
        try:
            self.shared.states.apply(stall.changes, stall.now_ms)
            self.host.say(self.name, "goes on: applied late")
        except StaleState:
            self.host.say(self.name, "goes on: its decision was stale")
        except Exception as error:
            self._failed(error)
        self._alive(lambda: self._rest_of_tick(stall))

    def _rest_of_tick(self, stall: Stall) -> list[Look]:
        """What a held process does before its next tick: it goes on with the time it began with."""
        assert self.engine is not None
        reconciler, until_ms, now_ms = self.engine.reconciler, self.engine.until_ms, stall.now_ms
        change = stall.changes[0]
        reconciler.wake((change.environment, change.prompt), now_ms)
        acted: list[Look] = []
        while reconciler.due and reconciler.due[0][0] <= now_ms:
            at_ms, key = heapq.heappop(reconciler.due)
            if reconciler.next_ms.get(key) == at_ms:
                del reconciler.next_ms[key]
                acted += _guarded(reconciler, key, until_ms, now_ms)
        return acted

    def _die(self, point: str) -> None:
        self.engine = None
        self.died_count += 1
        back_ms = self.nemesis.between_ms(200, RESTART_MAX_MS)
        self.host.say(self.name, f"dies at {point}, back in {back_ms} ms")
        self.host.later(back_ms, self.start)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, Injected):
            self.host.surprised(self.name, error)

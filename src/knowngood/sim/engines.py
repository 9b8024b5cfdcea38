"""Simulated engines: the real tick on a store where the process may die or be held."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from knowngood import wire
from knowngood.core.errors import StaleState, StoreUnavailable
from knowngood.core.policy import PolicyFile
from knowngood.engine.ingest import Ingest
from knowngood.engine.loop import Engine, begin_ms
from knowngood.engine.reconcile import Look, _guarded, new_reconciler
from knowngood.engine.retain import Sweep
from knowngood.ports import Notifier, Store
from knowngood.sim.faults import Crash, FlakyNotifier, Gate, Injected, Nemesis, Stall, sim_store

STALL_MAX_MS = 200_000  # how long a process is held at the worst
RESTART_MAX_MS = 30_000
JSON_EVERY = 10  # the JSON of every flush would be a sixth of the run, and has tests of its own
# By how much a wall clock is set wrong, and for how long.
SKEWS_MS = (-3_600_000, -30_000, 30_000, 600_000, 3_600_000)
SYNCHRONISED_MS = (-500, -100, 100, 500)  # what is left of it where clocks are kept in step
SKEW_LASTS_MS = (10_000, 200_000)


class Host(Protocol):
    """What an engine's process needs of its world. `acting` is the engine that is at work."""

    acting: "SimEngine | None"

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
    """One process with an intake and a loop. Its memory goes when it dies; the store stays.

    `well_since_ms` is when, by the world's time, something last stood in the way of its work.
    """

    name: str
    host: Host
    shared: Store
    notifiers: Mapping[str, Notifier]
    policy: PolicyFile
    nemesis: Nemesis
    tick_ms: int
    skews_ms: tuple[int, ...] = SKEWS_MS
    sweep_ms: tuple[int, int] | None = None  # how soon and how often it purges; None: as in life
    gate: Gate = field(init=False)
    engine: Engine | None = None
    held: bool = False  # between a decision and its apply
    frozen: bool = False  # the whole process stands still, its intake too
    life: int = 0
    stall_ms: int | None = None  # the next stall's length, when a scenario sets it
    stalled: Stall | None = None
    died_count: int = 0
    started_ms: int = 0  # by its own clock
    well_since_ms: int = 0
    skew_ms: int = 0  # how wrong the machine's wall clock is
    offset_ms: int = 0  # how wrong the process' own clock is

    def __post_init__(self) -> None:
        self.gate = Gate(self.nemesis)

    @property
    def clock_ms(self) -> int:
        """The time by the process' own clock."""
        return self.host.now_ms + self.offset_ms

    def start(self) -> None:
        """Begin with an empty memory, and with the wall clock's time.

        As server.app has it: never before what the store knows of, and afterwards carried on by a
        clock that nobody can set.
        """
        now_ms = begin_ms(self.shared, self.host.now_ms + self.skew_ms)
        self.offset_ms = now_ms - self.host.now_ms
        store = sim_store(self.shared, self.gate)
        reconciler = new_reconciler(store, self.policy, now_ms)
        reconciler.on_error = lambda _, error: self._failed(error)
        self.engine = Engine(
            store=store,
            ingest=Ingest(store, lambda: self.policy.scores),
            reconciler=reconciler,
            notifiers={n: FlakyNotifier(inner, self.gate) for n, inner in self.notifiers.items()},
            on_error=lambda _, error: self._failed(error),
            compacted_ms=now_ms,
            sweep=Sweep(*self.sweep_ms) if self.sweep_ms else Sweep(),
        )
        self.held = self.frozen = False
        self.stalled = None
        self.life += 1
        self.started_ms = now_ms
        self.well_since_ms = self.host.now_ms
        wrong = f", its clock is {self.offset_ms / 1000:+g} s wrong" if self.offset_ms else ""
        self.host.say(self.name, f"starts{wrong}")

    @property
    def reachable(self) -> bool:
        """Whether the intake answers."""
        return self.engine is not None and not self.frozen

    def beat(self) -> None:
        """One tick, and the next one after it."""
        self.host.later(self.tick_ms, self.beat)
        if self.nemesis.strikes("clock"):
            self._set_clock()
        engine = self.engine
        if engine is not None and not self.held:
            self._alive(lambda: engine.tick(self.clock_ms))

    def _alive(self, part: Callable[[], list[Look]]) -> None:
        """Run a part of a tick in which the process may die or be held."""
        self.host.acting = self
        try:
            acted = part()
        except Crash as crash:
            self.die(str(crash))
        except Stall as stall:
            self._hold(stall)
        else:
            self.host.ticked(self, acted)
        finally:
            self.host.acting = None

    def take(self, batch: wire.Batch) -> wire.Receipt | None:
        """Take a flush in; None when the process does not answer."""
        if self.engine is None or self.frozen:
            return None
        decoded = batch
        refused: Mapping[str, int] = {}
        if batch.seq % JSON_EVERY == 0:
            decoded, refused = wire.decode_batch(wire.encode_batch(batch))
        try:
            return self.engine.ingest.take(decoded, refused, self.clock_ms)
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
        self.well_since_ms = self.host.now_ms
        self.host.acting = self
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

    def die(self, point: str, back_ms: int | None = None) -> None:
        """End at a point, and begin again after a while."""
        self.engine = None
        self.died_count += 1
        if back_ms is None:
            back_ms = self.nemesis.between_ms(200, RESTART_MAX_MS)
        self.host.say(self.name, f"dies at {point}, back in {back_ms} ms")
        self.host.later(back_ms, self.start)

    def _set_clock(self) -> None:
        """The machine's wall clock is set wrong for a while; only who starts meanwhile sees it."""
        self.skew_ms = self.nemesis.rng.choice(self.skews_ms)
        self.host.say(self.name, f"wall clock {self.skew_ms / 1000:+g} s")
        self.host.later(self.nemesis.between_ms(*SKEW_LASTS_MS), self._right_clock)
        if self.engine is not None and self.nemesis.rng.random() < 0.5:
            self.die("a pulled plug")

    def _right_clock(self) -> None:
        self.skew_ms = 0
        self.host.say(self.name, "wall clock right again")

    def _failed(self, error: Exception) -> None:
        self.well_since_ms = self.host.now_ms
        if not isinstance(error, Injected):
            self.host.surprised(self.name, error)

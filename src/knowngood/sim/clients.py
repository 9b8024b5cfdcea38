"""Simulated processes: they choose a version for each call, count what happened, and report it.

A process keeps the rules of the SDK's outbox: one flush under way at a time, repeated under its
sequence number until it is answered, rows of at most five minutes, older generations refused.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from knowngood import wire
from knowngood.core.model import Route
from knowngood.core.routing import choose
from knowngood.core.window import Window
from knowngood.sim.faults import Nemesis
from knowngood.sim.truth import Truth

SECOND_MS = 1_000
ROW_AGE_MAX_MS = 300_000  # as sdk.outbox
ROWS_PER_FLUSH_MAX = 500  # as sdk.outbox
IDLE_FLUSH_MS = 5_000  # as sdk.outbox
POLL_MS = 5_000  # how often a process asks for a snapshot without being told of one
UNITS = 10_000
ENVIRONMENT = "production"

CallKey = tuple[str, str, int]  # prompt, version, second


class Server(Protocol):
    """What a process can reach of the outside, with delays and losses on the way."""

    def load(self, prompt: str, at_ms: int) -> float:
        """Calls a second that one process gets for a prompt."""

    def post(self, client: "SimClient", batch: wire.Batch) -> None:
        """Send a flush; `answered` is called if and when a receipt comes back."""

    def ask_snapshot(self, client: "SimClient") -> None:
        """Ask for the routes; `snapshot` is called if and when they come."""

    def say(self, who: str, what: str) -> None:
        """Write a line into the trace."""


@dataclass(slots=True)
class _Flight:
    """A flush that was not answered yet."""

    seq: int
    rows: tuple[tuple[CallKey, int, Mapping[str, int]], ...]
    closing: bool


@dataclass(slots=True)
class SimClient:
    """One process. `up` and `down` tell which directions of its network work."""

    name: str
    server: Server
    truth: Truth
    nemesis: Nemesis
    rng: random.Random
    begun_ms: int
    home: int = 0
    boot_count: int = 1
    up: bool = True
    down: bool = True
    alive: bool = True
    ending: bool = False
    deaf: bool = False  # it never asks for a newer snapshot
    generation: int = 0
    routes: dict[str, Route] = field(default_factory=dict)
    counts: dict[CallKey, list[int]] = field(default_factory=dict)
    kinds: dict[CallKey, str] = field(default_factory=dict)
    flight: _Flight | None = None
    seq: int = 0
    told_ms: int | None = None
    told_generation: int = -1
    polled_ms: int = 0
    made_until_ms: int = 0

    @property
    def boot(self) -> str:
        """The name of this run of the process."""
        return f"{self.name}.{self.boot_count}"

    def work(self, now_ms: int) -> None:
        """Make the calls of every whole second since the last time, on the routes of now."""
        begin_ms = max(self.made_until_ms, self.begun_ms // SECOND_MS * SECOND_MS)
        end_ms = now_ms // SECOND_MS * SECOND_MS
        for second_ms in range(begin_ms, end_ms, SECOND_MS):
            for prompt, route in self.routes.items():
                self._calls(prompt, route, second_ms)
        self.made_until_ms = max(self.made_until_ms, end_ms)

    def _calls(self, prompt: str, route: Route, second_ms: int) -> None:
        load = self.server.load(prompt, second_ms)
        count = int(load) + (self.rng.random() < load % 1)
        for _ in range(count):
            unit = f"user-{self.rng.randrange(UNITS)}" if len(route.arms) > 1 else ""
            version = choose(route, unit).version
            key = (prompt, version)
            own, outage = (
                self.truth.own_rate(key, second_ms),
                self.truth.outage_rate(key, second_ms),
            )
            drawn = self.rng.random()
            bad = drawn < max(own, outage)
            row = self.counts.setdefault((prompt, version, second_ms), [0, 0])
            row[bad] += 1
            if bad:
                self.kinds[prompt, version, second_ms] = "provider" if outage > own else "prompt"
            self.truth.count(key, 1, int(bad))

    def beat(self, now_ms: int) -> None:
        """One second of a process: work, ask for news, report."""
        self.work(now_ms)
        if now_ms - self.polled_ms >= POLL_MS:
            self.poll(now_ms)
        batch = self._next_batch(now_ms)
        if batch is not None:
            self.server.post(self, batch)

    def poll(self, now_ms: int) -> None:
        """Ask for a newer snapshot."""
        self.polled_ms = now_ms
        if not self.deaf:
            self.server.ask_snapshot(self)

    def _next_batch(self, now_ms: int) -> wire.Batch | None:
        if self.flight is None:
            self._drop_old(now_ms)
            quiet = not self.counts and not self.ending and self.generation == self.told_generation
            if quiet and self.told_ms is not None and now_ms - self.told_ms < IDLE_FLUSH_MS:
                return None
            keys = list(self.counts)[:ROWS_PER_FLUSH_MAX]
            self.seq += 1
            rows = tuple((k, *self._window(k)) for k in keys)
            self.flight = _Flight(self.seq, rows, self.ending and not self.counts)
        flight = self.flight
        return wire.Batch(
            client_id=self.name,
            boot=self.boot,
            seq=flight.seq,
            environment=ENVIRONMENT,
            generation=self.generation,
            rows=tuple(
                wire.Row(k[0], k[1], max(0, now_ms - k[2]), Window(ok=ok, errors=errors))
                for k, ok, errors in flight.rows
            ),
            closing=flight.closing,
        )

    def _window(self, key: CallKey) -> tuple[int, Mapping[str, int]]:
        ok, bad = self.counts.pop(key)
        kind = self.kinds.pop(key, "prompt")
        return ok, {kind: bad} if bad else {}

    def _drop_old(self, now_ms: int) -> None:
        for key in [k for k in self.counts if now_ms - k[2] > ROW_AGE_MAX_MS]:
            del self.counts[key]
            self.kinds.pop(key, None)

    def answered(self, batch: wire.Batch, receipt: wire.Receipt, now_ms: int) -> None:
        """A receipt has come back; it may be of an earlier try, or of an earlier life."""
        if not self.alive or self.flight is None:
            return
        if batch.boot != self.boot or batch.seq != self.flight.seq:
            return
        self.flight = None
        self.told_ms, self.told_generation = now_ms, batch.generation
        if batch.closing:
            self.alive = False
        elif receipt.generation > self.generation:
            self.poll(now_ms)

    def snapshot(self, generation: int, routes: Mapping[str, Route], now_ms: int) -> None:
        """The routes of a generation have come; an older generation than one's own is refused."""
        if not self.alive or generation <= self.generation:
            return
        self.work(now_ms)
        self.generation, self.routes = generation, dict(routes)
        self.server.say(self.name, f"runs generation {generation}")

    def restart(self, keeps_routes: bool, now_ms: int) -> None:
        """Begin again under the same name: what was not sent is lost."""
        self.boot_count += 1
        self.seq, self.flight, self.told_ms, self.told_generation = 0, None, None, -1
        self.counts.clear()
        self.kinds.clear()
        self.begun_ms = now_ms
        if not keeps_routes:
            self.generation, self.routes = 0, {}

"""Simulated processes: they choose a version for each call, count what happened, and report it.

A process keeps the rules of the SDK's outbox: one flush under way at a time, repeated under its
sequence number until it is answered. What it serves from it takes with the SDK's own code.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from knowngood import wire
from knowngood.core.model import Route
from knowngood.core.window import Window
from knowngood.sdk.outbox import Outbox
from knowngood.sdk.recorder import Recorder
from knowngood.sdk.snapshot import BadSnapshot, Catalog, Entry
from knowngood.sdk.transport import Answer, Transport
from knowngood.sdk.worker import Worker
from knowngood.sim.traffic import Traffic
from knowngood.sim.truth import Truth
from knowngood.sim.units import Arms
from knowngood.sim.work import SECOND_MS, CallKey, Work

ROWS_PER_FLUSH_MAX = 500  # as sdk.outbox
IDLE_FLUSH_MS = 5_000  # as sdk.outbox
POLL_MS = 1_000  # as sdk.worker
JUDGED_EVERY_MS = 5_000  # whoever gives late labels gives several at once
ENVIRONMENT = "production"
STAGING = "staging"
NOWHERE = Transport("http://127.0.0.1:1", None, 1.0)  # never used: the world carries the answers


class Server(Protocol):
    """What a process can reach of the outside, with delays and losses on the way."""

    def post(self, client: "SimClient", batch: wire.Batch) -> None:
        """Send a flush; `answered` is called if and when a receipt comes back."""

    def ask_snapshot(self, client: "SimClient") -> None:
        """Ask for the routes; `snapshot` is called if and when newer ones come."""

    def serves(self, client: "SimClient", before: int) -> None:
        """The process serves from another snapshot; `before` was the generation it had."""

    def say(self, who: str, what: str) -> None:
        """Write a line into the trace."""


@dataclass(slots=True)
class _Flight:
    """A flush that was not answered yet."""

    seq: int
    rows: tuple[tuple[CallKey, Window], ...]
    labels: tuple[wire.LateScore, ...]
    closing: bool
    units: tuple[wire.UnitGroup, ...] = ()


@dataclass(slots=True)
class SimClient:
    """One process. `up` and `down` tell which directions of its network work."""

    name: str
    server: Server
    work: Work
    begun_ms: int
    home: int = 0
    boot_count: int = 1
    up: bool = True
    down: bool = True
    alive: bool = True
    ending: bool = False
    deaf: bool = False  # it never asks for a newer snapshot
    worker: Worker = field(init=False)
    generation: int = 0
    routes: dict[str, Route] = field(default_factory=dict)
    compared: dict[str, Arms] = field(default_factory=dict)
    flight: _Flight | None = None
    seq: int = 0
    told_ms: int | None = None
    told_generation: int = -1
    polled_ms: int = 0
    judged_ms: int = 0
    made_until_ms: int = 0

    def __post_init__(self) -> None:
        self.worker = self._worker(None)

    def _worker(self, catalog: Catalog | None) -> Worker:
        """The SDK's worker, for what it does with snapshots; its clock and its network are ours."""
        recorder = Recorder(self.environment, lambda: 0.0, lambda: 0.0)
        return Worker(recorder, Outbox(recorder, self.name, "sim"), NOWHERE, self._serve, catalog)

    @property
    def environment(self) -> str:
        """The environment that the process serves."""
        return self.work.environment

    @property
    def boot(self) -> str:
        """The name of this run of the process."""
        return f"{self.name}.{self.boot_count}"

    def catch_up(self, now_ms: int) -> None:
        """Make the calls of every whole second since the last time, on the routes of now."""
        begin_ms = max(self.made_until_ms, self.begun_ms // SECOND_MS * SECOND_MS)
        end_ms = now_ms // SECOND_MS * SECOND_MS
        for second_ms in range(begin_ms, end_ms, SECOND_MS):
            for prompt, route in self.routes.items():
                self.work.second(prompt, route, second_ms, self.compared.get(prompt))
        self.made_until_ms = max(self.made_until_ms, end_ms)

    def beat(self, now_ms: int) -> None:
        """One second of a process: work, ask for news, report."""
        self.catch_up(now_ms)
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
        flight = self.flight or self._next_flight(now_ms)
        if flight is None:
            return None
        self.flight = flight
        return wire.Batch(
            client_id=self.name,
            boot=self.boot,
            seq=flight.seq,
            environment=self.environment,
            generation=self.generation,
            rows=tuple(
                wire.Row(prompt, version, max(0, now_ms - at_ms), window)
                for (prompt, version, at_ms), window in flight.rows
            ),
            late_scores=flight.labels,
            closing=flight.closing,
            units=flight.units,
        )

    def _next_flight(self, now_ms: int) -> _Flight | None:
        work = self.work
        work.drop_old(now_ms)
        labels = self._labels(now_ms)
        quiet = not (work.rows or labels or self.ending or self.generation != self.told_generation)
        if quiet and self.told_ms is not None and now_ms - self.told_ms < IDLE_FLUSH_MS:
            return None
        self.seq += 1
        keys = list(work.rows)[:ROWS_PER_FLUSH_MAX]
        rows = tuple((key, work.rows.pop(key).window()) for key in keys)
        units = work.units.next_groups()
        return _Flight(self.seq, rows, labels, self.ending and not work.rows, units)

    def _labels(self, now_ms: int) -> tuple[wire.LateScore, ...]:
        if not self.work.late or now_ms - self.judged_ms < JUDGED_EVERY_MS:
            return ()
        self.judged_ms = now_ms
        return self.work.due_labels(now_ms)

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

    def snapshot(self, generation: int, body: bytes, now_ms: int) -> None:
        """A server's answer has come. The SDK takes it, or refuses one that is older than its own.

        The calls up to now were made on the routes from before it.
        """
        if not self.alive or generation == self.generation:
            return
        self.catch_up(now_ms)
        try:
            self.worker._take(Answer(200, body))
        except BadSnapshot:
            self.server.say(self.name, f"refuses generation {generation}")

    def _serve(self, catalog: Catalog) -> None:
        before, self.generation = self.generation, catalog.snapshot.generation
        self.routes = {name: p.route for name, p in catalog.snapshot.prompts.items()}
        self.compared = {name: found for name, e in catalog.entries.items() if (found := _arms(e))}
        self.server.say(self.name, f"runs generation {self.generation}")
        self.server.serves(self, before)

    def restart(self, keeps_routes: bool, now_ms: int) -> None:
        """Begin again under the same name: what was not sent is lost."""
        self.boot_count += 1
        self.seq, self.flight, self.told_ms, self.told_generation = 0, None, None, -1
        self.work.lose()
        self.begun_ms = now_ms
        held = self.worker._catalog if keeps_routes else None  # as from its file
        self.worker = self._worker(held)
        if held is None:
            self.generation, self.routes, self.compared = 0, {}, {}


def _arms(entry: Entry) -> Arms:
    """The arms of a prompt that are compared, by version; empty if none are."""
    both = (entry.control, entry.candidate)
    return {served.version: served.arm for served in both if served and served.arm}


def process(
    name: str,
    environment: str,
    server: Server,
    truth: Truth,
    traffic: Traffic,
    rng: random.Random,
    now_ms: int,
    faults: Mapping[str, object] | frozenset[str] = frozenset(),
    astray_bp: int = 0,
) -> SimClient:
    """A process that begins now and knows nothing yet."""
    work = Work(name, environment, truth, traffic, rng, raw_retries="raw_retries" in faults)
    work.units.astray_bp = astray_bp
    return SimClient(name, server, work, now_ms)

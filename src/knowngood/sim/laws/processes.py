"""Laws of the processes: what they serve (P4), how soon it reaches them (P5), and their silence."""

from typing import TYPE_CHECKING

from knowngood.core.look import blind_notice
from knowngood.core.model import Route, State
from knowngood.engine.observe import LIVE_MS, SILENT_MS
from knowngood.engine.reconcile import Look
from knowngood.sim.clients import POLL_MS, SimClient
from knowngood.sim.engines import SimEngine
from knowngood.sim.laws.base import Checker, StateKey, key_of, moved, name_of
from knowngood.sim.network import LAG_MS, NETWORK_MS
from knowngood.sim.watch import Applied

if TYPE_CHECKING:
    from knowngood.sim.world import World

Served = dict[str, tuple[tuple[tuple[str, int], ...], str]]  # prompt -> arms, salt


class Serving(Checker):
    """P4: a process never goes back to an older generation, and is never without an answer.

    What it serves under a generation's number is what that generation is.
    """

    def __init__(self, world: "World") -> None:
        """A checker that knows no generation."""
        super().__init__(world)
        self.routes: dict[str, Served] = {}
        self.generations: dict[tuple[str, int], Served] = {}

    def applied(self, event: Applied) -> None:
        """Note what each generation is."""
        for _, after in moved(event):
            assert after.route is not None
            served = self.routes.setdefault(after.environment, {})
            served[after.prompt] = _answer(after.route)
            self.generations[after.environment, event.generation_after] = dict(served)

    def serves(self, client: SimClient, before: int) -> None:
        """Hold what a process serves against what it had, and what there is."""
        generation = client.generation
        if generation < before:
            self.fail(f"{client.name} goes back from generation {before} to {generation}")
        served = {prompt: _answer(route) for prompt, route in client.routes.items()}
        if served != self.generations.get((client.environment, generation), {}):
            self.fail(f"{client.name} serves something else than generation {generation}")

    def beat(self, client: SimClient) -> None:
        """Whoever had an answer once has one for good."""
        if client.generation and not client.routes:
            self.fail(f"{client.name} has no answer")


def _answer(route: Route) -> tuple[tuple[tuple[str, int], ...], str]:
    return tuple((arm.version, arm.weight_bp) for arm in route.arms), route.salt


class Arrival(Checker):
    """P5: a decision reaches every process that can be reached, within a few seconds.

    That is two of its polls and the way there and back; with a slow network that much longer, and
    once more where a cache on the way may answer with something older.
    """

    def __init__(self, world: "World") -> None:
        """A checker of a world's network, with the bound that it has to keep."""
        super().__init__(world)
        faults = world.plan.faults
        way_ms = 2 * (LAG_MS[1] if "lag" in faults else NETWORK_MS[1])
        once_ms = POLL_MS + world.plan.beat_ms + way_ms
        self.bound_ms = once_ms * (2 if "old_snapshot" in faults else 1) + world.plan.beat_ms
        self.newest: dict[str, tuple[int, int]] = {}  # environment -> generation, since when
        self.reached_ms: dict[str, int] = {}  # process -> since when nothing stands in its way

    def applied(self, event: Applied) -> None:
        """Note when each generation began."""
        if event.generation_after != event.generation_before:
            environment = event.changes[0].environment
            self.newest[environment] = (event.generation_after, self.world.now_ms)

    def beat(self, client: SimClient) -> None:
        """A process that could be reached all the time has the newest generation by now."""
        now_ms = self.world.now_ms
        server = self.world.network.server_of(client)
        if not (client.up and client.down) or client.deaf or client.ending or server is None:
            self.reached_ms[client.name] = now_ms
            return
        generation, since_ms = self.newest.get(client.environment, (0, now_ms))
        if client.generation >= generation:
            return
        reached_ms = self.reached_ms.get(client.name, 0)
        since_ms = max(since_ms, reached_ms, client.begun_ms, server.well_since_ms)
        if now_ms - since_ms > self.bound_ms:
            words = f"generation {client.generation} {now_ms - since_ms} ms after {generation}"
            self.fail(f"{client.name} serves {words}")


class Timely(Checker):
    """A law with a time limit: what must not be may not stay so for longer.

    The time counts from when it was first seen, and only while an engine was well.
    """

    WITHIN_MS = 0  # and two ticks
    EVERY_MS = 2_000  # how often it looks, for the simulator's speed

    def __init__(self, world: "World") -> None:
        """A checker that has seen nothing wrong."""
        super().__init__(world)
        self.since_ms: dict[StateKey, int] = {}
        self.looked_ms = 0

    def wrong(self, state: State, engine: SimEngine) -> str | None:
        """What must not be, in words; None when all is well."""
        raise NotImplementedError

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """Look at every prompt, with the clock of the engine that has just looked."""
        now_ms = self.world.now_ms
        if now_ms - self.looked_ms < self.EVERY_MS:
            return
        self.looked_ms = now_ms
        wells = [e.well_since_ms for e in self.world.engines if e.engine and not e.held]
        well_since_ms = min(wells, default=now_ms)
        for state in self.world.store.states.all():
            words = self.wrong(state, engine)
            if words is None:
                self.since_ms.pop(key_of(state), None)
                continue
            since_ms = self.since_ms.setdefault(key_of(state), now_ms)
            long_ms = now_ms - max(since_ms, well_since_ms)
            if long_ms > self.WITHIN_MS + 2 * self.world.plan.tick_ms:
                self.fail(f"{name_of(state)}: {words} for {long_ms} ms")


class Blindness(Timely):
    """P6: when every process falls silent people are told, within some seconds."""

    WITHIN_MS = 15_000
    REPORTED_MS = 300_000  # only a version that was reported on lately is missed at once

    def wrong(self, state: State, engine: SimEngine) -> str | None:
        """All are silent, and nobody was told."""
        route = state.route
        if route is None or blind_notice(route.suspect.version) in state.told:
            return None
        line = self.world.accepted.lines.get((*key_of(state), route.suspect.version))
        expected_ms = max(engine.clock_ms - self.REPORTED_MS, route.since_ms)
        if line is None or line.order[-1] <= expected_ms:
            return None
        silent = all(hears_nobody(each, state.environment) for each in self.world.engines)
        return "blind, and nobody is told" if silent else None


def hears_nobody(engine: SimEngine, environment: str) -> bool:
    """Whether everybody that an engine expects to hear of has fallen silent."""
    now_ms = engine.clock_ms
    seen = engine.shared.clients.clients(environment, now_ms - SILENT_MS)
    expected = [max(c.seen_ms, engine.started_ms) for c in seen if not c.closed]
    return bool(expected) and max(expected) < now_ms - LIVE_MS - engine.tick_ms

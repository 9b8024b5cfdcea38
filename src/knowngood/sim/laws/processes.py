"""Laws of the processes: what they serve (P4), how soon it reaches them (P5), and their silence."""

from typing import TYPE_CHECKING

from knowngood.core.look import blind_notice
from knowngood.core.model import Route, State, Steady
from knowngood.engine.ingest import closed_until_ms
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


class Promptness(Checker):
    """P5: a breach that nobody could doubt is decided on within ten seconds and two ticks.

    In twelve of the last twenty seconds of a version that serves everybody at least half of the
    calls failed, forty calls in all; and an engine was well all the time since.
    """

    WITHIN_MS = 10_000
    LOOKS_BACK_MS = 20_000
    SECONDS, CALLS = 12, 40
    EVERY_MS = 2_000  # how often it looks, for the simulator's speed

    def __init__(self, world: "World") -> None:
        """A checker that has seen no breach."""
        super().__init__(world)
        self.since_ms: dict[StateKey, int] = {}
        self.looked_ms = 0

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """Look at every route with the engine's own eyes."""
        now_ms = self.world.now_ms
        if now_ms - self.looked_ms < self.EVERY_MS:
            return
        self.looked_ms = now_ms
        for state in self.world.store.states.all():
            key = key_of(state)
            if not self._beyond_doubt(state, engine):
                self.since_ms.pop(key, None)
                continue
            since_ms = self.since_ms.setdefault(key, now_ms)
            wells = [e.well_since_ms for e in self.world.engines if e.engine and not e.held]
            since_ms = max(since_ms, min(wells, default=now_ms))
            if now_ms - since_ms > self.WITHIN_MS + 2 * self.world.plan.tick_ms:
                self.fail(f"{name_of(state)}: failing for {now_ms - since_ms} ms, no decision")

    def _beyond_doubt(self, state: State, engine: SimEngine) -> bool:
        route = state.route
        if route is None or route.candidate or state.incident:
            return False
        if not isinstance(state.phase, Steady):
            return False
        until_ms = closed_until_ms(engine.clock_ms)
        since_ms = max(until_ms - self.LOOKS_BACK_MS, route.since_ms)
        key = (*key_of(state), route.suspect.version)
        ticks = [counts for _, counts in self.world.accepted.ticks(key, since_ms, until_ms)]
        failing = sum(1 for n, bad, *_ in ticks if bad * 2 >= n > 0)
        calls, bad = sum(counts[0] for counts in ticks), sum(counts[1] for counts in ticks)
        return failing >= self.SECONDS and calls >= self.CALLS and bad * 2 >= calls


class Blindness(Checker):
    """P6: when every process falls silent people are told, within some seconds."""

    WITHIN_MS = 15_000
    REPORTED_MS = 300_000  # only a version that was reported on lately is missed at once
    EVERY_MS = 2_000

    def __init__(self, world: "World") -> None:
        """A checker that has seen no silence."""
        super().__init__(world)
        self.since_ms: dict[StateKey, int] = {}
        self.looked_ms = 0

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """Whoever is silent, and what is told of it."""
        now_ms = self.world.now_ms
        if now_ms - self.looked_ms < self.EVERY_MS:
            return
        self.looked_ms = now_ms
        silent = {env: self._silent(env) for env in self.world.store.states.environments()}
        for state in self.world.store.states.all():
            key = key_of(state)
            if not silent[state.environment] or not self._missed(state):
                self.since_ms.pop(key, None)
                continue
            since_ms = self.since_ms.setdefault(key, now_ms)
            wells = [e.well_since_ms for e in self.world.engines if e.engine and not e.held]
            since_ms = max(since_ms, min(wells, default=now_ms))
            if now_ms - since_ms > self.WITHIN_MS + 2 * self.world.plan.tick_ms:
                self.fail(f"{name_of(state)}: blind for {now_ms - since_ms} ms, nobody is told")

    def _silent(self, environment: str) -> bool:
        """Whether every engine that listens has to miss everybody."""
        for engine in self.world.engines:
            now_ms = engine.clock_ms
            seen = self.world.store.clients.clients(environment, now_ms - SILENT_MS)
            expected = [max(c.seen_ms, engine.started_ms) for c in seen if not c.closed]
            if not expected or max(expected) >= now_ms - LIVE_MS - self.world.plan.tick_ms:
                return False
        return True

    def _missed(self, state: State) -> bool:
        """Whether the suspect was reported on lately, and nobody was told that it is not now."""
        route = state.route
        if route is None or blind_notice(route.suspect.version) in state.told:
            return False
        line = self.world.accepted.lines.get((*key_of(state), route.suspect.version))
        now_ms = self.world.clock_ms
        return line is not None and line.order[-1] > max(now_ms - self.REPORTED_MS, route.since_ms)

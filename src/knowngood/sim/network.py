"""What lies between processes and servers: delays, losses, repeats, partitions and old caches."""

import json
from typing import TYPE_CHECKING

from knowngood import wire
from knowngood.core.model import State
from knowngood.core.retention import hot_versions
from knowngood.engine.compared import compared
from knowngood.sim.clients import SimClient
from knowngood.sim.engines import SimEngine

if TYPE_CHECKING:
    from knowngood.sim.world import World

NETWORK_MS = (5, 60)  # one way, when nothing is wrong
LAG_MS = (1_000, 8_000)
DUPLICATE_MS = (500, 30_000)
PARTITION_MS = (5_000, 120_000)
DARK_MS = (10_000, 90_000)
AFFLICTIONS = ("partition", "deaf", "restart", "same_name", "kill", "close", "join", "dark")
SNAPSHOTS_KEPT = 5  # what caches on the way may still have


class Network:
    """The network of one world. It is `clients.Server` to the processes."""

    def __init__(self, world: "World") -> None:
        """A network on which nothing is wrong yet."""
        self.world, self.nemesis = world, world.nemesis
        self.rng = world.rng("network")
        self.bodies: dict[str, dict[int, bytes]] = {}  # environment -> generation -> snapshot
        self.aged: set[str] = set()  # whose last answer came out of an old cache
        self.lives: dict[str, int] = {}  # process -> the life its server had when it began anew

    # --- clients.Server

    def say(self, who: str, what: str) -> None:
        """See clients.Server."""
        self.world.say(who, what)

    def serves(self, client: SimClient, before: int) -> None:
        """See clients.Server."""
        for checker in self.world.checkers:
            checker.serves(client, before)

    def post(self, client: SimClient, batch: wire.Batch) -> None:
        """See clients.Server."""
        if not client.up or self.nemesis.strikes("lost_flush"):
            return
        sent_ms = self.world.now_ms
        self.world.later(self._delay_ms(), lambda: self._arrive(client, batch, sent_ms))
        if self.nemesis.strikes("duplicate"):
            again_ms = self.nemesis.between_ms(*DUPLICATE_MS)
            self.world.later(again_ms, lambda: self._arrive(client, batch, sent_ms))

    def _arrive(self, client: SimClient, batch: wire.Batch, sent_ms: int) -> None:
        engine = self.server_of(client)
        if engine is None or self._forgotten(client, batch, engine):
            return
        receipt = engine.take(batch)
        if receipt is None:
            return
        for checker in self.world.checkers:
            checker.taken(engine, batch, receipt, sent_ms)
        if self.nemesis.strikes("lost_receipt"):
            return

        def answer() -> None:
            if client.down:
                client.answered(batch, receipt, self.world.now_ms)

        self.world.later(self._delay_ms(), answer)

    def _forgotten(self, client: SimClient, batch: wire.Batch, engine: SimEngine) -> bool:
        """Whether this is a flush of an earlier life that its server cannot remember either."""
        if batch.boot == client.boot or "old_life" in self.world.plan.faults:
            return False
        return engine.life != self.lives.get(client.name)

    def ask_snapshot(self, client: SimClient) -> None:
        """See clients.Server."""
        if client.up:
            self.world.later(self._delay_ms(), lambda: self._send_snapshot(client))

    def _send_snapshot(self, client: SimClient) -> None:
        if self.server_of(client) is None:
            return
        generation, body = self._snapshot(client)
        if generation == client.generation:
            return  # 304: nothing new

        def arrive() -> None:
            if client.down:
                client.snapshot(generation, body, self.world.now_ms)

        self.world.later(self._delay_ms(), arrive)

    def _snapshot(self, client: SimClient) -> tuple[int, bytes]:
        """The newest snapshot, or one that a cache still has; never twice in a row for the same."""
        environment = client.environment
        generation = self.world.store.states.generation(environment)
        kept = self.bodies.setdefault(environment, {})
        if generation not in kept:
            kept[generation] = self._body(environment, generation)
            for old in sorted(kept)[:-SNAPSHOTS_KEPT]:
                del kept[old]
        if client.name not in self.aged and self.nemesis.strikes("old_snapshot"):
            self.aged.add(client.name)
            generation = self.nemesis.rng.choice(sorted(kept))
        else:
            self.aged.discard(client.name)
        return generation, kept[generation]

    def _body(self, environment: str, generation: int) -> bytes:
        """The snapshot as a server makes it: every route with the contents of its hot versions."""
        states = [state for state in self.world.store.states.all(environment) if state.route]
        prompts = {state.prompt: self._prompt(state) for state in states}
        snapshot = wire.Snapshot(
            environment, generation, self.world.policy.scores, prompts, boot="lineage"
        )
        return json.dumps(wire.encode_snapshot(snapshot)).encode()

    def _prompt(self, state: State) -> wire.PromptSnapshot:
        assert state.route is not None
        store, policy = self.world.store, self.world.policy.for_prompt(state.prompt)
        pinned = [pin.version for pin in store.retention.pins(state.prompt)]
        hot = hot_versions(state, policy, pinned)
        versions = [store.registry.get(state.prompt, version) for version in hot]
        contents = {v.version: wire.VersionContent(v.content, v.digest) for v in versions}
        return wire.PromptSnapshot(state.route, contents, compared(state))

    # --- Who reaches whom

    def _delay_ms(self) -> int:
        if self.nemesis.strikes("lag"):
            return self.nemesis.between_ms(*LAG_MS)
        least_ms, most_ms = NETWORK_MS
        return least_ms + int(self.rng.random() * (most_ms - least_ms))

    def server_of(self, client: SimClient) -> SimEngine | None:
        """The server that answers a process, if one does."""
        home = self.world.engines[client.home]
        if home.reachable:
            return home
        if "failover" in self.world.plan.faults:
            return next((e for e in self.world.engines if e.reachable), None)
        return None

    def cut(self, client: SimClient, up: bool, down: bool, length_ms: int | None) -> None:
        """Cut a process off, upwards or downwards or both, for a while or until it is healed."""
        client.up, client.down = client.up and not up, client.down and not down
        self.say(client.name, f"is cut off{' up' * up}{' down' * down}")
        if length_ms is not None:
            self.world.later(length_ms, lambda: self.heal(client))

    def heal(self, client: SimClient) -> None:
        """The process can reach everybody again."""
        if not (client.up and client.down) or client.deaf:
            self.say(client.name, "is back on the network")
        client.up = client.down = True
        client.deaf = False

    def afflict(self, client: SimClient) -> None:
        """Let at most one of all that may befall a process in one second befall it."""
        between_ms = self.nemesis.between_ms
        match self.nemesis.one_of(AFFLICTIONS):
            case "partition":
                sides = between_ms(0, 2)
                self.cut(client, sides != 1, sides != 0, between_ms(*PARTITION_MS))
            case "deaf":
                client.deaf = True
                self.say(client.name, "gets no snapshots")
                self.world.later(between_ms(*PARTITION_MS), lambda: self.heal(client))
            case "restart":
                client.alive = False
                self.say(client.name, "ends, and another begins in its place")
                self.world.join(client.environment)
            case "same_name":
                client.restart(between_ms(0, 1) == 0, self.world.now_ms)
                self.lives[client.name] = self.world.engines[client.home].life
                self.say(client.name, "restarts")
            case "kill":
                client.catch_up(self.world.now_ms)
                client.alive = False
                self.say(client.name, "is killed")
            case "close":
                client.ending = True
                self.say(client.name, "ends properly")
            case "join":
                self.world.join(client.environment)
            case "dark":
                length_ms = between_ms(*DARK_MS)
                for other in self.world.clients:
                    self.cut(other, True, True, length_ms)

"""A whole world from one seed, in virtual time: store, engines, processes, network, pager, people.

Nothing here reads a clock or draws from anything but the seed, so a seed is a story that can be
told again. One of the three places that name a concrete store.
"""

import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from knowngood import wire
from knowngood.core import policy
from knowngood.core.content import digest
from knowngood.core.model import Content, Route, State, Version
from knowngood.core.window import Bucket
from knowngood.engine.ingest import closed_until_ms
from knowngood.engine.reconcile import Look, look, new_reconciler
from knowngood.ports import Delivered, Page, Rejected, Retry, VersionKey
from knowngood.sim.checkers import LAWS, Checker
from knowngood.sim.clients import ENVIRONMENT, SimClient
from knowngood.sim.engines import SimEngine
from knowngood.sim.faults import Nemesis
from knowngood.sim.people import Person, meddle
from knowngood.sim.plan import DEFAULT_SECONDS, START_MS, Plan, seeded_plan
from knowngood.sim.truth import Accepted, Truth
from knowngood.sim.watch import Applied, Refused, watched
from knowngood.store import memory as memory  # the mutants change it from here

NETWORK_MS = (5, 60)  # one way, when nothing is wrong
LAG_MS = (1_000, 8_000)
DUPLICATE_MS = (500, 30_000)
PARTITION_MS = (5_000, 120_000)
DARK_MS = (10_000, 90_000)
PEOPLE_SHARE = (50, 8)  # people meddle that many times in a world's life, at most and at least


@dataclass(frozen=True, slots=True)
class Failure:
    """What a checker found wrong, and when."""

    checker: str
    message: str
    at_ms: int


class World:
    """One simulated world. Times in traces count from its beginning."""

    def __init__(self, plan: Plan, seed: int = 0, laws: tuple[type[Checker], ...] = LAWS) -> None:
        """A world that is ready to `run`, watched by these laws."""
        self.plan, self.seed = plan, seed
        self.now_ms = START_MS
        self.failures: list[Failure] = []
        self.trace: list[str] = []
        self.delivered: dict[str, int] = {}
        self.lookers = 0
        self._heap: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0
        self._hash = blake2b(digest_size=16)
        self.nemesis = Nemesis(self.rng("nemesis"), plan.faults)
        self._network = self.rng("network")
        self.truth, self.accepted = Truth(), Accepted()
        self.policy = policy.parse(plan.policy)
        self.store = watched(memory.open_memory(), self)
        self.loads = {p.name: p for p in plan.prompts}
        self.overload: dict[str, float] = {}  # loads that a scenario sets
        self.checkers: list[Checker] = [law(self) for law in laws]
        self.person = Person("ann", self)
        self._register()
        self.engines = [self._engine(i) for i in range(plan.engine_count)]
        self.clients = [self._client(i) for i in range(plan.client_count)]
        if plan.deploys:
            for prompt in plan.prompts:
                self.person.promote(prompt.name, prompt.versions[0].name, "first deploy")
        if plan.people:
            self.later(self._people_ms(), self._people)
        if plan.calms:
            self.at(START_MS + plan.calm_ms, self._calm)

    # --- Time, dice and the trace

    def rng(self, name: str) -> random.Random:
        """Each actor has dice of its own, so that one more throw here changes nothing there."""
        return random.Random(f"{self.seed}/{name}")

    def at(self, at_ms: int, what: Callable[[], object]) -> None:
        """Do something at a moment."""
        self._count += 1
        heapq.heappush(self._heap, (at_ms, self._count, what))

    def later(self, delay_ms: int, what: Callable[[], object]) -> None:
        """Do something after a while."""
        self.at(self.now_ms + delay_ms, what)

    def say(self, who: str, what: str) -> None:
        """Write a line into the trace."""
        line = f"{(self.now_ms - START_MS) / 1000:9.3f}  {who:<10} {what}"
        self.trace.append(line)
        self._hash.update(line.encode())

    def fail(self, checker: str, message: str) -> None:
        """Note what a checker found wrong."""
        self.say("CHECKER", f"{checker}: {message}")
        self.failures.append(Failure(checker, message, self.now_ms - START_MS))

    def run(self, until_ms: int | None = None) -> list[Failure]:
        """Live until the end, or until something is found wrong."""
        end_ms = START_MS + (self.plan.end_ms if until_ms is None else until_ms)
        while self._heap and self._heap[0][0] <= end_ms and not self.failures:
            self.now_ms, _, what = heapq.heappop(self._heap)
            what()
        self.now_ms = max(self.now_ms, end_ms)
        if until_ms is None and not self.failures:
            for checker in self.checkers:
                checker.ended()
        return self.failures

    @property
    def trace_hash(self) -> str:
        """Names the whole story: every line, the final states and all that was counted."""
        done = self._hash.copy()
        for state in self.store.states.all():
            done.update(repr(state).encode())
        done.update(repr(sorted(self.delivered.items())).encode())
        done.update(repr(sorted(self.truth.made.items())).encode())
        return done.hexdigest()

    # --- Making the world

    def _register(self) -> None:
        for name, outages in self.plan.outages.items():
            self.truth.outages[name] = list(outages)
        for prompt in self.plan.prompts:
            for number, planned in enumerate(prompt.versions):
                content = Content(
                    text=f"{prompt.name} {planned.name}", config={"provider": planned.provider}
                )
                made_ms = START_MS - 1_000_000 + number
                self.store.registry.put(
                    Version(prompt.name, planned.name, content, digest(content), "author", made_ms)
                )
                key = (prompt.name, planned.name)
                self.truth.healthy[key] = planned.healthy
                self.truth.providers[key] = planned.provider
                if planned.regression:
                    self.truth.regressions[key] = planned.regression

    def _engine(self, number: int) -> SimEngine:
        engine = SimEngine(
            f"engine-{number + 1}",
            self,
            self.store,
            self,
            self.policy,
            self.nemesis,
            self.plan.tick_ms,
        )
        engine.start()
        self.later(1_000 + 137 * number, engine.beat)
        return engine

    def _client(self, number: int) -> SimClient:
        client = SimClient(
            name=f"client-{number + 1}",
            server=self,
            truth=self.truth,
            nemesis=self.nemesis,
            rng=self.rng(f"client-{number + 1}"),
            begun_ms=self.now_ms,
            home=number % self.plan.engine_count,
        )
        self.later(self.nemesis.between_ms(0, 999), lambda: self._beat(client))
        return client

    # --- Processes and their network (clients.Server)

    def load(self, prompt: str, at_ms: int) -> float:
        """Calls a second that one process gets for a prompt."""
        if prompt in self.overload:
            return self.overload[prompt]
        plan, since_ms = self.loads[prompt], at_ms - START_MS
        if any(p.begins_ms <= since_ms < p.ends_ms for p in plan.pauses):
            return 0.0
        # A saw tooth: as good as a wave, and the same on every machine.
        phase = abs(since_ms % plan.period_ms * 2 / plan.period_ms - 1)
        return plan.load * (1 - plan.swing * phase)

    def _beat(self, client: SimClient) -> None:
        if not client.alive:
            return
        client.beat(self.now_ms)
        self.later(self.plan.beat_ms, lambda: self._beat(client))
        if self.nemesis.calm:
            return
        self._afflict(client)

    def _afflict(self, client: SimClient) -> None:
        strikes = self.nemesis.strikes
        if strikes("partition"):
            sides = self.nemesis.between_ms(0, 2)
            self.cut(client, sides != 1, sides != 0, self.nemesis.between_ms(*PARTITION_MS))
        if strikes("deaf") and not client.deaf:
            client.deaf = True
            self.say(client.name, "gets no snapshots")
            self.later(self.nemesis.between_ms(*PARTITION_MS), lambda: self.heal(client))
        if strikes("restart"):
            client.alive = False
            self.say(client.name, "ends, and another begins in its place")
            self.join()
        if strikes("same_name"):
            client.restart(self.nemesis.between_ms(0, 1) == 0, self.now_ms)
            self.say(client.name, "restarts")
        if strikes("kill"):
            client.work(self.now_ms)
            client.alive = False
            self.say(client.name, "is killed")
        if strikes("close"):
            client.ending = True
            self.say(client.name, "ends properly")
        if strikes("join"):
            self.join()
        if strikes("dark"):
            length_ms = self.nemesis.between_ms(*DARK_MS)
            for other in self.clients:
                self.cut(other, True, True, length_ms)

    def join(self) -> SimClient:
        """Another process comes."""
        client = self._client(len(self.clients))
        self.clients.append(client)
        self.say(client.name, "joins")
        return client

    def cut(self, client: SimClient, up: bool, down: bool, length_ms: int | None) -> None:
        """Cut a process off, upwards or downwards or both, for a while or until it is healed."""
        client.up, client.down = client.up and not up, client.down and not down
        self.say(client.name, f"is cut off{' up' * up}{' down' * down}")
        if length_ms is not None:
            self.later(length_ms, lambda: self.heal(client))

    def heal(self, client: SimClient) -> None:
        """The process can reach everybody again."""
        if not (client.up and client.down) or client.deaf:
            self.say(client.name, "is back on the network")
        client.up = client.down = True
        client.deaf = False

    def post(self, client: SimClient, batch: wire.Batch) -> None:
        """See clients.Server."""
        if not client.up or self.nemesis.strikes("lost_flush"):
            return
        sent_ms = self.now_ms
        self.later(self._delay_ms(), lambda: self._arrive(client, batch, sent_ms))
        if self.nemesis.strikes("duplicate"):
            again_ms = self.nemesis.between_ms(*DUPLICATE_MS)
            self.later(again_ms, lambda: self._arrive(client, batch, sent_ms))

    def _delay_ms(self) -> int:
        if self.nemesis.strikes("lag"):
            return self.nemesis.between_ms(*LAG_MS)
        return self._network.randint(*NETWORK_MS)

    def _arrive(self, client: SimClient, batch: wire.Batch, sent_ms: int) -> None:
        engine = self._server_of(client)
        receipt = engine.take(batch) if engine else None
        if engine is None or receipt is None:
            return
        for checker in self.checkers:
            checker.taken(engine, batch, receipt, sent_ms)
        if self.nemesis.strikes("lost_receipt"):
            return

        def answer() -> None:
            if client.down:
                client.answered(batch, receipt, self.now_ms)

        self.later(self._delay_ms(), answer)

    def _server_of(self, client: SimClient) -> SimEngine | None:
        home = self.engines[client.home]
        if home.reachable:
            return home
        if "failover" in self.plan.faults:
            return next((e for e in self.engines if e.reachable), None)
        return None

    def ask_snapshot(self, client: SimClient) -> None:
        """See clients.Server."""
        if client.up:
            self.later(self._delay_ms(), lambda: self._send_snapshot(client))

    def _send_snapshot(self, client: SimClient) -> None:
        if self._server_of(client) is None:
            return
        generation = self.store.states.generation(ENVIRONMENT)
        routes: Mapping[str, Route] = {
            s.prompt: s.route for s in self.store.states.all(ENVIRONMENT) if s.route
        }

        def arrive() -> None:
            if client.down:
                client.snapshot(generation, routes, self.now_ms)

        self.later(self._delay_ms(), arrive)

    # --- People

    def _people(self) -> None:
        if self.nemesis.calm:
            return
        meddle(self.person, self.nemesis)
        self.later(self._people_ms(), self._people)

    def _people_ms(self) -> int:
        most, least = PEOPLE_SHARE
        return self.nemesis.between_ms(self.plan.end_ms // most, self.plan.end_ms // least)

    def look(self, prompt: str) -> Look:
        """What a person who asks now is shown: a fresh reader without any memory."""
        reconciler = new_reconciler(self.store, self.policy, self.now_ms)
        return look(reconciler, ENVIRONMENT, prompt, closed_until_ms(self.now_ms), self.now_ms)

    def state(self, prompt: str) -> State:
        """The state of a prompt."""
        return self.store.states.get(ENVIRONMENT, prompt)

    def notify(self, page: Page) -> Delivered | Retry | Rejected:
        """The pager: it takes every message (ports.Notifier)."""
        self.delivered[page.key] = self.delivered.get(page.key, 0) + 1
        self.say("pager", f"{page.audience}: {page.subject}")
        for checker in self.checkers:
            checker.paged(page)
        return Delivered("ok")

    # --- Witness of all that is written, host of the engines

    def applied(self, event: Applied) -> None:
        """See watch.Witness."""
        for line in event.changes:
            for record in line.actions:
                if hasattr(record, "kind") and hasattr(record, "because"):
                    self.say(line.actor, f"{line.prompt}: {record.kind}: {record.because}")
        for state in event.after:
            for arm in state.route.arms if state.route else ():
                self.truth.routed((state.prompt, arm.version), self.now_ms)
        for checker in self.checkers:
            checker.applied(event)

    def refused(self, event: Refused) -> None:
        """See watch.Witness."""
        for change in event.changes:
            self.say(change.actor, f"{change.prompt}: refused, stale")
        for checker in self.checkers:
            checker.refused(event)

    def stored(self, key: VersionKey, bucket: Bucket) -> None:
        """See watch.Witness."""
        self.accepted.stored(key, bucket)

    def heard(self, client_id: str, boot: str, seq: int) -> None:
        """See watch.Witness."""
        for checker in self.checkers:
            checker.heard(client_id, boot, seq)

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """See engines.Host."""
        for checker in self.checkers:
            checker.ticked(engine, acted)

    def surprised(self, who: str, error: Exception) -> None:
        """See engines.Host."""
        self.fail("surprise", f"{who} raised {type(error).__name__}: {error}")

    def _calm(self) -> None:
        """The faults are over: everything that is broken has to settle now."""
        self.say("nemesis", "calm")
        self.nemesis.calm = True
        for engine in self.engines:
            engine.release()
        for client in self.clients:
            self.heal(client)
        if not any(c.alive and not c.ending for c in self.clients):
            self.join()


def seeded_world(seed: int, seconds: int = DEFAULT_SECONDS) -> World:
    """The world of a seed."""
    return World(seeded_plan(random.Random(f"{seed}/plan"), seconds), seed)

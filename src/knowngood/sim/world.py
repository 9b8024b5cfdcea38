"""A whole world from one seed, in virtual time: store, engines, processes, network, pager, people.

Nothing here reads a clock or draws from anything but the seed, so a seed is a story that can be
told again. A life has two phases: in the first everything may go wrong and nothing wrong may be
done (safety); then the faults stop, and everything has to come to a good end (liveness).

One of the three places that name a concrete store.
"""

import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

from knowngood.core import policy
from knowngood.core.content import digest
from knowngood.core.model import Change, Content, State, Version
from knowngood.core.window import Bucket
from knowngood.engine.ingest import closed_until_ms
from knowngood.engine.reconcile import Look, look, new_reconciler
from knowngood.ports import Delivered, Page, Rejected, Retry, UnitKey, VersionKey
from knowngood.sim.checkers import LAWS, Checker
from knowngood.sim.clients import ENVIRONMENT, STAGING, SimClient, process
from knowngood.sim.climbers import meddle_with_rollouts
from knowngood.sim.engines import SKEWS_MS, SYNCHRONISED_MS, SimEngine
from knowngood.sim.faults import Nemesis
from knowngood.sim.flavours import ACTIVITIES, Flavour, flavoured_plan
from knowngood.sim.network import Network
from knowngood.sim.people import Person, meddle
from knowngood.sim.plan import DEFAULT_SECONDS, START_MS, Plan, Share, VersionPlan
from knowngood.sim.traffic import traffic
from knowngood.sim.truth import Accepted, Truth
from knowngood.sim.watch import Applied, Purged, Refused, watched
from knowngood.store import memory as memory  # the mutants change it from here

SETTLED_MS = 200_000  # a window, a confirmation, and a verification up to its deadline
PEOPLE_SHARE = (50, 8)  # people meddle so many times in a world's life, at most and at least


@dataclass(frozen=True, slots=True)
class Failure:
    """What a checker found wrong, and when."""

    checker: str
    message: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Pager:
    """A way to reach people; it takes every message (ports.Notifier)."""

    name: str
    world: "World"

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered | Retry | Rejected:
        """See ports.Notifier."""
        self.world.say(self.name, f"{page.audience}: {page.subject}")
        delivered = self.world.delivered
        delivered[self.name, page.key] = delivered.get((self.name, page.key), 0) + 1
        for checker in self.world.checkers:
            checker.paged(self.name, page)
        return Delivered("ok")


class World:
    """One simulated world. Times in traces count from its beginning."""

    def __init__(self, plan: Plan, seed: int = 0, laws: tuple[type[Checker], ...] = LAWS) -> None:
        """A world that is ready to `run`, watched by these laws."""
        self.plan, self.seed = plan, seed
        self.now_ms = START_MS
        self.acting: SimEngine | None = None
        self.failures: list[Failure] = []
        self.trace: list[str] = []
        self.delivered: dict[tuple[str, str], int] = {}  # notifier, key
        self._heap: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0
        self._hash = blake2b(digest_size=16)
        self.nemesis = Nemesis(self.rng("nemesis"), plan.faults)
        self.network = Network(self)
        self.truth, self.accepted = Truth(), Accepted()
        self.traffic = traffic(plan.prompts)
        self.policy = policy.parse(plan.policy)
        self.store = watched(memory.open_memory(), self)
        self.checkers: list[Checker] = [law(self) for law in laws]
        self.beating = [c for c in self.checkers if type(c).beat is not Checker.beat]
        self.person, self.tester = Person("ann", self), Person("tom", self, STAGING)
        self.climber, self.climbers_dice = Person("rob", self), self.rng("climbers")
        self._register()
        self.engines = [self._engine(i) for i in range(plan.engine_count)]
        self.clients = [self._client(i, ENVIRONMENT) for i in range(plan.client_count)]
        for _ in range(plan.staging_count):
            self.clients.append(self._client(len(self.clients), STAGING))
        self._begin()

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

    @property
    def clock_ms(self) -> int:
        """The time on the clock of who acts: an engine, or the server that a person asks.

        With no server to ask a person is at the database itself, with the right time.
        """
        engine = self.acting or next((e for e in self.engines if e.reachable), None)
        return engine.clock_ms if engine else self.now_ms

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
    def settles(self) -> bool:
        """Whether the calm is long enough to demand that everything comes to its end."""
        return self.plan.calms and self.plan.end_ms - self.plan.calm_ms >= SETTLED_MS

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
                self.push(prompt.name, planned, content, made_ms)

    def push(self, prompt: str, planned: VersionPlan, content: Content, now_ms: int) -> None:
        """Push a version that will be as planned. Raises as the registry does."""
        version = Version(prompt, planned.name, content, digest(content), "author", now_ms)
        if self.store.registry.put(version):
            self.truth.learn((prompt, planned.name), planned)
            for checker in self.checkers:
                checker.pushed(version)

    def _engine(self, number: int) -> SimEngine:
        alone = self.plan.engine_count == 1
        engine = SimEngine(
            f"engine-{number + 1}",
            self,
            self.store,
            {name: Pager(name, self) for name in self.plan.notifiers},
            self.policy,
            self.nemesis,
            self.plan.tick_ms,
            SKEWS_MS if alone or "apart" in self.plan.faults else SYNCHRONISED_MS,
            self.plan.sweep_ms,
        )
        engine.start()
        self.later(1_000 + 137 * number, engine.beat)
        return engine

    def _client(self, number: int, environment: str) -> SimClient:
        name = f"client-{number + 1}"
        client = process(
            name,
            environment,
            self.network,
            self.truth,
            self.traffic,
            self.rng(name),
            self.now_ms,
            self.plan.faults,
            self.plan.astray_bp,
        )
        client.home = number % self.plan.engine_count
        self.later(self.nemesis.between_ms(0, 999), lambda: self._beat(client))
        return client

    def _begin(self) -> None:
        plan = self.plan
        for prompt in plan.prompts if plan.deploys else ():
            first = prompt.versions[0].name
            self.person.promote(prompt.name, first, "first deploy")
            if plan.staging_count:
                self.tester.promote(prompt.name, first, "first deploy")
        for prompt in plan.prompts:
            for share in prompt.script:
                self.at(START_MS + share.at_ms, partial(self._script, prompt.name, share))
        if plan.people and plan.crowd:
            self.later(self._people_ms(), self._people)
        if plan.people and plan.crowd and plan.rollouts:
            self.later(self._climbers_ms(), self._climb)
        for activity in ACTIVITIES:
            if activity.name in plan.activities:
                activity.begins(self)
        if plan.calms:
            self.at(START_MS + plan.calm_ms, self._calm)

    # --- What goes on by itself

    def _beat(self, client: SimClient) -> None:
        if not client.alive:
            return
        client.beat(self.now_ms)
        for checker in self.beating:
            checker.beat(client)
        self.later(self.plan.beat_ms, lambda: self._beat(client))
        if not self.nemesis.calm:
            self.network.afflict(client)

    def join(self, environment: str = ENVIRONMENT) -> SimClient:
        """Another process comes."""
        client = self._client(len(self.clients), environment)
        self.clients.append(client)
        self.say(client.name, "joins")
        return client

    def _script(self, prompt: str, share: Share) -> None:
        self.say("pipeline", f"{prompt}: {share.version} to {share.weight_bp / 100:g}%")
        self.person.give(prompt, share.version, share.weight_bp)

    def _people(self) -> None:
        if self.nemesis.calm:
            return
        staging = self.plan.staging_count and self.nemesis.rng.random() < 0.3
        meddle(self.tester if staging else self.person, self.nemesis)
        self.later(self._people_ms(), self._people)

    def _people_ms(self) -> int:
        most, least = PEOPLE_SHARE
        return self.nemesis.between_ms(self.plan.end_ms // most, self.plan.end_ms // least)

    def _climb(self) -> None:
        if self.nemesis.calm:
            return
        meddle_with_rollouts(self.climber, self.climbers_dice)
        self.later(self._climbers_ms(), self._climb)

    def _climbers_ms(self) -> int:
        most, least = self.plan.climbers_share
        return self.climbers_dice.randint(self.plan.end_ms // most, self.plan.end_ms // least)

    def _calm(self) -> None:
        """The faults are over: everything that is broken has to settle now."""
        self.say("nemesis", "calm: the phase of liveness begins")
        self.nemesis.calm = True
        for engine in self.engines:
            engine.release()
        for client in self.clients:
            self.network.heal(client)
        for environment in (ENVIRONMENT, STAGING)[: 1 + bool(self.plan.staging_count)]:
            mine = [c for c in self.clients if c.environment == environment]
            if not any(c.alive and not c.ending for c in mine):
                self.join(environment)

    # --- What people see

    def look(self, prompt: str, environment: str = ENVIRONMENT) -> Look:
        """What a person who asks now is shown: a fresh reader without any memory."""
        now_ms = self.clock_ms
        reconciler = new_reconciler(self.store, self.policy, now_ms)
        return look(reconciler, environment, prompt, closed_until_ms(now_ms), now_ms)

    def state(self, prompt: str, environment: str = ENVIRONMENT) -> State:
        """The state of a prompt."""
        return self.store.states.get(environment, prompt)

    # --- Witness of all that is written, host of the engines

    def applied(self, event: Applied) -> None:
        """See watch.Witness."""
        for line in event.changes:
            for record in line.actions:
                if hasattr(record, "kind") and hasattr(record, "because"):
                    self.say(line.actor, f"{_title(line)}: {record.kind}: {record.because}")
        for state in event.after:
            for arm in state.route.arms if state.route else ():
                key = (state.environment, state.prompt, arm.version)
                self.truth.routed(key, self.now_ms)
        for checker in self.checkers:
            checker.applied(event)

    def refused(self, event: Refused) -> None:
        """See watch.Witness."""
        for change in event.changes:
            self.say(change.actor, f"{_title(change)}: refused, stale")
        for checker in self.checkers:
            checker.refused(event)

    def stored(self, key: VersionKey, bucket: Bucket) -> None:
        """See watch.Witness."""
        self.accepted.stored(key, bucket)

    def summed(self, units: Mapping[UnitKey, tuple[int, int]]) -> None:
        """See watch.Witness."""
        for checker in self.checkers:
            checker.summed(units)

    def heard(self, client_id: str, boot: str, seq: int) -> None:
        """See watch.Witness."""
        for checker in self.checkers:
            checker.heard(client_id, boot, seq)

    def purged(self, event: Purged) -> None:
        """See watch.Witness."""
        self.say(event.order.actor, f"{event.order.prompt}: purged {', '.join(event.gone)}")
        for checker in self.checkers:
            checker.purged(event)

    def settled(self, key: str, sent: bool, words: str) -> None:
        """See watch.Witness."""
        for checker in self.checkers:
            checker.settled(key, sent, words)

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """See engines.Host."""
        for checker in self.checkers:
            checker.ticked(engine, acted)

    def surprised(self, who: str, error: Exception) -> None:
        """See engines.Host."""
        self.fail("surprise", f"{who} raised {type(error).__name__}: {error}")


def _title(change: Change) -> str:
    usual = change.environment == ENVIRONMENT
    return change.prompt if usual else f"{change.environment}/{change.prompt}"


def seeded_world(
    seed: int, seconds: int = DEFAULT_SECONDS, flavour: Flavour = Flavour.ALL
) -> World:
    """The world of a seed, in a flavour."""
    return World(flavoured_plan(seed, seconds, flavour), seed)

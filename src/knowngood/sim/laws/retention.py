"""Laws of what is kept: only what nothing refers to goes, it does go, and a name means one content.

What refers to a version is read off the states here once more, without core.retention.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from knowngood.core.model import Confirming, Standing, State, Verifying, Version
from knowngood.core.retention import Pin
from knowngood.core.units import duration_ms
from knowngood.engine.reconcile import Look
from knowngood.sim.clients import SimClient
from knowngood.sim.engines import RESTART_MAX_MS, SimEngine
from knowngood.sim.laws.base import Checker
from knowngood.sim.watch import Applied, Purged

if TYPE_CHECKING:
    from knowngood.sim.world import World

Name = tuple[str, str]  # prompt, version


class Unreferenced(Checker):
    """Nothing goes that a route, a rollout, an incident, a ledger, a release or a person needs.

    Nor what was used of late: the time counts from when it was pushed or last left a route. In a
    world whose clocks are set wrong nobody can say when that was.
    """

    def __init__(self, world: "World") -> None:
        """A checker that knows of no use."""
        super().__init__(world)
        self.used_ms: dict[Name, int] = {}

    def pushed(self, version: Version) -> None:
        """Note when."""
        self.used_ms[version.prompt, version.version] = version.created_ms

    def applied(self, event: Applied) -> None:
        """Note who was on a route until now."""
        for state in (*event.before, *event.after):
            for arm in state.route.arms if state.route else ():
                self.used_ms[state.prompt, arm.version] = event.now_ms

    def purged(self, event: Purged) -> None:
        """Hold what went against all that there was."""
        prompt = event.order.prompt
        keep_ms = archive_ms(self.world)
        for version in event.gone:
            words = list(references(event.before, event.pins, prompt, version))
            words += [
                f"the release {release.name} names it"
                for release in self.world.store.releases.all(10_000)
                if (prompt, version) in release.names()
            ]
            if version == event.there[-1]:
                words.append("it is the newest")
            idle_ms = event.now_ms - self.used_ms[prompt, version]
            if idle_ms < keep_ms and "clock" not in self.world.plan.faults:
                words.append(f"it was used {idle_ms} of {keep_ms} ms ago")
            if words:
                self.fail(f"{prompt}:{version} was purged, and {'; '.join(words)}")


class Stocked(Checker):
    """Whatever is routed, climbs, is known good or pinned has its content, and always the same."""

    def __init__(self, world: "World") -> None:
        """A checker that knows of no version."""
        super().__init__(world)
        self.there: set[Name] = set()
        self.digests: dict[Name, str] = {}  # of all that ever were

    def pushed(self, version: Version) -> None:
        """A name never means two contents."""
        name = (version.prompt, version.version)
        self.there.add(name)
        if self.digests.setdefault(name, version.digest) != version.digest:
            self.fail(f"{':'.join(name)} was pushed again with another content")

    def purged(self, event: Purged) -> None:
        """Note what is gone, and that it can be told why."""
        self.there -= {(event.order.prompt, version) for version in event.gone}
        lines = self.world.store.log.read("", event.order.prompt, limit=len(event.gone))
        told = {line.detail.get("version") for line in lines if line.because.strip()}
        for version in set(event.gone) - told:
            self.fail(f"{event.order.prompt}:{version} was purged, and no line says why")

    def applied(self, event: Applied) -> None:
        """No change names what is gone."""
        for state in event.after:
            needed = [arm.version for arm in state.route.arms] if state.route else []
            if state.rollout is not None:
                needed += [state.rollout.from_version, state.rollout.to_version]
            needed += [entry.version for entry in state.ledger]
            for version in needed:
                if (state.prompt, version) not in self.there:
                    self.fail(f"{state.environment} names {state.prompt}:{version}, which is gone")

    def serves(self, client: SimClient, before: int) -> None:
        """What a process was handed is what once was pushed under that name."""
        catalog = client.worker._catalog
        for name, prompt in catalog.snapshot.prompts.items() if catalog else ():
            for version, held in prompt.versions.items():
                if self.digests.get((name, version)) != held.digest:
                    self.fail(f"{client.name} holds another {name}:{version} than was pushed")


class Swept(Checker):
    """Liveness: what nothing needs any more is gone some time after it was kept long enough."""

    EVERY_MS = 5_000  # how often it looks, for the simulator's speed

    def __init__(self, world: "World") -> None:
        """A checker that knows of no use."""
        super().__init__(world)
        self.used_ms: dict[Name, int] = {}
        self.looked_ms = 0

    def pushed(self, version: Version) -> None:
        """Note when."""
        self.used_ms[version.prompt, version.version] = self.world.now_ms

    def applied(self, event: Applied) -> None:
        """Whatever a change says of a version is a use of it."""
        for before, after in zip(event.before, event.after, strict=True):
            for entry in after.ledger:
                if before.entry(entry.version) != entry:
                    self.used_ms[after.prompt, entry.version] = self.world.now_ms
            for state in (before, after):
                for arm in state.route.arms if state.route else ():
                    self.used_ms[state.prompt, arm.version] = self.world.now_ms

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """What something refers to is used as long as it does."""
        now_ms = self.world.now_ms
        if self.world.plan.sweep_ms is not None and now_ms - self.looked_ms >= self.EVERY_MS:
            self.looked_ms = now_ms
            for name in self._held():
                self.used_ms[name] = now_ms

    def _held(self) -> Iterator[Name]:
        store = self.world.store
        states, pins = store.states.all(), store.retention.pins()
        for release in store.releases.all(10_000):
            yield from release.names()
        for prompt in store.registry.prompts():
            there = [version.version for version in store.registry.versions(prompt)]
            mine = [state for state in states if state.prompt == prompt]
            kept = [pin for pin in pins if pin.prompt == prompt]
            for version in there:
                if version == there[-1] or any(references(mine, kept, prompt, version)):
                    yield prompt, version

    def ended(self) -> None:
        """Nothing is left that was free for longer than two sweeps and a restart take."""
        plan = self.world.plan
        if plan.sweep_ms is None or not self.world.settles or "clock" in plan.faults:
            return
        if plan.policy["defaults"]["keep"].get("purge") == "manual":
            return
        after_ms, every_ms = plan.sweep_ms
        ticks_ms = (2 + len(plan.prompts)) * plan.tick_ms
        late_ms = after_ms + 2 * every_ms + RESTART_MAX_MS + self.EVERY_MS + ticks_ms
        held = set(self._held())
        for prompt in self.world.store.registry.prompts():
            for version in self.world.store.registry.versions(prompt):
                name = (prompt, version.version)
                idle_ms = self.world.now_ms - self.used_ms[name]
                if name not in held and idle_ms > archive_ms(self.world) + late_ms:
                    self.fail(f"{':'.join(name)} is free for {idle_ms} ms, and was never purged")


def archive_ms(world: "World") -> int:
    """How long the world's policy keeps what nobody uses, in ms."""
    keep = world.plan.policy["defaults"].get("keep", {})
    return duration_ms(keep.get("archive", "180d"))


def references(
    states: Iterable[State], pins: Iterable[Pin], prompt: str, version: str
) -> Iterator[str]:
    """What needs a version, in words: the prompt's states in all environments, and its pins."""
    for state in states:
        where = state.environment
        if state.route and any(arm.version == version for arm in state.route.arms):
            yield f"{where} serves it"
        rollout = state.rollout
        if rollout and version in (rollout.from_version, rollout.to_version):
            yield f"it is part of a rollout in {where}"
        match state.phase:
            case Confirming(version=suspect) if suspect == version:
                yield f"a breach of it is being confirmed in {where}"
            case Verifying() as phase if version in (phase.from_version, phase.to_version):
                yield f"a rollback is being verified in {where}"
            case _:
                pass
        if state.incident and state.incident.version == version:
            yield f"the incident {state.incident.id} is about it"
        if any(spell.version == version for spell in state.spells):
            yield f"an incident of {where} was about it"
        entry = state.entry(version)
        if entry is not None and entry.standing is not Standing.CANDIDATE:
            yield f"{where} knows it as {entry.standing.value}"
    if any(pin.prompt == prompt and pin.version == version for pin in pins):
        yield "it is pinned"

"""What simulated people do with old versions: push, pin, purge, push again, go back to them.

The activity `retention`: a world whose policy keeps what nobody needs for seconds, not for half a
year, and whose engines purge that often.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from knowngood.core.errors import KnowngoodError
from knowngood.core.model import Content, Standing
from knowngood.core.purge import purge_of
from knowngood.core.retention import Pin
from knowngood.core.steps.operator import RollbackRequest
from knowngood.engine.retain import purge, shelf
from knowngood.sim.clients import STAGING
from knowngood.sim.people import THINK_MS, Person
from knowngood.sim.plan import Plan, PromptPlan, VersionPlan
from knowngood.sim.truth import Regression

if TYPE_CHECKING:
    from knowngood.sim.world import World

RETENTION = "retention"
KEEPERS_SHARE = (100, 25)  # people keep house so many times in a world's life, at most and at least
ARCHIVE_S, SWEEP_AFTER_MS, SWEEP_EVERY_MS = (20, 100), (5_000, 30_000), (5_000, 30_000)
THINK_SHARE, OTHER_CONTENT_SHARE, STAGING_SHARE = 0.4, 0.3, 0.3
PUSHED_MAX = 40  # of a prompt: a snapshot of the ledger's good ones stays small
VERBS: Mapping[str, int] = {
    "push": 30,
    "promote": 18,
    "vouch": 5,
    "roll_back": 12,
    "pin": 10,
    "unpin": 8,
    "purge": 8,
    "push_again": 9,
}


def with_retention(plan: Plan, rng: random.Random) -> Plan:
    """The same world, where versions come and go."""
    keep: dict[str, object] = {
        "hot": rng.choice((1, 1, 2, 3)),
        "archive": f"{rng.randint(*ARCHIVE_S)}s",
    }
    if rng.random() < 0.15:
        keep["purge"] = "manual"
    policy = {**plan.policy, "defaults": {**plan.policy["defaults"], "keep": keep}}
    sweep_ms = rng.randint(*SWEEP_AFTER_MS), rng.randint(*SWEEP_EVERY_MS)
    return replace(plan, policy=policy, sweep_ms=sweep_ms)


def begin_keeping(world: "World") -> None:
    """From now on somebody keeps house, until the calm."""
    if world.plan.people:
        Keeper(Person("kim", world), world.rng(RETENTION)).later()


@dataclass(slots=True)
class Keeper:
    """Somebody who keeps house, and the names of all versions that they ever heard of."""

    person: Person
    rng: random.Random
    pushed_count: int = 0
    names: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for prompt in self.person.world.plan.prompts:
            self.names[prompt.name] = [version.name for version in prompt.versions]

    def later(self) -> None:
        """Do the next thing after a while."""
        most, least = KEEPERS_SHARE
        end_ms = self.person.world.plan.end_ms
        self.person.world.later(self.rng.randint(end_ms // most, end_ms // least), self._keep)

    def _keep(self) -> None:
        world, rng = self.person.world, self.rng
        if world.nemesis.calm:
            return
        prompt = rng.choice(world.plan.prompts)
        version = rng.choice(self.names[prompt.name])
        staging = world.plan.staging_count and rng.random() < STAGING_SHARE
        person = replace(self.person, environment=STAGING) if staging else self.person
        match rng.choices(list(VERBS), list(VERBS.values()))[0]:
            case "push":
                self._push(prompt)
            case "promote":
                person.promote(prompt.name, self.names[prompt.name][-1], "something new")
            case "vouch":
                person.vouch(prompt.name, version)
            case "roll_back":
                self._roll_back(person, prompt.name)
            case "pin":
                self._try(prompt.name, lambda: self._pin(prompt.name, version))
            case "unpin":
                self._try(prompt.name, lambda: self._unpin(prompt.name))
            case "purge":
                self._try(prompt.name, lambda: self._purge(prompt.name))
            case "push_again":
                self._try(prompt.name, lambda: self._push_again(prompt, version))
        self.later()

    def _push(self, prompt: PromptPlan) -> None:
        names, rng = self.names[prompt.name], self.rng
        if len(names) >= PUSHED_MAX:
            return
        self.pushed_count += 1
        base = rng.choice(prompt.versions)
        ill = Regression(rng.choice((0.1, 0.3)), rng.choice((0, 20_000)))
        planned = replace(
            base,
            name=f"w{self.pushed_count}",
            healthy=rng.uniform(0.002, 0.01),
            regression=ill if rng.random() < 0.2 else None,
        )
        names.append(planned.name)
        self._store(prompt, planned, "")

    def _push_again(self, prompt: PromptPlan, version: str) -> None:
        """A name that is known, mostly with the content that it had."""
        other = " otherwise" if self.rng.random() < OTHER_CONTENT_SHARE else ""
        truth, key = self.person.world.truth, (prompt.name, version)
        planned = VersionPlan(
            version,
            truth.providers[key],
            truth.healthy[key],
            truth.regressions.get(key),
            truth.medians_ms[key],
            truth.qualities[key],
        )
        self._store(prompt, planned, other)

    def _store(self, prompt: PromptPlan, planned: VersionPlan, other: str) -> None:
        world = self.person.world
        text, config = f"{prompt.name} {planned.name}{other}", {"provider": planned.provider}
        world.push(prompt.name, planned, Content(text=text, config=config), world.clock_ms)

    def _roll_back(self, person: Person, prompt: str) -> None:
        """Back to something good, mostly to what is no longer in the memory of any process."""
        ledger = person.world.state(prompt, person.environment).ledger
        good = [entry.version for entry in ledger if entry.standing is Standing.GOOD]
        target = self.rng.choice(good[: max(1, len(good) - 1)]) if good else None
        request = RollbackRequest("as it was", target, quarantine=False, actor=person.name)
        person.roll_back(prompt, request)

    def _pin(self, prompt: str, version: str) -> None:
        retention, policy = self.person.world.store.retention, self.person.world.policy
        retention.pin(self._word(prompt, version, "a promise"), policy.revision)

    def _unpin(self, prompt: str) -> None:
        retention, policy = self.person.world.store.retention, self.person.world.policy
        if pins := retention.pins(prompt):
            version = self.rng.choice(pins).version
            retention.unpin(self._word(prompt, version, "it was kept"), policy.revision)

    def _word(self, prompt: str, version: str, because: str) -> Pin:
        world = self.person.world
        world.say(self.person.name, f"{prompt}: {version}: {because}")
        return Pin(prompt, version, because, self.person.name, world.clock_ms)

    def _purge(self, prompt: str) -> None:
        """Now, or as it was decided a while ago: then the store has to say what has changed."""
        world, name = self.person.world, self.person.name
        policy, because = world.policy.for_prompt(prompt), "spring cleaning"
        if self.rng.random() >= THINK_SHARE:
            purge(world.store, policy, prompt, because, name, world.clock_ms)
            return
        seen = shelf(world.store, policy, prompt, world.clock_ms)
        order = purge_of(prompt, seen.versions, seen.shelved, seen.states, because, name)
        if order is not None:
            decided = order
            self.person.world.later(
                self.rng.randint(*THINK_MS),
                lambda: self._try(
                    prompt, lambda: world.store.retention.purge(decided, world.clock_ms)
                ),
            )

    def _try(self, prompt: str, act: Callable[[], object]) -> None:
        """A refusal with a reason is an answer."""
        try:
            act()
        except KnowngoodError as error:
            self.person.world.say(self.person.name, f"{prompt}: refused: {error}")

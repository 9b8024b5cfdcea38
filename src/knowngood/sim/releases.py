"""What simulated people do with releases: make, promote, hold, hurry, abort and take them back.

The activity `releases`: a world of two or three prompts, of which some versions belong together.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from knowngood.core.errors import KnowngoodError
from knowngood.core.model import Action, Change, Partner, State
from knowngood.core.release import Member, Release, new_release
from knowngood.core.rollout import Ladder, RolloutKind
from knowngood.core.routing import new_salt
from knowngood.core.steps import jointly, rollouts
from knowngood.core.steps.operator import RollbackRequest
from knowngood.core.steps.parts import part_of
from knowngood.sim.climbers import another
from knowngood.sim.people import THINK_MS, Person
from knowngood.sim.plan import Plan, another_prompt, with_rollouts

if TYPE_CHECKING:
    from knowngood.sim.world import World

RELEASES = "releases"
RELEASERS_SHARE = (150, 40)  # so many deeds in a world's life, at most and at least
OVERRIDE_SHARE, NOW_SHARE, ALONE_SHARE, GRADUAL_SHARE, SLOW_SHARE = 0.4, 0.2, 0.15, 0.6, 0.2
CROWD_SHARE = 0.5
KNOWN_MAX = 8  # releases that somebody remembers
# Why somebody takes one prompt back alone: the laws know it by this.
ALONE = "alone, on purpose"
IDLE: Mapping[str, int] = {"promote": 75, "take_back": 10, "one": 10, "other": 5}
BUSY: Mapping[str, int] = {
    "watch": 64,
    "pause": 8,
    "skip": 10,
    "replan": 4,
    "abort": 2,
    "take_back": 4,
    "one": 5,
    "promote": 3,
}
PAUSED: Mapping[str, int] = {"resume": 65, "skip": 15, "abort": 5, "take_back": 10, "one": 5}


def with_releases(plan: Plan, rng: random.Random) -> Plan:
    """The same world with two prompts at least, whose versions climb, and more calls."""
    wanted = 3 if plan.engine_count == 1 and rng.random() < 0.3 else 2
    while len(plan.prompts) < wanted:
        plan = another_prompt(plan, rng)
    if not plan.rollouts:
        plan = with_rollouts(plan, rng)
    loads = (max(p.load, rng.choice((4.0, 8.0, 16.0))) for p in plan.prompts)
    prompts = tuple(replace(p, load=load) for p, load in zip(plan.prompts, loads, strict=True))
    crowd = rng.random() < CROWD_SHARE  # else whole releases live on until somebody ends them
    return replace(plan, prompts=prompts, people=True, crowd=crowd)


def begin_releasing(world: "World") -> None:
    """From now on somebody releases several prompts as one, until the calm."""
    if world.plan.people:
        Releaser(Person("eve", world), world.rng(RELEASES)).later()


@dataclass(slots=True)
class Releaser:
    """Somebody who releases several prompts as one, and the releases that they know of."""

    person: Person
    rng: random.Random
    known: list[Release] = field(default_factory=list)

    def later(self) -> None:
        """Do the next thing after a while."""
        most, least = RELEASERS_SHARE
        end_ms = self.person.world.plan.end_ms
        self.person.world.later(self.rng.randint(end_ms // most, end_ms // least), self._deed)

    def _deed(self) -> None:
        world, rng = self.person.world, self.rng
        if world.nemesis.calm:
            return
        prompt = rng.choice(world.plan.prompts).name
        rollout = world.state(prompt).rollout
        verbs = IDLE if rollout is None else PAUSED if rollout.pause else BUSY
        match rng.choices(list(verbs), list(verbs.values()))[0]:
            case "promote":
                self._promote()
            case "take_back":
                self._take_back()
            case "one":
                self._one(prompt, alone=rng.random() < ALONE_SHARE)
            case "other":
                version = rng.choice(self._versions(prompt))
                self.person.climb(prompt, version, because="the next one")
            case "pause":
                self.person.pause(prompt)
            case "resume":
                self.person.resume(prompt)
            case "skip":
                self.person.skip(prompt)
            case "abort":
                self.person.abort(prompt)
            case "replan" if rollout is not None:
                self.person.replan(prompt, another(rollout, rng))
        self.later()

    def _versions(self, prompt: str) -> list[str]:
        versions = self.person.world.store.registry.versions(prompt)
        return [version.version for version in versions]

    def _release(self) -> Release:
        """One that is known, or a new one of versions of two or three prompts."""
        world, rng = self.person.world, self.rng
        if self.known and rng.random() < 0.3:
            return rng.choice(self.known)
        names = [prompt.name for prompt in world.plan.prompts]
        chosen = rng.sample(names, rng.randint(2, len(names)))
        members = [Member(name, rng.choice(self._versions(name))) for name in chosen]
        name = f"release-{len(world.store.releases.all(1_000)) + 1}"
        made = new_release(name, members, self.person.name, "they belong", world.clock_ms)
        world.store.releases.put(made)
        world.say(
            self.person.name, f"{name}: {', '.join(f'{m.prompt}:{m.version}' for m in members)}"
        )
        self.known = [*self.known, made][-KNOWN_MAX:]
        return made

    def _promote(self) -> None:
        rng = self.rng
        override = ("quarantined", "in_progress") if rng.random() < OVERRIDE_SHARE else ()
        now = rng.random() < NOW_SHARE
        think_ms = rng.randint(*THINK_MS) if rng.random() < SLOW_SHARE else 0
        promote(self.person, self._release(), override, now=now, think_ms=think_ms)

    def _take_back(self) -> None:
        """The whole release by its name, as server.releases."""
        world = self.person.world
        if not self.known:
            return
        release = self.rng.choice(self.known)
        states = [world.state(member.prompt) for member in release.members]
        try:
            lead = jointly.leader(release, [Partner(state) for state in states])
        except KnowngoodError as error:
            world.say(self.person.name, f"{release.name}: refused: {error}")
            return
        if lead is not None and part_of(lead, release):
            self._one(lead.prompt, alone=False)

    def _one(self, prompt: str, *, alone: bool) -> None:
        """One prompt, and what was released with it, unless alone; at once, or by stages."""
        world, rng = self.person.world, self.rng
        gradual: Ladder | None = None
        rollout = world.state(prompt).rollout
        gives_way = rollout is not None and rollout.kind is RolloutKind.GRADUAL
        if rng.random() < GRADUAL_SHARE and not gives_way:
            gradual = world.policy.for_prompt(prompt).gradual
        request = RollbackRequest(
            ALONE if alone else "complaints",
            quarantine=rng.random() < 0.9,
            gradual=gradual,
            actor=self.person.name,
        )
        think_ms = rng.randint(*THINK_MS) if rng.random() < SLOW_SHARE else 0
        self.person.roll_back(prompt, request, think_ms, alone=alone)


def promote(
    person: Person,
    release: Release,
    override: tuple[str, ...] = (),
    *,
    now: bool = False,
    think_ms: int = 0,
) -> None:
    """As server.releases: all of it in one transaction on what was read, or nothing."""
    world = person.world
    states = [world.state(member.prompt, person.environment) for member in release.members]

    def decide() -> tuple[Change, ...]:
        salt = new_salt(person.environment, f"release {release.name}", str(world.clock_ms), 0)
        begun: list[tuple[State, tuple[Action, ...]]] = []
        for state, member in zip(states, release.members, strict=True):
            jointly.check_fresh(state, member)
            rules = world.policy.for_prompt(member.prompt)
            asked = rollouts.Promotion(
                member.version,
                rollouts.AT_ONCE if now else rules.canary,
                rules.bake.holdback_bp,
                f"release {release.name}",
                person.name,
                override,
                rules,
            )
            outgoing = person.outgoing(state)
            begun.append((state, rollouts.begin(state, asked, outgoing, world.clock_ms)))
        orders = jointly.joined(release, tuple(begun), salt)
        return tuple(change for each, a in orders for change in person.changes(each, a))

    person.apply(states[0], decide, think_ms)

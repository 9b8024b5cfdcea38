"""What simulated people do with the A/B gate: they ask for it, climb, wait, and skip it at times.

The activity `comparison`: a world whose policy compares the arms of a canary, by rules that its
short life is long enough for.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from knowngood.core.model import Standing
from knowngood.sim.people import Person
from knowngood.sim.plan import Labels, Plan, PromptPlan, VersionPlan, with_rollouts
from knowngood.sim.truth import Regression

if TYPE_CHECKING:
    from knowngood.sim.world import World

COMPARISON = "comparison"
COMPARERS_SHARE = (80, 25)  # people see to their canaries so many times in a world's life
COMPARED_SHARE, SUPERIOR_SHARE, FIXED_SHARE, ASTRAY_SHARE = 0.8, 0.2, 0.25, 0.3
WORSE_SHARE = 0.2
LOADS = (4.0, 8.0, 12.0)
# An answer takes a minute at least, for that is how old what it reads may be: nobody may get in its
# way more often than that.
CLIMBERS_SHARE = (15, 6)
LADDERS = (["50%", "100%"], ["25%", "100%"], ["25%", "50%", "100%"], ["10%", "50%", "100%"])
# What somebody does while a canary is under way: mostly they let it be.
BUSY: Mapping[str, int] = {"watch": 92, "skip": 3, "abort": 2, "resume": 3}


def with_comparison(plan: Plan, rng: random.Random) -> Plan:
    """The same world, where a candidate has to hold its own beside its control."""
    plan = plan if plan.rollouts else with_rollouts(plan, rng)
    prompts, sections = [], dict(plan.policy["prompts"])
    defaults = dict(plan.policy["defaults"])
    stages, hold = rng.choice(LADDERS), f"{rng.randint(5, 20)}s"
    defaults["canary"] = {**defaults["canary"], "stages": stages, "hold": hold}
    for prompt in plan.prompts:
        labels = prompt.labels
        if labels is None and rng.random() < 0.4:
            labels = Labels(share=rng.choice((0.3, 0.8)), bias=rng.choice((1.0, 2.0)))
        versions = tuple(_worse(version, rng) for version in prompt.versions)
        busy = replace(prompt, versions=versions, labels=labels, load=rng.choice(LOADS))
        prompts.append(busy)
        if rng.random() < COMPARED_SHARE:
            sections[prompt.name] = {**sections.get(prompt.name, {}), "ab": _rule(busy, rng)}
    astray_bp = rng.choice((2_000, 5_000)) if rng.random() < ASTRAY_SHARE else 0
    policy = {**plan.policy, "defaults": defaults, "prompts": sections}
    return replace(
        plan,
        prompts=tuple(prompts),
        policy=policy,
        astray_bp=astray_bp,
        climbers_share=CLIMBERS_SHARE,
    )


def _worse(version: VersionPlan, rng: random.Random) -> VersionPlan:
    """Now and then one is worse than the others, and no detector of a limit says so."""
    if version.regression is not None or rng.random() > WORSE_SHARE:
        return version
    worse = rng.choice((Regression(rate=0.03), Regression(worse=0.2)))
    return replace(version, regression=worse)


def _rule(prompt: PromptPlan, rng: random.Random) -> dict[str, Any]:
    judged = prompt.labels is not None
    guardrails: dict[str, Any] = {
        "error_rate": rng.choice(("3%", "5%", "10%")),
        "quality": rng.choice(("10%", "20%")) if judged else None,
        "latency_p99": rng.choice((None, "50%")) if prompt.timed else None,
    }
    return {
        "primary": "quality" if judged and rng.random() < 0.6 else "error_rate",
        "mode": "superiority" if rng.random() < SUPERIOR_SHARE else "non_inferiority",
        "method": "fixed" if rng.random() < FIXED_SHARE else "anytime",
        "guardrails": guardrails,
        "min_units": rng.choice((20, 50, 100)),
        "max_units": rng.choice((150, 400, 1_000)),
        "min_time": f"{rng.randint(5, 60)}s",
    }


def begin_comparing(world: "World") -> None:
    """From now on somebody sees to the canaries, until the calm."""
    if world.plan.people:
        Comparer(Person("eva", world), world.rng(COMPARISON)).later()


@dataclass(frozen=True, slots=True)
class Comparer:
    """Somebody who wants to know whether a version is better."""

    person: Person
    rng: random.Random

    def later(self) -> None:
        """Do the next thing after a while."""
        most, least = COMPARERS_SHARE
        end_ms = self.person.world.plan.end_ms
        self.person.world.later(self.rng.randint(end_ms // most, end_ms // least), self._see_to_it)

    def _see_to_it(self) -> None:
        world, rng, person = self.person.world, self.rng, self.person
        if world.nemesis.calm:
            return
        plan = rng.choice(world.plan.prompts)
        state = world.state(plan.name)
        ill = {e.version for e in state.ledger if e.standing is Standing.QUARANTINED}
        served = {arm.version for arm in state.route.arms} if state.route else set()
        fresh = [v.name for v in plan.versions if v.name not in ill | served]
        if state.rollout is None and fresh:
            person.climb(plan.name, rng.choice(fresh), because="is it better?")
        else:
            match rng.choices(list(BUSY), list(BUSY.values()))[0]:
                case "skip":
                    person.skip(plan.name)
                case "abort":
                    person.abort(plan.name)
                case "resume":
                    person.resume(plan.name)
        self.later()

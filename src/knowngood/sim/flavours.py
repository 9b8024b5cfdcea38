"""Flavours of a seed's world: the same seed with more and more going on in it.

Each activity has dice of its own, for its plan and for its people, so that a seed's story in a
narrower flavour stays word for word what it was when a wider one is added.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from knowngood.sim.answerers import ANSWERS, begin_answering, with_answers
from knowngood.sim.comparers import COMPARISON, begin_comparing, with_comparison
from knowngood.sim.keepers import RETENTION, begin_keeping, with_retention
from knowngood.sim.plan import DEFAULT_SECONDS, Plan, seeded_plan, with_rollouts
from knowngood.sim.releases import RELEASES, begin_releasing, with_releases

if TYPE_CHECKING:
    from knowngood.sim.world import World

ROLLOUTS_SHARE = 0.75  # of the worlds


class Flavour(StrEnum):
    """How much goes on in a world."""

    PLAIN = "plain"  # deploys, rollbacks, detectors and faults
    ROLLOUTS = "rollouts"  # and in most worlds versions climb ladders and give way
    ALL = "all"  # and the ACTIVITIES, each in a share of the worlds


@dataclass(frozen=True, slots=True)
class Activity:
    """Something that people do beside deploying, in `share` of the worlds of flavour `all`.

    `plans` changes a world's plan before it begins, with the activity's dice of the seed. `begins`
    is called once in a world that has the activity, after its first deploys; it takes its dice from
    `world.rng(name)` and sets off what happens later with `world.later`.
    """

    name: str
    share: float
    plans: Callable[[Plan, random.Random], Plan]
    begins: Callable[["World"], None]


ACTIVITIES: tuple[Activity, ...] = (
    Activity(RETENTION, 0.4, with_retention, begin_keeping),
    Activity(COMPARISON, 0.4, with_comparison, begin_comparing),
    Activity(RELEASES, 0.5, with_releases, begin_releasing),
    Activity(ANSWERS, 0.4, with_answers, begin_answering),
)


def flavoured_plan(
    seed: int, seconds: int = DEFAULT_SECONDS, flavour: Flavour = Flavour.ALL
) -> Plan:
    """The plan of a seed in a flavour; what a narrower flavour drew is drawn alike in a wider."""
    plan = seeded_plan(random.Random(f"{seed}/plan"), seconds)
    dice = random.Random(f"rollouts/{seed}")
    if flavour is Flavour.PLAIN:
        return plan
    if dice.random() < ROLLOUTS_SHARE:
        plan = with_rollouts(plan, dice)
    if flavour is Flavour.ROLLOUTS:
        return plan
    for activity in ACTIVITIES:
        dice = random.Random(f"{activity.name}/{seed}")
        if dice.random() < activity.share:
            plan = activity.plans(plan, dice)
            plan = replace(plan, activities=plan.activities | {activity.name})
    return plan

"""What simulated people do with rollouts: climb, hold, hurry, plan anew, abort, go back gently."""

import random
from collections.abc import Mapping
from dataclasses import replace

from knowngood.core.model import WHOLE_BP, Standing
from knowngood.core.rollout import Ladder, Rollout, RolloutKind
from knowngood.core.steps.operator import RollbackRequest
from knowngood.core.steps.rollouts import AT_ONCE
from knowngood.sim.people import THINK_MS, Person
from knowngood.sim.plan import CANARIES, GRADUALS

TIMED_SHARE, OVERRIDE_SHARE = 0.1, 0.15
# What somebody does when nothing is under way, and while a rollout is: mostly they let it be.
IDLE: Mapping[str, int] = {"climb": 60, "now": 5, "give_way": 35}
BUSY: Mapping[str, int] = {
    "watch": 45,
    "pause": 12,
    "skip": 10,
    "replan": 8,
    "climb": 8,
    "give_way": 7,
    "roll_back": 5,
    "abort": 5,
}
PAUSED: Mapping[str, int] = {"resume": 60, "watch": 15, "skip": 10, "roll_back": 10, "abort": 5}


def meddle_with_rollouts(person: Person, rng: random.Random) -> None:
    """One thing that a person does about a rollout, now."""
    world = person.world
    plan = rng.choice(world.plan.prompts)
    prompt, version = plan.name, rng.choice(plan.versions).name
    rollout = world.state(prompt, person.environment).rollout
    verbs = IDLE if rollout is None else PAUSED if rollout.pause else BUSY
    rules = world.policy.for_prompt(prompt)
    override = ("quarantined", "in_progress") if rng.random() < OVERRIDE_SHARE else ()
    match rng.choices(list(verbs), list(verbs.values()))[0]:
        case "climb":
            steps = replace(rules.canary, timed=rng.random() < TIMED_SHARE)
            person.climb(prompt, version, steps, override=override)
        case "now":
            person.climb(prompt, version, AT_ONCE, override=override)
        case "give_way":
            target = _good(person, prompt, rng) if rng.random() < 0.5 else None
            _roll_back(person, prompt, rng, target, rules.gradual)
        case "roll_back":
            _roll_back(person, prompt, rng, None, None)
        case "pause":
            person.pause(prompt)
        case "resume":
            person.resume(prompt)
        case "skip":
            person.skip(prompt)
        case "abort":
            person.abort(prompt)
        case "replan" if rollout is not None:
            person.replan(prompt, another(rollout, rng))


def _good(person: Person, prompt: str, rng: random.Random) -> str | None:
    ledger = person.world.state(prompt, person.environment).ledger
    good = [e.version for e in ledger if e.standing is Standing.GOOD]
    return rng.choice(good) if good else None


def _roll_back(
    person: Person, prompt: str, rng: random.Random, target: str | None, steps: Ladder | None
) -> None:
    think_ms = rng.randint(*THINK_MS) if rng.random() < 0.3 else 0
    request = RollbackRequest(
        "by hand", target, quarantine=rng.random() < 0.8, gradual=steps, actor=person.name
    )
    person.roll_back(prompt, request, think_ms)


def another(rollout: Rollout, rng: random.Random) -> Ladder:
    """Other stages, a shorter or longer hold, and now and then a ladder that makes no sense."""
    canary = rollout.kind is RolloutKind.CANARY
    words = rng.choice(CANARIES if canary else GRADUALS)
    stages_bp = tuple(int(word[:-1]) * WHOLE_BP // 100 for word in words)
    if rng.random() < 0.1:
        stages_bp = stages_bp[::-1]
    hold_ms = rng.randint(5_000, 60_000)
    wait_ms = max(hold_ms, rollout.ladder.wait_ms)
    return replace(rollout.ladder, stages_bp=stages_bp, hold_ms=hold_ms, wait_ms=wait_ms)

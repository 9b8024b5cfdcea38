"""One seed's plan: its prompts, versions, processes, traffic, policy, troubles and faults."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from knowngood.sim.faults import swarm
from knowngood.sim.truth import Regression, Trouble

START_MS = 1_760_000_000_000  # any moment will do, as long as it is always the same
DEFAULT_SECONDS = 1_000
SECOND_MS = 1_000
# After the faults stop, everything has this long to settle: a window to forget the troubles, a
# confirmation, a verification up to its deadline, and a few ticks.
CALM_MS = 300_000
OFF: Mapping[str, Any] = dict.fromkeys(
    ("quality_high", "quality_medium", "latency_high", "latency_medium"), False
)


@dataclass(frozen=True, slots=True)
class VersionPlan:
    """A version: how often it fails when healthy, and how it goes bad, if it does."""

    name: str
    provider: str = "alpha"
    healthy: float = 0.003
    regression: Regression | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """No calls of a prompt arrive from `begins_ms` to `ends_ms`."""

    begins_ms: int
    ends_ms: int


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """A prompt: its versions, and the calls a second that each process gets for it."""

    name: str
    versions: tuple[VersionPlan, ...]
    load: float = 2.0
    swing: float = 0.0  # how much of the load comes and goes
    period_ms: int = 200_000
    pauses: tuple[Pause, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is fixed before a world begins. Times count from its beginning."""

    prompts: tuple[PromptPlan, ...]
    policy: Mapping[str, Any]
    seconds: int = DEFAULT_SECONDS
    client_count: int = 3
    engine_count: int = 1
    tick_ms: int = 1_000
    beat_ms: int = 1_000
    faults: frozenset[str] = frozenset()
    outages: Mapping[str, tuple[Trouble, ...]] = field(default_factory=dict)
    people: bool = False
    deploys: bool = True  # the first version of each prompt is promoted at the beginning
    calms: bool = True  # at the end the faults stop, and everything has to settle

    @property
    def end_ms(self) -> int:
        """When the world ends."""
        return self.seconds * SECOND_MS

    @property
    def calm_ms(self) -> int:
        """When the faults stop and everything has to settle."""
        return max(self.end_ms // 3, self.end_ms - CALM_MS)


def seeded_plan(rng: random.Random, seconds: int = DEFAULT_SECONDS) -> Plan:
    """The plan of a seed."""
    providers = ["alpha", "beta"][: rng.randint(1, 2)]
    prompts = tuple(
        _prompt(rng, f"prompt-{i + 1}", providers, seconds) for i in range(rng.choice((1, 1, 2, 3)))
    )
    engine_count = rng.choice((1, 1, 2))
    return Plan(
        prompts=prompts,
        policy={"policy": 1, "defaults": seeded_policy(rng)},
        seconds=seconds,
        client_count=rng.randint(2, 5),
        engine_count=engine_count,
        # Two intakes that write less often than the watermark lose sight of each other's buckets.
        tick_ms=1_000 if engine_count > 1 else rng.choice((1_000, 2_000, 5_000)),
        beat_ms=rng.choice((1_000, 1_000, 2_000)),
        faults=swarm(rng),
        outages={p: _outages(rng, seconds) for p in providers if rng.random() < 0.3},
        people=rng.random() < 0.9,
    )


def seeded_policy(rng: random.Random) -> dict[str, Any]:
    """A policy whose stretches fit into a world's short life."""
    goal, deadline = rng.choice((("30s", "60s"), ("30s", "2m"), ("60s", "2m")))
    return {
        "window": rng.choice(("60s", "60s", "2m")),
        "triggers": dict(OFF),
        "alerts": {
            "first_hour": {"when": ["error_rate > 0.5%"]},
            "settled": {"when": ["error_rate > 2%"]},
        },
        "verify": {"goal": goal, "deadline": deadline},
        "bake": {"for": rng.choice(("60s", "2m", "5m"))},
        "flap": {
            "cooldown": rng.choice(("30s", "2m", "10m")),
            "per_prompt_hour": rng.choice((1, 2, 5)),
            "fleet_hour": rng.choice((2, 10)),
        },
    }


def _prompt(rng: random.Random, name: str, providers: list[str], seconds: int) -> PromptPlan:
    versions = tuple(
        VersionPlan(
            name=f"v{i + 1}",
            provider=rng.choice(providers),
            healthy=rng.uniform(0.002, 0.01),
            regression=_regression(rng) if rng.random() < (0.15 if i == 0 else 0.5) else None,
        )
        for i in range(rng.randint(2, 4))
    )
    pauses: tuple[Pause, ...] = ()
    if rng.random() < 0.3:
        begins_ms = rng.randrange(seconds * SECOND_MS)
        pauses = (Pause(begins_ms, begins_ms + rng.randint(10_000, 200_000)),)
    return PromptPlan(
        name=name,
        versions=versions,
        load=rng.choice((0.1, 0.5, 1.0, 2.0, 4.0)),
        swing=rng.choice((0.0, 0.5, 1.0)),
        period_ms=rng.randint(60_000, 400_000),
        pauses=pauses,
    )


def _regression(rng: random.Random) -> Regression:
    rate = rng.choice((0.06, 0.08, 0.12, 0.2, 0.5, 1.0))
    return Regression(rate, 0 if rng.random() < 0.6 else rng.randint(5_000, 200_000))


def _outages(rng: random.Random, seconds: int) -> tuple[Trouble, ...]:
    """One or two failures of a provider, in the world's first two thirds."""
    found = []
    for _ in range(rng.randint(1, 2)):
        begins_ms = START_MS + rng.randrange(seconds * SECOND_MS * 2 // 3)
        ends_ms = begins_ms + rng.randint(10_000, 120_000)
        found.append(Trouble(rng.choice((0.1, 0.3, 1.0)), begins_ms, ends_ms))
    return tuple(found)

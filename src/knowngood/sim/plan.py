"""One seed's plan: its prompts, versions, processes, traffic, policy, troubles and faults."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from knowngood.core.model import WHOLE_BP
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
ASK: Mapping[str, Any] = {
    "severity": "high",
    "action": "ask",
    "who": "on-call",
    "limit": "10m",
    "on_timeout": "escalate",
}
SLOW: Mapping[str, Any] = {"when": "latency_p99 increase > 100%", **ASK}
WORSE: Mapping[str, Any] = {"when": "quality drop > 20%", **ASK}
STEPS_BP = (100, 500, 2_500, WHOLE_BP)  # the shares of a scripted canary
# Ladders that a world is long enough for: a stage of 1 % proves nothing within its life.
CANARIES = (
    ["10%", "50%", "100%"],
    ["25%", "100%"],
    ["5%", "25%", "100%"],
    ["50%", "75%", "100%"],
    ["1%", "10%", "50%", "100%"],
)
GRADUALS = (["75%", "50%", "25%", "0%"], ["50%", "0%"], ["90%", "10%", "0%"])
MEDIANS_MS = (150, 400, 1_200)


@dataclass(frozen=True, slots=True)
class VersionPlan:
    """A version as it is when healthy, and how it goes bad, if it does."""

    name: str
    provider: str = "alpha"
    healthy: float = 0.003  # the share of its calls that fail
    regression: Regression | None = None
    median_ms: int = 400
    quality: float = 0.8


@dataclass(frozen=True, slots=True)
class Stretch:
    """Traffic is `times` as large as usual from `begins_ms` to `ends_ms`; 0 is a pause."""

    begins_ms: int
    ends_ms: int
    times: float = 0.0


@dataclass(frozen=True, slots=True)
class Labels:
    """How a prompt's answers are judged.

    A `share` of its good calls is labelled; `in_time` of those with the call itself, the others
    later, except that `missing` of these never are. A late label takes up to `delay_ms`, and up to
    `bias` times as long the worse it is. `again` of the late ones are given twice, or corrected.
    """

    share: float
    in_time: float = 0.3
    missing: float = 0.1
    delay_ms: int = 30_000
    bias: float = 1.0
    again: float = 0.1
    graded: bool = True


@dataclass(frozen=True, slots=True)
class Share:
    """A script gives a version this share of the traffic at that time."""

    at_ms: int
    version: str
    weight_bp: int


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """A prompt: its versions, and the calls a second that each process gets for it."""

    name: str
    versions: tuple[VersionPlan, ...]
    load: float = 2.0
    swing: float = 0.0  # how much of the load comes and goes in a day
    day_ms: int = 200_000  # a day is as short as its world
    stretches: tuple[Stretch, ...] = ()
    storms: tuple[Stretch, ...] = ()  # whoever fails tries again so many times within the second
    timed: bool = False  # its processes report latencies
    labels: Labels | None = None
    script: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is fixed before a world begins. Times count from its beginning."""

    prompts: tuple[PromptPlan, ...]
    policy: Mapping[str, Any]
    seconds: int = DEFAULT_SECONDS
    client_count: int = 3
    staging_count: int = 0  # processes of a staging environment, which has the same prompts
    engine_count: int = 1
    notifiers: tuple[str, ...] = ("pager",)
    tick_ms: int = 1_000
    beat_ms: int = 1_000
    faults: frozenset[str] = frozenset()
    outages: Mapping[str, tuple[Trouble, ...]] = field(default_factory=dict)
    people: bool = False
    rollouts: bool = False  # people promote as the server does, and move traffic by stages
    # How long after its start an engine begins to purge, and how often it does; None: as in life.
    sweep_ms: tuple[int, int] | None = None
    # So many of an arm's units never report, where arms are compared: something sorts the users.
    astray_bp: int = 0
    activities: frozenset[str] = frozenset()  # flavours.ACTIVITIES that go on in it
    # With rollouts they meddle so many times in a world's life, at most and at least.
    climbers_share: tuple[int, int] = (100, 20)
    crowd: bool = True  # people do things at random, beside those of the activities
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


def _notifiers(rng: random.Random, engine_count: int, provider_count: int) -> tuple[str, ...]:
    """One or two; worlds of two engines take the number of providers, and throw no dice for it."""
    two = provider_count == 2 if engine_count > 1 else rng.random() < 0.3
    return ("pager", "chat") if two else ("pager",)


def seeded_plan(rng: random.Random, seconds: int = DEFAULT_SECONDS) -> Plan:
    """The plan of a seed."""
    providers = ["alpha", "beta"][: rng.randint(1, 2)]
    # Two engines look twice as often: such a world is the dearest, and so it is the smallest.
    engine_count = rng.choice((1, 1, 1, 2))
    prompt_count = rng.choice((1, 1, 2, 3) if engine_count == 1 else (1, 1, 1, 2))
    prompts = tuple(
        _prompt(rng, f"prompt-{i + 1}", providers, seconds) for i in range(prompt_count)
    )
    return Plan(
        prompts=prompts,
        policy={
            "policy": 1,
            "defaults": seeded_policy(rng),
            "prompts": {p.name: {"triggers": t} for p in prompts if (t := _triggers(p))},
        },
        seconds=seconds,
        client_count=rng.randint(2, 5),
        staging_count=rng.choice((0, 0, 0, 1)),
        engine_count=engine_count,
        notifiers=_notifiers(rng, engine_count, len(providers)),
        # Two intakes that write less often than the watermark lose sight of each other's buckets.
        tick_ms=1_000 if engine_count > 1 else rng.choice((1_000, 2_000, 2_000, 5_000)),
        beat_ms=rng.choice((1_000, 1_000, 2_000)),
        faults=swarm(rng),
        outages={p: _outages(rng, seconds) for p in providers if rng.random() < 0.3},
        people=rng.random() < 0.9,
    )


def seeded_policy(rng: random.Random) -> dict[str, Any]:
    """The defaults of a policy whose stretches fit into a world's short life."""
    goal, deadline = rng.choice((("30s", "60s"), ("30s", "2m"), ("60s", "2m")))
    return {
        "window": rng.choice(("60s", "60s", "2m")),
        "baseline": {"min_requests": 200, "min_labels": 20},
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


def with_rollouts(plan: Plan, rng: random.Random) -> Plan:
    """The same world, where versions climb ladders and give way: all else is as it was.

    Its dice are its own, so that a world without rollouts keeps its story.
    """
    end_ms, defaults = plan.end_ms, dict(plan.policy["defaults"])
    defaults |= {
        "canary": {
            "stages": rng.choice(CANARIES),
            "hold": f"{rng.randint(10, 60)}s",
            "wait_at_most": f"{rng.randint(60, 300)}s",
        },
        "gradual": {
            "stages": rng.choice(GRADUALS),
            "hold": f"{rng.randint(5, 40)}s",
            "pause_above": "error_rate > 2%",
        },
        "bake": {
            "for": f"{rng.randint(30, 200)}s",
            "holdback": rng.choice(("0%", "5%", "5%", "20%")),
        },
    }
    if rng.random() < 0.25:
        defaults["freeze"] = [_freeze(rng, end_ms)]
    if rng.random() < 0.4:
        gently = {"error_critical": {"method": "gradual"}}
        defaults["triggers"] = {**defaults["triggers"], **gently}
    prompts = tuple(replace(p, load=rng.choice((p.load, 4.0, 8.0, 16.0))) for p in plan.prompts)
    policy = {**plan.policy, "defaults": defaults}
    return replace(plan, prompts=prompts, policy=policy, rollouts=True)


def another_prompt(plan: Plan, rng: random.Random) -> Plan:
    """The same world with one prompt more."""
    providers = sorted({version.provider for p in plan.prompts for version in p.versions})
    made = _prompt(rng, f"prompt-{len(plan.prompts) + 1}", providers, plan.seconds)
    rules = dict(plan.policy["prompts"])
    if triggers := _triggers(made):
        rules[made.name] = {"triggers": triggers}
    policy = {**plan.policy, "prompts": rules}
    return replace(plan, prompts=(*plan.prompts, made), policy=policy)


def _freeze(rng: random.Random, end_ms: int) -> dict[str, str]:
    """A change freeze somewhere in the world's first half."""
    begins_ms = START_MS + rng.randrange(end_ms // 2)
    ends_ms = begins_ms + rng.randint(end_ms // 20, end_ms // 5)
    return {"from": _moment(begins_ms), "until": _moment(ends_ms), "because": "the sale"}


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")


def _triggers(prompt: PromptPlan) -> dict[str, Any]:
    """Latency and quality are judged where they are reported."""
    triggers: dict[str, Any] = {}
    if prompt.timed:
        triggers["latency_high"] = SLOW
    if prompt.labels:
        triggers["quality_high"] = WORSE
    return triggers


def _prompt(rng: random.Random, name: str, providers: list[str], seconds: int) -> PromptPlan:
    load = rng.choice((0.1, 0.5, 1.0, 2.0, 4.0))
    timed, judged = rng.random() < 0.2, rng.random() < 0.2
    median_ms = rng.choice(MEDIANS_MS)
    versions = tuple(
        VersionPlan(
            name=f"v{i + 1}",
            provider=rng.choice(providers),
            healthy=rng.uniform(0.002, 0.01),
            regression=_regression(rng, timed, judged)
            if rng.random() < (0.15 if i == 0 else 0.5)
            else None,
            median_ms=median_ms,
        )
        for i in range(rng.randint(2, 4))
    )
    end_ms = seconds * SECOND_MS
    stretches: tuple[Stretch, ...] = ()
    if rng.random() < 0.3:
        stretches += (_stretch(rng, end_ms, (10_000, 200_000), 0.0),)
    if rng.random() < 0.3:
        stretches += (_stretch(rng, end_ms, (2_000, 20_000), rng.choice((10.0, 20.0, 50.0))),)
    return PromptPlan(
        name=name,
        versions=versions,
        load=load,
        swing=rng.choice((0.0, 0.5, 1.0)),
        day_ms=rng.randint(60_000, 400_000),
        stretches=stretches,
        storms=(_stretch(rng, end_ms, (10_000, 60_000), 10.0),) if rng.random() < 0.3 else (),
        timed=timed,
        labels=_labels(rng) if judged else None,
        script=_script(rng, versions, end_ms) if rng.random() < 0.3 else (),
    )


def _regression(rng: random.Random, timed: bool, judged: bool) -> Regression:
    rate = rng.choice((0.06, 0.08, 0.12, 0.2, 0.5, 1.0))
    slower = rng.choice((1.2, 3.0, 10.0)) if timed and rng.random() < 0.5 else 1.0
    worse = rng.choice((0.3, 0.6)) if judged and rng.random() < 0.5 else 0.0
    only = (slower > 1 or worse > 0) and rng.random() < 0.7
    return Regression(
        rate=0.0 if only else rate,
        after_ms=0 if rng.random() < 0.6 else rng.randint(5_000, 200_000),
        slower=slower,
        worse=worse,
        kind="timeout" if rng.random() < 0.2 else "prompt",
    )


def _stretch(rng: random.Random, end_ms: int, length_ms: tuple[int, int], times: float) -> Stretch:
    begins_ms = rng.randrange(end_ms)
    return Stretch(begins_ms, begins_ms + rng.randint(*length_ms), times)


def _labels(rng: random.Random) -> Labels:
    return Labels(
        share=rng.choice((0.1, 0.3)),
        in_time=rng.choice((0.0, 0.3, 1.0)),
        missing=rng.choice((0.0, 0.3)),
        delay_ms=rng.choice((5_000, 30_000, 120_000)),
        bias=rng.choice((1.0, 3.0)),
        graded=rng.random() < 0.7,
    )


def _script(
    rng: random.Random, versions: tuple[VersionPlan, ...], end_ms: int
) -> tuple[Share, ...]:
    """A canary from 1 % to everybody, all of it before the calm."""
    version = rng.choice(versions[1:]).name
    first_ms, step_ms = rng.randrange(end_ms // 3), rng.randint(end_ms // 60, end_ms // 10)
    return tuple(Share(first_ms + i * step_ms, version, bp) for i, bp in enumerate(STEPS_BP))


def _outages(rng: random.Random, seconds: int) -> tuple[Trouble, ...]:
    """One or two failures of a provider, in the world's first two thirds."""
    found = []
    for _ in range(rng.randint(1, 2)):
        begins_ms = START_MS + rng.randrange(seconds * SECOND_MS * 2 // 3)
        ends_ms = begins_ms + rng.randint(10_000, 120_000)
        kind = rng.choice(("provider", "provider", "timeout"))
        found.append(Trouble(rng.choice((0.1, 0.3, 1.0)), begins_ms, ends_ms, kind))
    return tuple(found)

"""Incident stories as timelines: what happens at a moment, and what is expected at a moment.

    story = Scenario(versions=("v1.9.0", "v2.0.0"), calls_per_s=10)
    story.at("0:00").promote("v1.9.0")
    story.at("0:20").promote("v2.0.0")
    story.at("0:31").error_rate(0.11)
    story.expect("0:45").serving("v1.9.0").quarantined("v2.0.0")
    story.expect("1:30").verified()
    story.run()

Times are `m:ss` or `h:mm:ss` from the beginning, in any order. `run` plays the story in virtual
time against the real core and engine, with every checker watching, and raises StoryFailed with the
whole timeline when an expectation or a law does not hold.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from knowngood.core.rules import PromptPolicy
from knowngood.core.steps.operator import RollbackRequest
from knowngood.core.steps.rollouts import AT_ONCE
from knowngood.core.units import duration_ms
from knowngood.sim.checkers import LAWS, Checker
from knowngood.sim.clients import SimClient
from knowngood.sim.expectations import Expectation
from knowngood.sim.faults import Gate
from knowngood.sim.people import Person
from knowngood.sim.plan import (
    DEFAULT_SECONDS,
    OFF,
    START_MS,
    Labels,
    Plan,
    PromptPlan,
    VersionPlan,
)
from knowngood.sim.truth import Trouble
from knowngood.sim.world import Failure, World

POLICY: Mapping[str, Any] = {
    "window": "60s",
    "triggers": dict(OFF),
    "alerts": {"first_hour": {"when": ["error_rate > 0.5%"]}, "settled": False},
    "verify": {"goal": "30s", "deadline": "2m"},
    "bake": {"for": "10m"},
}
LEEWAY_MS = 1  # what happens at a moment comes before what is expected at it


class StoryFailed(AssertionError):
    """Something in a story went otherwise than told."""


def clock_ms(text: str) -> int:
    """`0:31` or `1:02:30` as milliseconds. Raises ValueError for anything else."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is not a time; write it as m:ss or h:mm:ss")
    whole = 0
    for part in parts:
        whole = whole * 60 + int(part)
    return whole * 1_000


class Scenario:
    """One story about one prompt, or about several on the same provider."""

    def __init__(
        self,
        prompt: str = "support-bot",
        versions: Iterable[str] = ("v1.9.0", "v2.0.0"),
        *,
        others: Iterable[str] = (),
        calls_per_s: float = 10.0,
        clients: int = 4,
        engines: int = 1,
        staging: int = 0,
        timed: bool = False,
        labels: Labels | None = None,
        policy: Mapping[str, Any] | None = None,
        faults: Iterable[str] = (),
        ends: str | None = None,
        seed: int = 7,
        laws: tuple[type[Checker], ...] = LAWS,
    ) -> None:
        """`others` are prompts with the same versions; `policy` is laid over POLICY.

        `staging` processes belong to a second environment; `timed` ones report their latencies. A
        story that `ends` is calm for its last five minutes, and everything has to settle. Its
        `faults` strike as often as in a seeded world.
        """
        self.prompt = prompt
        planned = tuple(VersionPlan(version) for version in versions)
        load = calls_per_s / clients
        prompts = tuple(
            PromptPlan(name, planned, load, timed=timed, labels=labels)
            for name in (prompt, *others)
        )
        plan = Plan(
            prompts=prompts,
            policy={"policy": 1, "defaults": {**POLICY, **(policy or {})}},
            client_count=clients,
            staging_count=staging,
            engine_count=engines,
            deploys=False,
            faults=frozenset(faults),
            seconds=clock_ms(ends) // 1_000 if ends else DEFAULT_SECONDS,
            calms=ends is not None,
        )
        self.world = World(plan, seed, laws)
        self.wrong: list[str] = []
        self.last_ms = 0
        self.ends = ends is not None

    def at(self, time: str, prompt: str | None = None) -> "Moment":
        """What happens at that time, to the story's prompt or another one, in production."""
        return Moment(self, self._reach(time), prompt or self.prompt, self.world.person)

    def at_staging(self, time: str, prompt: str | None = None) -> "Moment":
        """What happens at that time in staging."""
        return Moment(self, self._reach(time), prompt or self.prompt, self.world.tester)

    def expect(self, time: str, prompt: str | None = None) -> Expectation:
        """What is to be so at that time."""
        return Expectation(self, self._reach(time) + LEEWAY_MS, prompt or self.prompt, time)

    def _reach(self, time: str) -> int:
        at_ms = clock_ms(time)
        self.last_ms = max(self.last_ms, at_ms + LEEWAY_MS)
        return at_ms

    def play(self) -> list[Failure]:
        """Play the story; what the laws say of it."""
        return self.world.run(None if self.ends else self.last_ms)

    def run(self) -> World:
        """Play the story to its last line; the world as it is then."""
        failures = self.play()
        wrong = [*self.wrong, *(f"{f.checker}: {f.message}" for f in failures)]
        if wrong:
            raise StoryFailed("\n".join([*wrong, "", "The story:", *self.world.trace]))
        return self.world


class Moment:
    """What happens at one moment. Every verb gives the moment back, so that they can be chained."""

    def __init__(self, story: Scenario, at_ms: int, prompt: str, person: Person) -> None:
        """A moment of a story, and who acts in it."""
        self.story, self.prompt, self.at_ms = story, prompt, at_ms
        self.world, self.person = story.world, person

    def do(self, what: Callable[[], object]) -> "Moment":
        """Anything else."""
        self.world.at(START_MS + self.at_ms, what)
        return self

    def promote(self, version: str, *, override: tuple[str, ...] = ()) -> "Moment":
        """A person serves a version to everybody."""
        return self.do(lambda: self.person.promote(self.prompt, version, "deploy", override))

    def canary(self, version: str, percent: float) -> "Moment":
        """A person gives a version a share of the traffic."""
        return self.do(lambda: self.person.split(self.prompt, version, round(percent * 100)))

    def climb(self, version: str, *, override: tuple[str, ...] = (), **ladder: Any) -> "Moment":
        """A person promotes a version up a ladder, the policy's but for what is named of it."""
        return self.do(
            lambda: self.person.climb(
                self.prompt, version, replace(self._rules().canary, **ladder), override=override
            )
        )

    def now(self, version: str, *, override: tuple[str, ...] = ()) -> "Moment":
        """A person promotes a version to everybody at once; it bakes without a control."""
        return self.do(lambda: self.person.climb(self.prompt, version, AT_ONCE, override=override))

    def pause(self) -> "Moment":
        """A person pauses the rollout."""
        return self.do(lambda: self.person.pause(self.prompt))

    def resume(self) -> "Moment":
        """A person lets it go on."""
        return self.do(lambda: self.person.resume(self.prompt))

    def skip(self) -> "Moment":
        """A person goes on to the next stage without proof."""
        return self.do(lambda: self.person.skip(self.prompt))

    def abort(self) -> "Moment":
        """A person takes the new version off again."""
        return self.do(lambda: self.person.abort(self.prompt))

    def replan(self, *stages: float, **ladder: Any) -> "Moment":
        """A person gives the rollout other stages (percent) from here on, or other times."""

        def change() -> None:
            rollout = self.world.state(self.prompt, self.person.environment).rollout
            steps = rollout.ladder if rollout else self._rules().canary
            stages_bp = tuple(round(p * 100) for p in stages) or steps.stages_bp
            self.person.replan(self.prompt, replace(steps, stages_bp=stages_bp, **ladder))

        return self.do(change)

    def give_way(self, target: str | None = None, **ladder: Any) -> "Moment":
        """A person rolls back stage by stage, by the policy's ladder but for what is named."""

        def begin() -> None:
            steps = replace(self._rules().gradual, **ladder)
            request = RollbackRequest("by hand", target, gradual=steps, actor=self.person.name)
            self.person.roll_back(self.prompt, request)

        return self.do(begin)

    def _rules(self) -> PromptPolicy:
        return self.world.policy.for_prompt(self.prompt)

    def script(self, version: str, *steps: tuple[str, float]) -> "Moment":
        """A script gives a version these shares (percent), each some time after the moment."""
        for after, percent in steps:
            at_ms, share = START_MS + self.at_ms + duration_ms(after), round(percent * 100)
            self.story.last_ms = max(self.story.last_ms, at_ms - START_MS)
            self.world.at(at_ms, partial(self.person.give, self.prompt, version, share))
        return self

    def roll_back(self, target: str | None = None, **options: Any) -> "Moment":
        """A person rolls back, to the newest known-good version unless named."""
        request = RollbackRequest("by hand", target, **options)
        return self.do(lambda: self.person.roll_back(self.prompt, request))

    def vouch(self, version: str) -> "Moment":
        """A person gives their word for a version."""
        return self.do(lambda: self.person.vouch(self.prompt, version))

    def unquarantine(self, version: str) -> "Moment":
        """A person lets a version try again."""
        return self.do(lambda: self.person.unquarantine(self.prompt, version))

    def automation_off(self, length: str, *, everywhere: bool = False) -> "Moment":
        """A person turns automation off for a while."""
        prompt = None if everywhere else self.prompt
        return self.do(lambda: self.person.automation(prompt, duration_ms(length)))

    def automation_on(self) -> "Moment":
        """A person turns automation on."""
        return self.do(lambda: self.person.automation(self.prompt, None))

    def error_rate(self, rate: float, version: str | None = None, kind: str = "prompt") -> "Moment":
        """A version (the one on trial unless named) fails in this share of its calls."""

        def change() -> None:
            trouble = Trouble(rate, self.world.now_ms, kind=kind)
            key = (self.prompt, version or self._suspect())
            self.world.truth.troubles.setdefault(key, []).append(trouble)

        return self.do(change)

    def latency(self, times: float, version: str | None = None) -> "Moment":
        """A version (the one on trial unless named) takes so many times as long as before."""
        return self.do(
            lambda: self.world.truth.slowed.update(
                {(self.prompt, version or self._suspect()): times}
            )
        )

    def quality_drop(self, share: float, version: str | None = None) -> "Moment":
        """A version (the one on trial unless named) loses this share of its quality."""
        return self.do(
            lambda: self.world.truth.worsened.update(
                {(self.prompt, version or self._suspect()): share}
            )
        )

    def _suspect(self) -> str:
        route = self.world.state(self.prompt, self.person.environment).route
        return route.suspect.version if route else ""

    def retries(self, times: int) -> "Moment":
        """Whoever fails tries again at once, so many times in all."""
        return self.do(lambda: self.world.traffic.storms.update({self.prompt: times}))

    def outage(self, rate: float, length: str, provider: str = "alpha") -> "Moment":
        """The provider fails in this share of all calls, for a while."""

        def begin() -> None:
            ends_ms = self.world.now_ms + duration_ms(length)
            trouble = Trouble(rate, self.world.now_ms, ends_ms)
            self.world.truth.outages.setdefault(provider, []).append(trouble)

        return self.do(begin)

    def traffic(self, calls_per_s: float) -> "Moment":
        """So many calls arrive from now on, all processes together."""

        def change() -> None:
            for client in self.world.clients:
                client.catch_up(self.world.now_ms)
            self.world.traffic.overload[self.prompt] = calls_per_s / max(1, len(self._clients()))

        return self.do(change)

    def cut(self, *names: str, up: bool = True, down: bool = True) -> "Moment":
        """Processes (all unless named) are cut off, in one direction or both."""
        return self._each(names, lambda c: self.world.network.cut(c, up, down, None))

    def heal(self, *names: str) -> "Moment":
        """Processes (all unless named) reach everybody again."""
        return self._each(names, self.world.network.heal)

    def deafen(self, *names: str) -> "Moment":
        """Processes (all unless named) go on reporting, and never take a newer snapshot."""
        return self._each(names, lambda c: setattr(c, "deaf", True))

    def close(self, *names: str) -> "Moment":
        """Processes (all unless named) end properly."""
        return self._each(names, lambda c: setattr(c, "ending", True))

    def kill(self, *names: str) -> "Moment":
        """Processes (all unless named) end without a word."""
        return self._each(names, lambda c: setattr(c, "alive", False))

    def join(self) -> "Moment":
        """Another process comes."""
        return self.do(self.world.join)

    def crash(self, point: str, engine: int = 0, writing: str = "") -> "Moment":
        """An engine dies when it next passes a labelled point (faults.POINTS).

        At an apply the next one, or the next that writes an audit line of the kind `writing`.
        """
        return self.do(lambda: self._gate(engine).script(point, "crash", writing))

    def lost_ack(self, point: str, engine: int = 0) -> "Moment":
        """A write is carried out, and the engine is told that it was not."""
        return self.do(lambda: self._gate(engine).script(point, "lost_ack"))

    def stall(self, length: str, engine: int = 0, writing: str = "") -> "Moment":
        """An engine is held for a while between a decision and its apply.

        The next one, or the next that writes an audit line of the kind `writing`.
        """

        def script() -> None:
            self.world.engines[engine].stall_ms = duration_ms(length)
            self._gate(engine).script("apply.before", "stall", writing)

        return self.do(script)

    def stop(self, length: str, engine: int = 0) -> "Moment":
        """An engine's process is gone for a while."""
        back_ms = duration_ms(length)
        return self.do(lambda: self.world.engines[engine].die("a pulled plug", back_ms))

    def wall_clock(self, skew_s: int, engine: int = 0) -> "Moment":
        """The wall clock of an engine's machine is so wrong from now on; who starts sees it."""
        return self.do(lambda: setattr(self.world.engines[engine], "skew_ms", skew_s * 1_000))

    def fault(self, name: str, times: int = 1) -> "Moment":
        """A fault (faults.RATES) strikes the next so many times that it could."""
        return self.do(lambda: self.world.nemesis.force(name, times))

    def _gate(self, engine: int) -> Gate:
        return self.world.engines[engine].gate

    def _clients(self) -> list[SimClient]:
        mine = self.person.environment
        return [c for c in self.world.clients if c.alive and c.environment == mine]

    def _each(self, names: tuple[str, ...], what: Callable[[SimClient], object]) -> "Moment":
        def act() -> None:
            for client in self._clients():
                if not names or client.name in names:
                    what(client)

        return self.do(act)

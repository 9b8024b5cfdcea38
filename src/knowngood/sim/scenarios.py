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
from typing import Any

from knowngood.core.model import (
    WHOLE_BP,
    AuditEntry,
    Confirming,
    Standing,
    State,
    Steady,
    Verifying,
)
from knowngood.core.steps.operator import RollbackRequest
from knowngood.core.units import duration_ms
from knowngood.sim.checkers import LAWS, Checker, history
from knowngood.sim.clients import ENVIRONMENT, SimClient
from knowngood.sim.plan import OFF, START_MS, Plan, PromptPlan, VersionPlan
from knowngood.sim.truth import Trouble
from knowngood.sim.world import World

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
        policy: Mapping[str, Any] | None = None,
        seed: int = 7,
        laws: tuple[type[Checker], ...] = LAWS,
    ) -> None:
        """`others` are prompts with the same versions; `policy` is laid over POLICY."""
        self.prompt = prompt
        planned = tuple(VersionPlan(version) for version in versions)
        load = calls_per_s / clients
        prompts = tuple(PromptPlan(name, planned, load) for name in (prompt, *others))
        plan = Plan(
            prompts=prompts,
            policy={"policy": 1, "defaults": {**POLICY, **(policy or {})}},
            client_count=clients,
            engine_count=engines,
            deploys=False,
            calms=False,
        )
        self.world = World(plan, seed, laws)
        self.wrong: list[str] = []
        self.last_ms = 0

    def at(self, time: str, prompt: str | None = None) -> "Moment":
        """What happens at that time, to the story's prompt or another one."""
        return Moment(self, self._reach(time), prompt or self.prompt)

    def expect(self, time: str, prompt: str | None = None) -> "Expectation":
        """What is to be so at that time."""
        return Expectation(self, self._reach(time) + LEEWAY_MS, prompt or self.prompt, time)

    def _reach(self, time: str) -> int:
        at_ms = clock_ms(time)
        self.last_ms = max(self.last_ms, at_ms + LEEWAY_MS)
        return at_ms

    def run(self) -> World:
        """Play the story to its last line; the world as it is then."""
        failures = self.world.run(self.last_ms)
        wrong = [*self.wrong, *(f"{f.checker}: {f.message}" for f in failures)]
        if wrong:
            raise StoryFailed("\n".join([*wrong, "", "The story:", *self.world.trace]))
        return self.world


class Moment:
    """What happens at one moment. Every verb gives the moment back, so that they can be chained."""

    def __init__(self, story: Scenario, at_ms: int, prompt: str) -> None:
        """A moment of a story."""
        self.story, self.prompt, self.at_ms = story, prompt, at_ms
        self.world, self.person = story.world, story.world.person

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

    def error_rate(self, rate: float, version: str | None = None) -> "Moment":
        """A version (the one on trial unless named) fails in this share of its calls."""

        def change() -> None:
            route = self.world.state(self.prompt).route
            name = version or (route.suspect.version if route else "")
            trouble = Trouble(rate, self.world.now_ms)
            self.world.truth.troubles.setdefault((self.prompt, name), []).append(trouble)

        return self.do(change)

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
                client.work(self.world.now_ms)
            self.world.overload[self.prompt] = calls_per_s / max(1, len(self._clients()))

        return self.do(change)

    def cut(self, *names: str, up: bool = True, down: bool = True) -> "Moment":
        """Processes (all unless named) are cut off, in one direction or both."""
        return self._each(names, lambda c: self.world.cut(c, up, down, None))

    def heal(self, *names: str) -> "Moment":
        """Processes (all unless named) reach everybody again."""
        return self._each(names, self.world.heal)

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

    def crash(self, point: str, engine: int = 0) -> "Moment":
        """An engine dies when it next passes a labelled point (faults.POINTS)."""
        return self.do(lambda: self.world.engines[engine].gate.script(point, "crash"))

    def lost_ack(self, point: str, engine: int = 0) -> "Moment":
        """A write is carried out, and the engine is told that it was not."""
        return self.do(lambda: self.world.engines[engine].gate.script(point, "lost_ack"))

    def stall(self, length: str, engine: int = 0, before: str = "") -> "Moment":
        """An engine is held for a while between a decision and its apply.

        The next one, or the next that writes a line of the kind `before` into the audit log.
        """

        def script() -> None:
            held = self.world.engines[engine]
            held.stall_ms = duration_ms(length)
            held.gate.stall_before = before
            held.gate.script("apply.before", "stall")

        return self.do(script)

    def _clients(self) -> list[SimClient]:
        return [client for client in self.world.clients if client.alive]

    def _each(self, names: tuple[str, ...], what: Callable[[SimClient], object]) -> "Moment":
        def act() -> None:
            for client in self._clients():
                if not names or client.name in names:
                    what(client)

        return self.do(act)


class Expectation:
    """What is to be so at one moment. Every verb gives the expectation back, to be chained."""

    def __init__(self, story: Scenario, at_ms: int, prompt: str, time: str) -> None:
        """An expectation of a story."""
        self.story, self.prompt, self.at_ms, self.time = story, prompt, at_ms, time
        self.world = story.world

    def that(self, words: str, holds: Callable[[], object]) -> "Expectation":
        """Anything else."""

        def check() -> None:
            if not holds():
                self.story.wrong.append(f"{self.time} {self.prompt}: expected {words}")
                self.world.say("EXPECTED", f"{self.prompt}: {words}; it is {self._as_it_is()}")

        self.world.at(START_MS + self.at_ms, check)
        return self

    def _as_it_is(self) -> str:
        state = self._state()
        arms = " + ".join(f"{a.version} {a.weight_bp / 100:g}%" for a in self._arms())
        ledger = ", ".join(f"{e.version} {e.standing.value}" for e in state.ledger)
        return f"{arms or 'no route'}; {type(state.phase).__name__}; {ledger}"

    def _state(self) -> State:
        return self.world.state(self.prompt)

    def _arms(self) -> tuple[Any, ...]:
        route = self._state().route
        return route.arms if route else ()

    def _lines(self, kind: str) -> list[AuditEntry]:
        return [line for line in history(self.world, self.prompt) if line.kind == kind]

    def serving(self, version: str) -> "Expectation":
        """The route gives everybody this version."""
        return self.that(f"serving {version}", lambda: self._share(version) == WHOLE_BP)

    def share(self, version: str, percent: float) -> "Expectation":
        """The route gives this version so much of the traffic."""
        return self.that(
            f"{version} at {percent:g}%", lambda: self._share(version) == round(percent * 100)
        )

    def _share(self, version: str) -> int:
        return sum(arm.weight_bp for arm in self._arms() if arm.version == version)

    def everywhere(self) -> "Expectation":
        """Every living process runs the newest generation."""

        def current() -> bool:
            newest = self.world.store.states.generation(ENVIRONMENT)
            return all(c.generation == newest for c in self.world.clients if c.alive)

        return self.that("the newest generation everywhere", current)

    def steady(self) -> "Expectation":
        """Nothing is under way."""
        return self.that("steady", lambda: isinstance(self._state().phase, Steady))

    def confirming(self) -> "Expectation":
        """A breach is being confirmed, or its rollback is held."""
        return self.that("confirming", lambda: isinstance(self._state().phase, Confirming))

    def verifying(self) -> "Expectation":
        """A recovery is being verified."""
        return self.that("verifying", lambda: isinstance(self._state().phase, Verifying))

    def rolled_back(self, times: int = 1) -> "Expectation":
        """So many rollbacks were carried out up to now."""
        return self.recorded("rollback.switched", times)

    def verified(self, times: int = 1) -> "Expectation":
        """So many recoveries were verified up to now."""
        return self.recorded("rollback.verified", times)

    def held(self, brake: str) -> "Expectation":
        """A rollback was held by this brake."""
        return self.that(
            f"held by {brake}",
            lambda: any(line.detail["brake"] == brake for line in self._lines("rollback.held")),
        )

    def recorded(self, kind: str, times: int | None = None) -> "Expectation":
        """The audit log has lines of this kind: at least one, or exactly so many."""
        words = f"{kind} recorded" if times is None else f"{kind} recorded {times} times"

        def counted() -> bool:
            count = len(self._lines(kind))
            return count > 0 if times is None else count == times

        return self.that(words, counted)

    def standing(self, version: str, standing: Standing) -> "Expectation":
        """The ledger says this of a version."""
        return self.that(
            f"{version} {standing.value}", lambda: self._state().standing(version) is standing
        )

    def good(self, version: str) -> "Expectation":
        """The ledger knows the version as good."""
        return self.standing(version, Standing.GOOD)

    def quarantined(self, version: str) -> "Expectation":
        """The version may not come back by itself."""
        return self.standing(version, Standing.QUARANTINED)

    def candidate(self, version: str) -> "Expectation":
        """The version is on trial, or may be again."""
        return self.standing(version, Standing.CANDIDATE)

    def incident(self, is_open: bool = True) -> "Expectation":
        """An incident is open, or (False) none is."""
        words = "an open incident" if is_open else "no incident"
        return self.that(words, lambda: (self._state().incident is not None) == is_open)

    def paged(self, words: str, times: int | None = None) -> "Expectation":
        """People got a message whose trace line says this: at least one, or exactly so many."""

        def counted() -> bool:
            pages = [line for line in self.world.trace if "  pager " in line and words in line]
            return len(pages) == times if times is not None else bool(pages)

        return self.that(f"a page that says {words!r}", counted)

    def waiting_on(self, kind: str) -> "Expectation":
        """A look at this moment says that it waits on this."""
        return self.that(
            f"waiting on {kind}",
            lambda: any(w.kind == kind for w in self.world.look(self.prompt).decision.waiting_on),
        )

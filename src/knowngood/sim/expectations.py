"""What a story expects at a moment; see sim.scenarios."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from knowngood.core.history import AuditEntry
from knowngood.core.model import (
    WHOLE_BP,
    Confirming,
    Standing,
    State,
    Steady,
    Verifying,
)
from knowngood.core.rollout import RolloutKind
from knowngood.sim.checkers import history
from knowngood.sim.clients import ENVIRONMENT
from knowngood.sim.plan import START_MS

if TYPE_CHECKING:
    from knowngood.sim.scenarios import Scenario


class Expectation:
    """What is to be so at one moment. Every verb gives the expectation back, to be chained."""

    def __init__(self, story: "Scenario", at_ms: int, prompt: str, time: str) -> None:
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
            mine = [c for c in self.world.clients if c.environment == ENVIRONMENT and c.alive]
            return all(client.generation == newest for client in mine)

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

    def climbing(self, version: str, percent: float) -> "Expectation":
        """A canary of the version is under way, with so much of the traffic."""
        return self.share(version, percent).that(
            f"a canary of {version}",
            lambda: self._rollout(RolloutKind.CANARY, "to_version") == version,
        )

    def giving_way(self, version: str, percent: float) -> "Expectation":
        """The version is being rolled back stage by stage, with so much of the traffic left."""
        return self.share(version, percent).that(
            f"{version} giving way",
            lambda: self._rollout(RolloutKind.GRADUAL, "from_version") == version,
        )

    def _rollout(self, kind: RolloutKind, name: str) -> str | None:
        rollout = self._state().rollout
        return getattr(rollout, name) if rollout and rollout.kind is kind else None

    def paused(self, by: str | None = None) -> "Expectation":
        """The rollout is paused, by whom."""

        def held() -> bool:
            rollout = self._state().rollout
            pause = rollout.pause if rollout else None
            return pause is not None and by in (None, pause.actor)

        return self.that(f"a rollout paused by {by or 'anybody'}", held)

    def no_rollout(self) -> "Expectation":
        """No rollout is under way."""
        return self.that("no rollout", lambda: self._state().rollout is None)

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

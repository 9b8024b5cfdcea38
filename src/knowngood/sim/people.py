"""Simulated people: they promote, split, roll back, vouch and turn automation off."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from knowngood.core.day import healthy_day, leaving
from knowngood.core.errors import KnowngoodError, StaleState
from knowngood.core.model import (
    FLEET,
    WHOLE_BP,
    Action,
    Arm,
    Change,
    Confirming,
    Partner,
    Standing,
    State,
)
from knowngood.core.news import with_news
from knowngood.core.rollout import Ladder
from knowngood.core.steps import jointly, operator, rollouts
from knowngood.core.steps.case import Case
from knowngood.core.steps.together import last_release
from knowngood.core.window import Window
from knowngood.engine.observe import partners
from knowngood.engine.reconcile import Look
from knowngood.sim.clients import ENVIRONMENT
from knowngood.sim.faults import Nemesis

if TYPE_CHECKING:
    from knowngood.sim.world import World

THINK_MS = (500, 30_000)  # how long a slow person looks at what they read
HOLD_MS = (20_000, 200_000)


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a person's rollback; `error` is why it was refused."""

    request: operator.RollbackRequest
    state: State
    error: Exception | None


@dataclass(slots=True)
class Person:
    """Somebody at the command line. Each verb reads, may think, and applies what it read."""

    name: str
    world: "World"
    environment: str = ENVIRONMENT

    def promote(
        self, prompt: str, version: str, because: str, override: tuple[str, ...] = ()
    ) -> None:
        """Serve a version to everybody, as the server does it with `--now`."""
        if self.world.plan.rollouts and self.environment == ENVIRONMENT:
            self.climb(prompt, version, rollouts.AT_ONCE, override=override, because=because)
        else:
            self._move(prompt, (Arm(version, WHOLE_BP),), because, override)

    def climb(
        self,
        prompt: str,
        version: str,
        steps: Ladder | None = None,
        *,
        override: tuple[str, ...] = (),
        because: str = "deploy",
    ) -> None:
        """Promote up a ladder, the policy's unless given; whoever does overrides closed gates."""
        rules = self.world.policy.for_prompt(prompt)
        steps, holdback_bp = steps or rules.canary, rules.bake.holdback_bp
        asked = rollouts.Promotion(version, steps, holdback_bp, because, self.name, override, rules)
        self._do(prompt, lambda s: rollouts.begin(s, asked, self.outgoing(s), self.world.clock_ms))

    def pause(self, prompt: str) -> None:
        """Let a rollout stay where it is."""
        because = "let me look"
        self._order(prompt, lambda s: rollouts.pause(s, because, self.name, self.world.clock_ms))

    def resume(self, prompt: str) -> None:
        """Let it go on."""
        self._order(prompt, lambda s: rollouts.resume(s, "looks fine", self.world.clock_ms))

    def replan(self, prompt: str, steps: Ladder) -> None:
        """Give it other stages from here on."""
        because = "other stages"
        self._order(prompt, lambda s: rollouts.replan(s, steps, because, self.world.clock_ms))

    def abort(self, prompt: str) -> None:
        """Take the new version off again."""
        self._order(prompt, lambda s: rollouts.abort(s, "second thoughts"), jointly.check_abort)

    def skip(self, prompt: str) -> None:
        """Go on to the next stage without proof."""

        def verb(state: State) -> tuple[Action, ...]:
            seen = self.world.look(state.prompt, self.environment)
            return rollouts.skip(_case(seen), "we are sure", self.name)

        self._order(prompt, verb)

    def split(
        self, prompt: str, candidate: str, weight_bp: int, override: tuple[str, ...] = ()
    ) -> None:
        """Give a candidate a share of the traffic."""
        route = self._state(prompt).route
        if route is None or route.control.version == candidate:
            return
        arms = (Arm(route.control.version, WHOLE_BP - weight_bp), Arm(candidate, weight_bp))
        self._move(prompt, arms, "canary", override)

    def give(self, prompt: str, version: str, weight_bp: int) -> None:
        """The next step of a script: a share of the traffic, or in the end all of it."""
        if weight_bp < WHOLE_BP:
            self.split(prompt, version, weight_bp)
        else:
            self.promote(prompt, version, "the last step of the canary")

    def _move(
        self, prompt: str, arms: tuple[Arm, ...], because: str, override: tuple[str, ...]
    ) -> None:
        self._do(prompt, lambda s: operator.move(s, arms, because, override, self.outgoing(s)))

    def roll_back(
        self,
        prompt: str,
        request: operator.RollbackRequest,
        think_ms: int = 0,
        *,
        alone: bool = False,
        first: Callable[[Case], tuple[Action, ...]] = lambda _: (),
    ) -> None:
        """Go back to a good version, with what it was released with; the checkers hear of it.

        As in server.act: `first` gives what is done before it, and may refuse.
        """
        revision = self._state(prompt).revision

        def act() -> None:
            # The server looks anew when it is asked, and refuses if the revision has moved on.
            seen = self.world.look(prompt, self.environment)
            mates = () if alone else self._partners(seen.state)
            case = _case(seen)
            case = replace(case, observed=replace(case.observed, partners=mates))

            def decide() -> tuple[Change, ...]:
                before = first(case)
                actions, along = jointly.roll_back(case, request, self.name)
                done = (*before, *actions) if actions else ()
                return (*self.changes(seen.state, done, revision), *along.changes)

            error = self._try(seen.state, decide)
            for checker in self.world.checkers:
                checker.asked(Asked(request, seen.state, error))

        self._after(think_ms, act)

    def vouch(self, prompt: str, version: str) -> None:
        """Give one's word for a version."""
        self._do(prompt, lambda s: operator.vouch(s, version, "looks good to me"))

    def unquarantine(self, prompt: str, version: str) -> None:
        """Let a version try again."""
        self._do(prompt, lambda s: operator.unquarantine(s, version, "it was upstream"))

    def automation(self, prompt: str | None, off_ms: int | None) -> None:
        """Turn automation off for a while, or on (None), for a prompt or (None) for all."""
        now_ms = self.world.clock_ms
        self._do(
            prompt or FLEET,
            lambda s: operator.set_automation(s, off_ms, "maintenance", self.name, now_ms),
        )

    def outgoing(self, state: State) -> Window | None:
        """As server.act: the last day of a good version that leaves the whole of the traffic."""
        now_ms = self.world.clock_ms
        policy = self.world.policy.for_prompt(state.prompt)
        gone = leaving(state, policy, now_ms)
        if gone is None:
            return None
        key = (state.environment, state.prompt, gone.version)
        read = self.world.store.series.read(key, gone.since_ms, now_ms)
        return healthy_day(state, policy, read)

    def _do(self, prompt: str, decide: Callable[[State], tuple[Action, ...]]) -> None:
        """Read, and apply what follows; slow hands apply what they read a while ago."""
        state = self._state(prompt)
        self.apply(state, lambda: self.changes(state, decide(state)))

    def _order(
        self,
        prompt: str,
        verb: Callable[[State], tuple[Action, ...]],
        check: Callable[[State, tuple[Partner, ...]], None] = lambda _, __: None,
    ) -> None:
        """As `_do`, and for whatever the version was released with as well."""
        state = self._state(prompt)
        mates = self._partners(state)

        def decide() -> tuple[Change, ...]:
            check(state, mates)
            given = jointly.order(state, mates, verb)
            return tuple(
                change for each, actions in given for change in self.changes(each, actions)
            )

        self.apply(state, decide)

    def apply(
        self,
        state: State,
        decide: Callable[[], tuple[Change, ...]],
        think_ms: int | None = None,
    ) -> None:
        """Apply what follows from a state that was read, by slow hands a while later."""
        if think_ms is None:
            slow = self.world.nemesis.strikes("slow_hands")
            think_ms = self.world.nemesis.between_ms(*THINK_MS) if slow else 0
        self._after(think_ms, lambda: self._try(state, decide))

    def _partners(self, state: State) -> tuple[Partner, ...]:
        """As server.act: also those of what the prompt was taken off last."""
        gone = last_release(state)
        return partners(
            self.world.store,
            self.world.policy,
            state,
            self.world.clock_ms,
            with_targets=True,
            besides=(gone,) if gone else (),
        )

    def changes(
        self, seen: State, actions: tuple[Action, ...], revision: int | None = None
    ) -> tuple[Change, ...]:
        """The actions as a change at the revision that was seen; none for no actions."""
        if not actions:
            return ()
        at = seen.revision if revision is None else revision
        return (Change(self.environment, seen.prompt, at, actions, self.name, "by hand"),)

    def _state(self, prompt: str) -> State:
        return self.world.state(prompt, self.environment)

    def _after(self, think_ms: int, act: Callable[[], object]) -> None:
        if think_ms:
            self.world.later(think_ms, act)
        else:
            act()

    def _try(self, seen: State, decide: Callable[[], tuple[Change, ...]]) -> Exception | None:
        """Apply at the revisions that were seen; a refusal with a reason is an answer."""
        try:
            if changes := decide():
                told = with_news(changes, self.world.policy)
                self.world.store.states.apply(told, self.world.clock_ms)
        except StaleState as error:
            return error
        except KnowngoodError as error:
            self.world.say(self.name, f"{seen.prompt}: refused: {error}")
            return error
        return None


def _case(seen: Look) -> Case:
    return Case(seen.state, seen.observed, seen.policy, seen.decision.findings, seen.now_ms)


def meddle(person: Person, nemesis: Nemesis) -> None:
    """One thing that a person does, now, for better or worse."""
    world, rng = person.world, nemesis.rng
    plan = rng.choice(world.plan.prompts)
    prompt, version = plan.name, rng.choice(plan.versions).name
    override = ("quarantined", "in_progress") if rng.random() < 0.15 else ()
    verb = rng.choices(VERBS, WEIGHTS)[0]
    state = world.state(prompt, person.environment)
    if rng.random() < 0.5 and (state.automation or isinstance(state.phase, Confirming)):
        verb = "roll_back"  # what a person is asked to do while a brake holds
    match verb:
        case "promote":
            person.promote(prompt, version, "deploy", override)
        case "split":
            person.split(prompt, version, rng.choice((100, 500, 2_500, 5_000)), override)
        case "roll_back":
            think_ms = nemesis.between_ms(*THINK_MS) if nemesis.strikes("slow_hands") else 0
            person.roll_back(prompt, _request(person, prompt, version, override), think_ms)
        case "vouch":
            person.vouch(prompt, version)
        case "unquarantine":
            person.unquarantine(prompt, version)
        case "off":
            scope = None if rng.random() < 0.3 else prompt
            person.automation(scope, nemesis.between_ms(*HOLD_MS))
        case "on":
            person.automation(None if rng.random() < 0.3 else prompt, None)


VERBS = ("promote", "split", "roll_back", "vouch", "unquarantine", "off", "on")
WEIGHTS = (45, 15, 10, 10, 5, 8, 7)


def _request(
    person: Person, prompt: str, version: str, override: tuple[str, ...]
) -> operator.RollbackRequest:
    rng = person.world.nemesis.rng
    ledger = person.world.state(prompt, person.environment).ledger
    good = [e.version for e in ledger if e.standing is Standing.GOOD]
    target = None
    if rng.random() < 0.5:
        target = rng.choice(good) if good and rng.random() < 0.8 else version
    return operator.RollbackRequest(
        because="by hand",
        target=target,
        if_confirmed=rng.random() < 0.2,
        override=tuple(o for o in override if o == "quarantined"),
        quarantine=rng.random() < 0.8,
    )

"""Laws of rollouts: a stage is earned, users keep what they have, and nothing stays for ever."""

from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING

from knowngood.core.model import (
    FLEET,
    WHOLE_BP,
    Change,
    Hold,
    Notify,
    Record,
    Route,
    Severity,
    Standing,
    State,
    Steady,
)
from knowngood.core.rollout import Rollout, RolloutKind
from knowngood.core.steps.case import QUIET_ENVIRONMENTS
from knowngood.core.trial import ExperimentState
from knowngood.engine.ingest import closed_until_ms
from knowngood.sim.engines import SimEngine
from knowngood.sim.laws.base import Checker, StateKey, generation_of, key_of, kinds_of, name_of
from knowngood.sim.laws.following import Following, judged_until_ms
from knowngood.sim.laws.processes import Timely, hears_nobody
from knowngood.sim.watch import Applied

if TYPE_CHECKING:
    from knowngood.sim.world import World

SYSTEM = "system"
UNSAFE = 0.05  # the rate that a stage and a bake are left with proof against
UNITS = tuple(f"user-{number}" for number in range(0, 10_000, 47))  # as sim.work names them
# What takes the units of a rollout away from it on purpose.
GIVEN_UP = {"rollback.switched", "rollback.gradual", "rollout.aborted", "route.moved"}
ENDED = {"rollback.switched", "rollback.completed", "rollout.aborted"}
LEAVES = ENDED | {"version.good", "route.moved"}


def is_gradual(rollout: Rollout) -> bool:
    """Whether it goes down."""
    return rollout.kind is RolloutKind.GRADUAL


def is_last(rollout: Rollout) -> bool:
    """Whether it has come to its last stage."""
    return rollout.stage + 1 == len(rollout.ladder.stages_bp)


class Stages(Following):
    """No stage is left by the system before its time, while anything holds it, or without proof.

    Proof is evidence of 20 against 5 % errors, on calls that the store took in since the stage is
    in force; a timed ladder asks for none. The way back down waits for its time only, and for a
    person who paused it.
    """

    def __init__(self, world: "World") -> None:
        """A checker that knows the world's change freezes."""
        super().__init__(world)
        rules = world.plan.policy["defaults"].get("freeze", ())
        self.freezes = [(_epoch_ms(rule["from"]), _epoch_ms(rule["until"])) for rule in rules]

    def judge(self, event: Applied) -> None:
        """Hold each stage that the system left against what it was left on."""
        for change, before in zip(event.changes, event.before, strict=True):
            left = kinds_of(change) & {"rollout.stage", "rollback.completed"}
            if change.actor != SYSTEM or not left:
                continue
            rollout = before.rollout
            if rollout is None:
                self.fail(f"{name_of(before)}: a stage of no rollout was left")
                continue
            words = self._held(before, rollout, event)
            if words is None and not is_gradual(rollout):
                until_ms = judged_until_ms(change, event)
                words = self._closed(before, rollout, event, until_ms)
            if words is not None:
                self.fail(f"{name_of(before)}: stage {rollout.stage} was left, {words}")

    def _held(self, state: State, rollout: Rollout, event: Applied) -> str | None:
        """What holds a stage whichever way it goes."""
        hold_ms = rollout.ladder.hold_ms
        lasted_ms = self.in_force_ms(state, event.now_ms)
        if rollout.pause is not None:
            return "though it was paused"
        if lasted_ms < hold_ms:
            return f"after {lasted_ms} of {hold_ms} ms"
        really_ms = event.now_ms - self.stage[key_of(state)].really_ms
        if "clock" not in self.world.plan.faults and really_ms < hold_ms - self.SLACK_MS:
            return f"after {really_ms} ms in force, of {hold_ms} ms"
        if self.fails_beyond_doubt(state, rollout.to_version, closed_until_ms(event.now_ms)):
            return f"while {rollout.to_version} fails"
        if event.now_ms == event.clock_ms and all(
            hears_nobody(engine, state.environment) for engine in self.world.engines
        ):
            return "while everybody was silent"
        return None

    SLACK_MS = 12_000  # how late a move may come and a look still be in time

    def _closed(self, state: State, rollout: Rollout, event: Applied, until_ms: int) -> str | None:
        """What keeps a canary from going up."""
        if state.incident is not None:
            return f"though {state.incident.id} was open"
        if any(begins <= event.now_ms < ends for begins, ends in self.freezes):
            return "during a change freeze"
        fleet = self.world.store.states.get(state.environment, FLEET)
        prompt = in_force(state.automation, event.now_ms)
        # The fleet's hold may have come between a decision and its apply, where an engine is held.
        everywhere = in_force(fleet.automation, event.now_ms) and event.now_ms == event.clock_ms
        if prompt or everywhere:
            return "though automation was off"
        if rollout.ladder.timed:
            return None
        return self.unproven(state, rollout.to_version, UNSAFE, until_ms)


def in_force(hold: Hold | None, now_ms: int) -> bool:
    """Whether automation is off."""
    return hold is not None and now_ms < hold.until_ms


def _epoch_ms(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1_000)


class Baked(Following):
    """A version becomes good after its bake's time and with proof, and never beside trouble.

    The holdback is released when the time is over, proof or none.
    """

    def judge(self, event: Applied) -> None:
        """Hold each end of a bake by the system against what it was ended on."""
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            kinds = kinds_of(change)
            if change.actor != SYSTEM or not kinds & {"rollout.released", "version.good"}:
                continue
            words = self._early(before, event)
            if words is None and "version.good" in kinds:
                words = self._unproven(before, after, judged_until_ms(change, event))
            if words is not None:
                self.fail(f"{name_of(before)}: its bake was ended {words}")

    def _early(self, state: State, event: Applied) -> str | None:
        rollout = state.rollout
        bake_ms = self.world.policy.for_prompt(state.prompt).bake.for_ms
        lasted_ms = self.in_force_ms(state, event.now_ms)
        if rollout is not None and (is_gradual(rollout) or not is_last(rollout)):
            return "before it began"
        if lasted_ms < bake_ms:
            return f"after {lasted_ms} of {bake_ms} ms"
        if rollout is not None and rollout.pause is not None:
            return "though it was paused"
        if state.incident is not None:
            return f"though {state.incident.id} was open"
        return None

    def _unproven(self, before: State, after: State, until_ms: int) -> str | None:
        assert before.route is not None and after.route is not None
        version = before.route.suspect.version
        if after.standing(version) is not Standing.GOOD or after.rollout is not None:
            return "and is not over"
        if after.route.weight_bp(version) < WHOLE_BP:
            return "with the holdback kept"
        return self.unproven(before, version, UNSAFE, until_ms)


class Assignment(Checker):
    """Users keep what they have: who has the candidate keeps it, who was taken off never returns.

    Up a canary until it is rolled back, aborted or replaced; down a gradual rollback always.
    """

    def applied(self, event: Applied) -> None:
        """Ask some hundreds of users who serves them, before and after each move of a route."""
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            if before.route is None or after.route is None or before.route == after.route:
                continue
            old, new = before.rollout, after.rollout
            kinds = kinds_of(change)
            if old is not None and not is_gradual(old) and not kinds & GIVEN_UP:
                self._keep(before, after, old.to_version)
            if old is not None and is_gradual(old) and not kinds & GIVEN_UP:
                self._keep(before, after, old.to_version)
            if new is not None and is_gradual(new):
                self._keep(before, after, new.to_version)
                sent = served(after.route, new.from_version) - served(
                    before.route, new.from_version
                )
                if sent:
                    words = f"{len(sent)} users are sent to {new.from_version}"
                    self.fail(f"{name_of(after)}: {words}, which is rolled back")

    def _keep(self, before: State, after: State, version: str) -> None:
        assert before.route is not None and after.route is not None
        lost = served(before.route, version) - served(after.route, version)
        if lost:
            self.fail(f"{name_of(after)}: {len(lost)} users lose {version}")


def served(route: Route, version: str) -> set[str]:
    """Which users the route gives this version: the candidate has the hash buckets from 0 up."""
    if len(route.arms) == 1:
        return set(UNITS) if route.arms[0].version == version else set()
    control, candidate = route.arms
    first = {unit for unit in UNITS if _bucket(route.salt, unit) < candidate.weight_bp}
    if version == candidate.version:
        return first
    return set(UNITS) - first if version == control.version else set()


def _bucket(salt: str, unit: str) -> int:
    name = blake2b(f"{salt}:{unit}".encode()).digest()
    return int.from_bytes(name[:8], "big") % WHOLE_BP


class OneRollout(Checker):
    """One rollout at a time, which says what is served, goes its way step by step, and ends.

    Only a person begins a canary, and over another rollout only by overriding it; a rollback takes
    whatever is under way with it.
    """

    def applied(self, event: Applied) -> None:
        """Recount the route of each rollout, and hold it against what it was."""
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            kinds, old, new = kinds_of(change), before.rollout, after.rollout
            if new is not None:
                self._route(after, new)
                if old is None or old.began_ms != new.began_ms or old.kind is not new.kind:
                    self._began(change, kinds, before, new)
                else:
                    self._step(before, old, new)
            if new is not None and kinds & ENDED:
                self.fail(f"{name_of(after)}: a rollout goes on after {', '.join(kinds & ENDED)}")
            if old is not None and new is None and not kinds & LEAVES:
                self.fail(f"{name_of(after)}: the rollout of {old.to_version} is gone")

    def _route(self, state: State, rollout: Rollout) -> None:
        share_bp = rollout.ladder.stages_bp[rollout.stage]
        trial, control = rollout.to_version, rollout.from_version
        if is_gradual(rollout):
            trial, control = control, trial
        elif is_last(rollout):
            share_bp = WHOLE_BP - rollout.holdback_bp
        wanted = [(control, WHOLE_BP - share_bp), (trial, share_bp)]
        found = [(a.version, a.weight_bp) for a in state.route.arms] if state.route else []
        if found != [(version, bp) for version, bp in wanted if bp]:
            self.fail(f"{name_of(state)}: serves {found}, its rollout says {wanted}")

    def _began(self, change: Change, kinds: set[str], before: State, new: Rollout) -> None:
        name = name_of(before)
        if not is_gradual(new) and change.actor == SYSTEM:
            self.fail(f"{name}: the system began a canary of {new.to_version}")
        waits = any(notice.startswith("held:") for notice in before.told)
        if before.rollout is None or is_gradual(new) or waits:
            return  # a rollback that is held waits for a person, and here is one
        lines = [a for a in change.actions if isinstance(a, Record) and a.kind == "rollout.started"]
        if not any("in_progress" in line.detail["override"] for line in lines):
            self.fail(f"{name}: a canary of {new.to_version} began over another rollout")

    def _step(self, state: State, old: Rollout, new: Rollout) -> None:
        was_bp, is_bp = (r.ladder.stages_bp[r.stage] for r in (old, new))
        back = is_bp > was_bp if is_gradual(new) else is_bp < was_bp
        if back:
            self.fail(f"{name_of(state)}: its rollout went from {was_bp} to {is_bp} bp")
        if old.ladder == new.ladder and new.stage not in (old.stage, old.stage + 1):
            self.fail(f"{name_of(state)}: its rollout went from stage {old.stage} to {new.stage}")
        if new.holdback_bp > old.holdback_bp:
            self.fail(f"{name_of(state)}: its holdback was raised")


class TargetWatched(Following, Timely):
    """A gradual rollback whose target fails beyond doubt is paused and pages, within ten seconds.

    Every pause by the system says so to people, outside of quiet environments.
    """

    WITHIN_MS = 10_000

    def judge(self, event: Applied) -> None:
        """Hold each pause by the system against what people are told."""
        for change, after in zip(event.changes, event.after, strict=True):
            if change.actor != SYSTEM or "rollout.paused" not in kinds_of(change):
                continue
            # What is paused with another is told with it.
            pages = [a for c in event.changes for a in c.actions if isinstance(a, Notify)]
            critical = [page for page in pages if page.severity is Severity.CRITICAL]
            if not critical and change.environment not in QUIET_ENVIRONMENTS:
                self.fail(f"{name_of(after)}: a gradual rollback was paused, nobody is paged")

    def wrong(self, state: State, engine: SimEngine) -> str | None:
        """A target that fails, and the rollback goes on."""
        rollout = state.rollout
        if rollout is None or not is_gradual(rollout) or rollout.pause is not None:
            return None
        until_ms = closed_until_ms(engine.clock_ms)
        fails = self.fails_beyond_doubt(state, rollout.to_version, until_ms)
        return f"rolled back to {rollout.to_version}, which fails," if fails else None


class Advancing(Following, Timely):
    """Liveness: no rollout stays for ever; it goes on, asks, is paused by somebody, or ends.

    What a person is told of may wait for that person: an open incident, silence, a held rollback.
    """

    WITHIN_MS = 15_000

    def __init__(self, world: "World") -> None:
        """A checker that has seen nobody asked."""
        super().__init__(world)
        self.waiting: set[tuple[StateKey, int]] = set()

    def judge(self, event: Applied) -> None:
        """Note who was asked, and that somebody can hear it."""
        for change, after in zip(event.changes, event.after, strict=True):
            rollout = after.rollout
            # A comparison that does not let through asks for all that the stage waits for.
            final = rollout.answer if rollout and "rollout.compared" in kinds_of(change) else None
            shut = final is not None and final.state is not ExperimentState.PASS
            if shut or "rollout.waiting" in kinds_of(change):
                self.waiting.add((key_of(after), generation_of(after)))
                told = any(isinstance(action, Notify) for action in change.actions)
                if not told and change.environment not in QUIET_ENVIRONMENTS:
                    self.fail(f"{name_of(after)}: a stage asks, and nobody is told")

    def wrong(self, state: State, engine: SimEngine) -> str | None:
        """A rollout that stands still, and nobody knows why."""
        rollout = state.rollout
        if rollout is None or rollout.pause is not None or not isinstance(state.phase, Steady):
            return None
        if any(notice.startswith("blind:") for notice in state.told):
            return None
        lasted_ms = self.in_force_ms(state, engine.clock_ms)
        if is_gradual(rollout):
            # A process that lags holds a stage once more as long.
            return "gives way no further" if lasted_ms > 2 * rollout.ladder.hold_ms else None
        if not is_last(rollout):
            asked = (key_of(state), generation_of(state)) in self.waiting
            waits = lasted_ms > rollout.ladder.wait_ms and not asked
            return "a stage waits, and nobody is asked," if waits else None
        return self._baking(state, rollout, lasted_ms, engine)

    def _baking(
        self, state: State, rollout: Rollout, lasted_ms: int, engine: SimEngine
    ) -> str | None:
        bake_ms = self.world.policy.for_prompt(state.prompt).bake.for_ms
        if lasted_ms <= bake_ms or state.incident is not None:
            return None
        if rollout.holdback_bp:
            return "the holdback is not released"
        until_ms = closed_until_ms(engine.clock_ms)
        doubt = self.unproven(state, rollout.to_version, UNSAFE, until_ms, surely=True)
        if doubt is None and self.world.plan.engine_count == 1:
            return f"{rollout.to_version} is proven, and not good,"
        return None

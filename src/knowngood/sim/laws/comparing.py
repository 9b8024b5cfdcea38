"""Laws of the A/B gate: what it rests on, that its answer stays, and that nobody passes it unseen.

What a verdict is worth in numbers is measured elsewhere (`make bench-detect`). Here: units count
once, a final answer is kept, and the system leaves a compared stage with the answer `pass` only.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from knowngood import wire
from knowngood.core.model import (
    WHOLE_BP,
    Change,
    MoveRoute,
    Notify,
    Record,
    Standing,
    State,
    Steady,
)
from knowngood.core.rollout import Rollout
from knowngood.core.steps.case import QUIET_ENVIRONMENTS
from knowngood.core.trial import Begun, ExperimentState, Looks
from knowngood.core.unit_sums import CALLS
from knowngood.engine.compared import READ_EVERY_MS
from knowngood.engine.reconcile import Look
from knowngood.ports import UnitArm, UnitKey
from knowngood.sim.engines import SimEngine
from knowngood.sim.laws.base import Checker, kinds_of, name_of
from knowngood.sim.watch import Applied

if TYPE_CHECKING:
    from knowngood.sim.world import World

SYSTEM = "system"
Flush = tuple[str, str, int]  # process, boot, sequence number
Pair = tuple[int, int]
BEYOND_DOUBT = 7.0  # standard deviations from the intended share
EXPECTED_MIN = 30  # units that an arm should have before its share says anything


@dataclass(slots=True)
class _Taken:
    """A flush with units that an intake has answered, and is not known to be in the store."""

    taker: tuple[str, int]
    sure: dict[UnitKey, Pair] = field(default_factory=dict)


class Units(Checker):
    """The sums of a unit are what processes reported of it and the store took in, each time once.

    Never more than that. And never less, where the arm was compared before the intake's last look
    at the state: what it knew then, it knows now.
    """

    def __init__(self, world: "World") -> None:
        """A checker that knows of no unit."""
        super().__init__(world)
        self.pending: dict[Flush, list[_Taken]] = {}
        self.known: set[Flush] = set()
        self.least: dict[UnitKey, list[int]] = {}
        self.most: dict[UnitKey, list[int]] = {}
        self.late: dict[UnitKey, set[str]] = {}
        self.held: dict[UnitArm, dict[tuple[int, str], list[int]]] = {}
        self.changed: set[UnitKey] = set()
        self.since_ms: dict[UnitArm, int] = {}
        self.ticked_ms: dict[tuple[str, int], int] = {}

    def applied(self, event: Applied) -> None:
        """Note since when arms are compared; what an answer rests on is what was added up."""
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            for arm in compared_arms(after):
                self.since_ms.setdefault(arm, self.world.now_ms)
            if "rollout.compared" in kinds_of(change):
                self._tallies(compared_arms(before))

    def taken(
        self, engine: SimEngine, batch: wire.Batch, receipt: wire.Receipt, sent_ms: int
    ) -> None:
        """Note what units an intake has answered for."""
        named = batch.units or batch.late_scores
        if not named or "duplicate or out of order" in receipt.ignored:
            return
        flush = (batch.client_id, batch.boot, batch.seq)
        taken, reported = _Taken((engine.name, engine.life)), dict[UnitKey, Pair]()
        for group in batch.units:
            arm = ((batch.environment, group.prompt, group.version), group.generation)
            found = {
                (arm, each.unit, name): pair
                for each in group.sums
                for name, pair in _sums(each).items()
            }
            reported |= found
            if self._is_sure(arm, taken.taker):
                taken.sure |= found
        self.pending.setdefault(flush, []).append(taken)
        if flush not in self.known:  # it counts once, whoever forgets that they had it
            self.known.add(flush)
            _add(self.most, reported)
            self._note_late(batch)

    def _note_late(self, batch: wire.Batch) -> None:
        for label in batch.late_scores:
            call = wire.parse_call_id(label.call)
            if (found := wire.unit_of(call.random_part)) is not None:
                arm = ((call.environment, call.prompt, call.version), found[0])
                self.late.setdefault((arm, found[1], label.name), set()).add(label.call)

    def _is_sure(self, arm: UnitArm, taker: tuple[str, int]) -> bool:
        state = self.world.state(arm[0][1], arm[0][0])
        since_ms, ticked_ms = self.since_ms.get(arm), self.ticked_ms.get(taker)
        if since_ms is None or ticked_ms is None or arm not in compared_arms(state):
            return False
        return since_ms < ticked_ms

    def heard(self, client_id: str, boot: str, seq: int) -> None:
        """What was taken in by a process that still lives is written now."""
        lives = {(e.name, e.life) for e in self.world.engines if e.engine is not None}
        for flush in [f for f in self.pending if f[:2] == (client_id, boot) and f[2] <= seq]:
            for taken in self.pending.pop(flush):
                if taken.taker in lives:
                    _add(self.least, taken.sure)
                    self.changed |= taken.sure.keys()

    def summed(self, units: Mapping[UnitKey, tuple[int, int]]) -> None:
        """Add up what the store was given."""
        self.changed |= units.keys()
        for (arm, unit, name), (count, total) in units.items():
            held = self.held.setdefault(arm, {}).setdefault((unit, name), [0, 0])
            held[0] += count
            held[1] += total

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """Hold what has changed against what was reported."""
        whole = engine.engine is not None and engine.engine.ticked_ms == engine.clock_ms
        if whole:  # the rest of a tick that was held has not looked at the state anew
            self.ticked_ms[engine.name, engine.life] = self.world.now_ms
        changed, self.changed = self.changed, set()
        for key in sorted(changed):
            if words := self._wrong(key):
                (_, prompt, version), generation = key[0]
                where = f"{prompt}:{version} in generation {generation}, unit {key[1]:x}"
                self.fail(f"{where}: {words}")

    def _wrong(self, key: UnitKey) -> str | None:
        arm, unit, name = key
        count, total = self.held.get(arm, {}).get((unit, name), (0, 0))
        least, most = self.least.get(key, (0, 0)), self.most.get(key, (0, 0))
        if name == CALLS:
            made = self.world.truth.units.get(arm, {}).get(unit, (0, 0))
            if not least[0] <= count <= min(most[0], made[0]):
                return f"{count} calls held, {least[0]} to {most[0]} reported, {made[0]} made"
            if not least[1] <= total <= min(most[1], made[1], count):
                return f"{total} errors held, {least[1]} to {most[1]} reported, {made[1]} made"
            return None
        labels = most[0] + len(self.late.get(key, ()))
        if not least[0] <= count <= labels:
            return f"{count} times {name} held, {least[0]} to {labels} reported"
        if not 0 <= total <= count * WHOLE_BP:
            return f"{count} times {name} make {total} bp"
        return None

    def _tallies(self, arms: tuple[UnitArm, ...]) -> None:
        """The store counts as many units with the same sums as there are."""
        for arm in arms:
            mine = Counter((name, *sums) for (_, name), sums in self.held.get(arm, {}).items())
            told = {
                (t.name, t.count, t.total): t.unit_count for t in self.world.store.units.tally(arm)
            }
            if told != mine:
                self.fail(f"{arm}: the store's tally is not what it was given")


def _sums(each: wire.UnitSum) -> dict[str, Pair]:
    return {CALLS: (each.call_count, each.error_count), **each.scores}


def _add(sums: dict[UnitKey, list[int]], more: Mapping[UnitKey, Pair]) -> None:
    for key, (count, total) in more.items():
        held = sums.setdefault(key, [0, 0])
        held[0] += count
        held[1] += total


def compared_arms(state: State) -> tuple[UnitArm, ...]:
    """The arms of a prompt that are compared now."""
    route, rollout = state.route, state.rollout
    if route is None or rollout is None or not rollout.is_compared:
        return ()
    return tuple(
        ((state.environment, state.prompt, arm.version), route.generation) for arm in route.arms
    )


class Answers(Checker):
    """A final answer stays, is earned, and only `pass` lets the system leave its stage.

    What is compared is laid down with the promotion and changes no more.
    """

    def __init__(self, world: "World") -> None:
        """A checker that has seen no unit."""
        super().__init__(world)
        self.units: dict[UnitArm, set[int]] = {}
        self.counts: dict[UnitArm, list[tuple[int, int]]] = {}  # (when, how many units)

    def summed(self, units: Mapping[UnitKey, tuple[int, int]]) -> None:
        """Count the units of each arm."""
        arms = set()
        for arm, unit, name in units:
            if name == CALLS:
                self.units.setdefault(arm, set()).add(unit)
                arms.add(arm)
        for arm in arms:
            self.counts.setdefault(arm, []).append((self.world.now_ms, len(self.units[arm])))

    def applied(self, event: Applied) -> None:
        """Hold each change of a rollout against what was asked and answered."""
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            old, new = before.rollout, after.rollout
            words = self._begun(change, after) if old is None else None
            if old is not None and new is not None and old.began_ms == new.began_ms:
                words = self._kept(before, after, old, new)
            if old is not None and words is None:
                words = self._left(change, old)
            if words is None and new is not None and "rollout.compared" in kinds_of(change):
                words = self._earned(change, event, after, new)
            if words is not None:
                self.fail(f"{name_of(after)}: {words}")

    def _begun(self, change: Change, after: State) -> str | None:
        """Whoever climbs where the policy compares is compared."""
        rollout = after.rollout
        rules = self.world.policy.for_prompt(after.prompt)
        climbs = rollout is not None and "rollout.started" in kinds_of(change)
        if rollout is None or not climbs or rules.ab is None:
            return None
        if rollout.is_baking or rollout.ladder.timed or rollout.begun is not None:
            return None
        return f"{rollout.to_version} climbs, and nothing is compared"

    def _kept(self, before: State, after: State, old: Rollout, new: Rollout) -> str | None:
        same_stage = _generation(before) == _generation(after)
        if same_stage and old.answer is not None and new.answer != old.answer:
            return f"the answer {old.answer.state} became another"
        if same_stage and old.begun != new.begun:
            return "what is compared has changed"
        if old.begun is None or new.is_baking:
            return None
        same = new.begun is not None and _terms(new.begun) == _terms(old.begun)
        return None if same else "another stage compares something else"

    def _left(self, change: Change, rollout: Rollout) -> str | None:
        """What is wrong with a stage that was left."""
        asked = rollout.begun is not None and rollout.is_before_whole and not rollout.ladder.timed
        onward = "rollout.stage" in kinds_of(change)
        if not asked or not onward:
            return None
        said = rollout.answer.state if rollout.answer else ExperimentState.CONTINUE
        if said is ExperimentState.PASS:
            return None
        if change.actor == SYSTEM:
            return f"a stage was left, and its comparison said {said}"
        told = [a.because for a in change.actions if isinstance(a, Record)]
        if not any(f"skipped by {change.actor}" in words for words in told):
            return f"{change.actor} passed a gate that said {said}, and no line says so"
        return None

    def _earned(self, change: Change, event: Applied, state: State, rollout: Rollout) -> str | None:
        """What is wrong with a final answer."""
        answer, begun = rollout.answer, rollout.begun
        if answer is None or begun is None or not answer.is_final:
            return "an answer was told and not kept"
        if answer.state is not ExperimentState.PASS:
            asked = any(
                isinstance(a, Notify) and a.audience == "product-owner" for a in change.actions
            )
            quiet = state.environment in QUIET_ENVIRONMENTS
            return None if asked or quiet else f"the answer is {answer.state}, and nobody is told"
        lasted_ms = event.now_ms - begun.began_ms
        if lasted_ms < begun.rule.min_time_ms:
            return f"passed after {lasted_ms} of {begun.rule.min_time_ms} ms"
        pairs = list(self._pairs(event, state))
        once = begun.rule.looks is Looks.FIXED
        need = begun.rule.max_units_count if once else begun.rule.min_units_count
        # Of some metrics not every unit has a value, so there are more units than were needed.
        enough = [pair for pair in pairs if min(pair) >= need]
        if not enough:
            most = max(min(pair) for pair in pairs)
            return f"passed with {most} of {need} units"
        if all(is_skewed(candidate, control, begun.share_bp) for control, candidate in enough):
            return f"passed with units that are not split as intended: {enough[-1]}"
        return None

    def _pairs(self, event: Applied, state: State) -> Iterator[tuple[int, int]]:
        """How many units the control and the candidate had, whenever the decider may have read."""
        until_ms = self.world.now_ms - max(0, event.clock_ms - event.now_ms)
        ticks_ms = 3 * self.world.plan.tick_ms
        since_ms = until_ms - READ_EVERY_MS - ticks_ms
        assert state.route is not None
        control, candidate = (
            ((state.environment, state.prompt, arm.version), state.route.generation)
            for arm in state.route.arms
        )
        lines = [self.counts.get(arm, []) for arm in (control, candidate)]
        moments = {since_ms, until_ms, *(at_ms for line in lines for at_ms, _ in line)}
        for moment in sorted(ms for ms in moments if since_ms <= ms <= until_ms):
            first, second = (
                max((n for at_ms, n in line if at_ms <= moment), default=0) for line in lines
            )
            yield first, second


def is_skewed(candidate: int, control: int, share_bp: int) -> bool:
    """Whether nobody could take the split of the units for the one that was intended."""
    n, share = candidate + control, share_bp / WHOLE_BP
    if n * min(share, 1 - share) < EXPECTED_MIN:
        return False
    return abs(candidate - n * share) > BEYOND_DOUBT * math.sqrt(n * share * (1 - share))


def _generation(state: State) -> int:
    return state.route.generation if state.route else 0


def _terms(begun: Begun) -> tuple[object, ...]:
    """What all stages of a rollout have in common."""
    return begun.rule, begun.scores, begun.slow_above


class Named(Checker):
    """Whoever goes over what is in the way is named in the history, with what they went over."""

    def applied(self, event: Applied) -> None:
        """Look at every route that a person moved."""
        for change, before in zip(event.changes, event.before, strict=True):
            if change.actor == SYSTEM or not isinstance(before.phase, Steady):
                continue
            lines = [a for a in change.actions if isinstance(a, Record) and "override" in a.detail]
            named = {name for line in lines for name in line.detail["override"]}
            if not any(line.kind == "route.moved" for line in lines):
                continue
            aborts = "rollout.aborted" in kinds_of(change)
            if before.rollout is not None and not aborts and "in_progress" not in named:
                self.fail(f"{name_of(before)}: {change.actor} went over a rollout, unnamed")
            for version in _routed(change):
                ill = before.standing(version) is Standing.QUARANTINED
                if ill and "quarantined" not in named:
                    self.fail(f"{name_of(before)}: {change.actor} went over a quarantine, unnamed")


def _routed(change: Change) -> Iterator[str]:
    for action in change.actions:
        if isinstance(action, MoveRoute):
            yield from (arm.version for arm in action.arms)

"""Laws of what holds a rollback, and of where it goes (P7)."""

from typing import TYPE_CHECKING

from knowngood.core.errors import KnowngoodError
from knowngood.core.model import WHOLE_BP, Route, Stand, Standing, State
from knowngood.core.rollout import RolloutKind
from knowngood.engine.ingest import closed_until_ms
from knowngood.sim.laws.base import (
    Checker,
    StateKey,
    key_of,
    moved,
    name_of,
    records,
    rollbacks,
)
from knowngood.sim.truth import Tally
from knowngood.sim.watch import Applied

if TYPE_CHECKING:
    from knowngood.sim.world import World

HOUR_MS = 3_600_000
SYSTEM = "system"
# A control that fails half as often as its candidate fails too; two failures are a sign.
FAILING, HALF_CRITICAL = 2, 0.025


class Flapping(Checker):
    """P7: automatic rollbacks keep their distance, and there are never too many in an hour.

    Counted by the clocks of those who decided: two engines may differ by a moment.
    """

    def __init__(self, world: "World") -> None:
        """A checker that has seen no rollback."""
        super().__init__(world)
        self.mine: dict[StateKey, list[int]] = {}
        self.fleet: dict[str, list[int]] = {}

    def applied(self, event: Applied) -> None:
        """Hold each automatic rollback against those before it."""
        for record, before, _ in rollbacks(event):
            # What went along with another is that one's rollback.
            if record.detail["automatic"] and "together" not in record.detail:
                # What gives way already goes faster: it is the same rollback. It counts when it is
                # the system's for the first time, because a person began it.
                rollout = before.rollout
                faster = rollout is not None and rollout.kind is RolloutKind.GRADUAL
                if not faster or (rollout is not None and rollout.actor != SYSTEM):
                    self._count(before, event.now_ms, anew=not faster)

    def _count(self, state: State, now_ms: int, anew: bool) -> None:
        rule = self.world.policy.for_prompt(state.prompt).flap
        mine = self.mine.setdefault(key_of(state), [])
        fleet = self.fleet.setdefault(state.environment, [])
        if anew and mine and now_ms - mine[-1] < rule.cooldown_ms:
            self.fail(f"{name_of(state)}: rolled back again after {now_ms - mine[-1]} ms")
        for times, most, whose in (
            (mine, rule.per_prompt_hour_count, state.prompt),
            (fleet, rule.fleet_hour_count, "the fleet"),
        ):
            recent = sum(1 for ms in times if ms > now_ms - HOUR_MS)
            if anew and recent >= most:
                self.fail(f"{name_of(state)}: rollback {recent + 1} of {whose} within an hour")
            times.append(now_ms)


class Targets(Checker):
    """P7: nobody is ever sent to a version that is ill, or that is not there."""

    def __init__(self, world: "World") -> None:
        """A checker that knows of no quarantine."""
        super().__init__(world)
        self.quarantined: set[tuple[str, str, str]] = set()

    def applied(self, event: Applied) -> None:
        """Automatic rollbacks go to good versions; every routed version has content."""
        for record, before, _ in rollbacks(event):
            target = record.detail["to"]
            if not record.detail["automatic"]:
                continue
            if (*key_of(before), target) in self.quarantined:
                self.fail(f"{name_of(before)}: rolled back to {target}, which is quarantined")
            if before.standing(target) is not Standing.GOOD:
                self.fail(f"{name_of(before)}: rolled back to {target}, never known good")
        for change in event.changes:
            for action in change.actions:
                if isinstance(action, Stand):
                    key = (change.environment, change.prompt, action.version)
                    ill = action.standing is Standing.QUARANTINED
                    (self.quarantined.add if ill else self.quarantined.discard)(key)
        for state in event.after:
            self._content(state)

    def _content(self, state: State) -> None:
        for arm in state.route.arms if state.route else ():
            try:
                self.world.store.registry.get(state.prompt, arm.version)
            except KnowngoodError:
                self.fail(f"{name_of(state)}: {arm.version} is routed and has no content")
            ill = (*key_of(state), arm.version) in self.quarantined
            if ill and not self._gives_way(state, arm.version):
                self.fail(f"{name_of(state)}: {arm.version} is routed and quarantined")

    def _gives_way(self, state: State, version: str) -> bool:
        """A gradual rollback quarantines what it takes the traffic off, from its start."""
        rollout = state.rollout
        gradual = rollout is not None and rollout.kind is RolloutKind.GRADUAL
        return rollout is not None and gradual and rollout.from_version == version


class Sticky(Checker):
    """A canary that grows keeps its users: whoever had the candidate has it still."""

    def applied(self, event: Applied) -> None:
        """The salt stays for as long as the same candidate is on trial."""
        for before, after in moved(event):
            if before.route is None or after.route is None:
                continue
            old, new = before.route.candidate, after.route.candidate
            if old and new and old.version == new.version and before.route.salt != after.route.salt:
                self.fail(f"{name_of(after)}: the users of {new.version} were drawn anew")


class HonestBrakes(Checker):
    """A rollback is held as upstream only while something upstream really fails."""

    SLACK_MS = 30_000  # between a look at one prompt and a look at the other

    def applied(self, event: Applied) -> None:
        """Recount the other arm, and every other prompt."""
        for record, before, _ in records(event, "rollback.held"):
            held = record.detail["brake"] == "upstream"
            if held and not self._justified(before, event.now_ms):
                self.fail(f"{name_of(before)}: held without reason: {record.because}")

    def _justified(self, state: State, decided_ms: int) -> bool:
        window_ms = self.world.policy.for_prompt(state.prompt).window_ms
        until_ms = closed_until_ms(decided_ms)
        since_ms = until_ms - window_ms - self.SLACK_MS
        suspect = state.route.suspect.version if state.route else ""
        for key in self.world.accepted.lines:
            if key[0] != state.environment or key[1:] == (state.prompt, suspect):
                continue
            for cut_ms in range(0, window_ms + self.SLACK_MS, 1_000):
                tally = self.world.accepted.between(key, since_ms + cut_ms, until_ms)
                if tally.bad >= FAILING and tally.rate > HALF_CRITICAL:
                    return True
        return False


class HonestBlame(Checker):
    """P7: a candidate is not rolled back for what its control suffers as well.

    Where the control has at least half of the traffic and both really fail alike, through no
    fault of the candidate's own.
    """

    RECENT_MS, CALLS, FAILED, ALIKE = 60_000, 30, 10, 0.9
    LAST_MS = 15_000  # where the control is well by now, what it suffered before excuses nobody

    def applied(self, event: Applied) -> None:
        """Hold the two arms of each automatic rollback's route against each other."""
        for line, before, _ in records(event, "rollback.confirmed"):
            route = before.route
            # Silence may confirm what is slow, or answers poorly, and fails no more than others.
            found = line.detail.get("findings", ())
            if not any(each["metric"] == "error_rate" for each in found):
                continue
            if route and route.candidate and route.control.weight_bp * 2 >= WHOLE_BP:
                self._alike(before, route, event.now_ms)

    def _alike(self, state: State, route: Route, decided_ms: int) -> None:
        key = (*key_of(state), route.suspect.version)
        control, suspect = self._arms(state, route, decided_ms, self.RECENT_MS)
        enough = min(control.n, suspect.n) >= self.CALLS and control.bad >= self.FAILED
        innocent = self.world.truth.own_rate(key, self.world.now_ms) <= HALF_CRITICAL
        last = self._arms(state, route, decided_ms, self.LAST_MS)
        both = (control, suspect), last
        if enough and innocent and all(mine.rate >= self.ALIKE * its.rate for mine, its in both):
            words = f"{control.bad} of {control.n} of its control"
            self.fail(f"{name_of(state)}: rolled back, though so do {words}")

    def _arms(self, state: State, route: Route, decided_ms: int, span_ms: int) -> tuple[Tally, ...]:
        """What the control and the candidate had in the last `span_ms`."""
        until_ms = closed_until_ms(decided_ms)
        return tuple(
            self.world.accepted.between((*key_of(state), arm.version), until_ms - span_ms, until_ms)
            for arm in route.arms
        )

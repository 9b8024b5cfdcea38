"""Laws of the proof that a rollback helped (P6): blind is not healthy, old news is no proof."""

import math
from typing import TYPE_CHECKING

from knowngood.core.model import Record, State, Verifying
from knowngood.core.rollout import RolloutKind
from knowngood.core.window import BUCKET_MS, Window, from_row
from knowngood.engine.ingest import closed_until_ms
from knowngood.engine.observe import LIVE_MS, SILENT_MS
from knowngood.sim.engines import SimEngine
from knowngood.sim.laws.base import (
    Checker,
    StateKey,
    generation_of,
    key_of,
    name_of,
    records,
)
from knowngood.sim.truth import Tally
from knowngood.sim.watch import Applied

if TYPE_CHECKING:
    from knowngood.sim.world import World

PROOF_CALLS = 70  # without a failure, fewer calls are not evidence of 20 against a rate of 5 %
SAFE_EVIDENCE = 20.0
MOMENT_MS = 5_000  # between a decision and its apply, where nothing is held
MISSED = 3  # failures that another intake may have written too late for this engine to see
SAFE_SHARES = (1 / 2, 1 / 4, 1 / 10, 1 / 50)  # how healthy, as a share of the limit


def upper(bad: int, n: int) -> float:
    """An upper 95 % limit of a rate, on the generous side: the normal one and the rule of three."""
    rate = bad / n
    return rate + 1.645 * math.sqrt(rate * (1 - rate) / n) + 3 / n


def log_safe_evidence(bad: int, n: int, limit: float) -> float:
    """ln E against a rate of `limit` or more: the mean likelihood ratio of four healthy rates.

    In logarithms: thousands of calls against a high limit prove more than a float can hold. No call
    that went well can be of a version that always fails.
    """
    if limit >= 1:
        return math.inf if n > bad else 0.0
    logs = [
        bad * math.log(share) + (n - bad) * math.log((1 - share * limit) / (1 - limit))
        for share in SAFE_SHARES
    ]
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs) / len(logs))


class Recovery(Checker):
    """P6: recovery is proven by calls on the target after the switch, and by a census."""

    def __init__(self, world: "World") -> None:
        """A checker that has seen no switch."""
        super().__init__(world)
        self.moved_ms: dict[StateKey, tuple[int, int]] = {}  # by the world, by the engine's clock
        self.propagated: set[tuple[str, str, int]] = set()

    def applied(self, event: Applied) -> None:
        """Recount the proof of each verified recovery."""
        for _, before, _ in records(event, "rollback.propagated"):
            self.propagated.add((*key_of(before), generation_of(before)))
        for record, before, _ in records(event, "rollback.verified"):
            self._recount(record, before, event)
        for before, after in zip(event.before, event.after, strict=True):
            if after.route != before.route:
                self.moved_ms[key_of(after)] = (self.world.now_ms, event.clock_ms)

    def _recount(self, record: Record, before: State, event: Applied) -> None:
        phase = before.phase
        if not isinstance(phase, Verifying):
            self.fail(f"{name_of(before)}: verified while nothing was being verified")
            return
        key = (before.environment, before.prompt, phase.to_version)
        # An engine that was held between decision and switch begins its proof later than that. The
        # first calls after the switch are in the bucket that was open.
        really_ms, moved_ms = self.moved_ms[key_of(before)]
        # A clock that was set back meanwhile calls the time of the switch something earlier.
        moved_ms = min(moved_ms, event.clock_ms - (self.world.now_ms - really_ms))
        if moved_ms - phase.began_ms <= MOMENT_MS:
            moved_ms = phase.began_ms
        switched_ms = max(moved_ms - moved_ms % BUCKET_MS, phase.began_ms)
        stored = self.world.accepted.between(key, switched_ms, closed_until_ms(event.now_ms))
        entry = before.entry(phase.to_version)
        self._proof(before, stored, entry.baseline if entry else None)
        if (*key_of(before), generation_of(before)) not in self.propagated:
            self.fail(f"{name_of(before)}: verified before the route had arrived")
        if event.now_ms == event.clock_ms:
            self._census(before)

    def _proof(self, state: State, tally: Tally, day: Window | None) -> None:
        # A target whose own healthy day was worse is held to that day (definitions.md, Recovery).
        known = day is not None and day.call_count >= self._baseline_calls(state)
        own = upper(day.error_count, day.call_count) if day is not None and known else 0.0
        limit = 0.05 if own < 0.04 else 2 * own
        if tally.n < PROOF_CALLS and limit <= 0.05:
            self.fail(f"{name_of(state)}: verified on {tally.n} calls")
        # With two intakes an engine may have missed a few calls, good ones or bad ones.
        alone = self.world.plan.engine_count == 1
        enough, bad = (SAFE_EVIDENCE, tally.bad) if alone else (2.0, max(0, tally.bad - MISSED))
        if log_safe_evidence(bad, tally.n, limit) < math.log(enough) - 1e-6:
            self.fail(f"{name_of(state)}: {tally.bad} of {tally.n} prove nothing")

    def _baseline_calls(self, state: State) -> int:
        return self.world.policy.for_prompt(state.prompt).baseline.min_requests

    def _census(self, state: State) -> None:
        """Any engine may have verified, and nobody can be heard while an engine does not listen."""
        objections = [self._objection(state, engine) for engine in self.world.engines]
        if all(objections):
            self.fail(f"{name_of(state)}: verified while {objections[0]}")

    def _objection(self, state: State, engine: SimEngine) -> str | None:
        now_ms, generation = engine.clock_ms, generation_of(state)
        clients = self.world.store.clients.clients(state.environment, now_ms - SILENT_MS)
        expected = [c for c in clients if not c.closed]
        live = [c for c in expected if now_ms - max(c.seen_ms, engine.started_ms) <= LIVE_MS]
        if behind := [c.id for c in live if c.generation < generation]:
            return f"{', '.join(behind)} run an older route"
        return "everybody is silent" if expected and not live else None


class Fresh(Checker):
    """P6: what proves a recovery was not only reported after the switch, it happened after it."""

    def __init__(self, world: "World") -> None:
        """A checker that has seen no switch."""
        super().__init__(world)
        self.moved_ms: dict[StateKey, int] = {}

    def applied(self, event: Applied) -> None:
        """Count the calls on the target by when they were really made."""
        for record, before, _ in records(event, "rollback.verified"):
            if isinstance(before.phase, Verifying):
                key = (before.environment, before.prompt, before.phase.to_version)
                really_ms = self.moved_ms[key_of(before)]
                made = self.world.accepted.made_since(key, really_ms - really_ms % BUCKET_MS)
                claimed = _claimed(record)
                if made.n < claimed:
                    words = f"{claimed} calls, {made.n} made since the switch"
                    self.fail(f"{name_of(before)}: verified on {words}")
        for before, after in zip(event.before, event.after, strict=True):
            if after.route != before.route:
                # The last step of a gradual rollback: the target had nearly all calls already, and
                # a moment between decision and apply is no other time.
                gradual = before.rollout is not None and before.rollout.kind is RolloutKind.GRADUAL
                moment_ms = MOMENT_MS if gradual else 0
                self.moved_ms[key_of(after)] = self.world.now_ms - moment_ms


def _claimed(record: Record) -> int:
    """The calls that a proof of recovery rests on."""
    (proof,) = record.detail["windows"]
    window = from_row(proof["sum"])
    return window.call_count - window.late_ok

"""Laws of the evidence (P6): enough real failures, by the same arithmetic done a second time."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from knowngood.core.model import MoveRoute, Record, Renew, State
from knowngood.core.window import BUCKET_MS
from knowngood.engine.ingest import closed_until_ms
from knowngood.sim.laws.base import (
    Checker,
    generation_of,
    key_of,
    kinds_of,
    name_of,
    records,
    rollbacks,
    silence_answers,
    went_along,
)
from knowngood.sim.watch import Applied

if TYPE_CHECKING:
    from knowngood.sim.world import World

# The rule in force, written down a second time on purpose: from its formulas (how it decides, "How
# much evidence is enough"), and from nothing in core.
ALPHA = 1e-3
ALPHA_ASKED = 1e-2  # of what a person is asked about, also where silence is their answer
START_WEIGHT = 0.5
DAILY_WEIGHT = 0.5
DAY_S = 86_400
# Why the system moves a route: a confirmed breach, or a rollout (whose laws are in `rollouts`).
REASONS = {
    "rollback.confirmed",
    "rollback.completed",
    "rollout.stage",
    "rollout.released",
    "version.good",
}
TICKS = 3  # a tick adds at most a third of what an alarm needs
NOBODY = (0, 0)  # called in a second
GATE_CALLS, GATE_BAD = 20, 3
EDGES_MS = ((3_600_000, 900_000), (300_000, 60_000))
HEALTHY_SHARES = (0.1, 0.8)  # of the limit: what a healthy version may be said to do
# Two intakes may each miss a few calls that the other one wrote late: so many nats.
MISSED = 3.0
# Calls that arrive late count when they arrive: as old as a process keeps its rows.
LATE_MAX_MS = 300_000


def log_evidence(
    ticks: Iterable[tuple[int, int]], limit: float, healthy: float, alpha: float | None = ALPHA
) -> float:
    """ln E after seconds with (good, bad) calls, against a rate of at most `healthy`.

    A second without calls counts as well: fresh weight flows in with time. Without an `alpha`
    there is neither cap nor fresh weight: the closed form.
    """
    rates = [limit * 2**i for i in range(64) if limit * 2**i < 0.9] + [0.99]
    bad_odds = [math.log(rate / healthy) for rate in rates]
    good_odds = [math.log((1 - rate) / (1 - healthy)) for rate in rates]
    weights = [math.log(START_WEIGHT / len(rates))] * len(rates)
    cap = math.inf if alpha is None else -math.log(alpha) / TICKS
    fresh = 0.0 if alpha is None else DAILY_WEIGHT / DAY_S / len(rates)
    for good, bad in ticks:
        for j in range(len(rates)):
            weights[j] += min(bad * bad_odds[j] + good * good_odds[j], cap)
            if fresh:
                weights[j] = _log_of_sum([weights[j], math.log(fresh)])
    return _log_of_sum(weights)


def _log_of_sum(logs: list[float]) -> float:
    most = max(logs)
    return most + math.log(math.fsum(math.exp(each - most) for each in logs))


def findings_of(record: Record) -> list[dict[str, Any]]:
    """The findings that a line of history was frozen with."""
    return list(record.detail.get("findings", ()))


class Evidence(Checker):
    """P6, P8: an automatic rollback rests on enough real failures of what is on the route now."""

    def __init__(self, world: "World") -> None:
        """A checker that knows no route."""
        super().__init__(world)
        self.routed_ms: dict[tuple[str, str, str], int] = {}
        self.begun_ms: dict[tuple[str, str, str], int] = {}
        self.suspected: dict[tuple[str, str, int], int] = {}

    def applied(self, event: Applied) -> None:
        """Recount the evidence of each automatic rollback, then note what is on the routes."""
        for record, before, _ in records(event, "rollback.suspected"):
            until_ms = max((f["until_ms"] for f in findings_of(record)), default=0)
            self.suspected[*key_of(before), generation_of(before)] = until_ms
        for record, before, _ in records(event, "rollback.confirmed"):
            self._recount(record, before, event, silent=self._is_silence(before, event))
        for record, before, _ in rollbacks(event):
            if record.detail["automatic"] and not records(event, "rollback.confirmed"):
                self.fail(f"{name_of(before)}: switched by itself without frozen evidence")
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            moves = any(isinstance(a, MoveRoute) for a in change.actions)
            reasons = kinds_of(change) & REASONS
            # What went along with another's rollback has its reason there (laws.releases).
            if moves and change.actor == "system" and not reasons and not went_along(change):
                self.fail(f"{change.prompt}: the system moved a route without a breach")
            self._note(before, after, event)

    def _is_silence(self, before: State, event: Applied) -> bool:
        """Whether a question that nobody answered, and no suspicion, leads to the rollback."""
        change = next(change for change in event.changes if change.prompt == before.prompt)
        rules = self.world.policy.for_prompt(before.prompt)
        return silence_answers(rules, before, change, event.now_ms)

    def _note(self, before: State, after: State, event: Applied) -> None:
        """Where each version's evidence begins: its deploy, or the end of its last alarm."""
        old = {arm.version for arm in before.route.arms} if before.route else set()
        for arm in after.route.arms if after.route else ():
            if arm.version not in old:
                # Its first calls are in the bucket that was open when it came.
                routed_ms = event.now_ms - event.now_ms % BUCKET_MS
                self.routed_ms[*key_of(after), arm.version] = routed_ms
                self.begun_ms[*key_of(after), arm.version] = routed_ms
        for change in event.changes:
            for action in change.actions:
                if isinstance(action, Renew) and change.prompt == after.prompt:
                    next_ms = -(-event.now_ms // BUCKET_MS) * BUCKET_MS
                    self.begun_ms[*key_of(after), action.version] = next_ms

    def _recount(self, record: Record, before: State, event: Applied, *, silent: bool) -> None:
        given = findings_of(record)
        found = [f for f in given if f["metric"] == "error_rate"]
        if not (given if silent else found):
            self.fail(f"{name_of(before)}: a rollback without a finding")
        for finding in found:
            self._finding(finding, before, event, silent=silent)

    def _finding(self, f: dict[str, Any], before: State, event: Applied, *, silent: bool) -> None:
        name, proof = f"{name_of(before)} {f['version']}", f["proof"]
        begun_ms = self.begun_ms.get((*key_of(before), f["version"]), 0)
        if f["since_ms"] < self.routed_ms.get((*key_of(before), f["version"]), 0):
            self.fail(f"{name}: evidence from before it came onto the route")
        if f["until_ms"] > closed_until_ms(event.clock_ms):
            self.fail(f"{name}: evidence from buckets that are still open")
        suspected_ms = self.suspected.get((*key_of(before), generation_of(before)), f["until_ms"])
        if f["until_ms"] <= suspected_ms and not silent:
            self.fail(f"{name}: confirmed on nothing newer than the suspicion")
        self._gate(name, f, before, begun_ms)
        low, high = (share * proof["limit"] for share in HEALTHY_SHARES)
        most = ALPHA_ASKED if silent else ALPHA
        if not low - 1e-9 <= proof["healthy"] <= high + 1e-9 or proof["alpha"] > most:
            words = f"{proof['healthy']:.3%} at level {proof['alpha']}"
            self.fail(f"{name}: held against a healthy rate of {words}")
        self._evidence(name, f, before, begun_ms)

    def _gate(self, name: str, f: dict[str, Any], before: State, begun_ms: int) -> None:
        """The plain threshold is passed, by calls that are really there."""
        proof = f["proof"]
        n, bad, span_ms = proof["n"], proof["bad"], proof.get("window_ms", 0)
        # Where the limit is not separable more is asked of the evidence, and the gate stays.
        limit = f["limit"]
        if bad < GATE_BAD or bad <= limit * n or (span_ms and n < GATE_CALLS):
            self.fail(f"{name}: rolled back on {bad} of {n}, limit {limit:.0%}")
        key = (before.environment, before.prompt, f["version"])
        # The edge of a long window is kept to the minute, that of a day to the quarter of an hour.
        edge_ms = next((grain for top, grain in EDGES_MS if span_ms > top), 0)
        since_ms = max(begun_ms, f["until_ms"] - span_ms - edge_ms) if span_ms else begun_ms
        own = self.world.accepted.between(key, since_ms, f["until_ms"])
        # An engine may miss what another intake wrote late; it may never see what is not there.
        if own.n < n or own.bad < bad:
            self.fail(f"{name}: claims {bad} of {n}, the store took {own.bad} of {own.n}")

    def _evidence(self, name: str, f: dict[str, Any], before: State, begun_ms: int) -> None:
        """The sequential evidence, done again second by second."""
        proof, key = f["proof"], (before.environment, before.prompt, f["version"])
        ticks: Mapping[int, Sequence[int]] = dict(
            self.world.accepted.ticks(key, begun_ms, f["until_ms"])
        )
        alone = self.world.plan.engine_count == 1
        if not alone:
            ticks = _as_missed(ticks)
        outcomes = (ticks.get(ms, NOBODY) for ms in range(begun_ms, f["until_ms"], BUCKET_MS))
        log_e = log_evidence(
            ((counts[0] - counts[1], counts[1]) for counts in outcomes),
            proof["limit"],
            proof["healthy"],
            proof["alpha"],
        )
        if log_e < -math.log(proof["alpha"]) - (1e-6 if alone else MISSED):
            self.fail(f"{name}: {f['bad']} of {f['n']} prove nothing: ln E is {log_e:.3f}")
        if alone and abs(log_e - proof["log_e"]) > 1e-6:
            self.fail(f"{name}: ln E is {log_e:.9f}, not {proof['log_e']:.9f}")


def _as_missed(ticks: Mapping[int, Sequence[int]]) -> dict[int, Sequence[int]]:
    """The ticks without the good calls of the fullest one.

    What another intake wrote into a bucket that this engine had read already it never sees: a
    process that comes back may report minutes of calls there at once.
    """
    fullest = max(ticks, key=lambda ms: ticks[ms][0] - ticks[ms][1], default=None)
    return {ms: (counts[1], counts[1]) if ms == fullest else counts for ms, counts in ticks.items()}


class TrueCause(Checker):
    """P6: nothing healthy is rolled back: more calls than usual really failed at that time.

    Chance alone would do so once in two thousand days of a healthy version at most. One that really
    fails more often than health explains, if less than its limit, may pass the limit by chance.
    """

    HEALTHY = 0.02  # twice of what a simulated version that is well fails at most

    def applied(self, event: Applied) -> None:
        """Hold each automatic rollback against how the version really was."""
        for record, before, _ in records(event, "rollback.confirmed"):
            for f in findings_of(record):
                key = (before.environment, before.prompt, f["version"])
                until_ms = self.world.now_ms
                since_ms = until_ms - (f["until_ms"] - f["since_ms"]) - LATE_MAX_MS
                rate = min(f["limit"], self.HEALTHY)
                ill = self.world.truth.ill(key, since_ms, until_ms, rate)
                if f["metric"] == "error_rate" and not ill:
                    words = f"{f['bad']} of {f['n']} by chance"
                    self.fail(f"{name_of(before)}: {f['version']} is well, rolled back on {words}")

"""What one process does with its calls: make them, sum them up by the second, label some of them.

It keeps the rules of the SDK's outbox: rows of one second, at most five minutes old; of a unit's
failures within a second only the first counts, the others are repeats.
"""

import heapq
import random
from dataclasses import dataclass, field

from knowngood import wire
from knowngood.core.model import Route
from knowngood.core.routing import choose
from knowngood.core.window import SCORE_BINS, Window, latency_bucket
from knowngood.ports import VersionKey
from knowngood.sim.draws import failures, labels, latencies
from knowngood.sim.plan import Labels
from knowngood.sim.traffic import Traffic
from knowngood.sim.truth import Truth
from knowngood.sim.units import Arms, HeldUnits, Seconds

SECOND_MS = 1_000
ROW_AGE_MAX_MS = 300_000  # as sdk.outbox
TIMEOUT_BIN = latency_bucket(30_000)  # how long a call has waited that is given up
SCORE = "quality"
UNITS = 10_000
# So many calls of a second are routed one by one, by their units; of a burst only the shares are.
ROUTED_MAX = 16
LATE_SCORES_PER_FLUSH_MAX = 2_000  # as sdk.outbox

CallKey = tuple[str, str, int]  # prompt, version, second


@dataclass(slots=True)
class Row:
    """One version's second while it is being summed."""

    ok: int = 0
    bad: int = 0
    kind: str = "prompt"
    repeat: int = 0
    latency: dict[int, int] = field(default_factory=dict)
    scores: dict[int, int] = field(default_factory=dict)

    def window(self) -> Window:
        """The row as it is reported."""
        return Window(
            ok=self.ok,
            errors={self.kind: self.bad} if self.bad else {},
            repeat=self.repeat,
            latency=self.latency,
            scores={SCORE: self.scores} if self.scores else {},
        )


@dataclass(slots=True)
class Work:
    """The calls of one process."""

    name: str
    environment: str
    truth: Truth
    traffic: Traffic
    rng: random.Random
    raw_retries: bool = False  # it counts every failure of a unit: not the SDK, and a fault
    rows: dict[CallKey, Row] = field(default_factory=dict)
    units: HeldUnits = field(default_factory=HeldUnits)
    late: list[tuple[int, int, wire.LateScore]] = field(default_factory=list)  # a heap by when
    call_count: int = 0
    given_count: int = 0

    def second(self, prompt: str, route: Route, at_ms: int, arms: Arms | None = None) -> None:
        """Make the calls of one prompt in one second, on this route, of which arms are compared."""
        load = self.traffic.load(prompt, at_ms)
        count = int(load) + (self.rng.random() < load % 1)
        if count == 0:
            return
        if arms:
            self._by_unit(prompt, route, count, at_ms, arms)
            return
        if len(route.arms) == 1:
            self._calls(prompt, route.arms[0].version, count, at_ms)
            return
        for version, share in self._shares(route, count).items():
            self._calls(prompt, version, share, at_ms)

    def _by_unit(self, prompt: str, route: Route, count: int, at_ms: int, arms: Arms) -> None:
        """Each call has its unit; who fails and who is labelled is a matter of chance."""
        drawn: dict[str, list[str]] = {}
        for _ in range(count):
            user = f"user-{self.rng.randrange(UNITS)}"
            drawn.setdefault(choose(route, user).version, []).append(user)
        for version, users in drawn.items():
            seen = self.units.of(prompt, version, arms[version], users)
            self._calls(prompt, version, len(users), at_ms, seen)
            key = (self.environment, prompt, version)
            self.truth.count_units((key, seen.arm.generation), seen.calls_and_errors())

    def _shares(self, route: Route, count: int) -> dict[str, int]:
        rng, shares = self.rng, dict.fromkeys((arm.version for arm in route.arms), 0)
        for _ in range(min(count, ROUTED_MAX)):
            shares[choose(route, f"user-{rng.randrange(UNITS)}").version] += 1
        if count > ROUTED_MAX:
            control, candidate = route.arms
            rest = count - ROUTED_MAX
            more = failures(rng, rest, candidate.weight_bp / 10_000)
            shares[candidate.version] += more
            shares[control.version] += rest - more
        return {version: share for version, share in shares.items() if share}

    def _calls(
        self, prompt: str, version: str, count: int, at_ms: int, units: Seconds | None = None
    ) -> None:
        key = (self.environment, prompt, version)
        rate, kind = self.truth.failing(key, at_ms)
        bad = failures(self.rng, count, rate)
        row = self.rows.get((prompt, version, at_ms))
        if row is None:
            row = self.rows[prompt, version, at_ms] = Row()
        made = self.truth.count(key, count, bad)
        if units is not None:
            units.failed(bad)
        row.ok += count - bad
        if bad:
            row.bad += bad
            row.kind = kind
            again = bad * (self.traffic.tries(prompt, at_ms) - 1)
            if self.raw_retries:
                row.bad += again
                self.truth.count(key, again, again)
            else:
                row.repeat += again
        plan = self.traffic.plans[prompt]
        if plan.timed:
            made.timed += self._time(row, key, count - bad, bad if kind == "timeout" else 0, at_ms)
        if plan.labels is not None:
            made.labelled += self._label(row, key, plan.labels, count - bad, at_ms, units)

    def _time(self, row: Row, key: VersionKey, ok: int, timeouts: int, at_ms: int) -> int:
        """Latencies are of calls that were answered or given up, as sdk.outbox has it."""
        median_bin = latency_bucket(self.truth.median_ms(key, at_ms))
        for index, n in latencies(self.rng, ok, median_bin).items():
            row.latency[index] = row.latency.get(index, 0) + n
        if timeouts:
            row.latency[TIMEOUT_BIN] = row.latency.get(TIMEOUT_BIN, 0) + timeouts
        return ok + timeouts

    def _label(
        self, row: Row, key: VersionKey, plan: Labels, ok: int, at_ms: int, units: Seconds | None
    ) -> int:
        """Labels that come with their call are in its row, the others wait for their time."""
        given = failures(self.rng, ok, plan.share)
        if given == 0:
            return 0
        mean_bin = round(SCORE_BINS * self.truth.quality(key, at_ms))
        in_time = failures(self.rng, given, plan.in_time)
        for index, n in labels(self.rng, in_time, mean_bin, plan.graded).items():
            row.scores[index] = row.scores.get(index, 0) + n
            if units is not None:
                units.scored(SCORE, index, n)
        late = given - in_time - failures(self.rng, given - in_time, plan.missing)
        for index, n in labels(self.rng, late, mean_bin, plan.graded).items():
            for _ in range(n):
                self._judge_later(key, plan, index, at_ms, units)
        return in_time + late

    def _judge_later(
        self, key: VersionKey, plan: Labels, index: int, at_ms: int, units: Seconds | None
    ) -> None:
        self.call_count += 1
        name = f"{self.name}-{self.call_count}"
        name = name if units is None else units.tagged(name)
        call = wire.call_id(*key, at_ms // SECOND_MS, name)
        slowest_ms = plan.delay_ms * (1 + (plan.bias - 1) * (1 - index / SCORE_BINS))
        due_ms = at_ms + SECOND_MS + int(self.rng.random() * slowest_ms)
        self._give(due_ms, call, index)
        if self.rng.random() < plan.again:
            changed = index if self.rng.random() < 0.5 else self.rng.randrange(SCORE_BINS + 1)
            self._give(due_ms + int(self.rng.random() * plan.delay_ms), call, changed)

    def _give(self, due_ms: int, call: str, index: int) -> None:
        self.given_count += 1
        score = wire.LateScore(call, SCORE, index / SCORE_BINS)
        heapq.heappush(self.late, (due_ms, self.given_count, score))

    def due_labels(self, now_ms: int) -> tuple[wire.LateScore, ...]:
        """The labels whose time has come; they are this flush's from now on."""
        due: list[wire.LateScore] = []
        while self.late and self.late[0][0] <= now_ms and len(due) < LATE_SCORES_PER_FLUSH_MAX:
            due.append(heapq.heappop(self.late)[2])
        return tuple(due)

    def drop_old(self, now_ms: int) -> None:
        """Forget rows that nobody has to decide on any more."""
        for key in [k for k in self.rows if now_ms - k[2] > ROW_AGE_MAX_MS]:
            del self.rows[key]

    def lose(self) -> None:
        """The process ends without a word: what was not sent is gone."""
        self.rows.clear()
        self.late.clear()
        self.units.lose()

"""What is really so in a simulated world: how ill each version is, and what calls were really made.

The judgement never sees this. Checkers hold what it did against it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from knowngood.core.window import BUCKET_MS, Bucket
from knowngood.ports import UnitArm, VersionKey

if TYPE_CHECKING:
    from knowngood.sim.plan import VersionPlan

PromptVersion = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A share of the calls that fails from `begins_ms` until `ends_ms`, as errors of a kind."""

    rate: float
    begins_ms: int
    ends_ms: int | None = None
    kind: str = "provider"

    def in_force(self, at_ms: int) -> bool:
        """Whether it holds at that moment."""
        return self.begins_ms <= at_ms and (self.ends_ms is None or at_ms < self.ends_ms)


@dataclass(frozen=True, slots=True)
class Regression:
    """How a version goes bad, from `after_ms` after its first deploy in an environment.

    `rate` of its calls fail, it takes `slower` times as long, and `worse` of its quality is gone.
    """

    rate: float = 0.0
    after_ms: int = 0
    slower: float = 1.0
    worse: float = 0.0
    kind: str = "prompt"


@dataclass(frozen=True, slots=True)
class Tally:
    """Calls and how many of them failed."""

    n: int = 0
    bad: int = 0

    @property
    def rate(self) -> float:
        """The share that failed, 0 of nothing."""
        return self.bad / self.n if self.n else 0.0


@dataclass(slots=True)
class Truth:
    """The health of every version and provider, second by second."""

    healthy: dict[PromptVersion, float] = field(default_factory=dict)
    medians_ms: dict[PromptVersion, int] = field(default_factory=dict)
    qualities: dict[PromptVersion, float] = field(default_factory=dict)
    regressions: dict[PromptVersion, Regression] = field(default_factory=dict)
    deployed_ms: dict[VersionKey, int] = field(default_factory=dict)
    troubles: dict[PromptVersion, list[Trouble]] = field(default_factory=dict)
    slowed: dict[PromptVersion, float] = field(default_factory=dict)  # by a scenario
    worsened: dict[PromptVersion, float] = field(default_factory=dict)  # by a scenario
    outages: dict[str, list[Trouble]] = field(default_factory=dict)
    providers: dict[PromptVersion, str] = field(default_factory=dict)
    made: dict[VersionKey, "Made"] = field(default_factory=dict)
    units: dict[UnitArm, dict[int, list[int]]] = field(default_factory=dict)  # [calls, errors]

    def learn(self, key: PromptVersion, planned: "VersionPlan") -> None:
        """Take over how a version is planned to be."""
        self.healthy[key] = planned.healthy
        self.medians_ms[key] = planned.median_ms
        self.qualities[key] = planned.quality
        self.providers[key] = planned.provider
        if planned.regression:
            self.regressions[key] = planned.regression

    def routed(self, key: VersionKey, now_ms: int) -> None:
        """A version came onto a route; the first time is its deploy."""
        self.deployed_ms.setdefault(key, now_ms)

    def regression(self, key: VersionKey, at_ms: int) -> Regression | None:
        """How the version is bad at that moment; None while it is well."""
        regression = self.regressions.get(key[1:])
        if regression is None:
            return None
        deployed_ms = self.deployed_ms.get(key)
        if deployed_ms is None or at_ms < deployed_ms + regression.after_ms:
            return None
        return regression

    def own_rate(self, key: VersionKey, at_ms: int) -> float:
        """How often the version would fail at that moment if its provider were well."""
        regression = self.regression(key, at_ms)
        return max(self.healthy.get(key[1:], 0.0), regression.rate if regression else 0.0)

    def failing(self, key: VersionKey, at_ms: int) -> tuple[float, str]:
        """How often the version's calls fail at that moment, and with which kind of error."""
        rate, kind = self.healthy.get(key[1:], 0.0), "prompt"
        for trouble in self.troubles.get(key[1:], ()):
            if trouble.in_force(at_ms):
                rate, kind = trouble.rate, trouble.kind  # the latest word counts
        regression = self.regression(key, at_ms)
        if regression is not None and regression.rate > rate:
            rate, kind = regression.rate, regression.kind
        for outage in self.outages.get(self.providers.get(key[1:], ""), ()):
            if outage.rate > rate and outage.in_force(at_ms):
                rate, kind = outage.rate, outage.kind
        return rate, kind

    def median_ms(self, key: VersionKey, at_ms: int) -> float:
        """How long half of the version's calls take at most, at that moment."""
        regression = self.regression(key, at_ms)
        slower = max(self.slowed.get(key[1:], 1.0), regression.slower if regression else 1.0)
        return self.medians_ms[key[1:]] * slower

    def quality(self, key: VersionKey, at_ms: int) -> float:
        """The mean of the labels that the version's answers of that moment deserve."""
        regression = self.regression(key, at_ms)
        worse = max(self.worsened.get(key[1:], 0.0), regression.worse if regression else 0.0)
        return self.qualities[key[1:]] * (1 - worse)

    def ill(self, key: VersionKey, since_ms: int, until_ms: int, rate: float) -> bool:
        """Whether more than `rate` of its calls really failed at any time within the stretch."""
        return any(self.failing(key, ms)[0] > rate for ms in range(since_ms, until_ms, BUCKET_MS))

    def count(self, key: VersionKey, n: int, bad: int) -> "Made":
        """Calls that a process really made."""
        made = self.made.get(key)
        if made is None:
            made = self.made[key] = Made()
        made.n += n
        made.bad += bad
        return made

    def count_units(self, arm: UnitArm, seen: Iterable[tuple[int, int, int]]) -> None:
        """Calls that a process really made for single units: (unit, calls, errors)."""
        held = self.units.setdefault(arm, {})
        for unit, calls, errors in seen:
            sums = held.setdefault(unit, [0, 0])
            sums[0] += calls
            sums[1] += errors


@dataclass(slots=True)
class Made:
    """All that processes really did with one version."""

    n: int = 0
    bad: int = 0
    timed: int = 0  # calls whose latency was measured
    labelled: int = 0  # labels that were given, corrections left out


@dataclass(slots=True)
class _Line:
    """One version's accepted buckets, as the checkers count them: plain numbers, no windows.

    Of each second: [calls, failures, latencies, labels].
    """

    order: list[int] = field(default_factory=list)
    counts: dict[int, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Accepted:
    """The checkers' own count of what the store took in; the product's sums are not used."""

    lines: dict[VersionKey, _Line] = field(default_factory=dict)
    calls: dict[VersionKey, dict[int, list[int]]] = field(default_factory=dict)
    totals: dict[VersionKey, Made] = field(default_factory=dict)
    labels: dict[VersionKey, dict[int, int]] = field(default_factory=dict)

    def stored(self, key: VersionKey, bucket: Bucket) -> None:
        """The store has written a bucket."""
        line = self.lines.get(key)
        if line is None:
            line, self.totals[key] = self.lines.setdefault(key, _Line()), Made()
        counts = line.counts.get(bucket.at_ms)
        if counts is None:
            counts = line.counts[bucket.at_ms] = [0, 0, 0, 0]
            line.order.insert(bisect_left(line.order, bucket.at_ms), bucket.at_ms)
        window = bucket.window
        bad = sum(window.errors.values())
        n = window.ok + bad
        counts[0] += n
        counts[1] += bad
        total = self.totals[key]
        total.n += n
        total.bad += bad
        if window.latency:
            timed = sum(window.latency.values())
            counts[2] += timed
            total.timed += timed
        for bins in window.scores.values():
            labelled = self._label(key, bins)
            counts[3] += labelled
            total.labelled += labelled

    def _label(self, key: VersionKey, bins: Mapping[int, int]) -> int:
        held = self.labels.setdefault(key, {})
        for index, count in bins.items():
            held[index] = held.get(index, 0) + count
        return sum(bins.values())

    def taken(self, key: VersionKey, made_ms: int, n: int, bad: int) -> None:
        """The intake has accepted calls that were really made in the second at `made_ms`."""
        counts = self.calls.setdefault(key, {}).setdefault(made_ms, [0, 0])
        counts[0] += n
        counts[1] += bad

    def between(self, key: VersionKey, since_ms: int, until_ms: int) -> Tally:
        """What the store's buckets with since_ms <= at_ms < until_ms hold."""
        counts = [counts for _, counts in self.ticks(key, since_ms, until_ms)]
        return Tally(sum(c[0] for c in counts), sum(c[1] for c in counts))

    def ticks(self, key: VersionKey, since_ms: int, until_ms: int) -> list[tuple[int, list[int]]]:
        """The store's buckets in that stretch: (where it begins, its counts)."""
        line = self.lines.get(key)
        if line is None:
            return []
        first, last = bisect_left(line.order, since_ms), bisect_left(line.order, until_ms)
        return [(at_ms, line.counts[at_ms]) for at_ms in line.order[first:last]]

    def measured(self, key: VersionKey, since_ms: int, until_ms: int) -> tuple[int, int]:
        """How many latencies and labels the store's buckets of that stretch hold."""
        counts = [counts for _, counts in self.ticks(key, since_ms, until_ms)]
        return sum(c[2] for c in counts), sum(c[3] for c in counts)

    def made_since(self, key: VersionKey, since_ms: int) -> Tally:
        """Accepted calls that were really made at `since_ms` or later."""
        counts = [c for at_ms, c in self.calls.get(key, {}).items() if at_ms >= since_ms]
        return Tally(sum(c[0] for c in counts), sum(c[1] for c in counts))

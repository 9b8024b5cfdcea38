"""What is really so in a simulated world: how ill each version is, and what calls were really made.

The judgement never sees this. Checkers hold what it did against it.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from knowngood.core.window import Bucket
from knowngood.ports import VersionKey

PromptVersion = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A share of the calls that fails from `begins_ms` until `ends_ms`."""

    rate: float
    begins_ms: int
    ends_ms: int | None = None

    def in_force(self, at_ms: int) -> bool:
        """Whether it holds at that moment."""
        return self.begins_ms <= at_ms and (self.ends_ms is None or at_ms < self.ends_ms)


@dataclass(frozen=True, slots=True)
class Regression:
    """A version that fails from `after_ms` after its first deploy."""

    rate: float
    after_ms: int


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
    regressions: dict[PromptVersion, Regression] = field(default_factory=dict)
    deployed_ms: dict[PromptVersion, int] = field(default_factory=dict)
    troubles: dict[PromptVersion, list[Trouble]] = field(default_factory=dict)
    outages: dict[str, list[Trouble]] = field(default_factory=dict)
    providers: dict[PromptVersion, str] = field(default_factory=dict)
    made: dict[PromptVersion, list[int]] = field(default_factory=dict)  # calls, failures

    def routed(self, key: PromptVersion, now_ms: int) -> None:
        """A version came onto a route; the first time is its deploy."""
        self.deployed_ms.setdefault(key, now_ms)

    def own_rate(self, key: PromptVersion, at_ms: int) -> float:
        """How often the version itself fails at that moment, outages of its provider apart."""
        rate = self.healthy.get(key, 0.0)
        for trouble in self.troubles.get(key, ()):
            if trouble.in_force(at_ms):
                rate = trouble.rate  # the latest word counts
        regression = self.regressions.get(key)
        if regression is not None:
            deployed_ms = self.deployed_ms.get(key)
            if deployed_ms is not None and at_ms >= deployed_ms + regression.after_ms:
                rate = max(rate, regression.rate)
        return rate

    def outage_rate(self, key: PromptVersion, at_ms: int) -> float:
        """How often the version's provider fails at that moment."""
        outages = self.outages.get(self.providers.get(key, ""), ())
        return max((o.rate for o in outages if o.in_force(at_ms)), default=0.0)

    def count(self, key: PromptVersion, n: int, bad: int) -> None:
        """Calls that a process really made."""
        made = self.made.setdefault(key, [0, 0])
        made[0] += n
        made[1] += bad


@dataclass(slots=True)
class _Line:
    """One version's accepted buckets, as the checkers count them: plain numbers, no windows."""

    order: list[int] = field(default_factory=list)
    counts: dict[int, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Accepted:
    """The checkers' own count of what the store took in; the product's sums are not used."""

    lines: dict[VersionKey, _Line] = field(default_factory=dict)
    calls: dict[VersionKey, dict[int, list[int]]] = field(default_factory=dict)
    totals: dict[VersionKey, tuple[int, int]] = field(default_factory=dict)

    def stored(self, key: VersionKey, bucket: Bucket) -> None:
        """The store has written a bucket."""
        line = self.lines.setdefault(key, _Line())
        counts = line.counts.get(bucket.at_ms)
        if counts is None:
            counts = line.counts[bucket.at_ms] = [0, 0]
            line.order.insert(bisect_left(line.order, bucket.at_ms), bucket.at_ms)
        bad = sum(bucket.window.errors.values())
        n = bucket.window.ok + bad
        counts[0] += n
        counts[1] += bad
        before = self.totals.get(key, (0, 0))
        self.totals[key] = (before[0] + n, before[1] + bad)

    def taken(self, key: VersionKey, made_ms: int, n: int, bad: int) -> None:
        """The intake has accepted calls that were really made in the second at `made_ms`."""
        counts = self.calls.setdefault(key, {}).setdefault(made_ms, [0, 0])
        counts[0] += n
        counts[1] += bad

    def between(self, key: VersionKey, since_ms: int, until_ms: int) -> Tally:
        """What the store's buckets with since_ms <= at_ms < until_ms hold."""
        line = self.lines.get(key)
        if line is None:
            return Tally()
        first, last = bisect_left(line.order, since_ms), bisect_left(line.order, until_ms)
        counts = [line.counts[at_ms] for at_ms in line.order[first:last]]
        return Tally(sum(c[0] for c in counts), sum(c[1] for c in counts))

    def made_since(self, key: VersionKey, since_ms: int) -> Tally:
        """Accepted calls that were really made at `since_ms` or later."""
        counts = [c for at_ms, c in self.calls.get(key, {}).items() if at_ms >= since_ms]
        return Tally(sum(c[0] for c in counts), sum(c[1] for c in counts))

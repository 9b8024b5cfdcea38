"""Which outcomes of a window count as bad, for a detector of shares."""

from collections.abc import Mapping
from dataclasses import dataclass

from knowngood.core.measure import QUANTILES
from knowngood.core.window import Bins, Window

CALLS = "calls"  # what a share is taken of, unless it is a share of the timed calls


@dataclass(frozen=True, slots=True)
class Count:
    """One way to count bad outcomes: of calls, or of calls slower than a latency bucket.

    `of` is `errors`, `counter`, `latency` or `first_token`; `names` are error kinds (none: all) or
    the counter's name; `above` is the bucket that a slow call's latency lies above.
    """

    of: str
    names: tuple[str, ...] = ()
    above: int = 0

    @property
    def base(self) -> str:
        """What the bad ones are a share of."""
        return self.of if self.of in ("latency", "first_token") else CALLS

    def bad(self, window: Window) -> int:
        """How many of the window's outcomes are bad."""
        if self.of == "errors":
            if not self.names:
                return window.error_count
            return sum(window.errors.get(kind, 0) for kind in self.names)
        if self.of == "counter":
            return max(0, min(window.call_count, window.counters.get(self.names[0], 0)))
        return min(base_count(self.base, window), _slow(self.bins(window), self.above, window))

    def bins(self, window: Window) -> Bins:
        """The histogram of a latency."""
        return window.first_token if self.of == "first_token" else window.latency


def base_count(base: str, window: Window) -> int:
    """How many outcomes of a window a share is taken of."""
    if base == CALLS:
        return window.call_count
    bins = window.first_token if base == "first_token" else window.latency
    return sum(bins.values())


def _slow(bins: Bins, above: int, window: Window) -> int:
    """Slow calls. A call that timed out was slow, however early its caller gave up."""
    slow = sum(count for index, count in bins.items() if index > above)
    return max(slow, window.errors.get("timeout", 0)) if bins else slow


def rate_count(metric: str, kinds: tuple[str, ...]) -> Count:
    """How a metric that is a share of calls counts."""
    if metric == "error_rate":
        return Count("errors", kinds)
    name = "refusal" if metric == "refusal_rate" else metric.removeprefix("counter.")
    return Count("counter", (name,))


def count_of(metric: str, kinds: tuple[str, ...], above: int) -> Count:
    """How any share counts; `above` is the bucket above which a latency's calls are slow."""
    if metric not in QUANTILES:
        return rate_count(metric, kinds)
    return Count("first_token" if metric == "first_token_p99" else "latency", above=above)


def bins_of(metric: str, window: Window) -> Mapping[int, int]:
    """The histogram that a latency metric reads."""
    return window.first_token if metric == "first_token_p99" else window.latency

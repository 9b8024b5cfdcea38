"""From a watch and a baseline to detectors: which level is healthy, and which one is harm."""

from collections.abc import Mapping
from dataclasses import dataclass

from knowngood.core.counts import Count, base_count, bins_of, rate_count
from knowngood.core.measure import QUANTILES
from knowngood.core.model import Comparison, ScoreRange
from knowngood.core.stats import mean_bound, upper_rank, upper_rate
from knowngood.core.watch import Watch, is_rate
from knowngood.core.window import (
    LATENCY_BASE,
    Bins,
    Window,
    latency_bucket,
    quantile_ms,
    score_moments,
)

UNKNOWN_HEALTHY = 0.4  # of the limit, when there is no baseline: 2 % for 5 % (detectors.md, 3.2)
HEALTHY_MIN, HEALTHY_MAX = 0.1, 0.8  # of the limit
HEADROOM = 1.5  # over the baseline's upper limit; what is normal moves from day to day
LATENCY_HEADROOM = 1.25
# A latency that doubles is looked for in all of its distribution; a tenth more only at the top.
LADDER_FROM = 0.5
LADDER = (("p99", 0.99), ("p90", 0.90), ("p50", 0.50))
RATE_MIN, RATE_MAX = 0.0001, 0.98  # a limit of 0 % is taken for one of a basis point
MIN_LATENCY_BASELINE = 100  # timed calls; the p99 needs more, by its own rule


@dataclass(frozen=True, slots=True)
class Level:
    """A detector of a share: what counts, the harmful share, and the healthy one.

    The plain threshold is the policy's own (`threshold`) also where the evidence has to ask for
    more, so that a bad day in the baseline blinds nobody.
    """

    count: Count
    limit: float
    healthy: float
    alpha: float
    separable: bool = True
    threshold: float | None = None

    @property
    def gate(self) -> float:
        """The plain threshold."""
        return self.limit if self.threshold is None else self.threshold


def rate_level(watch: Watch, day: Window | None, min_requests: int) -> Level | None:
    """The level of a share of calls; None for a relative limit without a baseline.

    q0 = clip(1.5 UCB95, .1 T, .8 T), or .4 T without a baseline. Where the baseline itself may be
    above .8 T, the limit cannot be told from health: T becomes twice the baseline's upper limit
    (detectors.md, 3.2).
    """
    count = rate_count(watch.metric, watch.kinds)
    n = base_count(count.base, day) if day else 0
    known = day is not None and n >= min_requests
    bad = count.bad(day) if day and known else 0
    limit = max(RATE_MIN, watch.limit)
    if watch.comparison is Comparison.INCREASE:
        if not known:
            return None
        seen = bad / n or upper_rate(0, n)  # nothing may rise by a share; its upper limit may
        limit = max(RATE_MIN, seen * (1 + watch.limit))
    if not known:
        healthy = watch.healthy or UNKNOWN_HEALTHY * limit
        return Level(count, min(limit, RATE_MAX), min(healthy, RATE_MAX * limit), watch.alpha)
    upper = upper_rate(bad, n)
    separable = upper < HEALTHY_MAX * limit
    threshold = None if separable else min(RATE_MAX, limit)
    limit = min(RATE_MAX, limit if separable else max(limit, 2 * upper))
    healthy = min(watch.healthy or _clip(HEADROOM * upper, limit), HEALTHY_MAX * limit)
    return Level(count, limit, healthy, watch.alpha, separable, threshold)


def _clip(rate: float, limit: float) -> float:
    return max(HEALTHY_MIN * limit, min(HEALTHY_MAX * limit, rate))


def latency_levels(watch: Watch, day: Window | None) -> tuple[Level, ...] | None:
    """The levels of a latency limit; None without a baseline, empty if it is not separable.

    p99 doubled is the same as more than 1 % of the calls above twice the old p99. The old quantile
    is taken at its upper limit, and the ladder asks the same of the p90 and the p50 at a third of
    the level each (detectors.md, 3.3).
    """
    q = QUANTILES[watch.metric]
    if watch.comparison is Comparison.ABOVE:
        return (_absolute_level(watch, day, q),)
    if day is None or sum(bins_of(watch.metric, day).values()) < MIN_LATENCY_BASELINE:
        return None
    rungs = [("", q)]
    if watch.metric == "latency_p99" and watch.limit >= LADDER_FROM:
        rungs = list(LADDER)
    found = [_rung(watch, day, rung_q, watch.alpha / len(rungs)) for _, rung_q in rungs]
    if all(level is None for level in found):
        return None  # too few timed calls for any rank
    return tuple(level for level in found if level and level.healthy < level.limit)


def _absolute_level(watch: Watch, day: Window | None, q: float) -> Level:
    count = _slower(watch, latency_bucket(watch.limit))
    limit, share = 1 - q, UNKNOWN_HEALTHY * (1 - q)
    if day and (n := base_count(count.base, day)) >= MIN_LATENCY_BASELINE:
        share = LATENCY_HEADROOM * count.bad(day) / n
    healthy = max(UNKNOWN_HEALTHY * limit, min(HEALTHY_MAX * limit, share))
    return Level(count, limit, watch.healthy or healthy, watch.alpha)


def _rung(watch: Watch, day: Window, q: float, alpha: float) -> Level | None:
    bins = bins_of(watch.metric, day)
    n = sum(bins.values())
    upper_ms = upper_quantile_ms(bins, q)
    if upper_ms is None:
        return None
    # A call is slow when its bucket lies wholly above the limit.
    count = _slower(watch, latency_bucket(upper_ms * (1 + watch.limit)))
    limit, slow = 1 - q, count.bad(day)
    if slow > HEALTHY_MAX * limit * n:
        healthy = limit  # a healthy day is above it already: not separable
    elif watch.limit >= LADDER_FROM:
        healthy = max(UNKNOWN_HEALTHY * limit, LATENCY_HEADROOM * slow / n)
        healthy = min(HEALTHY_MAX * limit, healthy)
    else:  # a heavy tail is above a tenth more by chance already
        healthy = max(HEALTHY_MAX * limit, upper_rate(slow, n))
    return Level(count, limit, watch.healthy or healthy, alpha)


def _slower(watch: Watch, bucket: int) -> Count:
    of = "first_token" if watch.metric == "first_token_p99" else "latency"
    return Count(of, above=bucket)


def upper_quantile_ms(bins: Bins, q: float) -> float | None:
    """The upper edge of the bucket that holds the quantile's upper rank; None for too few calls."""
    n = sum(bins.values())
    rank = upper_rank(n, q)
    if rank is None:
        return None
    seen = 0
    for index in sorted(bins):
        seen += bins[index]
        if seen >= rank:
            break
    return float(LATENCY_BASE ** (index + 1))


def relative_count(watch: Watch, day: Window | None) -> Count | None:
    """What is compared between the arms for a watch's metric; None if there is nothing yet."""
    if is_rate(watch.metric):
        return rate_count(watch.metric, watch.kinds)
    if watch.metric not in QUANTILES or day is None:
        return None
    upper_ms = upper_quantile_ms(bins_of(watch.metric, day), QUANTILES[watch.metric])
    return None if upper_ms is None else _slower(watch, latency_bucket(upper_ms))


@dataclass(frozen=True, slots=True)
class Expected:
    """The worst mean that is still healthy, as an expected loss within 0 (best) and 1 (worst).

    `threshold` is the policy's own, in the score's declared units; `bound` the baseline's 95 %
    limit towards health.
    """

    loss: float
    threshold: float
    baseline: float | None
    source: str
    n: int = 0
    variance: float = 0.0


def expected_loss(
    watch: Watch, declared: ScoreRange, day: Bins, source: str, min_labels: int
) -> Expected | None:
    """The null hypothesis of a score: half of the drop that the policy minds (detectors.md, 3.4).

    None when the limit is relative and the baseline has too few labels, or when no mean within the
    declared range could be worse.
    """
    width, n = declared.max - declared.min, 0
    baseline = None
    variance = 0.0
    up = watch.comparison in (Comparison.INCREASE, Comparison.ABOVE)
    if watch.comparison in (Comparison.DROP, Comparison.INCREASE):
        n, mean, spread = score_moments(day)
        if n < max(2, min_labels):
            return None
        side = 1 if up else -1
        baseline, variance = declared.min + width * mean, spread * width * width
        bound = declared.min + width * mean_bound(n, mean, spread, side)
        healthy = bound * (1 + side * watch.limit / 2)
        threshold = baseline * (1 + side * watch.limit)
    else:
        healthy = threshold = watch.limit
    share = (healthy - declared.min) / width
    loss = share if up else 1 - share
    if not 0 < loss < 1:
        return None
    return Expected(loss, threshold, baseline, source, n, variance)


def losses(bins: Bins, up: bool) -> Mapping[float, int]:
    """Labels in 1 % bins as losses: 1 is the worst end of the range."""
    return {(i / 100 if up else 1 - i / 100): bins[i] for i in sorted(bins) if bins[i]}


def quantile_of(metric: str, window: Window) -> float | None:
    """The estimate of a latency metric, in ms."""
    return quantile_ms(bins_of(metric, window), QUANTILES[metric])

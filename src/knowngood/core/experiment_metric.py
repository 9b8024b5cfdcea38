"""One metric of an A/B comparison: is the candidate better, or at least not worse by its margin?

Failed units and slow units are rare, and are compared exactly (core/rare.py). Everything else is a
mean of means, for which the asymptotic confidence sequence holds (core/compare.py), once it is far
enough from the ends of its range to be normal.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from knowngood.core.compare import (
    MIN_CONTROL_SIGMAS,
    Difference,
    Sample,
    absolute_difference,
    interval,
    lower_bound,
    one_look_interval,
    one_look_p_above,
    p_above,
    p_differs,
    relative_difference,
    upper_bound,
)
from knowngood.core.counts import Count, base_count
from knowngood.core.levels import upper_quantile_ms
from knowngood.core.model import ScoreRange
from knowngood.core.rare import (
    Failures,
    bounds,
    log_above,
    log_below,
    log_rate_above,
    log_rate_below,
    log_ratio_above,
    p_of,
    rate_bounds,
)
from knowngood.core.stats import log_add
from knowngood.core.trial import MetricResult as MetricResult
from knowngood.core.unit_sums import ERRORS, UnitSums, counted
from knowngood.core.window import Window, latency_bucket

LATENCY = "latency_p99"
AMOUNTS = ("tokens_per_call", "cost_per_call")
SLOW_LIMIT = 0.01  # p99 rose by the margin when more than this share is slower than that
# More than twice the control's failures are harm, also where both are far below the margin: from
# 0.02 % to 0.2 % is within half a percentage point, and ten times as many.
ERROR_RATIO = 2.0
SLOW_RATIO = 1.5  # of a tail that is heavy anyway (detectors.md, 3.3)
# A mean is not normal while few units are away from an end of the range. For a score of 0 or 1 this
# is 30 of the rarer kind: (mean / standard error)^2 is their number, or less.
MIN_END_SIGMAS = math.sqrt(30)
FURTHER_MAX = 1024  # times what there is: beyond that "about so many more" is a guess

Shown = Callable[[float], bool]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the metrics of a comparison share.

    `share` is the candidate's share of the assignment, within 0 and 1. `tuning_n` is the number of
    units in both arms at which sequences are tightest; None: there is one look only.
    """

    alpha: float
    share: float
    tuning_n: float | None
    scores: Mapping[str, ScoreRange]


def judge_metric(
    metric: str, margin: float | None, control: UnitSums, candidate: UnitSums, terms: Terms
) -> MetricResult:
    """Both arms compared on the metric, with how many more units it would take."""
    blank = MetricResult(metric, margin, control.unit_count, candidate.unit_count)
    smaller = min(control.unit_count, candidate.unit_count)
    if smaller == 0:
        return blank

    def ps(times: float) -> tuple[float, float]:
        return _ps(metric, margin, control.times(times), candidate.times(times), terms)

    p, harm_p = ps(1)
    shown = p < terms.alpha
    estimate, low, high = _span(metric, margin, control, candidate, terms)
    return replace(
        blank,
        estimate=estimate,
        low=low,
        high=high,
        p=p,
        harm_p=harm_p,
        shown=shown,
        harmed=harm_p <= terms.alpha,  # E of 1 / alpha is enough, so it may be alpha exactly
        further_units=None if shown else further(lambda n: ps(n)[0] < terms.alpha, smaller),
    )


def slow_above(day: Window, margin: float) -> int | None:
    """The latency bucket above which a call is slow: the upper limit of its p99, and the margin.

    Taken once, from the healthy day of the version that is served, before the comparison begins.
    None for fewer than 459 calls, which have no such limit.
    """
    upper_ms = upper_quantile_ms(day.latency, 1 - SLOW_LIMIT)
    return None if upper_ms is None else latency_bucket(upper_ms * (1 + margin))


def slow_calls(window: Window, above: int) -> UnitSums:
    """The sums of `latency_p99` where single calls are all that is known: each call is a unit.

    Calls of one user resemble each other, so this is a little too sure where users are assigned.
    """
    slow = Count("latency", above=above)
    return counted(slow.bad(window), base_count(slow.base, window))


def further(shown: Shown, units: int) -> int | None:
    """How many more units it takes until it is shown, at the proportions so far; None: too many."""
    high = 2.0
    while not shown(high):
        high *= 2
        if high > FURTHER_MAX:
            return None
    low = high / 2
    while (high - low) * units > max(1.0, 0.01 * high * units):
        middle = (low + high) / 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return math.ceil((high - 1) * units)


def _ps(
    metric: str, margin: float | None, control: UnitSums, candidate: UnitSums, terms: Terms
) -> tuple[float, float]:
    """The p-values of what has to be shown, and of harm."""
    if metric not in (ERRORS, LATENCY):
        return _mean_ps(metric, margin, control.sample(), candidate.sample(), terms)
    seen = _failures(control, candidate, terms)
    if margin is None:  # two-sided: each side has half of alpha
        better, worse = (min(1.0, 2 * p_of(log_e(seen, 0.0))) for log_e in (log_below, log_above))
        return better, worse
    if metric == LATENCY:
        mine = candidate.total, candidate.unit_count
        # Harm is both: above the limit, and not because everything is slow.
        harm = min(log_rate_above(*mine, SLOW_LIMIT), log_ratio_above(seen, SLOW_RATIO))
        return p_of(log_rate_below(*mine, SLOW_LIMIT)), p_of(harm)
    # The mean of two e-values is one as well: against neither kind of harm.
    harm = log_add(log_above(seen, margin), log_ratio_above(seen, ERROR_RATIO)) - math.log(2)
    return p_of(log_below(seen, margin)), p_of(harm)


def _span(
    metric: str, margin: float | None, control: UnitSums, candidate: UnitSums, terms: Terms
) -> tuple[float | None, float | None, float | None]:
    """The estimate, its lower and its upper bound; None for each while there is too little."""
    alpha = terms.alpha if margin is not None else terms.alpha / 2
    if metric == LATENCY and margin is not None:
        return candidate.mean, *rate_bounds(candidate.total, candidate.unit_count, alpha)
    if metric in (ERRORS, LATENCY):
        low, high = bounds(_failures(control, candidate, terms), alpha)
        return candidate.mean - control.mean, low, high
    change = relative_difference(control.sample(), candidate.sample())
    if change is None:
        return None, None, None
    return change.point, *_interval(change, terms, two_sided=margin is None)


def _failures(control: UnitSums, candidate: UnitSums, terms: Terms) -> Failures:
    n = control.unit_count + candidate.unit_count
    return Failures(control.total, candidate.total, n, terms.share)


def _mean_ps(
    metric: str, margin: float | None, control: Sample, candidate: Sample, terms: Terms
) -> tuple[float, float]:
    """Means, by the asymptotic sequence; nothing is shown while they are not normal."""
    declared = terms.scores.get(metric.removeprefix("score."))
    if not all(_is_normal(sample, declared) for sample in (control, candidate)):
        return 1.0, 1.0
    lower_is_better = declared is None or declared.better == "lower"
    side = 1 if lower_is_better else -1  # of what is worse
    found = absolute_difference(control, candidate, 1 + side * (margin or 0.0))
    if found is None:
        return 1.0, 1.0
    worse = replace(found, point=side * found.point)
    better = replace(found, point=-worse.point)
    if margin is not None:
        return _p_above(better, terms), _p_above(worse, terms)
    p = _p_differs(found, terms)
    return (p, 1.0) if better.point > 0 else (1.0, p)


def _is_normal(sample: Sample, declared: ScoreRange | None) -> bool:
    """Is the mean far enough from the ends of its range, in its standard errors?"""
    if sample.n == 0:
        return False
    se = math.sqrt(sample.variance / sample.n)
    if declared is None:
        return sample.mean > MIN_CONTROL_SIGMAS * se
    return min(sample.mean - declared.min, declared.max - sample.mean) >= MIN_END_SIGMAS * se


def _p_above(found: Difference, terms: Terms) -> float:
    if terms.tuning_n is None:
        return one_look_p_above(found)
    return p_above(found, terms.tuning_n, terms.alpha)


def _p_differs(found: Difference, terms: Terms) -> float:
    if terms.tuning_n is None:
        return 2 * one_look_p_above(replace(found, point=abs(found.point)))
    return p_differs(found, terms.tuning_n, terms.alpha)


def _interval(found: Difference, terms: Terms, two_sided: bool) -> tuple[float, float]:
    """Each end is wrong with probability alpha; of a two-sided one, both together."""
    if terms.tuning_n is None:
        return one_look_interval(found, terms.alpha / 2 if two_sided else terms.alpha)
    if two_sided:
        return interval(found, terms.tuning_n, terms.alpha)
    return (
        lower_bound(found, terms.tuning_n, terms.alpha),
        upper_bound(found, terms.tuning_n, terms.alpha),
    )

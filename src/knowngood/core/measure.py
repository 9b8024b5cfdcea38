"""What a metric's name means: a number read off a window, with how much it rests on.

Evidence here is plain: a minimum count, and for means and quantiles the distance from noise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from knowngood.core.model import ScoreRange
from knowngood.core.window import SCORE_BINS, Bins, Window, quantile_ms, score_moments

MIN_REQUESTS = 20  # an error rate of fewer requests is an anecdote
MIN_ERRORS = 3  # one or two failures happen to every healthy prompt
MIN_LABELS = 50
# The largest of fewer than 459 values is below the true p99 more often than 1 time in 100:
# .99^459 < .01 (detectors.md, 3.3).
MIN_LATENCIES = 459
# Rank bounds of a quantile, two standard errors to each side.
QUANTILE_SIGMAS = 2.0

QUANTILES = {
    "latency_p50": 0.50,
    "latency_p90": 0.90,
    "latency_p99": 0.99,
    "first_token_p99": 0.99,
}


def rung_of(metric: str, slow_share: float) -> str:
    """The latency that a limit on the share of slow calls is about: 50 % of any is its p50."""
    return f"{metric[:-2]}{100 * (1 - slow_share):.0f}"


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric's estimate with its noise. `low` and `high` bound it; `se` is set for means only.

    `n` counts what `unit` names (requests or labels); fewer than `min_n` say nothing, and a rate is
    no breach on fewer than `min_bad` failures.
    """

    unit: str
    n: int
    min_n: int
    estimate: float | None = None
    bad: int | None = None
    min_bad: int = MIN_ERRORS
    se: float | None = None
    low: float | None = None
    high: float | None = None


def measure(
    metric: str,
    window: Window,
    kinds: tuple[str, ...],
    scores: Mapping[str, ScoreRange],
) -> Measure:
    """Read `metric` off a window; `kinds` are the error kinds that count (none named: all)."""
    if metric == "error_rate":
        bad = sum(c for kind, c in window.errors.items() if not kinds or kind in kinds)
        return _rate(bad, window.call_count)
    if metric == "refusal_rate":
        return _rate(window.counters.get("refusal", 0), window.call_count)
    if metric.startswith("counter."):
        return _rate(window.counters.get(metric.removeprefix("counter."), 0), window.call_count)
    if metric in QUANTILES:
        bins = window.first_token if metric == "first_token_p99" else window.latency
        return _quantile(bins, QUANTILES[metric])
    if metric == "tokens_per_call":
        return _per_call(window.input_tokens + window.output_tokens, window.call_count)
    if metric == "cost_per_call":
        return _per_call(window.cost_nano_usd / 1e9, window.call_count)
    name = metric.removeprefix("score.")
    return _score(window.scores.get(name, {}), scores[name])


def _rate(bad: int, n: int) -> Measure:
    return Measure("requests", n, MIN_REQUESTS, bad / n if n else None, bad=bad)


def _per_call(amount: float, n: int) -> Measure:
    return Measure("requests", n, MIN_LATENCIES, amount / n if n else None)


def _quantile(bins: Bins, q: float) -> Measure:
    n = sum(bins.values())
    if n == 0:
        return Measure("requests", 0, MIN_LATENCIES)
    step = QUANTILE_SIGMAS * math.sqrt(q * (1 - q) / n)
    return Measure(
        "requests",
        n,
        MIN_LATENCIES,
        quantile_ms(bins, q),
        low=quantile_ms(bins, max(q - step, 1 / n)),
        high=quantile_ms(bins, min(q + step, 1.0)),
    )


def _score(bins: Bins, declared: ScoreRange) -> Measure:
    n, mean, variance = score_moments(bins)
    if n == 0:
        return Measure("labels", 0, MIN_LABELS)
    width = declared.max - declared.min
    # Labels that all agree still carry the rounding to 1 % bins: half a bin, never zero.
    spread = max(math.sqrt(variance), 0.5 / SCORE_BINS)
    return Measure(
        "labels",
        n,
        MIN_LABELS,
        declared.min + width * mean,
        se=width * spread / math.sqrt(n),
    )

"""The level of a detector in each day, as `core.levels` finds it."""

from dataclasses import dataclass

import numpy as np

from bench.twin.arrays import DAY_S, Floats, Ints
from knowngood.core.levels import HEADROOM, HEALTHY_MAX, HEALTHY_MIN, RATE_MAX, UNKNOWN_HEALTHY
from knowngood.core.stats import Z95

DEFAULT_LIMITS = ((0.05, 0.001), (0.02, 0.01), (0.005, 0.01))  # of the default policy, with levels


@dataclass(frozen=True)
class Level:
    """A detector of a share in every day: the harmful rate, the healthy one, and the level.

    `gate` is the plain threshold, the policy's own; a harmful rate that cannot be told from health
    is above it.
    """

    limit: Floats
    healthy: Floats
    alpha: float
    gate: float


def level(
    limit: float, alpha: float, calls: Ints, failures: Ints, min_requests: int = 1000
) -> Level:
    """The level of a limit on errors for these baselines, one for each day (levels.rate_level)."""
    n = np.maximum(calls, 1)
    p, z2 = failures / n, Z95 * Z95
    upper = (p + z2 / (2 * n) + Z95 * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    upper = np.minimum(1.0, upper)
    apart = upper < HEALTHY_MAX * limit
    harmful = np.minimum(RATE_MAX, np.where(apart, limit, np.maximum(limit, 2 * upper)))
    healthy = np.clip(HEADROOM * upper, HEALTHY_MIN * harmful, HEALTHY_MAX * harmful)
    known = calls >= min_requests
    return Level(
        np.where(known, harmful, limit),
        np.where(known, healthy, UNKNOWN_HEALTHY * limit),
        alpha,
        gate=limit,
    )


def default_levels(
    rng: np.random.Generator, rate: float, healthy: float, days: int
) -> tuple[Level, Level, Level]:
    """The default policy's rollback, question and first alert, after another day of traffic each.

    The version before had all `rate` calls a second of it, and failed as a healthy one does.
    """
    calls = rng.poisson(rate * DAY_S, days)
    failures = rng.binomial(calls, healthy)
    first, second, third = (level(limit, a, calls, failures) for limit, a in DEFAULT_LIMITS)
    return first, second, third


def flat_level(limit: float, healthy: float, alpha: float, days: int) -> Level:
    """The same level in every day."""
    return Level(np.full(days, limit), np.full(days, healthy), alpha, gate=limit)

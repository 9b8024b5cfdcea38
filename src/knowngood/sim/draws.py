"""Dice for many calls at once: how many fail, how long they take, what labels they get.

A second of a process is one draw, not one for each of its calls: the shapes of small samples are
drawn once for all worlds and then picked. The same dice give the same numbers on every machine.
"""

import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from statistics import NormalDist

from knowngood.core.window import BUCKETS_PER_DOUBLING, SCORE_BINS

LATENCY_SIGMA = 0.5  # of the logarithm: the p99 is 3.2 times the median
SCORE_SIGMA = 0.12  # how far labels of one version lie apart, of their whole range
QUANTILE_COUNT = 2_048
# So many different samples of one size; the larger ones differ less from each other.
FEW, SHAPES_FEW, SHAPES_MANY = 16, 128, 16
AS_GOOD_AS_NEVER = 1e-12
QUANTILES = tuple(NormalDist().inv_cdf((i + 0.5) / QUANTILE_COUNT) for i in range(QUANTILE_COUNT))


def failures(rng: random.Random, n: int, rate: float) -> int:
    """How many of `n` calls fail: binomial, at the cost of one throw."""
    if n <= 0 or rate <= 0:
        return 0
    if rate >= 1:
        return n
    if rate > 0.5:
        return n - failures(rng, n, 1 - rate)
    return bisect_left(_at_most(n, rate), rng.random())


@lru_cache(maxsize=8_192)
def _at_most(n: int, rate: float) -> tuple[float, ...]:
    """P(X <= k) for k = 0, 1, ... until it is as good as 1; multiplied, so that no machine differs.

    The rate is at most a half and `n` a few hundred: the first term does not vanish.
    """
    term = 1.0
    for _ in range(n):
        term *= 1 - rate
    chances = [term]
    for k in range(n):
        term *= (n - k) / (k + 1) * rate / (1 - rate)
        chances.append(chances[-1] + term)
        if chances[-1] > 1 - AS_GOOD_AS_NEVER:
            break
    return tuple(chances[:-1])


def latencies(rng: random.Random, n: int, median_bin: int) -> dict[int, int]:
    """The histogram of `n` log-normal latencies around the bin of their median."""
    return {median_bin + step: count for step, count in _steps(rng, n, LATENCY_STEP).items()}


def labels(rng: random.Random, n: int, mean_bin: int, graded: bool) -> dict[int, int]:
    """The histogram of `n` labels: spread about their mean, or (not graded) all or nothing."""
    if not graded:
        good = n - failures(rng, n, 1 - mean_bin / SCORE_BINS)
        return {index: count for index, count in ((0, n - good), (SCORE_BINS, good)) if count}
    found: dict[int, int] = {}
    for step, count in _steps(rng, n, SCORE_STEP).items():
        index = min(SCORE_BINS, max(0, mean_bin + step))
        found[index] = found.get(index, 0) + count
    return found


# One standard deviation, in bins.
LATENCY_STEP = LATENCY_SIGMA / math.log(2) * BUCKETS_PER_DOUBLING
SCORE_STEP = SCORE_SIGMA * SCORE_BINS


def _steps(rng: random.Random, n: int, width: float) -> Mapping[int, int]:
    """`n` steps from the middle, normally distributed."""
    if n == 0:
        return {}
    samples = _samples(n, width)
    return samples[rng.randrange(len(samples))]


@lru_cache(maxsize=1_024)
def _samples(n: int, width: float) -> tuple[Mapping[int, int], ...]:
    """Samples of one size. Together they are the distribution exactly, whatever their size is."""
    count = QUANTILE_COUNT if n == 1 else SHAPES_FEW if n <= FEW else SHAPES_MANY
    drawn = [i * QUANTILE_COUNT // (n * count) for i in range(n * count)]
    random.Random(n).shuffle(drawn)
    steps = [round(QUANTILES[i] * width) for i in drawn]
    return tuple(Counter(steps[i : i + n]) for i in range(0, len(steps), n))

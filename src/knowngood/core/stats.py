"""Evidence that may be looked at after every second: e-processes, numbers in and numbers out.

An e-process is kept as log weights, one for each alternative. While the version is as healthy as
the null hypothesis says, its evidence E exceeds 1/alpha ever on a day with a probability of at most
alpha (Ville's inequality); fresh weight flows in with time, so that a version that breaks late is
found as fast as one that breaks at its deploy (Shiryaev's start weights; Shin, Ramdas and Rinaldo,
arXiv 2203.03532). The tests after Lindon and Malek (2011.03567), the betting on bounded means after
Waudby-Smith and Ramdas (2010.09686).
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

DAY_MS = 86_400_000
# Half of the budget is spent at the start, half over the first day (or the first 2,000 labels):
# P(false alarm by day D) <= alpha (1 + D) / 2.
WEIGHT_AT_START = 0.5
WEIGHT_PER_DAY = 0.5
WEIGHT_PER_LABEL = 0.5 / 2_000
# No tick may raise a weight by more than a third of what an alarm needs, so that one burst of
# failures is never enough: an alarm takes four distinct ticks.
TICKS_TO_ALARM = 3
RELATIVE_RISKS = (2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 200.0)
BETS = (0.05, 0.1, 0.2, 0.4, 0.8)  # shares of the stake that are put on a worse mean
SAFE_SHARES = (0.5, 0.25, 0.1, 0.02)  # of the limit: how healthy a safe version may be
SAFE_EVIDENCE = 20.0
Z95 = 1.6448536269514722  # one-sided 95 % of the normal distribution
NO_MORE = 1e-12  # a term this much smaller than its sum, and all after it, do not change a verdict

LogWeights = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Factors:
    """How much one bad and one good outcome speak for each alternative, in nats."""

    bad: tuple[float, ...]
    good: tuple[float, ...]


def log_add(a: float, b: float) -> float:
    """ln(e^a + e^b) without overflow."""
    high, low = (a, b) if a >= b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def log_evidence(weights: Sequence[float]) -> float:
    """ln E: the logarithm of the summed weights."""
    high = max(weights)
    if high == -math.inf:
        return high
    return high + math.log(sum(math.exp(w - high) for w in weights))


def start(count: int, weight: float = WEIGHT_AT_START) -> LogWeights:
    """The weights of an e-process over `count` alternatives that has seen nothing."""
    return (math.log(weight / count),) * count


def observe(
    weights: LogWeights, factors: Factors, bad: float, good: float, cap: float = math.inf
) -> LogWeights:
    """The weights after one tick with so many bad and good outcomes.

    No weight rises by more than `cap` nats; falls are not capped, so the bound on false alarms
    holds (detectors.md, 3.1).
    """
    return tuple(
        weight + min(bad * a + good * b, cap)
        for weight, a, b in zip(weights, factors.bad, factors.good, strict=True)
    )


def renew(weights: LogWeights, mass: float) -> LogWeights:
    """Fresh start weight of `mass` in all, as it flows in with time or with labels."""
    if mass <= 0:
        return weights
    share = math.log(mass / len(weights))
    return tuple(log_add(weight, share) for weight in weights)


def mass_of(duration_ms: int) -> float:
    """The start weight that flows in during a stretch of time."""
    return WEIGHT_PER_DAY * duration_ms / DAY_MS


def cap_of(alpha: float) -> float:
    """How many nats one tick may add to the evidence of a test at level `alpha`."""
    return math.log(1 / alpha) / TICKS_TO_ALARM


def alternatives(limit: float) -> tuple[float, ...]:
    """The rates to be found, 0 < limit < 1: limit, 2 limit, 4 limit, ... below .9, then .99."""
    rates: list[float] = []
    rate = limit
    while rate < 0.9:
        rates.append(rate)
        rate *= 2
    last = 0.99 if limit < 0.99 else (1 + limit) / 2
    return (*rates, last)


def rate_factors(limit: float, healthy: float) -> Factors:
    """Against H0: the rate is at most `healthy`, for a limit above it (both within 0 and 1)."""
    rates = alternatives(limit)
    return Factors(
        tuple(math.log(p / healthy) for p in rates),
        tuple(math.log((1 - p) / (1 - healthy)) for p in rates),
    )


def relative_factors(share: float, margin: float) -> Factors:
    """Against H0: the candidate's rate is at most `margin` times the control's.

    `share` is the candidate's share of the calls, within 0 and 1. Given that something fails, it
    fails in the candidate with probability theta(R) = share R / (share R + 1 - share), whatever the
    common traffic and trouble do; so `bad` counts the candidate's failures and `good` the control's
    (Lindon and Malek, arXiv 2011.03567).
    """

    def theta(risk: float) -> float:
        return share * risk / (share * risk + 1 - share)

    null = theta(margin)
    return Factors(
        tuple(math.log(theta(risk) / null) for risk in RELATIVE_RISKS),
        tuple(math.log((1 - theta(risk)) / (1 - null)) for risk in RELATIVE_RISKS),
    )


def log_safe(bad: int, n: int, limit: float) -> float:
    """ln E against H0: the rate is `limit` or more. Evidence of 20 proves the rate below it.

    Depends on the sums alone: no restarts and no cap, since only proof counts and nothing is
    urgent. Without a failure it takes 70 calls for 5 %, 178 for 2 %, 358 for 1 %.
    """
    good = n - bad
    return log_evidence(
        [
            bad * math.log(p / limit)
            + good * math.log((1 - p) / (1 - limit))
            - math.log(len(SAFE_SHARES))
            for p in (share * limit for share in SAFE_SHARES)
        ]
    )


def is_safe(bad: int, n: int, limit: float) -> bool:
    """Whether `bad` of `n` calls prove the error rate below `limit`, however often it is asked.

    Evidence of 20: a version at the limit or above passes one time in twenty.
    """
    return n > bad if limit >= 1 else log_safe(bad, n, limit) >= math.log(SAFE_EVIDENCE)


def safe_calls(bad: int, limit: float) -> int:
    """The fewest calls of which `bad` may fail and that still prove the rate below `limit`.

    For 5 %: 70 without a failure, 124 with one, 168 with two.
    """
    if limit >= 1:
        return bad + 1
    # With so many the first share of the limit alone is proof; each more clean call proves more.
    share = SAFE_SHARES[0]
    missing = math.log(SAFE_EVIDENCE * len(SAFE_SHARES)) - bad * math.log(share)
    most = bad + math.ceil(missing / math.log((1 - share * limit) / (1 - limit)))
    return bisect_left(range(most), True, lo=bad, key=lambda n: is_safe(bad, n, limit))


def bet(
    weights: LogWeights,
    losses: Mapping[float, float],
    expected: float,
    shares: Sequence[float] = BETS,
) -> LogWeights:
    """The weights after labels with these losses (0 best, 1 worst; loss -> how many).

    Against H0: the mean loss is at most `expected`, strictly between 0 and 1. Each alternative
    stakes one of the `shares` of its weight on every label: factor 1 + f (loss / expected - 1).
    """
    return tuple(
        weight + sum(n * math.log1p(f * (loss / expected - 1)) for loss, n in losses.items())
        for weight, f in zip(weights, shares, strict=True)
    )


def divergence(p: float, q: float) -> float:
    """The Kullback-Leibler divergence of two error rates in nats: what one call tells of them."""
    told = 0.0
    if p > 0:
        told += p * math.log(p / q)
    if p < 1:
        told += (1 - p) * math.log((1 - p) / (1 - q))
    return told


def growth(rate: float, factors: Factors) -> float:
    """What one call adds to the evidence on average at a true rate, in nats.

    That of the alternative for which it speaks most. Not above 0: this rate is never found, be it
    above the healthy one or not.
    """
    return max(
        rate * bad + (1 - rate) * good for bad, good in zip(factors.bad, factors.good, strict=True)
    )


def calls_to_alarm(rate: float, healthy: float, alpha: float, count: int) -> float:
    """About how many calls at a true error rate make an alarm; infinity if they never would.

    (ln(1/alpha) + ln 2K) / KL(rate || healthy), detectors.md section 1.
    """
    if rate <= healthy:
        return math.inf
    return (math.log(1 / alpha) + math.log(2 * count)) / divergence(rate, healthy)


def upper_rate(bad: int, n: int) -> float:
    """The upper 95 % limit of a rate (Wilson's score interval, one-sided); 1 for no data."""
    if n == 0:
        return 1.0
    p = bad / n
    centre = p + Z95 * Z95 / (2 * n)
    half = Z95 * math.sqrt(p * (1 - p) / n + Z95 * Z95 / (4 * n * n))
    return min(1.0, (centre + half) / (1 + Z95 * Z95 / n))


def mean_bound(n: int, mean: float, variance: float, side: int) -> float:
    """The one-sided 95 % limit of a mean by the normal distribution: side 1 upper, -1 lower."""
    return mean + side * Z95 * math.sqrt(variance / n)


def at_most(bad: int, n: int, rate: float) -> float:
    """P(X <= bad) for X binomial of n and a rate within 0 and 1."""
    if bad >= n:
        return 1.0
    if bad < 0:
        return 0.0
    log_odds = math.log(rate) - math.log1p(-rate)
    log_term = (
        math.lgamma(n + 1)
        - math.lgamma(bad + 1)
        - math.lgamma(n - bad + 1)
        + bad * math.log(rate)
        + (n - bad) * math.log1p(-rate)
    )
    tail, k, mean = 0.0, bad, n * rate
    # Below the mean each term is smaller than the one above it: the far ones add nothing.
    while k >= 0 and ((term := math.exp(log_term)) > tail * NO_MORE or k > mean):
        tail += term
        log_term += math.log(k or 1) - math.log(n - k + 1) - log_odds
        k -= 1
    return min(1.0, tail)


def upper_rank(n: int, q: float) -> int | None:
    """The rank of the order statistic that is above the true q-quantile in 99 of 100 samples.

    binom.ppf(.99, n, q) + 1 (detectors.md, 3.3); None when n is too small for one.
    """
    if n < 1 or n * math.log(q) > math.log(0.01):  # q^n: the largest is below the quantile
        return None
    spread = math.sqrt(n * q * (1 - q))
    rank = min(n - 1, max(0, math.floor(n * q + 2.3263 * spread) - 2))
    while rank > 0 and at_most(rank, n, q) >= 0.99:
        rank -= 1
    while at_most(rank, n, q) < 0.99:
        rank += 1
    return rank + 1

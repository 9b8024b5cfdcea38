"""Comparing two arms: is the traffic split as meant, do the means differ, how many does it take.

Numbers in, numbers out. Every test but the nightly chi-squared report and those named `one_look` is
anytime-valid: it may be looked at after each observation, and still cries wolf with probability
alpha at most over all the looks together. The e-processes of the detectors are in core/stats.py,
the exact comparison of rare things in core/rare.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from knowngood.core.basics import Sample as Sample

Sides = Literal[1, 2]

# How firmly the alternative's prior sits around the intended shares. 100 sees 1000 : 1200 instead
# of 1 : 1 at p = .0008; the 10,000 that others default to is at .21 there.
CONCENTRATION = 100.0
# Below this the means of an arm are not normal enough for an asymptotic confidence sequence.
MIN_PER_ARM = 50
# The delta method calls a candidate worse too often while the control's mean is noisy: up to 15 %
# instead of 5 % of simulated experiments, watched throughout, whose control had just passed
# MIN_PER_ARM. From 15 standard errors on it was 5 % at most, for all the shapes tried.
MIN_CONTROL_SIGMAS = 15.0
# What looking at any time costs: so many times the fixed sample size, at alpha 5 % and power 80 %
# with a sequence tuned to the last look, ((width + z_power) / (z_alpha + z_power))^2.
ANYTIME_TWO_SIDED_FACTOR = 1.91
ANYTIME_ONE_SIDED_FACTOR = 2.12


def sample_ratio_log_e(
    counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION
) -> float:
    """The natural log of the evidence, an e-value, that units are not split as intended.

    `counts` are the units (users, sessions; not requests) assigned to each arm since the beginning,
    `shares` the intended split in the same order, on any scale (0.95 and 0.05, or basis points).
    Any real number: above 0 speaks against the split. It depends on the totals alone, not on their
    order. Arms without a share are left out, with their units. While the shares change, count anew
    from each change and add the logs up: evidence from one stretch after another multiplies.

    The Bayes factor of Dirichlet(concentration * shares) over the shares themselves [Lindon and
    Malek, arXiv 2011.03567]. Ville: P(ever log e >= ln(1 / alpha)) <= alpha if the split is right.

    Raises ValueError for lists of different length, negative numbers, shares that are all zero, or
    a concentration that is not positive.
    """
    if not concentration > 0:
        raise ValueError(f"the concentration has to be positive, got {concentration}")
    arms = _meant(counts, shares)
    log_e = math.lgamma(concentration) - math.lgamma(concentration + sum(n for n, _ in arms))
    for n, share in arms:
        prior = concentration * share
        log_e += math.lgamma(prior + n) - math.lgamma(prior) - n * math.log(share)
    return log_e


def sample_ratio_p(
    counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION
) -> float:
    """The p-value of one set of counts, min(1, 1/E), in [0, 1]; see `sample_ratio_log_e`.

    It may be looked at after each unit. A caller who wants a p-value that never takes back what it
    has shown keeps the smallest so far, which is still valid:

        p_so_far = min(p_so_far, sample_ratio_p(counts, shares))

    Raises ValueError like `sample_ratio_log_e`.
    """
    return math.exp(-max(0.0, sample_ratio_log_e(counts, shares, concentration)))


def sample_ratio_chi2_p(counts: Sequence[int], shares: Sequence[float]) -> float:
    """The p-value of Pearson's chi-squared test of the same, in [0, 1]: for one look, as a report.

    Looked at again and again it cries wolf. Arms without a share are left out, with their units;
    without two arms, or without units, it is 1. Raises ValueError like `sample_ratio_log_e`.
    """
    arms = _meant(counts, shares)
    total = sum(n for n, _ in arms)
    if len(arms) < 2 or total == 0:
        return 1.0
    statistic = sum((n - total * share) ** 2 / (total * share) for n, share in arms)
    return chi2_tail(statistic, len(arms) - 1)


def _meant(counts: Sequence[int], shares: Sequence[float]) -> list[tuple[int, float]]:
    """(count, share) of the arms that should get anything, the shares made to add up to one."""
    if len(counts) != len(shares):
        raise ValueError(f"{len(counts)} counts for {len(shares)} shares")
    whole = math.fsum(shares)
    if min(counts, default=0) < 0 or min(shares, default=0) < 0 or not 0 < whole < math.inf:
        raise ValueError(
            f"counts and shares are at least 0, and a share is more: {counts}, {shares}"
        )
    return [(n, share / whole) for n, share in zip(counts, shares, strict=True) if share > 0]


def chi2_tail(x: float, degrees: int) -> float:
    """P(X >= x) of a chi-squared variable with `degrees` >= 1 degrees of freedom, in [0, 1].

    The finite sums for whole degrees of freedom [Abramowitz and Stegun, 26.4.4 and 26.4.5]; each
    term is positive, so nothing cancels. Raises ValueError for degrees below 1, or for an x that is
    negative or infinite.
    """
    if degrees < 1 or not 0 <= x < math.inf:
        raise ValueError(f"no chi-squared tail at {x} with {degrees} degrees of freedom")
    half = x / 2
    if degrees % 2:
        tail, power = math.erfc(math.sqrt(half)), 0.5
    else:
        tail, power = 0.0, 0.0
    term = math.exp(-half) * half**power / math.gamma(power + 1)
    while power < degrees / 2:
        tail += term
        power += 1
        term *= half / power
    return min(1.0, tail)


def rate_sample(hit_count: int, n: int) -> Sample:
    """The sample of a rate: `hit_count` of `n`; its mean is 0 without any.

    Not for rates near 0 or 1 (up to 5 %, or fewer than 30 of the rarer outcome): their means are
    not normal, and the relative e-process of core/stats.py is exact. Raises ValueError unless
    0 <= hit_count <= n.
    """
    if not 0 <= hit_count <= n:
        raise ValueError(f"{hit_count} of {n} is no rate")
    mean = hit_count / n if n else 0.0
    return Sample(n, mean, mean * (1 - mean))


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate minus control: the estimate, its standard error (> 0), observations of both."""

    point: float
    se: float
    n: int


def absolute_difference(
    control: Sample, candidate: Sample, ratio: float = 1.0
) -> Difference | None:
    """candidate - ratio * control, in the unit of the means.

    A `ratio` other than 1 judges a relative margin without dividing by a noisy mean: with 0.98,
    above zero means that the candidate keeps 98 % of the control's mean.

    None when there is nothing to judge by yet: fewer than MIN_PER_ARM observations in an arm, or
    no spread at all.
    """
    return _difference(control, candidate, candidate.mean - ratio * control.mean, ratio, 1.0)


def relative_difference(control: Sample, candidate: Sample) -> Difference | None:
    """candidate / control - 1: -0.02 is a loss of 2 %.

    None like `absolute_difference`, and unless the control's mean is MIN_CONTROL_SIGMAS standard
    errors above zero. The standard error is the delta method's: var(candidate) / c^2 +
    var(control) * candidate^2 / c^4 under the root, with c the control's mean and the variances
    those of the means.
    """
    if control.n < MIN_PER_ARM or control.mean <= MIN_CONTROL_SIGMAS * _standard_error(control):
        return None
    ratio = candidate.mean / control.mean
    return _difference(control, candidate, ratio - 1, ratio / control.mean, 1 / control.mean)


def _difference(
    control: Sample, candidate: Sample, point: float, control_slope: float, candidate_slope: float
) -> Difference | None:
    """The difference whose derivatives by the two means are the slopes, up to their sign."""
    if min(control.n, candidate.n) < MIN_PER_ARM:
        return None
    se = math.hypot(
        control_slope * _standard_error(control), candidate_slope * _standard_error(candidate)
    )
    return Difference(point, se, control.n + candidate.n) if se > 0 else None


def _standard_error(sample: Sample) -> float:
    return math.sqrt(sample.variance / sample.n)


def interval(found: Difference, tuning_n: float, alpha: float = 0.05) -> tuple[float, float]:
    """(low, high): over all looks together it misses the true difference with P <= alpha.

    `tuning_n` > 0 is the number of observations in both arms at which it is to be tightest, chosen
    beforehand: the number at which somebody has to decide. 0 < alpha < 1. The guarantee is
    asymptotic, and for a constant split: after a change of the shares begin a new comparison.

    Asymptotic confidence sequence [Waudby-Smith et al., arXiv 2103.06476, eq. 9 and its tuning for
    a sample size], as GrowthBook's sequential engine uses it. Raises ValueError for an alpha or a
    tuning out of range.
    """
    r = _mixing(found.n, tuning_n, alpha)
    half = found.se * math.sqrt(2 * (r + 1) / r * math.log(math.sqrt(r + 1) / alpha))
    return found.point - half, found.point + half


def lower_bound(found: Difference, tuning_n: float, alpha: float = 0.05) -> float:
    """What the true difference is above: over all looks together this is wrong with P <= alpha.

    Like `interval`, of which it is the one-sided form [the same paper, appendix on one-sided
    sequences]; 0 < alpha < 0.5. Non-inferior by a margin: `lower_bound(...) > -margin`, if more is
    better. Raises ValueError for an alpha or a tuning out of range.
    """
    r = _mixing(found.n, tuning_n, 2 * alpha)
    return found.point - found.se * math.sqrt(
        2 * (r + 1) / r * math.log1p(math.sqrt(r + 1) / (2 * alpha))
    )


def upper_bound(found: Difference, tuning_n: float, alpha: float = 0.05) -> float:
    """What the true difference is below; the mirror of `lower_bound`."""
    return -lower_bound(replace(found, point=-found.point), tuning_n, alpha)


def p_differs(found: Difference, tuning_n: float, alpha: float = 0.05, null: float = 0.0) -> float:
    """The anytime-valid p-value of "the true difference is `null`", in [0, 1].

    Below alpha exactly when `interval` of that alpha leaves `null` out; for other levels too it is
    a valid p-value, only less sharp. The smallest so far is valid as well. min(1, 1/E) with the
    normal mixture E = exp(r z^2 / (2 (r + 1))) / sqrt(r + 1) behind `interval`. Raises ValueError
    for an alpha or a tuning out of range.
    """
    r = _mixing(found.n, tuning_n, alpha)
    z = (found.point - null) / found.se
    return min(1.0, math.sqrt(r + 1) * math.exp(-r * z * z / (2 * (r + 1))))


def p_above(found: Difference, tuning_n: float, alpha: float = 0.05, null: float = 0.0) -> float:
    """The anytime-valid p-value of "the true difference is `null` or less", in [0, 1].

    Below alpha exactly when `lower_bound` of that alpha is above `null`: it is that bound, solved
    for alpha. Small means above; for non-inferiority, if more is better, `null` is -margin. Raises
    ValueError for an alpha or a tuning out of range.
    """
    r = _mixing(found.n, tuning_n, 2 * alpha)
    z = (found.point - null) / found.se
    exponent = r * z * z / (2 * (r + 1))
    if z <= 0 or exponent == 0:
        return 1.0
    # 1 / (e^x - 1), written so that a large x does not overflow.
    return min(1.0, math.sqrt(r + 1) / 2 * math.exp(-exponent) / -math.expm1(-exponent))


def p_below(found: Difference, tuning_n: float, alpha: float = 0.05, null: float = 0.0) -> float:
    """The anytime-valid p-value of "the true difference is `null` or more"; mirrors `p_above`."""
    return p_above(replace(found, point=-found.point), tuning_n, alpha, -null)


def one_look_p_above(found: Difference, null: float = 0.0) -> float:
    """The p-value of "the true difference is `null` or less" for one look, chosen beforehand.

    The normal test. Looked at again and again it cries wolf; `p_above` does not.
    """
    return math.erfc((found.point - null) / found.se / math.sqrt(2)) / 2


def one_look_interval(found: Difference, tail: float) -> tuple[float, float]:
    """(low, high) by the normal distribution, for one look: each is wrong with P = `tail`.

    Raises ValueError for a tail outside (0, 1).
    """
    half = upper_z(tail) * found.se
    return found.point - half, found.point + half


def _mixing(n: int, tuning_n: float, alpha: float) -> float:
    """n rho^2, with the rho that makes the two-sided sequence tightest at `tuning_n`."""
    if not (0 < alpha < 1 and 0 < tuning_n < math.inf):
        raise ValueError(f"no sequence of level {alpha} that is tightest at {tuning_n}")
    surprise = -2 * math.log(alpha)
    return n / tuning_n * (surprise + math.log(surprise + 1))


def needed_for_rates(
    control: float, candidate: float, alpha: float = 0.05, power: float = 0.8, sides: Sides = 2
) -> int:
    """Observations per arm at which one look tells these two rates apart with P >= `power`.

    The rates are inside (0, 1) and differ; 0 < alpha < power < 1. Standard errors are pooled under
    the null and unpooled under the alternative [Fleiss, Levin and Paik, Statistical Methods for
    Rates and Proportions, chapter 4]: (z_a sqrt(2 p q) + z_b sqrt(p1 q1 + p2 q2))^2 / (p1 - p2)^2,
    with p their mean. For looking at any time, times ANYTIME_TWO_SIDED_FACTOR or
    ANYTIME_ONE_SIDED_FACTOR. Raises ValueError for an argument out of range.
    """
    if not (0 < control < 1 and 0 < candidate < 1 and control != candidate):
        raise ValueError(f"no sample size for the rates {control} and {candidate}")
    mean = (control + candidate) / 2
    pooled = math.sqrt(2 * mean * (1 - mean))
    apart = math.sqrt(control * (1 - control) + candidate * (1 - candidate))
    z_alpha, z_power = _reach(alpha, power, sides)
    return math.ceil(((z_alpha * pooled + z_power * apart) / (control - candidate)) ** 2)


def needed_for_means(
    variance: float, difference: float, alpha: float = 0.05, power: float = 0.8, sides: Sides = 2
) -> int:
    """Observations per arm at which one look sees a `difference` of means with P >= `power`.

    `variance` > 0 is that of one observation, the same in both arms; the difference, not 0, is in
    the unit of the means; 0 < alpha < power < 1. 2 (z_a + z_b)^2 variance / difference^2, the
    normal test; the factors for any time as for rates. Raises ValueError for an argument out of
    range.
    """
    if not variance > 0 or difference == 0:
        raise ValueError(f"no sample size for {difference} at a variance of {variance}")
    return math.ceil(2 * variance * (sum(_reach(alpha, power, sides)) / difference) ** 2)


def needed_for_non_inferior_rate(
    rate: float, margin: float, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Observations per arm at which one look shows a rate to be at most `margin` worse.

    One-sided, for arms that are in truth equal: `rate` inside (0, 1), `margin` > 0 as a difference
    of rates (0.005 is half a percentage point), 0 < alpha < power < 1. (z_a + z_b)^2 2 p (1 - p) /
    margin^2; for looking at any time, times ANYTIME_ONE_SIDED_FACTOR. Raises ValueError for an
    argument out of range.
    """
    if not 0 < rate < 1 or not margin > 0:
        raise ValueError(f"no sample size for a margin of {margin} on a rate of {rate}")
    return needed_for_means(rate * (1 - rate), margin, alpha, power, sides=1)


def anytime_factor(alpha: float = 0.05, power: float = 0.8, sides: Sides = 2) -> float:
    """What looking at any time costs: so many times the observations of one look.

    For a sequence tuned to its last look; ((width + z_power) / (z_alpha + z_power))^2, of which
    ANYTIME_TWO_SIDED_FACTOR and ANYTIME_ONE_SIDED_FACTOR are the values at 5 % and 80 %. Raises
    ValueError for an argument out of range.
    """
    z_alpha, z_power = _reach(alpha, power, sides)
    unit = Difference(0.0, 1.0, 1)
    width = interval(unit, 1, alpha)[1] if sides == 2 else upper_bound(unit, 1, alpha)
    return ((width + z_power) / (z_alpha + z_power)) ** 2


def _reach(alpha: float, power: float, sides: Sides) -> tuple[float, float]:
    """How many standard errors away the null has to be for its refusal, and for the power."""
    if not 0 < alpha < power < 1:
        raise ValueError(f"no sample size for level {alpha} and power {power}")
    return upper_z(alpha / sides), upper_z(1 - power)


def upper_z(tail: float) -> float:
    """The z that a standard normal variable exceeds with probability `tail`, inside (0, 1).

    Relative error below 1e-12: the approximation 26.2.23 of Abramowitz and Stegun (off by 4.5e-4 at
    most), and two of Halley's steps on the complementary error function, each of which cubes the
    error. Raises ValueError outside (0, 1).
    """
    if not 0 < tail < 1:
        raise ValueError(f"{tail} is not a probability between 0 and 1")
    if tail > 0.5:
        return -upper_z(1 - tail)
    t = math.sqrt(-2 * math.log(tail))
    z = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (
        1 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    )
    for _ in range(2):
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        newton = (math.erfc(z / math.sqrt(2)) / 2 - tail) / density
        z += newton / (1 - newton * z / 2)
    return z

"""Two arms compared: published figures, scipy as the oracle, and what looking often costs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats  # type: ignore[import-untyped]  # it ships no types

from knowngood.core import compare
from knowngood.core.compare import (
    ANYTIME_ONE_SIDED_FACTOR,
    ANYTIME_TWO_SIDED_FACTOR,
    MIN_CONTROL_SIGMAS,
    MIN_PER_ARM,
    Difference,
    Sample,
    absolute_difference,
    anytime_factor,
    chi2_tail,
    interval,
    lower_bound,
    needed_for_means,
    needed_for_non_inferior_rate,
    needed_for_rates,
    one_look_interval,
    one_look_p_above,
    p_above,
    p_below,
    p_differs,
    rate_sample,
    relative_difference,
    sample_ratio_chi2_p,
    sample_ratio_log_e,
    sample_ratio_p,
    upper_bound,
    upper_z,
)

HALF = (0.5, 0.5)
TUNING_N = 5_000

shares_of_counts = st.integers(2, 5).flatmap(
    lambda arms: st.tuples(
        st.lists(st.integers(0, 5_000), min_size=arms, max_size=arms),
        st.lists(st.integers(1, 10_000), min_size=arms, max_size=arms),
    )
)
samples = st.builds(
    Sample,
    st.integers(MIN_PER_ARM, 100_000),
    st.floats(-100, 100),
    st.floats(0.01, 100),
)
differences = st.builds(
    Difference, st.floats(-10, 10), st.floats(0.01, 10), st.integers(2 * MIN_PER_ARM, 100_000)
)
tunings = st.floats(10, 100_000)
levels = st.floats(0.0001, 0.4)


def seen(control: Sample, candidate: Sample) -> Difference:
    found = absolute_difference(control, candidate)
    assert found
    return found


@pytest.mark.parametrize(
    ("counts", "shares", "concentration", "p"),
    [
        ((40, 129, 233), (0.1, 0.4, 0.5), 100, 0.04845591105969517),
        ((500, 600), HALF, 100, 0.0533840124),
        ((1000, 1200), HALF, 100, 0.0007925128),
        ((50, 10), (0.99, 0.01), 100, 1.9412518e-05),
        ((500, 600), HALF, 10_000, 0.6714507265),
        ((1000, 1200), HALF, 10_000, 0.2143549146),
        ((50, 450), HALF, 10_000, 0.0005018439),
        ((500, 500), HALF, 100, 1.0),
        ((0, 0), HALF, 100, 1.0),
        ((1000, 1200, 900), (0.5, 0.5, 0), 100, 0.0007925128),
        ((1000,), (1,), 100, 1.0),
    ],
)
def test_sample_ratio_gives_the_published_figures(counts, shares, concentration, p):
    """Lindon and Malek's test, its prior Dirichlet(concentration * shares), on known counts."""
    assert sample_ratio_p(counts, shares, concentration) == pytest.approx(p, rel=2e-7)


def test_sample_ratio_walks_the_published_path():
    """Unit after unit, the example of the literature passes 5 % at its 402nd unit, at its p."""
    draw = np.random.RandomState(1)
    counts, p_so_far = np.zeros(3, int), 1.0
    while p_so_far > 0.05:
        counts += draw.multinomial(1, [0.1, 0.3, 0.6])
        p_so_far = min(p_so_far, sample_ratio_p(counts.tolist(), (0.1, 0.4, 0.5)))
    assert counts.tolist() == [40, 129, 233]
    assert p_so_far == pytest.approx(0.04845591105969517, rel=1e-11)


@given(shares_of_counts, st.floats(1, 10_000))
def test_sample_ratio_evidence_is_a_bayes_factor(drawn, concentration):
    """log e is the Dirichlet-multinomial's log likelihood less the multinomial's."""
    counts, weights = drawn
    shares = np.array(weights) / sum(weights)
    expected = stats.dirichlet_multinomial.logpmf(
        counts, concentration * shares, sum(counts)
    ) - stats.multinomial.logpmf(counts, sum(counts), shares)
    assert sample_ratio_log_e(counts, weights, concentration) == pytest.approx(
        expected, rel=1e-9, abs=1e-6
    )


@pytest.mark.parametrize("share", [0.5, 0.05, 0.9])
def test_sample_ratio_evidence_is_one_on_average(share):
    """Over all outcomes of a right split the e-value's mean is exactly 1."""
    n = 60
    mean = sum(
        stats.binom.pmf(k, n, share) * math.exp(sample_ratio_log_e((k, n - k), (share, 1 - share)))
        for k in range(n + 1)
    )
    assert mean == pytest.approx(1, rel=1e-9)


@given(shares_of_counts, st.randoms())
def test_sample_ratio_does_not_care_for_names(drawn, shuffle):
    """Both tests give a p-value in [0, 1], the same for any order of the arms."""
    pairs = list(zip(*drawn, strict=True))
    mixed = shuffle.sample(pairs, len(pairs))
    for test in (sample_ratio_p, sample_ratio_chi2_p):
        p = test(*zip(*pairs, strict=True))
        assert 0 <= p <= 1
        assert test(*zip(*mixed, strict=True)) == pytest.approx(p, rel=1e-6, abs=1e-300)


def test_sample_ratio_may_be_looked_at_always():
    """Ville: of 1,000 right splits watched 200 times at most 5 % are ever called wrong at 5 %."""
    steps = np.random.default_rng(11).binomial(20, 0.5, size=(1000, 200)).cumsum(axis=1)
    ever, ever_chi2 = 0, 0
    for path in steps.tolist():
        looks = [(k, 20 * (i + 1) - k) for i, k in enumerate(path)]
        ever += min(sample_ratio_p(look, HALF) for look in looks) <= 0.05
        ever_chi2 += min(sample_ratio_chi2_p(look, HALF) for look in looks) <= 0.05
    assert ever <= 50
    assert ever_chi2 > 200  # which is why the nightly report is one look


@pytest.mark.parametrize(
    ("counts", "shares", "p"),
    [
        ((1000, 1200), HALF, 0.000020079),
        ((310, 98), (0.75, 0.25), 0.647434186),
        ((500, 500, 600), (0.34, 0.33, 0.33), 0.000592638),
        ((500, 500), HALF, 1),
        ((1000, 1200, 900), (0.5, 0.5, 0), 0.000020079),
        ((9_600, 400), (9_500, 500), 4.46839e-06),
        ((0, 0), HALF, 1),
        ((7,), (1,), 1),
    ],
)
def test_chi2_sample_ratio_gives_the_published_figures(counts, shares, p):
    """Pearson's test; shares may be on any scale, and arms that should get nothing do not count."""
    assert sample_ratio_chi2_p(counts, shares) == pytest.approx(p, rel=3e-5)


@given(shares_of_counts.filter(lambda drawn: sum(drawn[0]) > 0))
def test_chi2_sample_ratio_is_pearsons(drawn):
    """The same p-value as scipy's chisquare."""
    counts, weights = drawn
    expected = np.array(weights) / sum(weights) * sum(counts)
    oracle = stats.chisquare(counts, expected).pvalue
    assert sample_ratio_chi2_p(counts, weights) == pytest.approx(oracle, rel=1e-9, abs=1e-290)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 10, 31, 40])
def test_chi2_tail_is_scipys(degrees):
    """The closed forms agree with scipy to 1e-12, over the whole range of doubles."""
    for x in [0.0, *np.geomspace(1e-9, 1_200, 300).tolist()]:
        assert chi2_tail(x, degrees) == pytest.approx(stats.chi2.sf(x, degrees), rel=1e-12)


@given(st.floats(1e-300, 1 - 1e-9))
def test_normal_quantile_is_scipys(tail):
    """upper_z is scipy's, from the far tail to the other side."""
    assert upper_z(tail) == pytest.approx(stats.norm.isf(tail), rel=1e-12, abs=1e-15)


def test_mean_sequence_gives_the_published_figures():
    """GrowthBook's example of two proportions: relative point, interval and standard error."""
    found = relative_difference(rate_sample(1396, 3000), rate_sample(2422, 3461))
    assert found
    assert found.point == pytest.approx(0.50386, abs=5e-6)
    assert found.se == pytest.approx(0.03386, abs=5e-6)
    assert interval(found, 5_000) == pytest.approx((0.40098, 0.60675), abs=5e-6)


def test_mean_sequence_is_tightest_where_it_is_tuned():
    """6,461 observations: a sequence tuned to 10 is wider than one for 10,000 or for 6,461."""
    found = relative_difference(rate_sample(1396, 3000), rate_sample(2422, 3461))
    assert found
    widths = {n: np.diff(interval(found, n))[0] for n in (10, 10_000, 6_461)}
    assert widths[10] > widths[10_000] > widths[6_461]


@given(differences, tunings, levels)
def test_p_value_and_interval_say_the_same(found, tuning_n, alpha):
    """At the level itself: p < alpha exactly when the interval, or the bound, leaves zero out."""
    low, high = interval(found, tuning_n, alpha)
    assert (p_differs(found, tuning_n, alpha) < alpha) == (low > 0 or high < 0)
    assert (p_above(found, tuning_n, alpha) < alpha) == (lower_bound(found, tuning_n, alpha) > 0)
    assert p_differs(found, tuning_n, alpha, null=low) == pytest.approx(alpha)
    bound = lower_bound(found, tuning_n, alpha)
    assert p_above(found, tuning_n, alpha, null=bound) == pytest.approx(alpha)


@given(differences, tunings, levels)
def test_one_side_is_half_of_two(found, tuning_n, alpha):
    """One-sided bounds at alpha are two-sided ones at 2 alpha, a little on the safe side."""
    low, high = interval(found, tuning_n, 2 * alpha)
    assert lower_bound(found, tuning_n, alpha) <= low
    assert upper_bound(found, tuning_n, alpha) >= high


@given(differences, tunings)
def test_one_sided_p_value_is_just_above_the_exact_one(found, tuning_n):
    """The half-normal mixture has an e-value without closed form: ours is never above it, and
    where it matters it is at most a tenth below."""
    surprise = -2 * math.log(0.1)
    r = found.n / tuning_n * (surprise + math.log(surprise + 1))
    z = found.point / found.se
    t = z * math.sqrt(r / (r + 1))
    log_e = t * t / 2 + math.log(2) + stats.norm.logcdf(t) - math.log(r + 1) / 2
    p = p_above(found, tuning_n)
    assert p >= math.exp(-log_e) * (1 - 1e-9) or p == 1
    if 1e-300 < p <= 0.05:
        assert math.log(p) <= -log_e + 0.1


@given(samples, samples, tunings, levels, st.floats(-1, 1))
def test_swapping_the_arms_mirrors_the_answer(one, other, tuning_n, alpha, null):
    """Candidate and control exchanged: the same p-values, and everything else with its sign."""
    there, back = seen(one, other), seen(other, one)
    low, high = interval(there, tuning_n, alpha)
    assert interval(back, tuning_n, alpha) == pytest.approx((-high, -low))
    assert upper_bound(back, tuning_n, alpha) == pytest.approx(-lower_bound(there, tuning_n, alpha))
    two = p_differs(there, tuning_n, alpha, null)
    assert 0 <= two <= 1
    assert p_differs(back, tuning_n, alpha, -null) == pytest.approx(two, abs=1e-300)
    above = p_above(there, tuning_n, alpha, null)
    assert 0 <= above <= 1
    assert p_below(back, tuning_n, alpha, -null) == pytest.approx(above, abs=1e-300)
    assert max(above, p_below(there, tuning_n, alpha, null)) == 1


@given(st.integers(MIN_PER_ARM, 50_000), st.floats(1.1, 20), tunings, levels)
def test_more_data_is_a_narrower_interval(n, times, tuning_n, alpha):
    """The same means and variances from more observations: narrower on every side."""
    few, many = Sample(n, 0.5, 0.1), Sample(math.ceil(n * times), 0.5, 0.1)
    little, much = seen(few, few), seen(many, many)
    assert interval(much, tuning_n, alpha)[1] < interval(little, tuning_n, alpha)[1]
    assert lower_bound(much, tuning_n, alpha) > lower_bound(little, tuning_n, alpha)


@pytest.mark.parametrize(
    ("control", "candidate", "absolute", "relative"),
    [
        pytest.param(Sample(49, 0.8, 0.01), Sample(500, 0.8, 0.01), False, False, id="49 of one"),
        pytest.param(Sample(500, 0.8, 0.01), Sample(49, 0.8, 0.01), False, False, id="of other"),
        pytest.param(rate_sample(0, 0), rate_sample(0, 0), False, False, id="nothing"),
        pytest.param(Sample(50, 0.8, 0.01), Sample(50, 0.8, 0.01), True, True, id="50 of each"),
        pytest.param(rate_sample(60, 60), rate_sample(60, 60), False, False, id="no spread"),
        pytest.param(Sample(500, 0.09, 0.0625), Sample(500, 0.5, 0.01), True, False, id="noisy"),
        pytest.param(Sample(500, -0.8, 0.01), Sample(500, 0.5, 0.01), True, False, id="negative"),
    ],
)
def test_too_little_is_no_difference(control, candidate, absolute, relative):
    """Below 50 per arm, without spread, or relative to a noisy control: None, never a number."""
    assert (absolute_difference(control, candidate) is not None) == absolute
    assert (relative_difference(control, candidate) is not None) == relative


@given(
    st.floats(0.5, 2), st.floats(0.1, 2), st.integers(2_000, 9_000), st.floats(0.001, 0.01), tunings
)
def test_relative_difference_has_no_unit(mean, ratio, n, variance, tuning_n):
    """Metres or millimetres, the relative difference is the same; so is the margin as a ratio."""
    control, candidate = Sample(n, mean, variance), Sample(n, mean * ratio, variance)
    assert mean > MIN_CONTROL_SIGMAS * math.sqrt(variance / n)
    small = relative_difference(control, candidate)
    large = relative_difference(
        Sample(n, 1e3 * mean, 1e6 * variance), Sample(n, 1e3 * mean * ratio, 1e6 * variance)
    )
    assert small and large
    assert (small.point, small.se) == pytest.approx((large.point, large.se), abs=1e-12)
    kept = absolute_difference(control, candidate, ratio)
    assert kept and kept.point == pytest.approx(0, abs=1e-12)
    assert p_above(kept, tuning_n) > 0.999


def test_standard_errors_are_those_of_the_formulas():
    """Independent arms: variances of the means add up, each with its slope squared."""
    control, candidate = Sample(400, 2.0, 1.44), Sample(900, 3.0, 2.25)
    c, v = 1.44 / 400, 2.25 / 900
    kept = absolute_difference(control, candidate, 0.98)
    relative = relative_difference(control, candidate)
    assert kept and relative
    assert seen(control, candidate).se ** 2 == pytest.approx(c + v)
    assert kept.se**2 == pytest.approx(0.98**2 * c + v)
    assert relative.se**2 == pytest.approx(v / 2.0**2 + c * 3.0**2 / 2.0**4)
    assert {seen(control, candidate).n, kept.n, relative.n} == {1300}


def moments(scores: np.ndarray, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each row's first `every`, 2 `every`, … scores."""
    n = np.arange(every, scores.shape[1] + 1, every)
    mean = scores.cumsum(axis=1)[:, every - 1 :: every] / n
    return mean, (scores**2).cumsum(axis=1)[:, every - 1 :: every] / n - mean**2


def test_a_noisy_control_makes_nobody_worse(monkeypatch):
    """A judge whose scores are 0.09 on average and 0.25 apart, equal arms: one in 20 is called
    worse at most; without the bar for the control it would be one in 12 and more."""
    a, b = 0.09 * 0.3104, 0.91 * 0.3104  # the beta distribution of that mean and spread
    scores = np.random.default_rng(9).beta(a, b, size=(2, 400, 3000))
    (m1, v1), (m2, v2) = (moments(arm, every=25) for arm in scores)
    watched = np.stack([m1, v1, m2, v2], axis=2).tolist()

    def called_worse(path: list[list[float]]) -> bool:
        looks = (
            relative_difference(Sample(n, m1, v1), Sample(n, m2, v2))
            for n, (m1, v1, m2, v2) in zip(range(25, 3001, 25), path, strict=True)
        )
        return any(look is not None and p_below(look, 200) < 0.05 for look in looks)

    assert sum(map(called_worse, watched)) <= 400 / 20
    monkeypatch.setattr(compare, "MIN_CONTROL_SIGMAS", 0.0)
    assert sum(map(called_worse, watched)) >= 400 / 12


def ever_significant(rate: float, lift: float, seed: int) -> dict[str, float]:
    """The share of 1,500 experiments that any of 20 looks, each 100 per arm, calls different."""
    draw = np.random.default_rng(seed)
    control = draw.binomial(100, rate, size=(1500, 20)).cumsum(axis=1)
    candidate = draw.binomial(100, rate + lift, size=(1500, 20)).cumsum(axis=1)
    n = 100 * np.arange(1, 21)
    p1, p2 = control / n, candidate / n
    z = (p2 - p1) / np.sqrt((p1 * (1 - p1) + p2 * (1 - p2)) / n)
    two, one = 0, 0
    for pair in zip(control.tolist(), candidate.tolist(), strict=True):
        looks = [
            seen(rate_sample(a, n), rate_sample(b, n))
            for n, a, b in zip(range(100, 2001, 100), *pair, strict=True)
        ]
        two += any(p_differs(look, 4_000) < 0.05 for look in looks)
        one += any(lower_bound(look, 4_000) > 0 for look in looks)
    return {"z": (abs(z) > 1.96).any(axis=1).mean(), "two": two / 1500, "one": one / 1500}


def test_looking_again_and_again_costs_nothing():
    """Equal arms, 20 looks at 5 %: the sequences stay below 5 %, a z-test is at 20 % and more."""
    ever = ever_significant(0.75, 0.0, seed=5)
    assert ever["z"] > 0.20
    assert ever["two"] <= 0.05
    assert ever["one"] <= 0.05


def test_a_real_difference_is_seen():
    """75 % against 80 %: with twice the fixed sample size both sequences see it, four of five."""
    assert needed_for_rates(0.75, 0.80) * ANYTIME_TWO_SIDED_FACTOR > 2_000  # 2,091, a bit more
    ever = ever_significant(0.75, 0.05, seed=6)
    assert ever["two"] > 0.75
    assert ever["one"] > ever["two"]


@pytest.mark.parametrize(
    ("control", "candidate", "sides", "n"),
    [
        (0.75, 0.72, 2, 3397),
        (0.75, 0.72, 1, 2675),
        (0.75, 0.70, 2, 1251),
        (0.005, 0.01, 2, 4673),
        (0.8, 0.76, 2, 1683),
    ],
)
def test_sample_sizes_for_rates(control, candidate, sides, n):
    """The table of the design, either way round, at 5 % and a power of 80 %."""
    assert needed_for_rates(control, candidate, sides=sides) == n
    assert needed_for_rates(candidate, control, sides=sides) == n


@pytest.mark.parametrize(
    ("control", "candidate", "oracle"),
    [(0.75, 0.72, 3394.8256557338755), (0.50, 0.55, 1564.5290112626938)],
)
def test_sample_sizes_agree_with_the_arcsine_test(control, candidate, oracle):
    """Cohen's arcsine effect size, solved for n as statsmodels does, is within 0.1 % of ours."""
    effect = 2 * (math.asin(math.sqrt(control)) - math.asin(math.sqrt(candidate)))

    def power(n: float) -> float:
        shift = abs(effect) * math.sqrt(n / 2)
        return stats.norm.sf(upper_z(0.025) - shift) + stats.norm.cdf(-upper_z(0.025) - shift)

    solved = optimize.brentq(lambda n: power(n) - 0.8, 10, 1e5, xtol=1e-9)
    assert solved == pytest.approx(oracle, rel=1e-8)
    assert needed_for_rates(control, candidate) == pytest.approx(oracle, rel=1e-3)


def test_sample_size_for_means_has_its_power():
    """One look at the stated size sees the stated difference four times in five."""
    n = needed_for_means(variance=4.0, difference=0.2)
    assert n == 1570
    draw = np.random.default_rng(3)
    gaps = draw.normal(0.2, math.sqrt(2 * 4.0 / n), size=20_000)
    seen_share = (abs(gaps) / math.sqrt(2 * 4.0 / n) > 1.959964).mean()
    assert seen_share == pytest.approx(0.80, abs=0.01)


def test_sample_size_for_non_inferiority():
    """Half a percentage point at half a percent takes 2,461 requests per arm, 5,217 at any time."""
    n = needed_for_non_inferior_rate(0.005, 0.005)
    assert n == 2461
    assert n * ANYTIME_ONE_SIDED_FACTOR == pytest.approx(5_217, abs=1)


def test_factors_are_the_squared_widths():
    """A sequence tuned to its last look, at 5 % and a power of 80 %, needs the factor's n."""
    unit, power = Difference(0.0, 1.0, 1_000), upper_z(0.2)
    two = (interval(unit, 1_000)[1] + power) / (upper_z(0.025) + power)
    one = (upper_bound(unit, 1_000) + power) / (upper_z(0.05) + power)
    assert two**2 == pytest.approx(ANYTIME_TWO_SIDED_FACTOR, abs=0.005)
    assert one**2 == pytest.approx(ANYTIME_ONE_SIDED_FACTOR, abs=0.005)


def test_factors_of_other_levels_are_the_same_formula():
    """At 5 % and 80 % they are the constants; more power costs relatively less."""
    assert anytime_factor(sides=2) == pytest.approx(ANYTIME_TWO_SIDED_FACTOR, abs=0.005)
    assert anytime_factor(sides=1) == pytest.approx(ANYTIME_ONE_SIDED_FACTOR, abs=0.005)
    assert 1 < anytime_factor(power=0.95) < anytime_factor(power=0.8)


@given(differences, st.floats(-20, 20), st.floats(0.001, 0.4))
def test_one_look_is_the_normal_test(found, null, tail):
    """scipy's normal tail, and its quantiles around the estimate."""
    z = (found.point - null) / found.se
    assert one_look_p_above(found, null) == pytest.approx(stats.norm.sf(z), rel=1e-9, abs=1e-300)
    assert one_look_interval(found, tail) == pytest.approx(
        stats.norm.interval(1 - 2 * tail, found.point, found.se)
    )


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.5), st.floats(0.001, 0.2), st.floats(0.5, 0.99))
def test_finer_questions_need_more(rate, gap, alpha, power):
    """Half the difference, a stricter level or more power: never fewer observations."""
    n = needed_for_means(rate, gap, alpha, power)
    assert needed_for_means(rate, gap / 2, alpha, power) >= n
    assert needed_for_means(rate, gap, alpha / 2, power) >= n
    assert needed_for_means(rate, gap, alpha, (1 + power) / 2) >= n
    assert needed_for_means(rate, gap, alpha, power, sides=1) <= n


SOME = Difference(0.1, 0.05, 200)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda: sample_ratio_p((1, 2), (1,)), id="a share missing"),
        pytest.param(lambda: sample_ratio_p((1, -2), HALF), id="negative count"),
        pytest.param(lambda: sample_ratio_chi2_p((1, 2), (1, -0.5)), id="negative share"),
        pytest.param(lambda: sample_ratio_chi2_p((1, 2), (0, 0)), id="no share"),
        pytest.param(lambda: sample_ratio_log_e((), ()), id="no arms"),
        pytest.param(lambda: sample_ratio_log_e((1, 2), HALF, 0), id="no concentration"),
        pytest.param(lambda: chi2_tail(1, 0), id="no degrees of freedom"),
        pytest.param(lambda: chi2_tail(math.nan, 1), id="no statistic"),
        pytest.param(lambda: chi2_tail(math.inf, 1), id="infinite statistic"),
        pytest.param(lambda: rate_sample(3, 2), id="3 of 2"),
        pytest.param(lambda: Sample(100, 0.5, -0.1), id="negative variance"),
        pytest.param(lambda: interval(SOME, 0), id="tuned to nothing"),
        pytest.param(lambda: interval(SOME, 100, 1.0), id="alpha 1"),
        pytest.param(lambda: lower_bound(SOME, 100, 0.5), id="one-sided alpha 0.5"),
        pytest.param(lambda: p_above(SOME, 100, 0.5), id="one-sided p at alpha 0.5"),
        pytest.param(lambda: needed_for_rates(0.5, 0.5), id="equal rates"),
        pytest.param(lambda: needed_for_rates(0, 0.5), id="rate 0"),
        pytest.param(lambda: needed_for_rates(0.4, 0.5, alpha=0.9), id="alpha above power"),
        pytest.param(lambda: needed_for_means(1, 0), id="no difference"),
        pytest.param(lambda: needed_for_means(0, 1), id="no variance"),
        pytest.param(lambda: needed_for_non_inferior_rate(0.1, 0), id="no margin"),
        pytest.param(lambda: upper_z(0), id="tail 0"),
        pytest.param(lambda: upper_z(1), id="tail 1"),
    ],
)
def test_nonsense_is_refused(ask):
    """An argument out of its documented range is a caller's mistake, and raises ValueError."""
    with pytest.raises(ValueError, match=r"\w"):
        ask()

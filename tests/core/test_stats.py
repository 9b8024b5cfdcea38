"""The statistics: figures worked out elsewhere, scipy as an oracle, and the laws behind the levels.

The acceptance figures are exact up to rounding; they were made by a second implementation.
"""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import special  # type: ignore[import-untyped]  # it ships no types
from scipy import stats as oracle

from knowngood.core.stats import (
    BETS,
    RELATIVE_RISKS,
    Factors,
    LogWeights,
    alternatives,
    at_most,
    bet,
    calls_to_alarm,
    cap_of,
    divergence,
    growth,
    is_safe,
    log_add,
    log_evidence,
    log_safe,
    mass_of,
    observe,
    rate_factors,
    relative_factors,
    renew,
    safe_calls,
    start,
    upper_rank,
    upper_rate,
)
from tests.published import EVIDENCE

EXACT = 1e-9
COUNT = st.integers(0, 200)
SMALL = st.integers(0, 8)
LIMIT = st.floats(0.005, 0.6)
SHARE = st.floats(0.01, 0.99)
CAP = st.floats(0.1, 20)
WEIGHT = st.floats(-700, 700)


def evidence(factors: Factors, bad: int, good: int, cap: float = math.inf) -> float:
    """E of a fresh e-process after one tick."""
    return math.exp(log_evidence(observe(start(len(factors.bad)), factors, bad, good, cap)))


def test_the_alternatives_double_up_to_certainty():
    """For 5 %: 5, 10, 20, 40, 80 and 99 %; always above the limit and below one."""
    assert alternatives(0.05) == (0.05, 0.1, 0.2, 0.4, 0.8, 0.99)
    assert alternatives(0.98) == (0.99,)


@given(LIMIT)
def test_alternatives_are_worse_and_worse(limit):
    """From the limit on, each is worse than the one before, and none is certain."""
    rates = alternatives(limit)
    assert rates[0] == limit and list(rates) == sorted(set(rates)) and rates[-1] < 1


@pytest.mark.parametrize(("healthy", "bad", "n", "expected"), EVIDENCE)
def test_failures_against_a_healthy_rate(healthy, bad, n, expected):
    """The evidence of so many failures in so many calls that more than 5 % fail."""
    found = evidence(rate_factors(0.05, healthy), bad, n - bad)
    assert found == pytest.approx(expected, rel=EXACT)


def test_one_failed_call_is_no_proof():
    """The plain rule rolls back for one failure of one call; its evidence is 10.6 of 1,000."""
    assert evidence(rate_factors(0.05, 0.02), 1, 0) < 1 / 0.001


@pytest.mark.parametrize(
    ("share", "own", "theirs", "expected"),
    [
        (0.05, 5, 5, 222.57250283665),
        (0.01, 3, 1, 4812.77568092669),
        (0.25, 20, 20, 5.0426425434),
    ],
)
def test_the_candidates_failures_against_the_controls(share, own, theirs, expected):
    """The evidence of so many failures on both sides that the candidate fails more often."""
    assert evidence(relative_factors(share, 1.25), own, theirs) == pytest.approx(
        expected, rel=EXACT
    )


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({0.5: 20}, 3497.158594424553),
        ({1.0: 5, 0.0: 5}, 1.7273029843820544),
    ],
)
def test_bets_on_a_worse_mean(losses, expected):
    """What a stake has become after these labels, against an expected loss of 0.28."""
    found = log_evidence(bet(start(len(BETS), weight=1), losses, 0.28))
    assert math.exp(found) == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize(
    ("bad", "limit", "calls"),
    [(0, 0.05, 70), (1, 0.05, 124), (2, 0.05, 168), (0, 0.02, 178), (0, 0.01, 358), (3, 1.2, 4)],
)
def test_calls_that_prove_a_rate(bad, limit, calls):
    """A clean record proves a rate below 5 % with its 70th call; each failure asks for more."""
    assert safe_calls(bad, limit) == calls


@given(st.integers(0, 500), st.floats(0.001, 1.5))
def test_a_proof_takes_no_call_more_than_it_says(bad, limit):
    """With so many calls the rate is proven, and with one fewer it is not."""
    calls = safe_calls(bad, limit)
    assert is_safe(bad, calls, limit) and not is_safe(bad, calls - 1, limit)


@pytest.mark.parametrize(("n", "rank"), [(458, None), (459, 459), (1000, 998), (2000, 1991)])
def test_the_rank_above_the_p99(n, rank):
    """Below 459 calls no order statistic is above the true p99 in 99 of 100 samples."""
    assert upper_rank(n, 0.99) == rank


# --- Laws of the evidence


@given(LIMIT, st.floats(0.1, 0.8), st.lists(st.tuples(COUNT, COUNT), max_size=5))
def test_evidence_is_the_same_in_whatever_portions(limit, share, portions):
    """Without a cap, the outcomes of many ticks tell what their sum tells."""
    factors = rate_factors(limit, share * limit)
    weights = start(len(factors.bad))
    for bad, good in portions:
        weights = observe(weights, factors, bad, good)
    bad, good = sum(b for b, _ in portions), sum(g for _, g in portions)
    whole = observe(start(len(factors.bad)), factors, bad, good)
    assert weights == pytest.approx(whole, rel=EXACT, abs=1e-9)


@given(LIMIT, st.floats(0.1, 0.8), COUNT, COUNT, CAP)
def test_a_cap_never_raises(limit, share, bad, good, cap):
    """A capped tick gives no weight more than the tick does, nor more than the cap."""
    factors = rate_factors(limit, share * limit)
    before = start(len(factors.bad))
    free, capped = observe(before, factors, bad, good), observe(before, factors, bad, good, cap)
    for weight, old, most in zip(capped, before, free, strict=True):
        assert weight <= most and weight <= old + cap
        assert weight == most or weight == old + cap


@given(st.floats(1e-4, 0.1))
def test_an_alarm_takes_four_ticks(alpha):
    """However many failures they hold, three ticks of nothing else are no alarm, and four are."""
    factors = rate_factors(0.05, 0.001)
    weights = start(len(factors.bad))
    for _ in range(3):
        weights = observe(weights, factors, 10_000, 0, cap_of(alpha))
    assert log_evidence(weights) < math.log(1 / alpha)
    weights = observe(weights, factors, 10_000, 0, cap_of(alpha))
    assert log_evidence(weights) >= math.log(1 / alpha)


@given(LIMIT, st.floats(0.1, 0.8), SMALL, CAP)
def test_a_healthy_version_expects_no_evidence(limit, share, n, cap):
    """All outcomes of n calls at the healthy rate, each weighed by its chance: E is worth 1.

    With a cap it is worth less. It is this that bounds false alarms, by Ville's inequality.
    """
    healthy = share * limit
    factors = rate_factors(limit, healthy)
    before = start(len(factors.bad), weight=1)

    def worth(most: float) -> float:
        return sum(
            math.comb(n, bad)
            * healthy**bad
            * (1 - healthy) ** (n - bad)
            * math.exp(log_evidence(observe(before, factors, bad, n - bad, most)))
            for bad in range(n + 1)
        )

    assert worth(math.inf) == pytest.approx(1, rel=EXACT)
    assert worth(cap) <= 1 + EXACT


@given(SHARE, st.floats(1, 1.25), st.floats(0.5, 1))
def test_a_candidate_like_its_control_expects_no_evidence(share, margin, risk):
    """Whose failure it is, at a risk within the margin: E is worth 1 at the margin, less below."""
    factors = relative_factors(share, margin)
    before = start(len(RELATIVE_RISKS), weight=1)

    def worth(true_risk: float) -> float:
        own = share * true_risk / (share * true_risk + 1 - share)
        mine = math.exp(log_evidence(observe(before, factors, 1, 0)))
        yours = math.exp(log_evidence(observe(before, factors, 0, 1)))
        return own * mine + (1 - own) * yours

    assert worth(margin) == pytest.approx(1, rel=EXACT)
    assert worth(risk * margin) <= 1 + EXACT


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 0.2))
def test_a_healthy_mean_expects_no_gain(losses, slack):
    """A label drawn from any losses whose mean is at most the expected one: the bet is fair."""
    mean = sum(losses) / len(losses)
    expected = min(0.99, max(0.01, mean + slack))
    if mean > expected:
        return
    before = start(len(BETS), weight=1)
    worth = [math.exp(log_evidence(bet(before, {loss: 1}, expected))) for loss in losses]
    assert sum(worth) / len(worth) <= 1 + EXACT


@given(st.floats(0.05, 0.95), st.dictionaries(st.floats(0, 1), st.integers(1, 5), max_size=4))
def test_a_bet_can_be_taken_back(expected, losses):
    """A label that was corrected leaves no trace of what it was."""
    before = start(len(BETS))
    back = bet(bet(before, losses, expected), {x: -n for x, n in losses.items()}, expected)
    assert back == pytest.approx(before, rel=EXACT)


@given(st.lists(WEIGHT, min_size=1, max_size=8), st.floats(1e-12, 1))
def test_fresh_weight_is_added_and_nothing_else(weights, mass):
    """The evidence after a renewal is what it was, and the mass."""
    before: LogWeights = tuple(weights)
    found = log_evidence(renew(before, mass))
    assert found == pytest.approx(
        log_add(log_evidence(before), math.log(mass)), rel=EXACT, abs=EXACT
    )


@given(st.floats(1e-12, 1e-3), st.lists(st.booleans(), max_size=12))
def test_with_fresh_weight_evidence_is_worth_what_flowed_in(mass, outcomes):
    """At the healthy rate E is worth the start and all that came since: never more."""
    healthy, n = 0.02, min(len(outcomes), 8)
    factors = rate_factors(0.05, healthy)
    cap = cap_of(0.001)

    def worth(weights: LogWeights, left: int) -> float:
        if left == 0:
            return math.exp(log_evidence(weights))
        failed = renew(observe(weights, factors, 1, 0, cap), mass)
        went_well = renew(observe(weights, factors, 0, 1, cap), mass)
        return healthy * worth(failed, left - 1) + (1 - healthy) * worth(went_well, left - 1)

    before = start(len(factors.bad))
    assert worth(before, n) <= 0.5 + n * mass + EXACT


def test_a_day_costs_as_much_as_the_start():
    """Half of the budget is there at the start, and the other half flows in during a day."""
    day = math.exp(log_evidence(renew(start(6), mass_of(86_400_000))))
    assert math.exp(log_evidence(start(6))) == pytest.approx(0.5)
    assert day == pytest.approx(1)


@given(st.lists(WEIGHT, min_size=1, max_size=9))
def test_the_sum_of_weights_does_not_overflow(weights):
    """ln of a sum of exponentials, as scipy has it."""
    expected = float(special.logsumexp(weights))
    assert log_evidence(weights) == pytest.approx(expected, rel=1e-12, abs=1e-12)


# --- Proof of safety


@given(st.integers(0, 12), st.floats(0.02, 0.5))
def test_a_version_at_the_limit_expects_no_proof(n, limit):
    """At exactly the limit, E of safety is worth 1 after any number of calls."""
    worth = sum(
        math.comb(n, bad)
        * limit**bad
        * (1 - limit) ** (n - bad)
        * math.exp(log_safe(bad, n, limit))
        for bad in range(n + 1)
    )
    assert worth == pytest.approx(1, rel=EXACT)


@given(COUNT, st.integers(1, 400), LIMIT)
def test_a_failure_never_proves_safety(bad, n, limit):
    """One call that failed instead of going well: less evidence of safety."""
    if bad < n:
        assert log_safe(bad + 1, n, limit) < log_safe(bad, n, limit)


@pytest.mark.parametrize(("bad", "n", "safe"), [(0, 0, False), (5, 5, False), (0, 1, True)])
def test_no_rate_is_above_all_calls(bad, n, safe):
    """A limit of 100 % is proven by one call that went well, and by nothing else."""
    assert is_safe(bad, n, 1.0) is safe


# --- The oracle


@given(st.integers(0, 3000), st.integers(0, 3000), st.floats(1e-4, 1 - 1e-4))
@example(0, 0, 0.5)
@example(2999, 3000, 0.99)
def test_the_tail_of_a_binomial(bad, n, rate):
    """P(X <= bad), as scipy has it."""
    expected = float(oracle.binom.cdf(bad, n, rate))
    assert at_most(bad, n, rate) == pytest.approx(expected, rel=1e-7, abs=1e-12)


@given(st.integers(1, 20_000), st.sampled_from([0.5, 0.9, 0.99]))
@example(10_000, 0.99)
def test_the_rank_above_a_quantile(n, q):
    """The rank is the 99 % point of a binomial, and one; None where that is beyond n."""
    expected = int(oracle.binom.ppf(0.99, n, q)) + 1
    assert upper_rank(n, q) == (expected if expected <= n else None)
    if n == 10_000 and q == 0.99:
        assert expected == 9923


@given(st.integers(1, 5000), st.data())
def test_the_upper_limit_of_a_rate(n, data):
    """Wilson's one-sided 95 % limit, as scipy has it."""
    bad = data.draw(st.integers(0, n))
    interval = oracle.binomtest(bad, n).proportion_ci(confidence_level=0.9, method="wilson")
    assert upper_rate(bad, n) == pytest.approx(float(interval.high), rel=EXACT)


def test_nothing_is_known_without_calls():
    """Without a call any rate is possible."""
    assert upper_rate(0, 0) == 1.0


@given(st.floats(0, 1), st.floats(0.001, 0.999))
def test_what_a_call_tells(p, q):
    """The divergence is that of Kullback and Leibler: nothing for the same rate, never negative."""
    expected = float(oracle.entropy([p, 1 - p], [q, 1 - q]))
    assert divergence(p, q) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(LIMIT, st.floats(0.1, 0.8), SHARE)
def test_evidence_grows_at_most_as_fast_as_a_call_tells(limit, healthy, rate):
    """Never faster than the divergence, as fast at an alternative, and not at all at health."""
    healthy *= limit
    factors = rate_factors(limit, healthy)
    assert growth(rate, factors) <= divergence(rate, healthy) + EXACT
    assert growth(limit, factors) == pytest.approx(divergence(limit, healthy), rel=1e-6)
    assert growth(healthy, factors) < 0


def test_a_healthy_rate_is_never_found():
    """At or below the healthy rate no number of calls makes an alarm; above, fewer and fewer do."""
    assert calls_to_alarm(0.02, 0.02, 0.001, 6) == math.inf
    needed = [calls_to_alarm(rate, 0.02, 0.001, 6) for rate in (0.06, 0.1, 0.2, 1.0)]
    assert needed == sorted(needed, reverse=True) and needed[-1] > 1

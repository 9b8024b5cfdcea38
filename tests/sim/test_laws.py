"""The laws' own arithmetic, and the dice of the worlds, against what is known of them."""

import math
import random
from collections import Counter

import pytest

from knowngood.core.window import latency_bucket, quantile_ms, score_moments
from knowngood.sim.draws import failures, labels, latencies
from knowngood.sim.laws.evidence import log_evidence
from knowngood.sim.laws.recovery import log_safe_evidence
from tests.published import EVIDENCE


@pytest.mark.parametrize(("healthy", "bad", "n", "expected"), EVIDENCE)
def test_evidence_by_hand(healthy, bad, n, expected):
    """The law's second implementation gives the published values of the evidence."""
    log_e = log_evidence([(n - bad, bad)], 0.05, healthy, alpha=None)
    assert math.exp(log_e) == pytest.approx(expected, rel=1e-8)


def test_a_second_adds_a_third_of_an_alarm_at_most():
    """However many calls of one second fail, four distinct seconds are needed."""
    alarm = math.log(1000)
    burst, failing = [(0, 1_000)], (0, 5)
    assert log_evidence(burst, 0.05, 0.02) < alarm
    assert log_evidence([failing] * 3, 0.05, 0.02) < alarm < log_evidence([failing] * 4, 0.05, 0.02)


@pytest.mark.parametrize(("limit", "calls"), [(0.05, 70), (0.02, 178), (0.01, 358)])
def test_proof_of_safety_by_hand(limit, calls):
    """So many calls without a failure are evidence of 20 that a rate is below its limit."""
    enough = math.log(20)
    before, now = (log_safe_evidence(0, n, limit) for n in (calls - 1, calls))
    assert before < enough <= now


def test_proof_of_safety_of_many_calls_is_a_number():
    """A target that failed often before is held to a high limit, by however many calls.

    All of them count: what fails in four of a thousand is proven to fail in fewer than fifty.
    """
    assert log_safe_evidence(202, 46_583, 0.05) > math.log(20)
    for limit in (0.05, 0.4, 0.99, 1.2):
        assert log_safe_evidence(0, 1_000_000, limit) > math.log(20)
        assert log_safe_evidence(1_000_000, 1_000_000, limit) < math.log(20)


@pytest.mark.parametrize(("n", "rate"), [(1, 0.01), (4, 0.003), (8, 0.5), (200, 0.06), (60, 0.9)])
def test_failures_are_binomial(n, rate):
    """Drawing all failures of a second at once gives the mean and the variance of single calls."""
    rng = random.Random(3)
    drawn = [failures(rng, n, rate) for _ in range(20_000)]
    mean = sum(drawn) / len(drawn)
    variance = sum((x - mean) ** 2 for x in drawn) / len(drawn)
    assert mean == pytest.approx(n * rate, rel=0.1)
    assert variance == pytest.approx(n * rate * (1 - rate), rel=0.1)


@pytest.mark.parametrize("n", [1, 3, 16, 17, 120])
def test_latencies_do_not_depend_on_how_they_are_grouped(n):
    """Samples of every size together are one distribution: a busy process is not a slow one."""
    rng = random.Random(4)
    bins: Counter[int] = Counter()
    for _ in range(40_000 // n):
        bins.update(latencies(rng, n, latency_bucket(400)))
    assert quantile_ms(bins, 0.5) == pytest.approx(400, rel=0.03)
    assert quantile_ms(bins, 0.99) == pytest.approx(400 * math.exp(0.5 * 2.326), rel=0.06)


@pytest.mark.parametrize("graded", [True, False])
def test_labels_have_their_mean(graded):
    """Graded or all-or-nothing: the mean of many labels is the version's quality."""
    rng = random.Random(5)
    bins: Counter[int] = Counter()
    for _ in range(6_000):
        bins.update(labels(rng, 2, 80, graded))
    assert score_moments(bins)[1] == pytest.approx(0.8, abs=0.02)

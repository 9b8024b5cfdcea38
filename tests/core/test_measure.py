"""What a metric's name means, and how much its number rests on."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core.measure import Measure, measure, proves_below, upper_rate
from knowngood.core.model import ScoreRange
from knowngood.core.window import EMPTY, Window
from tests.core.build import calls, labels, latencies

RANGES = {"quality": ScoreRange(0, 1), "stars": ScoreRange(1, 5)}


def read(metric: str, window: Window, kinds: tuple[str, ...] = ()) -> Measure:
    return measure(metric, window, kinds, RANGES)


@pytest.mark.parametrize(
    ("metric", "window", "n", "estimate"),
    [
        ("error_rate", calls(ok=90, errors=10), 100, 0.10),
        ("error_rate", calls(ok=90, errors=10, excluded=900, repeat=900), 100, 0.10),
        ("refusal_rate", calls(ok=90, errors=10, counters={"refusal": 4}), 100, 0.04),
        ("counter.fallback", calls(ok=50, counters={"fallback": 5}), 50, 0.10),
        ("counter.fallback", calls(ok=50), 50, 0.0),
        ("tokens_per_call", calls(ok=10, input_tokens=900, output_tokens=100), 10, 100.0),
        ("cost_per_call", calls(ok=10, cost_nano_usd=2_000_000_000), 10, 0.2),
        ("quality", calls(scores=labels(0.7, 0.9, times=10)), 20, 0.8),
        ("score.stars", calls(scores={"stars": {50: 10, 100: 10}}), 20, 4.0),
    ],
)
def test_a_metric_reads_a_window(metric, window, n, estimate):
    """Every metric gives its estimate and how many requests or labels it rests on."""
    found = read(metric, window)
    assert found.n == n
    assert found.estimate == pytest.approx(estimate)


@pytest.mark.parametrize(
    "metric",
    ["error_rate", "refusal_rate", "counter.x", "latency_p99", "first_token_p99", "quality"],
)
def test_nothing_has_no_estimate(metric):
    """An empty window gives no number to compare, ever."""
    assert (read(metric, EMPTY).n, read(metric, EMPTY).estimate) == (0, None)


def test_a_trigger_counts_the_kinds_it_names():
    """With kinds named only those failures count, of all calls; with none named all do."""
    window = Window(ok=80, errors={"prompt": 5, "provider": 15})
    assert read("error_rate", window).bad == 20
    assert read("error_rate", window, ("prompt",)).estimate == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("metric", "ms"), [("latency_p50", 100), ("latency_p90", 100), ("latency_p99", 900)]
)
def test_quantiles_come_with_rank_bounds(metric, ms):
    """A quantile is the nearest rank's value, between bounds two standard errors of rank away."""
    found = read(metric, calls(ok=1000, latency=latencies(100, 980, 900, 20)))
    assert found.estimate == pytest.approx(ms, rel=0.0055)
    assert found.low is not None and found.high is not None and found.estimate is not None
    assert found.low <= found.estimate <= found.high


def test_labels_that_agree_still_carry_the_rounding():
    """The standard error is never zero: bins are 1 % wide."""
    assert read("quality", calls(scores=labels(0.5, times=100))).se == pytest.approx(0.0005)


@pytest.mark.parametrize(
    ("bad", "n", "limit", "proven"),
    [
        pytest.param(0, 59, 0.05, True, id="0 of 59 proves below 5 %"),
        pytest.param(0, 58, 0.05, False, id="0 of 58 does not"),
        pytest.param(0, 149, 0.02, True, id="0 of 149 proves below 2 %"),
        pytest.param(0, 148, 0.02, False, id="0 of 148 does not"),
        pytest.param(0, 299, 0.01, True, id="0 of 299 proves below 1 %"),
        pytest.param(0, 298, 0.01, False, id="0 of 298 does not"),
        pytest.param(1, 93, 0.05, True, id="1 of 93 proves below 5 %"),
        pytest.param(1, 92, 0.05, False, id="1 of 92 does not"),
        pytest.param(0, 0, 0.05, False, id="nothing proves nothing"),
        pytest.param(5, 5, 0.05, False, id="all failed"),
        pytest.param(0, 10_000, 0.0, False, id="nothing is below zero"),
        pytest.param(3, 100, 1.0, True, id="a call went well, so not all fail"),
        pytest.param(100, 100, 1.0, False, id="all may fail"),
    ],
)
def test_proof_of_safety_is_the_exact_binomial_test(bad, n, limit, proven):
    """P(at most so many failures | the limit) <= 5 %, to the request."""
    assert proves_below(bad, n, limit) is proven


@given(st.integers(0, 400), st.integers(1, 400), st.floats(0.001, 0.5))
@settings(max_examples=100)
def test_the_proof_agrees_with_the_sum_of_all_terms(bad, n, limit):
    """It is the plain sum of binomial terms, for any numbers."""
    bad = min(bad, n)
    tail = math.fsum(math.comb(n, k) * limit**k * (1 - limit) ** (n - k) for k in range(bad + 1))
    if abs(tail - 0.05) > 1e-6:
        assert proves_below(bad, n, limit) is (tail <= 0.05)


def test_the_proof_is_quick_for_a_large_service(monkeypatch):
    """A look at ten million calls adds up thousands of terms, not half a million."""
    exp, terms = math.exp, []

    def counted(x: float) -> float:
        terms.append(x)
        return exp(x)

    monkeypatch.setattr(math, "exp", counted)
    assert proves_below(498_000, 10_000_000, 0.05)
    assert not proves_below(500_001, 10_000_000, 0.05)
    assert len(terms) < 10_000


@pytest.mark.parametrize(
    ("bad", "n", "upper"),
    [(0, 0, 1.0), (0, 1000, 0.0027), (10, 1000, 0.0166), (1000, 1000, 1.0)],
)
def test_the_upper_limit_is_wilsons(bad, n, upper):
    """One-sided 95 %, and 1 when nothing is known."""
    assert upper_rate(bad, n) == pytest.approx(upper, abs=1e-4)

"""What a metric's name means, and how much its number rests on."""

import pytest

from knowngood.core.measure import Measure, measure
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

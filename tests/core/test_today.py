"""What a plan rests on: everybody's traffic, and the health of the version that is served."""

import pytest

from knowngood.core.model import ScoreRange
from knowngood.core.rules import ExperimentRule
from knowngood.core.today import today
from knowngood.core.window import EMPTY, Window, latency_bucket, merge

DAY = 86_400_000
FAST, SLOW = latency_bucket(100), latency_bucket(10_000)
SERVED = Window(
    ok=9_950,
    errors={"provider": 50},
    units=4_000,
    latency={FAST: 9_995, SLOW: 5},
    scores={"quality": {60: 50, 100: 50}, "stars": {50: 10}},
)
SCORES = {"quality": ScoreRange(0, 1), "stars": ScoreRange(1, 5), "tone": ScoreRange(0, 1)}


def test_traffic_is_everybodys_and_health_the_served_versions():
    """While a canary runs, its calls are traffic of the prompt too."""
    everybody = merge(SERVED, Window(ok=10_000, units=6_000))
    found = today(SERVED, everybody, DAY // 2, SCORES, ExperimentRule())
    assert found is not None
    assert found.calls_per_s == pytest.approx(20_000 / (DAY / 2_000))
    assert found.units_per_day == 20_000
    assert found.error_rate == 0.005 and found.slow_share == 0.0005


def test_spreads_are_in_each_scores_own_unit():
    """By the metric's name; a score that nobody gives has none."""
    found = today(SERVED, SERVED, DAY, SCORES, None)
    assert found is not None and set(found.spreads) == {"quality", "score.stars"}
    assert found.spreads["quality"].mean == pytest.approx(0.8)
    assert found.spreads["quality"].sd == pytest.approx(0.201, abs=0.001)
    assert found.spreads["score.stars"].mean == 3 and found.spreads["score.stars"].sd == 0
    assert found.slow_share is None


@pytest.mark.parametrize("window", [EMPTY, Window(ok=99)], ids=["none", "too few"])
def test_nobody_plans_with_a_handful_of_calls(window):
    """Then there is no plan, instead of a wrong one."""
    assert today(window, window, DAY, SCORES, None) is None

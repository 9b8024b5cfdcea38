"""How often in a week, and how often at most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from knowngood.core.rate_bound import WEEK_MS, most_per_week, per_week

SPANS = st.integers(1, 10**12)


@given(st.integers(0, 100_000), SPANS)
def test_the_limit_is_poisson_s(count, span_ms):
    """The rate under which so few are seen one time in twenty: half of a chi-square's quantile."""
    exact = stats.chi2.ppf(0.95, 2 * (count + 1)) / 2 * WEEK_MS / span_ms
    assert most_per_week(count, span_ms) == pytest.approx(exact, rel=0.004)


@given(st.integers(0, 1_000), SPANS)
def test_the_limit_is_above_what_was_seen_and_falls_with_time(count, span_ms):
    """Whoever watches longer knows more, and nobody is told less than what happened."""
    assert most_per_week(count, span_ms) > per_week(count, span_ms)
    assert most_per_week(count, 2 * span_ms) < most_per_week(count, span_ms)
    assert most_per_week(count, span_ms) < most_per_week(count + 1, span_ms)


def test_an_hour_without_an_alarm_says_little():
    """The rule of three: none in one hour may still be 500 in a week; none in three weeks, one."""
    assert most_per_week(0, WEEK_MS // 168) == pytest.approx(503, abs=1)
    assert most_per_week(0, 3 * WEEK_MS) == pytest.approx(1, abs=0.01)

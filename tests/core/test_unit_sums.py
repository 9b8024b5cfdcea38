"""Units become sums: each unit once, however many calls it made."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.unit_sums import NO_UNITS, Unit, UnitSums, counted, summary, sums_of

means = st.lists(st.floats(0, 1), min_size=2, max_size=50)


@given(means)
def test_sums_are_enough_for_mean_and_variance(some):
    """The sample of the sums is that of the units: numpy's mean and unbiased variance."""
    sample = sums_of(some).sample()
    assert sample.n == len(some)
    assert sample.mean == pytest.approx(np.mean(some))
    assert sample.variance == pytest.approx(np.var(some, ddof=1), abs=1e-12)


@given(means, st.floats(1, 50))
def test_more_of_the_same_keeps_the_mean(some, factor):
    """As often again and again: the mean stays, the count grows."""
    seen = sums_of(some)
    more = seen.times(factor)
    assert more.unit_count == round(factor * seen.unit_count)
    assert more.mean == pytest.approx(seen.mean)
    assert NO_UNITS.times(factor) == NO_UNITS


def test_a_busy_unit_counts_once():
    """A hundred failing calls of one user weigh as much as one call of another."""
    arm = summary(
        [
            Unit(100, 100, {"quality": (4, 2.0), "tone": (1, 5.0)}),
            Unit(1, 0, {"quality": (1, 1.0), "tone": (0, 0.0)}),
            Unit(0),
        ],
        {"latency_p99": counted(1, 50)},
    )
    assert (arm.unit_count, arm.call_count, arm.error_count) == (3, 101, 100)
    assert arm.of("error_rate") == UnitSums(2, 1.0, 1.0)
    assert arm.of("quality") == UnitSums(2, 1.5, 1.25)
    assert arm.of("score.tone") == UnitSums(1, 5.0, 25.0)
    assert arm.of("latency_p99").mean == 0.02
    assert arm.of("cost_per_call") is NO_UNITS
    assert NO_UNITS.mean == 0 and NO_UNITS.sample().n == 0


def test_nonsense_is_refused():
    """Counts and squares are never negative."""
    with pytest.raises(ValueError, match="negative"):
        UnitSums(-1)
    with pytest.raises(ValueError, match="negative"):
        UnitSums(1, 1.0, -1.0)

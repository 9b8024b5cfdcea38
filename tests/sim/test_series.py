"""The notation of policy tests, and how fractions of calls become whole ones."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.errors import KnowngoodError
from knowngood.sim.series import Rounder, Sample, Unit, milliseconds, number, parse_series
from knowngood.sim.story import CALLS, COUNT, LATE, SHARE, SPAN

SCORE = Unit("the score", "0.8x9", number, Fraction(0), Fraction(1), may_spread=True)


def values(text, unit=COUNT, step_ms=1_000, more=2):
    """Each step's value, and what holds for `more` steps afterwards."""
    line = parse_series(text, unit, step_ms)
    found = [line.at(step) for step in range(line.step_count + more)]
    return [float(each.value) if isinstance(each, Sample) else each.value for each in found]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2", [2, 2, 2]),
        ("0x2 3x1 4", [0, 0, 3, 4, 4, 4]),
        ("1 _x2 0", [1, "_", "_", 0, 0, 0]),
        ("0+2x3", [0, 2, 4, 4, 4]),
        ("6-2x3 9", [6, 4, 2, 9, 9, 9]),
        ("0.5+0.25x2", [0.5, 0.75, 0.75, 0.75]),
        ("7x3s", [7, 7, 7, 7, 7]),
        ("1 _", [1, "_", "_", "_"]),
    ],
)
def test_what_an_item_stands_for(text, wanted):
    """N values, not N + 1; a duration counts steps; the last value, or gap, holds on."""
    assert values(text) == wanted


def test_steps_may_be_longer_than_a_second():
    """With a step of a minute, `x3` is three minutes and `x3m` too."""
    assert values("1x3 2", step_ms=60_000) == values("1x3m 2", step_ms=60_000)


@pytest.mark.parametrize(
    ("text", "unit", "wanted"),
    [
        ("0.3%x1 12%", SHARE, [0.003, 0.12, 0.12, 0.12]),
        ("800msx1 1.2s", SPAN, [800, 1200, 1200, 1200]),
        ("20x1 stale", CALLS, [20, "stale", "stale", "stale"]),
        ("0sx1 10s", LATE, [0, 10_000, 10_000, 10_000]),
    ],
)
def test_each_series_has_its_unit(text, unit, wanted):
    """A share is a percentage, a latency has its unit, and only calls say goodbye."""
    assert values(text, unit) == wanted


@pytest.mark.parametrize(
    ("text", "unit", "reason"),
    [
        ("", COUNT, "empty"),
        ("twox3", COUNT, "not a share"),
        ("3y4", COUNT, "not a share"),
        ("5%x3", COUNT, "a percentage, not a number"),
        ("120%", SHARE, "leaves the range of shares, 0 to 1"),
        ("0%+20%x10", SHARE, "leaves the range"),
        ("3-1x9", COUNT, "leaves the range"),
        ("1+2", COUNT, "for how long"),
        ("800x3", SPAN, "not a duration"),
        ("1x0", COUNT, "not between 1 and"),
        ("1x1500ms", COUNT, "no whole number of steps"),
        ("stale", COUNT, "means nothing"),
        ("_", LATE, "means nothing"),
        ("_+1x3", CALLS, "no item|means nothing"),
        ("1~0.2", COUNT, "only scores"),
        ("0.9~0.2", SCORE, "leaves the range of the score"),
        ("-0.1", SCORE, "leaves the range of the score"),
    ],
)
def test_what_means_nothing_is_refused(text, unit, reason):
    """A test that is not understood must not pass."""
    with pytest.raises(KnowngoodError, match=reason):
        parse_series(text, unit, 1_000)


AMOUNTS = st.lists(st.fractions(0, 20, max_denominator=1_000), max_size=60)


@given(AMOUNTS)
def test_what_is_given_is_the_exact_sum_rounded(amounts):
    """At any time the whole counts so far are within one half of the exact sum."""
    rounder, given_, exact = Rounder(), 0, Fraction(0)
    for amount in amounts:
        exact += amount
        count = rounder.take(amount, 1_000)
        assert count >= 0
        given_ += count
        assert -Fraction(1, 2) <= exact - given_ < Fraction(1, 2)


@given(AMOUNTS, st.integers(0, 5))
def test_no_more_than_fits_and_nothing_is_lost(amounts, most):
    """What did not fit is given as soon as there is room."""
    rounder = Rounder()
    counts = [rounder.take(amount, most) for amount in amounts]
    assert all(0 <= count <= most for count in counts)
    rest = rounder.take(Fraction(0), 10**9)
    assert abs(sum(counts) + rest - sum(amounts)) <= Fraction(1, 2)


@given(st.fractions(0, 1, max_denominator=1_000), st.integers(0, 50))
def test_a_share_of_calls_never_exceeds_them(share, n):
    """Of n calls at most n fail, and each second's count is one of the two nearest."""
    rounder = Rounder()
    for _ in range(20):
        count = rounder.take(share * n, n)
        assert abs(count - share * n) < 1
        assert count <= ceil(share * n)


def test_the_docstring_s_example():
    """0.3 % of 20 calls a second: the ninth second, then every 16 or 17 seconds."""
    rounder = Rounder()
    failed = [second for second in range(1, 100) if rounder.take(Fraction(6, 100), 20)]
    assert failed[:4] == [9, 25, 42, 59]


def test_times_are_whole_milliseconds():
    """0 needs no unit; anything else does."""
    assert [milliseconds(text) for text in ("0", "0s", "250ms", "1m")] == [0, 0, 250, 60_000]

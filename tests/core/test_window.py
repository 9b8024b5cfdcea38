"""Windows: integer counts that merge exactly."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core.window import (
    EMPTY,
    MAX_LATENCY_BUCKET,
    MIN_LATENCY_BUCKET,
    Bucket,
    Window,
    from_row,
    latency_bucket,
    latency_value_ms,
    merge,
    quantile_ms,
    score_bin,
    score_count,
    score_moments,
    since,
    to_row,
    total,
)

LATENCY = st.floats(min_value=2**-10, max_value=2.0**31, allow_nan=False)
COUNT = st.integers(0, 10**9)
NAMES = st.sampled_from(["quality", "stars", "fallback"])
LATENCY_BINS = st.dictionaries(
    st.integers(MIN_LATENCY_BUCKET, MAX_LATENCY_BUCKET), COUNT, max_size=4
)
SCORE_BINS = st.dictionaries(st.integers(0, 100), st.integers(-5, 1000), max_size=4)
WINDOWS = st.builds(
    Window,
    ok=COUNT,
    errors=st.dictionaries(st.sampled_from(["prompt", "provider", "timeout"]), COUNT),
    excluded=COUNT,
    repeat=COUNT,
    units=COUNT,
    latency=LATENCY_BINS,
    first_token=LATENCY_BINS,
    input_tokens=COUNT,
    output_tokens=COUNT,
    cost_nano_usd=COUNT,
    scores=st.dictionaries(NAMES, SCORE_BINS, max_size=2),
    counters=st.dictionaries(NAMES, COUNT, max_size=2),
)
CALL = st.tuples(st.sampled_from(["ok", "prompt", "provider", "timeout"]), LATENCY, st.floats(0, 1))


def built(some: list[tuple[str, float, float]]) -> Window:
    """The window of calls, each with an outcome, a latency and a quality."""
    failed = Counter(outcome for outcome, _, _ in some if outcome != "ok")
    quality = Counter(score_bin(score, 0, 1) for _, _, score in some)
    return Window(
        ok=sum(outcome == "ok" for outcome, _, _ in some),
        errors=dict(failed),
        latency=dict(Counter(latency_bucket(ms) for _, ms, _ in some)),
        scores={"quality": dict(quality)} if some else {},
    )


@given(WINDOWS, WINDOWS, WINDOWS)
@settings(max_examples=50)
def test_merge_is_associative_and_commutative(a, b, c):
    """(a + b) + c = a + (b + c) = total of all, and a + b = b + a."""
    assert merge(merge(a, b), c) == merge(a, merge(b, c)) == total((a, b, c))
    assert merge(a, b) == merge(b, a)


@given(WINDOWS)
@settings(max_examples=50)
def test_the_empty_window_is_the_unit(a):
    """a + empty = a, and the sum of no windows is the empty one."""
    assert merge(a, EMPTY) == a == merge(EMPTY, a)
    assert total(()) == EMPTY


@given(st.lists(CALL, max_size=30), st.lists(CALL, max_size=30))
@settings(max_examples=50)
def test_it_does_not_matter_who_counts(a, b):
    """Two processes' windows, merged, are the window of one process that saw all calls."""
    assert merge(built(a), built(b)) == built(a + b)


@given(st.lists(LATENCY, min_size=1, max_size=80), st.floats(0.01, 1.0))
@settings(max_examples=200)
def test_a_quantile_is_the_nearest_rank_within_0_55_percent(values, q):
    """For any data the histogram's quantile is within .0055 of the nearest-rank value."""
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    found = quantile_ms(dict(Counter(map(latency_bucket, values))), q)
    assert found is not None
    assert abs(found - exact) <= 0.0055 * exact


@pytest.mark.parametrize("edge", [1.0, 2.0, 1024.0, 2.0**-10, 2.0**30])
def test_a_power_of_two_ends_its_bucket(edge):
    """Buckets are (low, high]: a power of two is the upper edge of its bucket."""
    assert latency_bucket(edge) == max(MIN_LATENCY_BUCKET, round(math.log2(edge) * 64) - 1)
    assert latency_bucket(edge * 1.0001) == round(math.log2(edge) * 64)


@pytest.mark.parametrize(
    ("ms", "index"),
    [
        pytest.param(0, MIN_LATENCY_BUCKET, id="zero"),
        pytest.param(1e-9, MIN_LATENCY_BUCKET, id="below a microsecond"),
        pytest.param(1e15, MAX_LATENCY_BUCKET, id="beyond 24 days"),
    ],
)
def test_what_cannot_be_is_clamped(ms, index):
    """A latency outside what a call can take counts in the outermost bucket."""
    assert latency_bucket(ms) == index


@pytest.mark.parametrize("ms", [math.nan, math.inf, -math.inf, -0.001])
def test_what_is_no_latency_is_refused(ms):
    """NaN, infinity and negative latencies are no evidence: refused."""
    with pytest.raises(ValueError, match="finite number"):
        latency_bucket(ms)


@given(st.integers(MIN_LATENCY_BUCKET, MAX_LATENCY_BUCKET))
@settings(max_examples=50)
def test_a_buckets_value_lies_in_the_bucket(index):
    """Reading a bucket's value back gives the same bucket."""
    assert latency_bucket(latency_value_ms(index)) == index


def test_the_quantile_of_nothing_is_none():
    """No data have no quantile; a number would be an invention."""
    assert quantile_ms({}, 0.99) is None
    assert quantile_ms({5: 0}, 0.99) is None


@pytest.mark.parametrize(
    ("value", "low", "high", "index"),
    [
        pytest.param(0, 0, 1, 0, id="the worst"),
        pytest.param(1, 0, 1, 100, id="the best"),
        pytest.param(0.724, 0, 1, 72, id="rounded down"),
        pytest.param(0.726, 0, 1, 73, id="rounded up"),
        pytest.param(3, 1, 5, 50, id="stars"),
        pytest.param(0, -1, 1, 50, id="from minus one"),
    ],
)
def test_a_score_falls_into_a_bin_of_its_range(value, low, high, index):
    """Bins are 1 % of the declared range."""
    assert score_bin(value, low, high) == index


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.01, 1.01])
def test_a_score_outside_its_range_is_refused(value):
    """A score that is no number, or outside the declared range, is refused."""
    with pytest.raises(ValueError, match="outside its range"):
        score_bin(value, 0, 1)


def test_a_correction_moves_a_label():
    """A label that was corrected counts once, at its new value, in any window that holds both."""
    first, correction = Window(scores={"q": {90: 1}}), Window(scores={"q": {90: -1, 20: 1}})
    assert score_moments(merge(first, correction).scores["q"]) == (1, 0.2, 0.0)


def test_a_negative_bin_counts_as_none():
    """A window that holds only the correction shows the new label and no debt."""
    assert score_count({90: -1, 20: 1}) == 1
    assert score_moments({90: -1, 20: 1}) == (1, 0.2, 0.0)
    assert score_moments({90: -1}) == (0, 0.0, 0.0)


def test_moments_are_the_textbooks():
    """Mean and sample variance of 0.2, 0.4, 0.4, 1.0."""
    n, mean, variance = score_moments({20: 1, 40: 2, 100: 1})
    assert n == 4
    assert mean == pytest.approx(0.5)
    assert variance == pytest.approx(0.36 / 3)


@given(WINDOWS)
@settings(max_examples=50)
def test_a_row_says_everything(window):
    """Writing a window as a row and reading it back gives the same window."""
    assert from_row(to_row(window)) == window


def test_an_empty_row_is_short():
    """A row leaves out what is empty."""
    assert to_row(EMPTY) == {"ok": 0}
    assert from_row({}) == EMPTY


def test_calls_are_ok_and_failed_ones():
    """Excluded calls and repeated failures are no evidence."""
    window = Window(ok=5, errors={"prompt": 2, "timeout": 1}, excluded=7, repeat=9)
    assert (window.error_count, window.call_count) == (3, 8)


def test_since_takes_whole_buckets():
    """A bucket belongs to a stretch if it begins in it; one that began before is left out."""
    buckets = [Bucket(at_ms, Window(ok=1)) for at_ms in (1000, 2000, 3000)]
    assert since(buckets, 2000).ok == 2
    assert since(buckets, 2001).ok == 1

"""From a watch and a healthy day to a detector: which level is healthy, and which one is harm."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.counts import Count, base_count, rate_count
from knowngood.core.levels import (
    expected_loss,
    latency_levels,
    losses,
    quantile_of,
    rate_level,
    relative_count,
    upper_quantile_ms,
)
from knowngood.core.model import Comparison, ScoreRange
from knowngood.core.watch import Watch
from knowngood.core.window import EMPTY, Window, latency_bucket
from tests.core.build import MINUTE, calls, labels, latencies

ABOVE, BELOW = Comparison.ABOVE, Comparison.BELOW
DROP, INCREASE = Comparison.DROP, Comparison.INCREASE


def watch(metric: str, comparison: Comparison, limit: float, **more) -> Watch:
    return Watch(metric, comparison, limit, 0.001, 5 * MINUTE, **more)


def day(n: int, share: float) -> Window:
    """A healthy day of `n` calls of which such a share failed."""
    return calls(ok=n - round(n * share), errors=round(n * share))


# --- What counts


@pytest.mark.parametrize(
    ("count", "window", "bad", "n"),
    [
        (Count("errors"), Window(ok=80, errors={"prompt": 5, "provider": 15}), 20, 100),
        (Count("errors", ("prompt",)), Window(ok=80, errors={"prompt": 5, "provider": 15}), 5, 100),
        (Count("errors"), calls(ok=80, errors=20, excluded=900, repeat=900), 20, 100),
        (Count("counter", ("refusal",)), calls(ok=80, counters={"refusal": 7}), 7, 80),
        (Count("counter", ("refusal",)), calls(ok=80, counters={"refusal": 99}), 80, 80),
        (Count("counter", ("refusal",)), calls(ok=80, counters={"refusal": -9}), 0, 80),
        (Count("counter", ("refusal",)), calls(ok=80), 0, 80),
        (Count("latency", above=600), Window(ok=9, latency={600: 4, 601: 3}), 3, 7),
        (Count("first_token", above=600), Window(ok=9, first_token={600: 4, 700: 5}), 5, 9),
        (Count("latency", above=600), Window(ok=9), 0, 0),
        (Count("latency", above=600), EMPTY, 0, 0),
    ],
)
def test_what_counts_as_bad(count, window, bad, n):
    """Of calls, or of the timed ones; excluded calls and repeats are no evidence at all."""
    assert (count.bad(window), base_count(count.base, window)) == (bad, n)


@pytest.mark.parametrize(
    ("timed_out_after_ms", "slow"),
    [
        pytest.param(30_000, 6, id="it waited long: it is slow once, not twice"),
        pytest.param(500, 6, id="its caller gave up early: it is slow all the same"),
    ],
)
def test_a_call_that_timed_out_is_slow_once(timed_out_after_ms, slow):
    """The SDK records how long a call waited that timed out, and that it did."""
    bins = latencies(800, 994, timed_out_after_ms, 6)
    window = Window(ok=994, errors={"timeout": 6}, latency=bins)
    assert Count("latency", above=latency_bucket(1_600)).bad(window) == slow


def test_metrics_by_name():
    """A rate's name says what it counts."""
    assert rate_count("error_rate", ("prompt",)) == Count("errors", ("prompt",))
    assert rate_count("refusal_rate", ()) == Count("counter", ("refusal",))
    assert rate_count("counter.fallback", ()) == Count("counter", ("fallback",))


# --- Rates

FIVE = watch("error_rate", ABOVE, 0.05)
RATES = [
    # the healthy day, then: the limit in force, the healthy level, can they be told apart
    pytest.param(None, 0.05, 0.02, True, id="no day: two fifths of the limit"),
    pytest.param(day(999, 0.0), 0.05, 0.02, True, id="too small a day says nothing"),
    pytest.param(day(1_000, 0.0), 0.05, 0.005, True, id="no failure: a tenth of the limit"),
    pytest.param(day(20_000, 0.005), 0.05, 0.00883, True, id="0.5 %: 1.5 times its upper limit"),
    pytest.param(day(20_000, 0.02), 0.05, 0.03256, True, id="2 %"),
    pytest.param(day(20_000, 0.03), 0.05, 0.04, True, id="3 %: at most four fifths of the limit"),
    pytest.param(day(20_000, 0.0376), 0.05, 0.04, True, id="3.76 %: just about separable"),
    pytest.param(day(20_000, 0.04), 0.08474, 0.06356, False, id="4 %: the limit is raised"),
    pytest.param(day(20_000, 0.20), 0.40943, 0.30707, False, id="20 %"),
    pytest.param(day(20_000, 0.60), 0.98, 0.784, False, id="60 %: never all of the calls"),
    pytest.param(day(20_000, 1.00), 0.98, 0.784, False, id="all of them"),
]


@pytest.mark.parametrize(("known", "limit", "healthy", "separable"), RATES)
def test_the_levels_of_five_percent(known, limit, healthy, separable):
    """q0 = clip(1.5 UCB95, .1 T, .8 T); where health may be above .8 T, T is twice its limit."""
    level = rate_level(FIVE, known, 1_000)
    assert level is not None and level.separable is separable
    assert level.limit == pytest.approx(limit, rel=1e-3)
    assert level.healthy == pytest.approx(healthy, rel=1e-3)
    assert (level.count, level.alpha) == (Count("errors"), 0.001)


@pytest.mark.parametrize(
    ("known", "limit", "healthy"),
    [
        pytest.param(None, None, None, id="no day"),
        pytest.param(day(999, 0.01), None, None, id="too small a day"),
        pytest.param(day(20_000, 0.0), 0.00027056, 0.00020292, id="of nothing, its upper limit"),
        pytest.param(day(20_000, 0.01), 0.02, 0.016, id="1 % may become 2 %"),
        pytest.param(day(1_000, 0.005), 0.02047, 0.01535, id="half a percent, hardly known"),
    ],
)
def test_the_levels_of_a_rate_that_doubles(known, limit, healthy):
    """A relative limit needs a day; it is a multiple of what failed there, or may have."""
    level = rate_level(watch("error_rate", INCREASE, 1.0), known, 1_000)
    if limit is None:
        assert level is None
    else:
        assert level is not None
        assert (level.limit, level.healthy) == pytest.approx((limit, healthy), rel=1e-3)


@pytest.mark.parametrize("known", [None, day(20_000, 0.005)])
def test_an_owner_may_say_what_is_healthy(known):
    """`q0` of one's own is taken as it is, whatever the day says."""
    level = rate_level(replace(FIVE, healthy=0.01), known, 1_000)
    assert level is not None and (level.limit, level.healthy) == (0.05, 0.01)


@given(
    st.floats(0, 1),
    st.integers(0, 100_000),
    st.floats(0, 1),
    st.sampled_from([ABOVE, INCREASE]),
)
def test_health_is_always_below_harm(limit, n, share, comparison):
    """For any limit and day: 0 < healthy <= .8 limit < 1, and a limit is never lowered."""
    level = rate_level(watch("error_rate", comparison, limit), day(n, share), 1_000)
    if level is not None:
        assert 0 < level.healthy <= 0.8 * level.limit * (1 + 1e-9)
        assert level.limit <= 0.98
        assert level.healthy >= 0.1 * level.limit * (1 - 1e-9)
        if comparison is ABOVE:
            assert level.limit >= min(limit, 0.98)


# --- Latencies

DOUBLED = watch("latency_p99", INCREASE, 1.0)
SLOWER = watch("latency_p99", INCREASE, 0.2)
TOO_SLOW = watch("latency_p99", ABOVE, 2_000.0)


def slower_than(count: Count, ms: float) -> bool:
    """Whether the count is of calls slower than `ms`, within the half percent of a bucket."""
    return count.of == "latency" and abs(count.above - latency_bucket(ms)) <= 1


@pytest.mark.parametrize(
    ("known", "shares"),
    [
        pytest.param(None, None, id="no day"),
        pytest.param(calls(ok=99, p99=800), None, id="99 timed calls"),
        pytest.param(calls(ok=20_000), None, id="none timed"),
        pytest.param(calls(ok=100, p99=800), [0.1, 0.5], id="too few for a p99"),
        pytest.param(calls(ok=458, p99=800), [0.1, 0.5], id="458: still"),
        pytest.param(calls(ok=459, p99=800), [0.01, 0.1, 0.5], id="459: the whole ladder"),
    ],
)
def test_a_latency_that_doubles_is_looked_for_on_a_ladder(known, shares):
    """More than 1 % above twice the p99, or 10 % above twice the p90, or half above twice the p50.

    Each rung spends a third of the budget; two fifths of its share are healthy.
    """
    levels = latency_levels(DOUBLED, known)
    if shares is None:
        assert levels is None
        return
    assert levels is not None
    assert [level.limit for level in levels] == pytest.approx(shares)
    for level in levels:
        assert slower_than(level.count, 2 * 800)
        assert level.healthy == pytest.approx(0.4 * level.limit)
        assert level.alpha == pytest.approx(0.001 / 3)


@pytest.mark.parametrize(
    ("n", "quick", "ms"),
    [(1_000, 997, 900), (1_000, 998, 100), (2_000, 1_990, 900), (2_000, 1_991, 100)],
)
def test_the_old_quantile_is_taken_at_its_upper_limit(n, quick, ms):
    """The value of a rank above the true p99 in 99 of 100 days: 998 of 1,000, 1,991 of 2,000."""
    upper_ms = upper_quantile_ms(latencies(100, quick, 900, n - quick), 0.99)
    assert upper_ms == pytest.approx(ms, rel=0.011)
    assert upper_ms is not None and upper_ms >= ms  # a bucket's upper edge


def test_a_fifth_slower_is_looked_for_at_the_top_only():
    """A heavy tail is above a tenth more by chance: four fifths of the share are healthy."""
    (level,) = latency_levels(SLOWER, calls(ok=20_000, p99=800)) or ()
    assert (level.limit, level.healthy) == pytest.approx((0.01, 0.008))
    assert level.alpha == 0.001
    assert slower_than(level.count, 1.2 * 800)


def test_a_day_on_which_two_in_a_hundred_time_out_is_not_separable():
    """Then any version is above the limit by chance, and there is nothing to detect."""
    sick = calls(ok=980, errors=20, kind="timeout", p99=800)
    assert latency_levels(SLOWER, sick) == ()


@given(
    st.dictionaries(st.integers(300, 900), st.integers(1, 3_000), min_size=1, max_size=6),
    st.integers(0, 200),
    st.sampled_from([DOUBLED, SLOWER, watch("latency_p90", INCREASE, 0.5)]),
)
def test_a_day_like_the_healthy_one_is_healthy(bins, timeouts, what):
    """Whatever the day was like, time-outs with it: by its own levels it is no harm."""
    known = Window(ok=sum(bins.values()), errors={"timeout": timeouts}, latency=bins)
    for level in latency_levels(what, known) or ():
        n = base_count(level.count.base, known)
        assert level.count.bad(known) <= level.healthy * n * (1 + 1e-9)


@pytest.mark.parametrize(
    ("known", "healthy"),
    [
        pytest.param(None, 0.004, id="no day"),
        pytest.param(calls(ok=99, p99=2_500), 0.004, id="too small a day"),
        pytest.param(calls(ok=20_000, p99=800), 0.004, id="never above it"),
        pytest.param(
            calls(ok=20_000, latency=latencies(800, 19_900, 2_500, 100)), 0.00625, id="0.5 %"
        ),
        pytest.param(
            calls(ok=20_000, latency=latencies(800, 19_000, 2_500, 1_000)), 0.008, id="5 %"
        ),
    ],
)
def test_the_level_of_a_latency_in_milliseconds(known, healthy):
    """`latency_p99 > 2 s` is: more than 1 % of the timed calls take longer than that."""
    (level,) = latency_levels(TOO_SLOW, known) or ()
    assert slower_than(level.count, 2_000)
    assert (level.limit, level.healthy) == pytest.approx((0.01, healthy))


@pytest.mark.parametrize(
    ("metric", "share"), [("latency_p50", 0.5), ("latency_p90", 0.1), ("first_token_p99", 0.01)]
)
def test_other_quantiles_have_one_rung(metric, share):
    """The ladder is the p99's; time to first token reads its own histogram."""
    known = calls(ok=20_000, p99=800, first_token=latencies(100, 20_000))
    (level,) = latency_levels(watch(metric, INCREASE, 1.0), known) or ()
    assert level.limit == pytest.approx(share)
    assert level.count.of == ("first_token" if metric.startswith("first") else "latency")


def test_what_is_compared_between_the_arms():
    """Errors by their count at once; latencies above the old p99, once that is known."""
    assert relative_count(FIVE, None) == Count("errors")
    assert relative_count(DOUBLED, None) is None
    known = relative_count(DOUBLED, calls(ok=1_000, p99=800))
    assert known is not None and slower_than(known, 800)
    assert relative_count(watch("quality", DROP, 0.2), None) is None


def test_a_quantile_is_read_off_its_own_histogram():
    """In milliseconds, from the timed calls."""
    window = calls(ok=10, p99=800, first_token=latencies(100, 10))
    assert quantile_of("latency_p99", window) == pytest.approx(800, rel=0.006)
    assert quantile_of("first_token_p99", window) == pytest.approx(100, rel=0.006)
    assert quantile_of("latency_p99", calls(ok=10)) is None


# --- Scores

QUALITY, STARS = ScoreRange(0, 1), ScoreRange(1, 5)
JUDGED = labels(0.78, 0.82, times=200)["quality"]  # mean 0.80, 400 labels
BOUND = 0.80 - 1.6449 * 0.02003 / 20


@pytest.mark.parametrize(
    ("condition", "declared", "bins", "loss"),
    [
        pytest.param((DROP, 0.2), QUALITY, JUDGED, 1 - 0.9 * BOUND, id="-20 %: half of it"),
        pytest.param((DROP, 0.1), QUALITY, JUDGED, 1 - 0.95 * BOUND, id="-10 %"),
        pytest.param((DROP, 0.05), QUALITY, JUDGED, 1 - 0.975 * BOUND, id="-5 %"),
        pytest.param(
            (INCREASE, 0.2), QUALITY, JUDGED, 1.1 * (1.6 - BOUND), id="+20 % where less is better"
        ),
        pytest.param((BELOW, 0.6), QUALITY, {}, 0.4, id="below 0.60, without any day"),
        pytest.param((ABOVE, 0.3), QUALITY, {}, 0.3, id="above 0.30"),
        pytest.param(
            (DROP, 0.2), STARS, {75: 400}, 1 - (0.9 * 4.0 - 1) / 4, id="4 stars of 5, -20 %"
        ),
        pytest.param((BELOW, 3.0), STARS, {}, 0.5, id="below 3 stars"),
    ],
)
def test_the_worst_mean_that_is_healthy(condition, declared, bins, loss):
    """m0 = 1 - (1 - d0) L: half of the drop that the policy minds, off the day's lower limit."""
    found = expected_loss(watch("quality", *condition), declared, bins, "v1", 50)
    assert found is not None and found.loss == pytest.approx(loss, abs=1e-4)


def test_the_threshold_is_the_policys_own():
    """The gate holds the newest labels against the whole drop, in the score's own units."""
    found = expected_loss(watch("score.stars", DROP, 0.2), STARS, {75: 400}, "v1", 50)
    assert found is not None and (found.source, found.n) == ("v1", 400)
    assert found.threshold == pytest.approx(3.2) and found.baseline == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("condition", "declared", "bins"),
    [
        pytest.param((DROP, 0.2), QUALITY, {}, id="no labels"),
        pytest.param((DROP, 0.2), QUALITY, {80: 49}, id="49 of 50"),
        pytest.param((DROP, 0.2), STARS, {1: 400}, id="nothing in the range is a fifth worse"),
        pytest.param((BELOW, 0.0), QUALITY, {}, id="nothing is below the range"),
        pytest.param((ABOVE, 1.0), QUALITY, {}, id="nothing is above it"),
    ],
)
def test_no_healthy_mean(condition, declared, bins):
    """Too small a day, or a limit that nothing could pass: there is nothing to bet against."""
    assert expected_loss(watch("quality", *condition), declared, bins, "v1", 50) is None


def test_labels_as_losses():
    """0 is the best end of the range and 1 the worst; a corrected label takes its loss back."""
    assert losses({0: 3, 75: 2, 100: -1, 50: 0}, up=False) == {1.0: 3, 0.25: 2, 0.0: -1}
    assert losses({0: 3, 75: 2}, up=True) == {0.0: 3, 0.75: 2}

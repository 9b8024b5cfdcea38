"""How a version of a story answers: its series as the windows of a process."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.policy import parse
from knowngood.core.window import latency_bucket, score_moments, total
from knowngood.sim.behaviour import Behaviour
from knowngood.sim.story import stories

POLICY = parse(
    {
        "policy": 1,
        "counters": ["fallback"],
        "scores": {"mood": {"min": -1, "max": 1}},
    }
)


def behaviour(**lines: str) -> Behaviour:
    """A version with these series; `__` stands for a dot."""
    named = {name.replace("__", "."): text for name, text in lines.items()}
    test = {"name": "x", "calls": "1", "versions": {"v1": named}, "expect": [{"never": "ask"}]}
    (story,) = stories({"tests": [test]}, POLICY)
    return Behaviour(story.versions["v1"], POLICY.scores)


def summed(answers: Behaviour, n: int, seconds: int):
    windows = [answers.window(n, step) for step in range(seconds)]
    return total(window for window in windows if window is not None)


def test_without_series_all_goes_well_and_nothing_is_measured():
    """A version that nothing is said of succeeds, untimed and unscored."""
    window = behaviour().window(20, 0)
    assert window is not None
    assert (window.ok, window.errors, window.latency, window.scores) == (20, {}, {}, {})


def test_shares_come_out_exactly():
    """300 seconds of 20 calls at 0.3 % are 18 failures, refusals and counters alike."""
    answers = behaviour(error_rate="0.3%", refusal_rate="1%", counter__fallback="0.5%")
    window = summed(answers, 20, 300)
    assert (window.call_count, window.errors) == (6_000, {"prompt": 18})
    assert window.counters == {"refusal": 60, "fallback": 30}


def test_failures_have_kinds_and_are_never_more_than_calls():
    """Each kind has its share; failures a second are cut at the calls there are."""
    window = summed(behaviour(error_rate="5%", error_rate__timeout="10%"), 7, 1_000)
    assert window.errors == {"prompt": 350, "timeout": 700}
    window = summed(behaviour(errors="2x10 90", errors__provider="1"), 4, 20)
    assert window.call_count == 80
    assert window.errors == {"prompt": 20 + 40, "provider": 10}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_calls_are_conserved(counts):
    """Whatever fails, as many calls come out as went in."""
    answers = behaviour(error_rate="50%", error_rate__timeout="50%", labels="0.4", quality="0.5")
    for step, n in enumerate(counts):
        window = answers.window(n, step)
        assert window is not None
        assert window.call_count == n
        assert window.ok >= 0
        assert sum(window.scores.get("quality", {}).values()) <= window.ok


def test_a_gap_in_failures_is_silence_and_in_scores_is_only_no_scores():
    """`_`: in failures nothing is reported at all; in scores and latencies calls go unmeasured."""
    answers = behaviour(error_rate="0%x1 _", quality="0.5x1 _", latency="1s _")
    assert answers.window(9, 0) is not None
    assert answers.window(9, 1) is None
    window = behaviour(quality="_", latency="_").window(9, 0)
    assert window is not None
    assert (window.ok, window.scores, window.latency) == (9, {}, {})


def test_a_timeout_is_timed_and_other_failures_are_not():
    """A failure that comes back at once says nothing of how long an answer takes."""
    answers = behaviour(latency="800ms", first_token="200ms", errors="1", errors__timeout="2")
    window = answers.window(10, 0)
    assert window is not None
    assert window.latency == {latency_bucket(800): 9}
    assert window.first_token == {latency_bucket(200): 7}


def test_scores_lie_above_and_below_in_turn():
    """The mean is the value and the standard deviation the spread, for odd counts as well."""
    n, mean, variance = score_moments(
        summed(behaviour(quality="0.7~0.2"), 3, 400).scores["quality"]
    )
    assert n == 1_200
    assert mean == pytest.approx(0.7)
    assert variance == pytest.approx(0.04, rel=0.01)


def test_labels_limit_how_many_are_scored():
    """A label every ten seconds, in the range that the policy declares for the score."""
    window = summed(behaviour(labels="0.1", score__mood="-0.5"), 5, 600)
    assert window.scores == {"mood": {25: 60}}


def test_sums_per_call():
    """Tokens and money a call."""
    window = summed(behaviour(tokens_per_call="500.5", cost_per_call="0.0012"), 2, 10)
    assert (window.input_tokens, window.cost_nano_usd) == (10_010, 24_000_000)
    assert Fraction(window.cost_nano_usd, 10**9) == Fraction("0.0012") * 20

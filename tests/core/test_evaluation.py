"""Evaluations: counts that can be, scores in their range, and whether they are enough."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.errors import BadEvaluation
from knowngood.core.evaluation import (
    EXAMPLES_MAX,
    UNIT,
    Evaluation,
    Example,
    Requirement,
    Results,
    Scale,
    Tally,
    Why,
    history_line,
    meets,
    newest,
    tally_of,
    tally_of_counts,
)
from knowngood.core.explain import answer_words, tally_words
from knowngood.core.gate import Answer

NOW_MS = 1_750_000_000_000
HOUR_MS = 3_600_000
ARTICLE = Requirement("accuracy", 0.75)


def evaluation(passed: int, failed: int, age_ms: int = 0, suite: str = "accuracy", id_: int = 1):
    tally = Tally(passed, failed)
    return Evaluation(
        "support", "v1", suite, "d1", tally, NOW_MS - age_ms, "ann", id=id_, because="nightly"
    )


# --- What cannot be


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        ({"passed_count": -1, "failed_count": 2}, "-1 cannot be the number of passed"),
        ({"passed_count": 1, "failed_count": -2}, "-2 cannot be the number of failed"),
        ({"passed_count": 1, "failed_count": 0, "skipped_count": -1}, "number of skipped"),
        ({"passed_count": 10**10, "failed_count": 0}, "from 0 to 1,000,000,000"),
        ({"passed_count": 0, "failed_count": 0}, "nothing was evaluated"),
        ({"passed_count": 0, "failed_count": 0, "skipped_count": 9}, "nothing was evaluated"),
        ({"passed_count": 3, "failed_count": 1, "error_count": 2}, "2 examples without a verdict"),
        ({"passed_count": 3, "failed_count": 1, "example_count": 3}, "3 examples were given for 4"),
        ({"passed_count": 3, "failed_count": 1, "score_mean": math.nan}, "nan is no mean"),
    ],
)
def test_counts_that_cannot_be_are_refused(counts, word):
    """Each with what was wrong."""
    with pytest.raises(BadEvaluation, match=word):
        Tally(**counts)


@pytest.mark.parametrize(
    ("stated", "word"),
    [
        ((5, None, 4, 0), "5 passed of 4 cases: that cannot be"),
        ((5, 1, 5, 0), "5 passed and 1 failed are not 5 cases"),
        ((5, None, None, 0), "how many failed"),
        ((-5, None, 4, 0), "-5"),
    ],
)
def test_stated_counts_do_not_contradict_each_other(stated, word):
    """More passes than cases, or a sum that is another, is a typing error."""
    with pytest.raises(BadEvaluation, match=word):
        tally_of_counts(*stated)


def test_failures_follow_from_the_cases():
    """75 of 100 and 75 passed, 25 failed are the same statement."""
    assert tally_of_counts(75, None, 100) == tally_of_counts(75, 25, None) == Tally(75, 25)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, -0.01, 1.01, 7])
def test_a_score_outside_of_its_range_is_refused(score):
    """NaN included; the message names the example and the declared range."""
    with pytest.raises(BadEvaluation, match=r"'case-1' is .*, outside of the declared 0 to 1"):
        UNIT.example("case-1", score)
    with pytest.raises(BadEvaluation, match="'case-1'"):
        Example("case-1", True, score)


@pytest.mark.parametrize(
    "scale",
    [(1, 1), (1, 0), (math.nan, 1), (0, math.inf), (-1e308, 1e308), (0, 1, 1.5), (0, 1, math.nan)],
)
def test_a_range_that_is_none_is_refused(scale):
    """Neither empty, upside down, endless, nor with a bar outside of it."""
    with pytest.raises(BadEvaluation):
        Scale(*scale)


@pytest.mark.parametrize(
    ("example", "word"),
    [(("", True), "1 to 100"), (("x" * 101, True), "has 101"), (("a", True, 1, True), "judged")],
)
def test_an_example_that_is_none_is_refused(example, word):
    """It has a name of sane length, and does not pass without having been judged."""
    with pytest.raises(BadEvaluation, match=word):
        Example(*example)


def test_an_example_stands_once_and_there_are_not_too_many():
    """Two outcomes of one example leave open which of them holds."""
    with pytest.raises(BadEvaluation, match="'a' is there twice"):
        tally_of(Results((Example("a", True), Example("a", False))))
    many = tuple(Example(str(i), True) for i in range(EXAMPLES_MAX + 1))
    with pytest.raises(BadEvaluation, match=r"5,001 examples are more than the 5,000"):
        tally_of(Results(many))
    assert tally_of(Results(many[1:])).passed_count == EXAMPLES_MAX


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan, 75])
def test_a_requirement_is_a_rate(rate):
    """75 % is 0.75; 75 is a mistake."""
    with pytest.raises(BadEvaluation):
        Requirement("accuracy", rate)


# --- What is counted


def test_what_could_not_be_judged_counts_as_failed():
    """Nothing has shown that the version can do it; skipped examples do not count."""
    examples = (
        Example("a", True, 0.9),
        Example("b", False, 0.2),
        Example("c", False, error=True),
    )
    tally = tally_of(Results(examples, skipped_count=4))
    assert tally == Tally(1, 2, 4, 1, 3, 0.55)
    assert tally_words(tally) == (
        "1 of 3 passed (33.3%), 1 of the others could not be judged, 4 skipped, mean score 0.550"
    )


@pytest.mark.parametrize(
    ("scale", "score", "value", "passed"),
    [
        (UNIT, 0.5, 0.5, True),
        (UNIT, 0.49, 0.49, False),
        (Scale(pass_at=0.8), 0.79, 0.79, False),
        (Scale(1, 5), 3, 0.5, True),
        (Scale(1, 5, 4), 3, 0.5, False),
        (Scale(-1, 1), -1, 0.0, False),
        (Scale(0, 10), 10, 1.0, True),
    ],
)
def test_scores_are_brought_to_one_range(scale, score, value, passed):
    """0 is the worst of the declared range and 1 the best; from the bar on, it has passed."""
    example = scale.example("a", score)
    assert (example.score, example.passed) == (pytest.approx(value), passed)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_a_tally_says_what_its_examples_say(scores):
    """Passed and failed are all of them, and the mean is theirs."""
    tally = tally_of(Results(tuple(UNIT.example(str(i), s) for i, s in enumerate(scores))))
    assert tally.passed_count == sum(score >= 0.5 for score in scores)
    assert tally.case_count == tally.example_count == len(scores)
    assert tally.score_mean == pytest.approx(sum(scores) / len(scores))


def test_the_line_of_history_says_what_was_found():
    """Who, of which version, with which counts; it belongs to no environment."""
    line = history_line(evaluation(75, 25, id_=7), "policy-1")
    assert (line.kind, line.environment, line.because) == ("evaluation.recorded", "", "nightly")
    assert line.detail == {
        "evaluation": 7, "version": "v1", "suite": "accuracy", "digest": "d1", "passed": 75,
        "failed": 25, "skipped": 0, "source": "record",
    }  # fmt: skip


# --- Whether it is enough


@pytest.mark.parametrize(
    ("evaluations", "gate", "words"),
    [
        ([], Answer.NOT_YET, "needs an evaluation: accuracy of at least 75%, and none is recorded"),
        ([evaluation(75, 25)], Answer.ALLOW, "accuracy 75.0% >= 75% (75 of 100)"),
        ([evaluation(74, 26)], Answer.DENY, "accuracy 74.0% < 75% (74 of 100)"),
        ([evaluation(9, 1, suite="tone")], Answer.NOT_YET, "needs an evaluation"),
        ([evaluation(9, 1, 2), evaluation(1, 9, 1, id_=2)], Answer.DENY, "10.0% < 75%"),
        ([evaluation(9, 1, 1, id_=2), evaluation(1, 9, 2)], Answer.ALLOW, "90.0% >= 75%"),
        ([evaluation(9, 1, id_=2), evaluation(1, 9, id_=1)], Answer.ALLOW, "90.0% >= 75%"),
    ],
)
def test_the_newest_evaluation_of_the_suite_counts(evaluations, gate, words):
    """The article's baseline test: accuracy >= 75 %; what was not tried is waited on."""
    answer = meets(evaluations, ARTICLE, NOW_MS)
    assert answer.answer is gate
    assert words in answer_words(answer)


def test_an_old_evaluation_is_waited_on():
    """It neither allows nor denies: the suite has to be run again."""
    wanted = Requirement("accuracy", 0.75, max_age_ms=HOUR_MS)
    fresh = meets([evaluation(9, 1, HOUR_MS)], wanted, NOW_MS)
    old = meets([evaluation(9, 1, 2 * HOUR_MS)], wanted, NOW_MS)
    assert (fresh.answer, old.answer, old.why) == (Answer.ALLOW, Answer.NOT_YET, Why.OLD)
    assert answer_words(old) == (
        "needs a newer evaluation: accuracy of at least 75%, and the last one is 2 h old "
        "(at most 1 h)"
    )
    ahead = meets([evaluation(9, 1, -5)], wanted, NOW_MS)
    assert (ahead.answer, ahead.age_ms) == (Answer.ALLOW, 0)


@given(st.integers(1, 400), st.data())
def test_the_bar_is_exact(cases, data):
    """A share that a person writes is held to the last digit: 7 of 100 is 7 %."""
    percent = data.draw(st.integers(0, 100))
    passed = data.draw(st.integers(0, cases))
    answer = meets(
        [evaluation(passed, cases - passed)], Requirement("accuracy", percent / 100), NOW_MS
    )
    enough = Fraction(passed, cases) >= Fraction(percent, 100)
    assert answer.answer is (Answer.ALLOW if enough else Answer.DENY)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b"])), max_size=8))
def test_newest_does_not_depend_on_the_order(of):
    """However the evaluations come, the one recorded last is the newest."""
    known = [evaluation(1, 0, age, suite, i) for i, (age, suite) in enumerate(of)]
    assert newest(known, "a") == newest(reversed(known), "a")
    assert (newest(known, "a") is None) == ("a" not in {suite for _, suite in of})

"""Comparing two versions on the same examples: exact, valid at any time, and right about better."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats  # type: ignore[import-untyped]  # it ships no types

from knowngood.core.evaluation import UNIT, Example
from knowngood.core.explain import better_words, paired_words
from knowngood.core.paired import (
    NEEDED_MAX,
    PROOF,
    log_differs,
    mcnemar_p,
    paired,
    pairs_to_proof,
)
from knowngood.core.stats import BETS

DIFFERENCES = st.lists(
    st.one_of(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-1, 1)), min_size=1, max_size=60
)


def outcomes(passed: str) -> tuple[Example, ...]:
    """Examples by their outcomes, in order: `1` passed, `0` failed, `e` not judged, `-` absent."""
    return tuple(
        Example(str(i), c == "1", error=c == "e") for i, c in enumerate(passed) if c != "-"
    )


# --- McNemar


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    """Two-sided on the discordant pairs, as scipy has it."""
    n = only_a + only_b
    expected = scipy_stats.binomtest(only_a, n, 0.5).pvalue if n else 1.0
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_p(only_a, only_b) == mcnemar_p(only_b, only_a)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (0, 5, 0.0625),
        (0, 6, 0.03125),
        (10, 10, 1.0),
        # As statsmodels says it: mcnemar([[101, 121], [59, 33]], exact=True), and others.
        (121, 59, 4.4344492637551645e-06),
        (24, 17, 0.34888887944907765),
        (22, 50, 0.0012935849626762883),
        (2_500, 2_500, 1.0),
    ],
)
def test_mcnemar_of_known_tables(only_a, only_b, p):
    """Six examples that all changed in one direction are the fewest that say something."""
    assert mcnemar_p(only_a, only_b) == pytest.approx(p, rel=1e-9)


def test_mcnemar_of_thousands_neither_overflows_nor_is_negative():
    """Counts beyond the exponent of a float."""
    assert mcnemar_p(0, 5_000) == 0.0
    assert 0 < mcnemar_p(2_300, 2_700) < 1e-7


# --- Betting


@given(DIFFERENCES)
def test_evidence_is_the_mean_of_the_bets(differences):
    """Half on a gain and half on a loss, each spread evenly: worked out the long way."""
    long_way = [math.prod(1 + side * f * d for d in differences) for side in (1, -1) for f in BETS]
    assert log_differs(differences) == pytest.approx(
        math.log(math.fsum(long_way) / len(long_way)), abs=1e-9
    )


@given(DIFFERENCES, st.randoms(use_true_random=False))
def test_evidence_depends_neither_on_order_nor_on_side(differences, lots):
    """Whoever comes first, and whichever version is called B."""
    shuffled = list(differences)
    lots.shuffle(shuffled)
    assert log_differs(shuffled) == pytest.approx(log_differs(differences), abs=1e-9)
    mirrored = [-d for d in differences]
    assert log_differs(mirrored) == pytest.approx(log_differs(differences), abs=1e-9)


@pytest.mark.parametrize("shape", ["coins", "rare", "scores"])
def test_looking_after_each_pair_cries_wolf_at_most_one_time_in_twenty(shape):
    """Versions that are alike, watched for 400 pairs: Ville's bound holds."""
    lots = random.Random(7)

    def one() -> float:
        if shape == "coins":
            return lots.choice((-1.0, 1.0))
        if shape == "rare":
            return lots.choice((-1.0, 1.0)) if lots.random() < 0.05 else 0.0
        return lots.random() ** 8 - lots.random() ** 8

    runs, crossed = 300, 0
    for _ in range(runs):
        weights = {(side, f): 0.0 for side in (1, -1) for f in BETS}
        for _ in range(400):
            d = one()
            for side, f in weights:
                weights[side, f] += math.log1p(side * f * d)
            if sum(map(math.exp, weights.values())) / len(weights) >= PROOF:
                crossed += 1
                break
    # 5 % is the bound; three standard errors above it would be 8.8 %.
    assert crossed / runs <= 0.05


@given(DIFFERENCES)
def test_what_is_needed_is_enough(differences):
    """If the pairs go on like these, it is proven with so many more, and not much earlier."""
    more = pairs_to_proof(differences)
    if more is None or log_differs(differences) >= math.log(PROOF):
        return
    assert 1 <= more <= NEEDED_MAX
    rounds = (len(differences) + more) // len(differences)
    if rounds < 200:
        assert log_differs(differences * (rounds + 1)) >= math.log(PROOF)
        few = differences * max(1, rounds // 2)
        assert log_differs(few) < math.log(2 * PROOF)


def test_nothing_is_promised_where_nothing_is_seen():
    """No difference, or one that drowns, is not proven by any number of pairs."""
    assert pairs_to_proof([]) is None
    assert pairs_to_proof([1.0, -1.0]) is None
    assert pairs_to_proof([1.0] * 501 + [-1.0] * 500) is None


# --- Both together


def test_a_comparison_is_of_what_both_were_judged_on():
    """Examples without a partner, and those that nobody could judge, are left out and counted."""
    found = paired(outcomes("1100-e1"), outcomes("10101e-"))
    assert (found.pair_count, found.left_out_count) == (4, 3)
    assert (found.only_a, found.only_b, found.discordant_count) == (("1",), ("2",), 2)
    assert (found.p, found.gain, found.needed_count) == (1.0, 0.0, None)


def test_nothing_in_common_proves_nothing():
    """No pair, no evidence, and the words say so."""
    found = paired(outcomes("1"), outcomes("-1"))
    assert (found.pair_count, found.p, found.log_e, found.is_proven) == (0, 1.0, 0.0, False)
    assert paired_words("v1", "v2", found) == "no example was judged with both v1 and v2"


@given(st.text("01e-", max_size=40), st.text("01e-", max_size=40))
def test_a_comparison_is_its_own_mirror(a, b):
    """Calling the versions the other way round changes the side and nothing else."""
    there, back = paired(outcomes(a), outcomes(b)), paired(outcomes(b), outcomes(a))
    assert (there.p, there.pair_count) == (back.p, back.pair_count)
    assert there.gain == -back.gain
    assert there.log_e == pytest.approx(back.log_e, abs=1e-9)
    assert set(there.only_a) == set(back.only_b)


def test_scores_tell_what_passing_does_not():
    """Where nothing changed sides, the scores may still prove who is better."""
    a = [UNIT.example(str(i), 0.6) for i in range(40)]
    b = [UNIT.example(str(i), 0.9) for i in range(40)]
    found = paired(a, b)
    assert (found.discordant_count, found.p, found.needed_count) == (0, 1.0, 0)
    assert found.is_proven and found.gain == pytest.approx(0.3)
    assert better_words("v1", "v2", found) == "v2 is better than v1: proven"


def test_a_score_is_not_held_against_a_word():
    """Where one of the two has no score, who passed is all that is compared."""
    scored = [UNIT.example(str(i), 0.6) for i in range(40)]
    found = paired(scored, outcomes("1" * 39 + "0"))
    assert (found.gain, found.needed_count is None) == (-1 / 40, False)
    assert paired(scored, outcomes("1" * 40)).log_e == 0


def test_the_words_say_what_it_takes():
    """Pairs, who passed alone, p, E, who is ahead, and about how many more pairs."""
    found = paired(outcomes("1" * 60 + "0" * 40), outcomes("1" * 66 + "0" * 34))
    assert paired_words("v1", "v2", found) == (
        "100 pairs, 6 discordant: 0 passed with v1 alone, 6 with v2 alone (McNemar p = 0.031); "
        "mean score +0.060 with v2, E = 4.9 of 20"
    )
    assert better_words("v1", "v2", found) == (
        "no difference is proven; v2 is ahead, and if it stays so, about 46 more pairs prove it"
    )
    worse = paired(outcomes("11" * 50), outcomes("01" * 50))
    assert better_words("v1", "v2", worse) == "v1 is better than v2: proven"
    same = paired(outcomes("10"), outcomes("10"))
    assert "there is none to be found" in better_words("v1", "v2", same)

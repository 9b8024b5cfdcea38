"""What makes a ladder, and what its stages are as routes: nobody ever changes sides twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core import ladder
from knowngood.core.errors import BadLadder
from knowngood.core.model import WHOLE_BP, Route
from knowngood.core.rollout import Ladder, Rollout, RolloutKind
from knowngood.core.routing import choose_bucket
from tests.core.build import MINUTE, NOW

CANARY, GRADUAL = RolloutKind.CANARY, RolloutKind.GRADUAL


def bp(*shares: float) -> tuple[int, ...]:
    """Percent as basis points."""
    return tuple(round(100 * share) for share in shares)


@pytest.mark.parametrize(
    ("kind", "shares", "words"),
    [
        (CANARY, (), "at least one stage"),
        (CANARY, (1, 5, 5, 100), "the stage 5% is there twice"),
        (CANARY, (1, 25, 5, 100), "do not rise: 5% comes after 25%"),
        (CANARY, (1, 5, 25), "the last stage is 25%, not 100%"),
        (CANARY, (1, 5, 120), "a stage of 120% is not between 0% and 100%"),
        (CANARY, (-1, 100), "a stage of -1% is not between"),
        (CANARY, (0, 100), "the first stage, 0%, changes nothing"),
        (CANARY, tuple(range(1, 101)), "100 stages are more than 20"),
        (GRADUAL, (75, 80, 0), "do not fall: 80% comes after 75%"),
        (GRADUAL, (75, 50, 25), "the last stage is 25%, not 0%"),
        (GRADUAL, (100, 50, 0), "the first stage, 100%, changes nothing"),
    ],
)
def test_what_is_no_ladder(kind, shares, words):
    """Stages that do not rise (or fall), repeat, or leave the traffic are refused in words."""
    with pytest.raises(BadLadder) as refused:
        ladder.check(Ladder(bp(*shares), MINUTE, MINUTE), kind)
    assert words in refused.value.message and refused.value.next_step


def test_a_hold_longer_than_the_wait_is_refused():
    """Nobody could be asked before the stage's least time is over."""
    with pytest.raises(BadLadder, match="held longer"):
        ladder.check(Ladder(bp(1, 100), 2 * MINUTE, MINUTE), CANARY)


RISING = st.sets(st.integers(1, 9_999), max_size=8).map(lambda s: (*sorted(s), WHOLE_BP))
FALLING = st.sets(st.integers(1, 9_999), max_size=8).map(lambda s: (*sorted(s)[::-1], 0))


def rollout(kind: RolloutKind, stages_bp: tuple[int, ...], holdback_bp: int = 0) -> Rollout:
    """At its first stage."""
    steps = Ladder(stages_bp, MINUTE, MINUTE)
    return Rollout(kind, "old", "new", steps, NOW, NOW, "test", "ann", holdback_bp=holdback_bp)


def served(found: Rollout) -> list[str]:
    """Who serves each of some hash buckets."""
    route = Route(ladder.arms(found), "salt", 1)
    return [choose_bucket(route, bucket).version for bucket in range(0, WHOLE_BP, 97)]


@given(RISING, st.sampled_from([0, 500, 5_000]))
def test_a_canary_only_ever_adds_units(stages_bp, holdback_bp):
    """Whoever has the new version keeps it up to the last stage, the holdback's share apart."""
    found = rollout(CANARY, stages_bp, holdback_bp)
    before = served(found)
    while not found.is_baking:
        found = ladder.onward(found, found.stage_ms + MINUTE)
        now = served(found)
        if found.is_baking and found.holdback_bp:
            assert now.count("old") > 0 or holdback_bp < 97
            break
        assert all(b == "old" or n == "new" for b, n in zip(before, now, strict=True))
        before = now
    assert found.share_bp == WHOLE_BP


@given(FALLING)
def test_a_gradual_rollback_never_moves_a_unit_to_the_bad_version(stages_bp):
    """Whoever has the target keeps it; in the end everybody does."""
    found = rollout(GRADUAL, stages_bp)
    before = served(found)
    for _ in stages_bp[1:]:
        found = ladder.onward(found, found.stage_ms + MINUTE)
        now = served(found)
        assert all(b == "old" or n == "new" for b, n in zip(before, now, strict=True))
        before = now
    assert set(served(found)) == {"new"}
    with pytest.raises(IndexError):
        ladder.onward(found, NOW)


@given(FALLING, st.integers(1, WHOLE_BP))
def test_a_gradual_rollback_begins_below_what_there_is(stages_bp, share_bp):
    """A canary of 5 % that is rolled back gradually is never first raised to 75 %."""
    left = ladder.below(Ladder(stages_bp, MINUTE, MINUTE), share_bp)
    assert all(stage < share_bp for stage in left.stages_bp)
    assert ladder.problem(left.stages_bp, GRADUAL) is None


def test_a_ladder_in_words():
    """The stage in force is marked."""
    found = ladder.onward(rollout(CANARY, bp(1, 2.5, 100)), NOW)
    assert ladder.stages_words(found) == "1% -> [2.5%] -> 100%"

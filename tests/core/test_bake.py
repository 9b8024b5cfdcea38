"""The bake: a candidate becomes known good by time, proof of safety, and no open finding."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core.model import Standing
from knowngood.core.stats import is_safe
from knowngood.core.window import EMPTY
from tests.core.build import (
    ALL_SILENT,
    BAD,
    DAY,
    FAIR,
    FINE,
    HOUR,
    MINUTE,
    NOW,
    Story,
    calls,
    decided,
    entry,
    kinds,
    moves,
    observed,
    pages,
    settled,
    state,
)

YOUNG = state(since=-HOUR)


@pytest.mark.parametrize(
    ("start", "seen", "waits_on"),
    [
        pytest.param(state(since=-HOUR + 1), FINE, "bake_time", id="an hour is not over"),
        pytest.param(YOUNG, calls(ok=69), "bake_evidence", id="69 clean calls"),
        pytest.param(YOUNG, calls(ok=100, errors=5), "bake_evidence", id="5 of 105 failed"),
        pytest.param(YOUNG, EMPTY, "bake_evidence", id="no calls"),
        pytest.param(YOUNG, calls(ok=1940, errors=60), "bake", id="an open question"),
    ],
)
def test_a_bake_says_what_it_waits_on(start, seen, waits_on):
    """Time, proof of safety and no open finding: each is said while it is missing."""
    end, done = settled(start, observed(v2=seen))
    assert end.standing("v2") is Standing.CANDIDATE
    waits = {w.kind for w in decided(end, observed(v2=seen)).waiting_on}
    assert waits_on in waits
    assert not moves(done)


def test_a_bake_says_how_many_calls_its_proof_takes():
    """A failure asks for 124 calls in all, not for 70."""
    waits = decided(YOUNG, observed(v2=calls(ok=99, errors=1))).waiting_on
    assert [(w.need, w.have) for w in waits if w.kind == "bake_evidence"] == [(124, 100)]


def test_a_candidate_that_survives_becomes_good():
    """An hour at 100 % and 70 clean calls: the ledger calls it good."""
    end, done = settled(YOUNG, observed(v2=calls(ok=70)))
    assert end.standing("v2") is Standing.GOOD
    assert kinds(done) == ["version.good"]


def test_the_bake_counts_all_calls_since_the_deploy():
    """A slow service has its 70 calls in an hour, not in five minutes."""
    end, _ = settled(YOUNG, observed(v2=calls(ok=70), over=HOUR))
    assert end.standing("v2") is Standing.GOOD


def test_nobody_bakes_on_a_part_of_the_traffic():
    """A canary is not good because it was small for an hour."""
    split = state("v1", entry("v1"), entry("v2", "candidate", -DAY), trial=("v2", 5000), since=-DAY)
    assert settled(split, observed(v1=FINE, v2=FINE))[0].standing("v2") is Standing.CANDIDATE


@pytest.mark.parametrize(
    ("bad", "n", "proven"),
    [
        pytest.param(0, 70, True, id="0 of 70"),
        pytest.param(0, 69, False, id="0 of 69"),
        pytest.param(1, 124, True, id="1 of 124"),
        pytest.param(1, 123, False, id="1 of 123"),
        pytest.param(5, 279, True, id="5 of 279"),
        pytest.param(5, 278, False, id="5 of 278"),
        pytest.param(400, 10_000, False, id="4 % of many"),
    ],
)
def test_the_proof_of_safety(bad, n, proven):
    """Evidence of 20 that fewer than 5 % fail, however often it is asked: to the call."""
    start = state(since=-2 * HOUR)
    end, _ = settled(start, observed(v2=calls(ok=n - bad, errors=bad), over=HOUR))
    assert (end.standing("v2") is Standing.GOOD) is proven
    assert is_safe(bad, n, 0.05) is proven


@given(st.integers(0, 60), st.integers(1, 2_000))
@settings(max_examples=60)
def test_a_good_version_was_proven(errors, ok):
    """Whatever was seen: good is only what was proven safe and has no open incident."""
    end, done = settled(YOUNG, observed(v2=calls(ok, errors), over=5 * MINUTE))
    if end.standing("v2") is Standing.GOOD:
        assert is_safe(errors, ok + errors, 0.05) and end.incident is None
        assert kinds(done)[-1] == "version.good"


def test_an_hour_of_little_trouble_is_baked_all_the_same():
    """An incident that was asked about and ended by itself keeps nobody from becoming good."""
    story = Story(YOUNG)
    story.until("incident.opened", v2=FAIR)
    story.sees(10 * MINUTE, v2=calls(ok=20_000))
    assert story.state.standing("v2") is Standing.CANDIDATE
    story.goes_on(5, v2=FINE)
    assert kinds(story.done)[-2:] == ["incident.resolved", "version.good"]


def test_a_version_in_breach_is_not_made_good():
    """The hour ends while a breach is being confirmed: clean calls before do not outweigh it."""
    story = Story(state(since=-HOUR + MINUTE))
    story.sees(v2=calls(ok=5_000))
    story.goes_on(50, v2=FINE)
    story.until("rollback.suspected", v2=BAD)
    story.until("rollback.switched", v2=BAD)
    assert story.now_ms - NOW > MINUTE and "version.good" not in kinds(story.done)


def test_nobody_is_made_good_unseen():
    """While the version is blind its bake waits, and people know of the blindness."""
    story = Story(state(since=-HOUR + 1))
    story.sees(0, v2=calls(ok=100))
    story.census = ALL_SILENT
    story.sees()
    assert story.state.standing("v2") is Standing.CANDIDATE
    assert kinds(story.done) == ["blind"] and len(pages(story.done)) == 1

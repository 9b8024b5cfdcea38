"""Recorded calls that are re-routed: the real route chooses, the backend's room decides."""

import random

import pytest

from knowngood.core.errors import BadLadder, BadRequest
from knowngood.core.policy import parse
from knowngood.core.rollout import Ladder
from knowngood.core.steps.rollouts import AT_ONCE
from knowngood.sim.reroute import Backend, Outcome, reroute
from knowngood.sim.trace import Call

POLICY = parse({})
START_MS = 1_700_049_600_000
STEPS = Ladder((100, 500, 2_500, 10_000), hold_ms=10_000, wait_ms=3_600_000)
WARM_UP_MS = 60_000
LATENCY_MS = 2_000.0
PER_S = 100
ROOMY = 1e9


def calls(seconds: int, units: int = 0, per_s: int = PER_S) -> list[Call]:
    """A steady stream; with units each call is somebody's."""
    return [
        Call(
            START_MS + number * 1000 // per_s,
            "recorded",
            f"user-{number % units}" if units else "",
            "ok",
            LATENCY_MS,
            None,
            10,
            10,
        )
        for number in range(seconds * per_s)
    ]


def played(ladder: Ladder, capacity: float, stream: list[Call], seed: int = 1) -> Outcome:
    backend = Backend(capacity, failure_share=0.002)
    return reroute(stream, POLICY, ladder, backend, random.Random(seed), WARM_UP_MS)


def test_a_backend_refuses_what_it_has_no_room_for():
    """Room comes back when a call has ended, not before."""
    backend = Backend(2, 0.0)
    assert [backend.refuses(at, 100.0) for at in (0, 10, 20, 99)] == [False, False, True, True]
    assert [backend.refuses(at, 100.0) for at in (100, 105, 110)] == [False, True, False]


def test_a_healthy_candidate_climbs_and_is_not_taken_off():
    """Each stage has about its share of the calls, and the real ladder's gates are passed."""
    outcome = played(STEPS, ROOMY, calls(300))
    assert [stretch.share_bp for stretch in outcome.stretches] == [100, 500, 2_500, 9_500]
    assert outcome.stopped_bp is None and outcome.harm_ms is None
    assert outcome.failed_count < 0.01 * outcome.call_count


@pytest.mark.slow
def test_units_go_where_their_hash_says():
    """Half of the traffic is half of the users, and never a call of the other half."""
    half = Ladder((5_000, 10_000), hold_ms=3_600_000, wait_ms=3_600_000)
    one = played(half, ROOMY, calls(120, units=1)).call_count
    assert one in (0, (120 - WARM_UP_MS // 1000 - 1) * PER_S)
    many = played(half, ROOMY, calls(120, units=500)).call_count
    assert many == pytest.approx(0.5 * 59 * PER_S, rel=0.1)
    assert many == played(half, ROOMY, calls(120, units=500), seed=2).call_count


@pytest.mark.slow
def test_what_only_shows_under_load_costs_less_in_a_canary():
    """A backend for a tenth of the load: fine at 5 %, stopped at 25 %; all at once it is worse."""
    room = 0.1 * PER_S * LATENCY_MS / 1000
    canary = played(STEPS, room, calls(300))
    at_once = played(AT_ONCE, room, calls(300))
    assert (canary.stopped_bp, at_once.stopped_bp) == (2_500, 10_000)
    assert "errors" in canary.because and canary.harm_ms is not None and at_once.harm_ms is not None
    assert at_once.harm_ms < canary.harm_ms
    assert 0 < canary.failed_count < 0.5 * at_once.failed_count
    early = canary.stretches[0]
    assert early.share_bp == 100 and early.failed_count <= 2
    assert at_once.failed_count > 0.8 * at_once.call_count


def test_a_candidate_that_was_taken_off_is_counted_to_the_last_call():
    """The rollback is served a second after it was decided, and that second counts."""
    outcome = played(AT_ONCE, 1, calls(300))
    assert outcome.harm_ms is not None
    assert outcome.call_count == outcome.harm_ms // 1000 * PER_S


def test_the_same_seed_gives_the_same_outcome():
    """Nothing but the seed decides."""
    stream = calls(90)
    assert played(STEPS, 20, stream) == played(STEPS, 20, stream)
    assert played(STEPS, 20, stream) != played(STEPS, 20, stream, seed=2)


def test_bad_input_is_refused():
    """No calls, and a ladder that falls."""
    with pytest.raises(BadRequest):
        played(STEPS, 1, [])
    with pytest.raises(BadLadder):
        played(Ladder((500, 100, 10_000), 0, 0), 1, calls(70))

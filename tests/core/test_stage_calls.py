"""What belongs to a stage: which calls prove it, and when its time is over."""

from dataclasses import replace

import pytest

from knowngood.core.rollout import Ladder
from knowngood.core.steps.advance import of_stage
from knowngood.core.steps.comparison import ASKED
from tests.core.build import FINE, HOUR, MINUTE, SECOND
from tests.core.climb import began, case


def test_a_stage_is_not_proven_by_calls_that_another_engine_missed():
    """One server saw more calls before the stage than another did: those are no calls of it."""
    story = began()
    story.goes_on(5, v1=FINE, v2=FINE)
    rollout = story.state.rollout
    ahead = replace(rollout, before_count=10_000, stage_ms=story.now_ms, unseen=False)
    story.state = replace(story.state, rollout=ahead)
    assert of_stage(case(story), ahead) == (0, 0)
    late = replace(ahead, stage_ms=story.now_ms - 2 * SECOND)
    story.state = replace(story.state, rollout=late)
    n, bad = of_stage(case(story), late)
    assert 0 < n < case(story).observed.evidence("v2").lifetime.call_count and bad == 0


def test_an_alarm_that_ended_brings_no_calls_of_earlier_stages_and_forgives_none_of_this_one():
    """The evidence begins anew with it; the stage is proven by what it has shown, all of it."""
    story = began()
    story.goes_on(5, v1=FINE, v2=FINE)
    seen = case(story)
    count = seen.observed.evidence("v2").lifetime.call_count
    counted = replace(story.state.rollout, before_count=count - 7, before_bad_count=0)
    ledger = tuple(replace(e, fresh_ms=story.now_ms) for e in story.state.ledger)
    ended = replace(story.state, rollout=counted, ledger=ledger)
    assert of_stage(replace(seen, state=ended), counted) == (7, 0)


@pytest.mark.parametrize(
    ("ago_ms", "left_ms"),
    [
        pytest.param(0, 5 * MINUTE, id="no end is near"),
        pytest.param(HOUR - MINUTE, MINUTE, id="the stage's time"),
        pytest.param(6 * HOUR - 2 * MINUTE, 2 * MINUTE, id="the time after which people are asked"),
        pytest.param(7 * HOUR, 5 * MINUTE, id="all of it is over"),
    ],
)
def test_a_stage_that_nobody_calls_is_looked_at_when_its_time_is_over(ago_ms, left_ms):
    """No report wakes a prompt without traffic, and it stands still for nobody's sake."""
    story = began()
    steps = Ladder((100, 10_000), hold_ms=HOUR, wait_ms=6 * HOUR)
    since_ms = story.now_ms - ago_ms
    rollout = replace(story.state.rollout, ladder=steps, stage_ms=since_ms, unseen=False)
    story.state = replace(story.state, rollout=rollout, told=(ASKED,) if ago_ms > 6 * HOUR else ())
    decision = story.decision()
    assert decision.actions == ()
    told_ms = 5 * SECOND if story.state.told else left_ms
    assert decision.recheck_after_ms == told_ms

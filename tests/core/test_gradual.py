"""Gradual rollbacks as stories: the bad version gives way, and its target is watched."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from knowngood.core.decide import decide
from knowngood.core.errors import BadLadder, BadRequest, InProgress
from knowngood.core.explain import finding_words
from knowngood.core.frozen import FROZEN, thaw
from knowngood.core.model import (
    CountRollback,
    Hold,
    Record,
    Route,
    Standing,
    Verdict,
    Verifying,
    whole,
)
from knowngood.core.rollout import Ladder
from knowngood.core.steps import operator, rollouts
from knowngood.core.window import Bucket
from tests.core.build import (
    ALL_SILENT,
    BAD,
    DAY,
    FINE,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    Detectors,
    Story,
    calls,
    entry,
    kinds,
    pages,
    policy,
    state,
)
from tests.core.climb import DOWN, NEW, began, case, giving_way, shares


def test_a_gradual_rollback_gives_way_and_is_verified():
    """75, 50, 25, 0 %: then it is proven on the target like any other."""
    story = giving_way()
    assert story.state.standing("v2") is Standing.QUARANTINED
    story.goes_on(41, v1=FINE, v2=FINE)
    assert shares(story) == [7_500, 5_000, 2_500, 0]
    assert story.state.route.arms == whole("v1")
    assert kinds(story.done)[-1] == "rollback.verified" or isinstance(story.state.phase, Verifying)
    story.goes_on(5, v1=FINE)
    assert "rollback.verified" in kinds(story.done) and story.state.rollout is None


def test_a_target_that_fails_pauses_it():
    """Worse than 2 % on the target: nobody else is moved, and on-call is paged."""
    story = giving_way()
    story.until("rollout.paused", v1=BAD, v2=FINE)
    assert story.state.rollout.pause.actor == "system"
    assert any("gradual rollback paused" in page.subject for page in pages(story.done))
    held = shares(story)
    story.goes_on(30, v1=BAD, v2=FINE)
    assert shares(story) == held


def test_a_gradual_rollback_needs_a_stage_below():
    """What has 5 % has nothing to give way by 75, 50 and 25 %: it can be rolled back at once."""
    story = began()
    story.goes_on(12, v1=FINE, v2=FINE)
    asked = operator.RollbackRequest("a little worse", gradual=DOWN, actor="ann")
    with pytest.raises(BadLadder, match="v2 has 5%"):
        operator.roll_back(case(story), asked)


def test_it_can_be_made_instant_at_any_moment():
    """A rollback without stages goes all the way now."""
    story = giving_way()
    story.goes_on(12, v1=FINE, v2=FINE)
    story.does(operator.roll_back(case(story), operator.RollbackRequest("enough")))
    assert story.state.route.arms == whole("v1") and isinstance(story.state.phase, Verifying)


def test_a_second_gradual_rollback_is_refused():
    """It is under way already; it can be skipped, paused, or made instant."""
    story = giving_way()
    with pytest.raises(InProgress, match="is being rolled back"):
        operator.roll_back(
            case(story), operator.RollbackRequest("again", gradual=DOWN, actor="bob")
        )
    with pytest.raises(BadRequest, match="bring it back"):
        rollouts.abort(story.state, "no")


def test_a_breach_on_the_way_down_ends_it_at_once():
    """The version that gives way turns critical: nobody waits for the next stage."""
    story = giving_way()
    story.until("rollback.switched", v1=FINE, v2=BAD)
    assert story.state.route.arms == whole("v1")


def test_a_brake_does_not_stop_what_gives_way():
    """Automation is off and the version breaks: the rollback by hand goes on all the same."""
    story = giving_way()
    story.state = replace(story.state, automation=Hold(NOW + HOUR, "a demo", "bob"))
    story.goes_on(45, v1=FINE, v2=BAD)
    assert story.state.route.arms == whole("v1")


def test_blind_moves_nobody_onto_the_target():
    """Nobody reports: the stage stays until somebody does."""
    story = giving_way()
    story.goes_on(5, v1=FINE, v2=FINE)
    story.census = ALL_SILENT
    story.goes_on(60)
    assert shares(story) == [7_500]


def test_a_canary_gives_way_from_where_it_stands():
    """At 25 % it goes to 10 % and never up to 75 %."""
    split = state(
        "v1", entry("v1", "good", -DAY), entry("v2", "candidate", -MINUTE), trial=("v2", 2_500)
    )
    story = giving_way(split, Ladder((7_500, 1_000, 0), 10 * SECOND, 10 * SECOND))
    assert story.state.rollout.ladder.stages_bp == (1_000, 0)
    assert story.state.route.salt == "salt"


def test_a_trigger_that_says_gradual_gives_way():
    """An automatic rollback by a `method: gradual` trigger takes its stages."""
    rules = policy(
        triggers={"error_critical": {"method": "gradual"}, "error_high": None},
        gradual={"stages": ["50%", "0%"], "hold": "10s"},
    )
    story = Story(NEW, rules)
    story.until("rollback.gradual", v2=BAD)
    assert isinstance(story.state.route, Route) and story.state.route.weight_bp("v2") == 5_000
    assert story.state.rollout.actor == "system"


def test_a_gradual_rollback_by_itself_goes_all_the_way():
    """The trigger that began it goes on being breached: no second suspicion, no flap guard."""
    rules = policy(
        triggers={"error_critical": {"method": "gradual"}, "error_high": None},
        gradual={"stages": ["50%", "0%"], "hold": "10s"},
    )
    story = Story(NEW, rules)
    story.until("rollback.gradual", v2=BAD)
    story.goes_on(15, v1=FINE, v2=BAD)
    assert story.state.route.arms == whole("v1") and "rollback.completed" in kinds(story.done)
    assert kinds(story.done).count("rollback.suspected") == 1
    assert any("GRADUAL ROLLBACK v2 -> v1" in page.subject for page in pages(story.done))


def test_the_flap_guard_does_not_slow_down_a_rollback_under_way():
    """It turns critical on the way down: the same rollback, made faster."""
    rules = policy(
        triggers={
            "error_critical": {"method": "gradual"},
            "error_high": None,
            "worse": {
                "when": "error_rate > 30%",
                "severity": "critical",
                "action": "rollback",
                "method": "instant",
            },
        },
        gradual={"stages": ["50%", "0%"], "hold": "10m"},
    )
    story = Story(NEW, rules)
    story.until("rollback.gradual", v2=BAD)
    story.until("rollback.switched", v1=FINE, v2=calls(ok=20, errors=80))
    assert story.state.route.arms == whole("v1")


def test_a_person_who_resumes_knows_what_the_target_did():
    """The target's failures before the word are no reason to pause again at once."""
    story = giving_way()
    story.until("rollout.paused", v1=BAD, v2=FINE)
    story.does(rollouts.resume(story.state, "it was one bad minute", story.now_ms))
    story.goes_on(60, v1=FINE, v2=FINE)
    assert kinds(story.done).count("rollout.paused") == 1
    assert shares(story)[-1] == 0


def test_a_pause_of_it_masks_no_rollback():
    """A person holds a rollback that began by itself, and the version goes on failing."""
    rules = policy(
        triggers={"error_critical": {"method": "gradual"}, "error_high": None},
        gradual={"stages": ["50%", "0%"], "hold": "10m"},
    )
    story = Story(NEW, rules)
    story.until("rollback.gradual", v2=BAD)
    story.does(rollouts.pause(story.state, "wait", "ann", story.now_ms))
    story.until("rollback.switched", v1=FINE, v2=BAD)
    assert story.state.route.arms == whole("v1")


# --- One rollback, however fast it ends

GENTLY = policy(
    triggers={
        "error_critical": {"method": "gradual"},
        "error_high": None,
        "worse": {
            "when": "error_rate > 30%",
            "severity": "critical",
            "action": "rollback",
            "method": "instant",
        },
    },
    gradual={"stages": ["50%", "0%"], "hold": "10m"},
)
WORST = calls(ok=20, errors=80)


def counted(actions) -> int:
    """How many rollbacks the flap guard was told of."""
    return sum(isinstance(action, CountRollback) for action in actions)


def test_a_gradual_rollback_that_turns_critical_is_counted_once():
    """The flap guard of the prompt and that of the fleet see one rollback, made faster."""
    story = Story(NEW, GENTLY)
    story.until("rollback.gradual", v2=BAD)
    assert counted(story.done) == 1
    story.until("rollback.suspected", v1=FINE, v2=WORST)
    story.buckets["v2"].append(Bucket(story.now_ms, WORST))
    story.now_ms += SECOND
    faster = story.decision()
    assert "rollback.switched" in kinds(faster.actions) and faster.fleet_actions == ()
    story.goes_on(1, v1=FINE)
    assert story.state.route.arms == whole("v1")
    assert counted(story.done) == 1 and len(story.state.rollbacks_ms) == 1


def test_a_person_who_makes_it_instant_adds_no_rollback():
    """What the system began is counted already, and by hand nothing is counted."""
    story = Story(NEW, GENTLY)
    story.until("rollback.gradual", v2=BAD)
    story.does(operator.roll_back(case(story), operator.RollbackRequest("now", actor="ann")))
    assert story.state.route.arms == whole("v1")
    assert counted(story.done) == 1 and len(story.state.rollbacks_ms) == 1


def test_a_gradual_rollback_by_hand_that_turns_critical_is_counted():
    """A person began it, so the system's own rollback is the first that there is."""
    story = giving_way()
    story.until("rollback.switched", v1=FINE, v2=BAD)
    assert counted(story.done) == 1


# --- The target beside what it replaces

SLOWLY = Ladder((7_500, 5_000, 2_500, 0), 10 * MINUTE, 10 * MINUTE)
# As the first stage splits them: a quarter to the target.
FAILING = calls(ok=493, errors=7)  # 1.4 %: below the 2 % that pause by themselves
WELL = calls(ok=1_498, errors=2)


def line_of(actions: Any, kind: str) -> Any:
    """The line of history of this kind."""
    return next(a for a in actions if isinstance(a, Record) and a.kind == kind)


def test_a_target_that_does_worse_than_what_it_replaces_pauses_it():
    """1.4 % beside 0.1 %: proven before 2 % are passed, with the reason in words."""
    story = giving_way(steps=SLOWLY)
    story.goes_on(60, v1=FAILING, v2=WELL)
    pause = story.state.rollout.pause
    assert pause is not None and pause.actor == "system"
    assert "the target v1 does worse: errors 1.4%" in pause.because
    assert "0.1% of v2, which it replaces: proven worse" in pause.because
    assert any("does worse" in page.subject for page in pages(story.done))
    assert shares(story) == [7_500]


def test_the_pause_can_be_decided_again_from_what_was_frozen():
    """The audit's line holds the evidence, and the same decision follows from it."""
    story = giving_way(steps=SLOWLY)
    line = line_of(story.until("rollout.paused", v1=FAILING, v2=WELL), "rollout.paused")
    found = [f for f in line.detail["findings"] if f["trigger"] == "worse_than_replaced"]
    assert found and found[0]["proof"]["log_e"] > math.log(100)
    assert "E = " in found[0]["proof_words"] and "than v2" in found[0]["proof_words"]
    kept = thaw(json.loads(json.dumps(line.detail[FROZEN])))
    again = decide(kept.state, kept.observed, story.policy, kept.now_ms)
    same = line_of(again.actions, "rollout.paused")
    assert same.because == line.because and same.detail["findings"] == line.detail["findings"]


@pytest.mark.parametrize(
    ("target", "replaced"),
    [
        pytest.param(FAILING, calls(ok=1_479, errors=21), id="alike: a common trouble"),
        pytest.param(FAILING, calls(ok=1_200, errors=300), id="better than what it replaces"),
        pytest.param(calls(ok=498, errors=2), calls(ok=1_500), id="healthy, beside a better one"),
    ],
)
def test_a_target_that_does_as_it_should_goes_on(target, replaced):
    """What troubles both speaks against neither, and health is never a reason to stay."""
    story = giving_way(steps=SLOWLY)
    asked = replace(story.policy, triggers=())
    story.policy, story.detectors = asked, Detectors(asked)
    story.goes_on(60, v1=target, v2=replaced)
    assert story.state.rollout.pause is None
    shown = {f.trigger: f for f in story.decision().findings}["worse_than_replaced"]
    assert shown.verdict is Verdict.CLEAR and shown.n >= 20


def test_a_target_that_gets_its_share_late_is_not_blamed():
    """For a while everybody still has the old version; then both fail alike."""
    story = giving_way(steps=SLOWLY)
    story.goes_on(90, v2=calls(ok=1_998, errors=2))
    story.goes_on(45, v1=calls(ok=493, errors=7), v2=calls(ok=1_479, errors=21))
    assert story.state.rollout.pause is None


def test_explain_shows_the_comparison_from_the_start():
    """Not proven is said too; and it is no baseline for anything else."""
    story = giving_way(steps=SLOWLY)
    story.goes_on(5, v1=FINE, v2=FINE)
    found = {f.trigger: f for f in story.decision().findings if f.version == "v1"}
    shown = found["worse_than_replaced"]
    assert shown.verdict is Verdict.CLEAR and "not proven worse" in finding_words(shown)
    critical = found["error_critical"].proof
    assert critical is not None and critical.log_e_relative is None

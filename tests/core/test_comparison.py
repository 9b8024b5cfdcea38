"""The A/B gate of a canary as stories: begun with each stage, asked before the last one."""

import json
from dataclasses import replace

import pytest

from knowngood.core.check import problems
from knowngood.core.codec import from_data, to_data
from knowngood.core.decide import decide
from knowngood.core.experiment_metric import slow_above
from knowngood.core.explain import wait_words
from knowngood.core.frozen import FROZEN, thaw
from knowngood.core.gate import Answer
from knowngood.core.model import Arm, Record, Route, SetRollout, State
from knowngood.core.rollout import Ladder, Rollout
from knowngood.core.steps import rollouts
from knowngood.core.steps.case import Case
from knowngood.core.steps.comparison import ab_gate, compares_units, with_comparison
from knowngood.core.trial import ExperimentState
from knowngood.core.unit_sums import Arms, Unit, counted, summary
from knowngood.core.window import Window, latency_bucket
from tests.core.build import (
    DAY,
    DEFAULT,
    FINE,
    MINUTE,
    NOW,
    SECOND,
    Story,
    entry,
    kinds,
    pages,
    policy,
    state,
)

OLD = state("v1", entry("v0", "good", -9 * DAY), entry("v1", "good", -2 * DAY), since=-2 * DAY)
STEPS = Ladder((500, 2_500, 10_000), 10 * SECOND, 2 * MINUTE)
AB = {"min_time": "20s", "min_units": 200, "max_units": 20_000, "guardrails": {"latency_p99": None}}
RULES = policy(bake={"for": "30s", "holdback": "5%"}, ab=AB)
HEALTHY_DAY = Window(ok=10_000, latency={latency_bucket(500): 10_000})


def arm(count: int, failing: float = 0.005, quality: float = 0.8) -> list[Unit]:
    """Users of whom some fail, with scores around a mean."""
    bad = round(count * failing)
    return [
        Unit(1, int(n < bad), {"quality": (1, quality + 0.1 * (-1) ** n)}) for n in range(count)
    ]


def arms(control: int, candidate: int, **worse: float) -> Arms:
    """So many users of each version; the candidate's differ by `worse`."""
    return Arms(summary(arm(control)), summary(arm(candidate, **worse)))


ALIKE = arms(30_000, 10_000)
WORSE = arms(30_000, 10_000, quality=0.7)
ASTRAY = arms(30_000, 12_000)
FEW = arms(300, 100)
HOPELESS = arms(66_000, 22_000, quality=0.785)


def began(rules=RULES, steps: Ladder = STEPS, day: Window | None = None) -> Story:
    """v2 has just begun to climb under a policy with a gate."""
    story = Story(OLD, rules)
    asked = rollouts.Promotion("v2", steps, 500, "better", "ann", policy=rules)
    story.does(rollouts.begin(story.state, asked, day, story.now_ms))
    return story


def last_stage(rules=RULES) -> Story:
    """v2 has come to 25 %, the last stage before everybody."""
    story = began(rules)
    story.goes_on(10, v1=FINE, v2=FINE)
    assert share(story) == 2_500
    return story


def share(story: Story) -> int:
    return story.state.route.weight_bp("v2")


def gate(story: Story):
    decision = story.decision()
    case = Case(story.state, story.observed(), story.policy, decision.findings, story.now_ms)
    return ab_gate(case, story.state.rollout)


# --- What is laid down


def test_every_stage_begins_a_comparison_with_its_own_share():
    """The share of a comparison never changes: a stage lays down a new one, with its time."""
    story = began()
    first = story.state.rollout.begun
    assert (first.share_bp, first.began_ms) == (500, NOW)
    assert first.rule == RULES.ab and list(first.scores) == ["quality"]
    story.goes_on(10, v1=FINE, v2=FINE)
    second = story.state.rollout.begun
    assert (second.share_bp, second.began_ms) == (2_500, NOW + 10 * SECOND)
    assert not problems(story.state)


@pytest.mark.parametrize(
    ("rules", "steps"),
    [
        pytest.param(DEFAULT, STEPS, id="the policy asks for none"),
        pytest.param(RULES, replace(STEPS, timed=True), id="on time alone"),
        pytest.param(RULES, replace(STEPS, stages_bp=(10_000,)), id="at once"),
    ],
)
def test_no_comparison_without_a_question(rules, steps):
    """Nothing is laid down, and nothing is waited for."""
    story = began(rules, steps)
    assert story.state.rollout.begun is None and gate(story) == ()


def test_the_bar_of_slow_calls_is_the_controls_healthy_day():
    """Its p99 at its upper limit and the margin, taken once, before the first call."""
    rules = policy(ab={**AB, "guardrails": {"latency_p99": "10%"}})
    story = began(rules, day=HEALTHY_DAY)
    assert story.state.rollout.begun.slow_above == slow_above(HEALTHY_DAY, 0.10)
    assert began(rules).state.rollout.begun.slow_above is None
    rollout = replace(story.state.rollout, begun=None)
    again = with_comparison(rollout, story.state, rules, None, NOW)
    assert again.begun == story.state.rollout.begun  # the day is in the ledger since then


def test_a_policy_that_changes_holds_for_the_next_rollout():
    """What was laid down with the promotion holds for every stage."""
    story = began()
    story.policy = DEFAULT
    story.goes_on(10, v1=FINE, v2=FINE)
    assert share(story) == 2_500 and story.state.rollout.begun.rule == RULES.ab


def test_a_route_that_is_taken_over_is_told_to_the_clients():
    """A split by hand becomes a canary where it stands; only a route tells who is compared."""
    split = replace(OLD, route=Route((Arm("v1", 9_500), Arm("v2", 500)), "salt", 7, NOW - DAY))
    story = Story(replace(split, ledger=(*OLD.ledger, entry("v2", "candidate", -DAY))), RULES)
    asked = rollouts.Promotion("v2", STEPS, 500, "better", "ann", policy=RULES)
    story.does(rollouts.begin(story.state, asked, None, story.now_ms))
    assert story.state.route.generation > 7 and story.state.route.salt == "salt"
    assert story.state.rollout.begun.share_bp == 500 and not problems(story.state)


def test_units_are_kept_while_they_are_compared():
    """At the generation of the stage in force, also when it is answered; else they may go."""
    story = last_stage()
    here = story.state
    generation = here.route.generation
    assert compares_units(here, generation) and not compares_units(here, generation - 1)
    story.arms = WORSE
    story.until("rollout.compared", v1=FINE, v2=FINE)
    assert story.state.rollout.answer is not None and compares_units(story.state, generation)
    plain = replace(here, rollout=replace(here.rollout, begun=None))
    for gone in (plain, replace(here, rollout=None), State("production", "cs")):
        assert not compares_units(gone, generation)


def test_a_skipped_stage_begins_a_comparison_too():
    """Whoever brings it to its share."""
    story = began()
    case = Case(story.state, story.observed(), RULES, (), story.now_ms)
    story.does(rollouts.skip(case, "sure", "ann"))
    assert story.state.rollout.begun.share_bp == 2_500


# --- What is asked


def test_the_gate_is_asked_before_the_last_stage_only():
    """At 5 % nobody is judged; at 25 % the ladder waits, and says for what."""
    story = began()
    assert gate(story) == ()
    story = last_stage()
    story.arms = FEW
    story.goes_on(15, v1=FINE, v2=FINE)
    assert share(story) == 2_500
    (found,) = gate(story)
    assert found.answer is Answer.NOT_YET
    words = [wait_words(wait) for wait in found.waiting_on]
    assert words[0] == "the A/B gate: 100 more units in the smaller arm (100 of 200)"
    assert "ab" in story.waits()


def test_a_candidate_that_is_alike_gets_everybody():
    """Once all is shown and the least time is over: remembered first, then the next stage."""
    story = last_stage()
    story.arms = ALIKE
    story.goes_on(19, v1=FINE, v2=FINE)
    assert share(story) == 2_500 and "full_day" not in story.waits()
    story.goes_on(1, v1=FINE, v2=FINE)
    assert share(story) == 9_500
    assert kinds(story.done)[-2:] == ["rollout.compared", "rollout.stage"]
    assert story.state.rollout.answer is None and story.state.rollout.begun is None


@pytest.mark.parametrize(
    ("seen", "said", "words"),
    [
        pytest.param(WORSE, ExperimentState.FAIL, "quality: worse by more than 2.0%", id="worse"),
        pytest.param(ASTRAY, ExperimentState.INVALID, "units are not split", id="astray"),
        pytest.param(HOPELESS, ExperimentState.INSUFFICIENT, "not shown", id="at the margin"),
    ],
)
def test_what_does_not_pass_asks_a_person_once(seen, said, words):
    """It stays at its stage, whatever comes later, until somebody decides."""
    story = last_stage()
    story.arms = seen
    story.goes_on(25, v1=FINE, v2=FINE)
    assert share(story) == 2_500 and story.state.rollout.answer.state is said
    (found,) = gate(story)
    assert found.answer is Answer.DENY and words in found.because
    (page,) = pages(story.done)
    assert page.audience == "product-owner" and "knowngood abort cs" in page.body
    story.arms = ALIKE
    story.goes_on(130, v1=FINE, v2=FINE)
    assert share(story) == 2_500 and len(pages(story.done)) == 1
    case = Case(story.state, story.observed(), RULES, (), story.now_ms)
    story.does(rollouts.skip(case, "we know better", "ann"))
    assert share(story) == 9_500


def test_harm_does_not_wait_for_the_day():
    """What is proven to be worse fails at once."""
    story = last_stage()
    story.arms = WORSE
    story.sees(v1=FINE, v2=FINE)
    assert story.state.rollout.answer.state is ExperimentState.FAIL


def test_whoever_was_asked_before_is_told_of_the_answer():
    """The stage had waited too long; the answer is news all the same, and breaks no state."""
    story = last_stage(policy(ab={**AB, "min_time": "2h"}))
    story.goes_on(121, v1=FINE, v2=FINE)
    assert kinds(story.done).count("rollout.waiting") == 1
    story.arms = WORSE
    story.sees(v1=FINE, v2=FINE)
    assert [page.audience for page in pages(story.done)] == ["on-call", "product-owner"]
    assert not problems(story.state)


def test_a_paused_rollout_is_compared_and_stays():
    """The answer comes in; the next stage waits for whoever paused it."""
    story = last_stage()
    story.does(rollouts.pause(story.state, "lunch", "ann", story.now_ms))
    story.arms = ALIKE
    story.goes_on(30, v1=FINE, v2=FINE)
    assert story.state.rollout.answer.state is ExperimentState.PASS and share(story) == 2_500


def test_a_plan_with_more_stages_asks_again_later():
    """An answer holds for its share; the new last stage is a new comparison."""
    story = last_stage()
    story.does(
        rollouts.replan(
            story.state, replace(STEPS, stages_bp=(2_500, 5_000, 10_000)), "slower", story.now_ms
        )
    )
    assert gate(story) == ()
    story.goes_on(12, v1=FINE, v2=FINE)
    assert share(story) == 5_000 and story.state.rollout.begun.share_bp == 5_000
    assert "rollout.compared" not in kinds(story.done)


def test_slow_calls_are_a_guardrail_like_any_other():
    """From the windows of both arms, as the caller sums them."""
    rules = policy(ab={**AB, "guardrails": {"latency_p99": "10%"}})
    story = began(rules, day=HEALTHY_DAY)
    story.goes_on(10, v1=FINE, v2=FINE)
    slow = {"latency_p99": counted(600, 10_000)}
    story.arms = Arms(
        summary(arm(30_000), {"latency_p99": counted(200, 30_000)}), summary(arm(10_000), slow)
    )
    story.sees(v1=FINE, v2=FINE)
    assert story.state.rollout.answer.state is ExperimentState.FAIL


def test_nobody_sees_a_final_answer_before_it_is_kept():
    """A look on data that the engine has not read yet says that the answer is on its way."""
    story = last_stage()
    story.arms = WORSE
    (found,) = gate(story)
    assert found.answer is Answer.NOT_YET and "about to be written down" in found.because
    assert wait_words(found.waiting_on[0]) == "the A/B gate: its answer, within a minute"
    story.sees(v1=FINE, v2=FINE)
    assert gate(story)[0].answer is Answer.DENY


# --- Kept and made again


@pytest.mark.parametrize(
    "seen", [ALIKE, WORSE, ASTRAY, HOPELESS], ids=["alike", "worse", "astray", "never"]
)
def test_the_decision_is_put_away_with_what_it_rests_on(seen):
    """Both arms are in the frozen look: thawed, the same decision follows, to the last bit."""
    story = last_stage()
    story.arms = seen
    story.goes_on(25, v1=FINE, v2=FINE)
    (line,) = [a for a in story.done if isinstance(a, Record) and a.kind == "rollout.compared"]
    look = thaw(json.loads(json.dumps(line.detail[FROZEN], allow_nan=False)))
    assert look.observed.arms == seen
    again = decide(look.state, look.observed, RULES, look.now_ms)
    assert line in again.actions


@pytest.mark.parametrize(
    "seen", [ALIKE, WORSE, ASTRAY, HOPELESS], ids=["alike", "worse", "astray", "never"]
)
def test_a_state_with_an_answer_is_remembered_exactly(seen):
    """As JSON and back: what was laid down, and what it said."""
    story = last_stage()
    story.arms = seen
    story.goes_on(25, v1=FINE, v2=FINE)
    kept = [a.rollout for a in story.done if isinstance(a, SetRollout) and a.rollout]
    for rollout in kept:
        data = json.loads(json.dumps(to_data(rollout), allow_nan=False))
        assert from_data(Rollout, data) == rollout
    assert from_data(State, json.loads(json.dumps(to_data(story.state)))) == story.state


def test_a_state_from_before_there_were_comparisons_is_read():
    """Its rollout has begun none."""
    story = began(DEFAULT)
    data = to_data(story.state)
    assert "begun" not in data["rollout"] and "answer" not in data["rollout"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param({"share_bp": 600}, "begun at another share", id="another share"),
        pytest.param(None, "never begun", id="never begun"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(wrong, message):
    """The share is the stage's, and an answer has a question."""
    story = last_stage()
    story.arms = WORSE
    story.sees(v1=FINE, v2=FINE)
    rollout = story.state.rollout
    begun = replace(rollout.begun, **wrong) if wrong else None
    bad = replace(story.state, rollout=replace(rollout, begun=begun))
    assert any(message in problem.message for problem in problems(bad))

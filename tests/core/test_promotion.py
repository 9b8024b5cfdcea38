"""The gates before a promotion, and the check of a rollback target, in their own words."""

from dataclasses import replace

import pytest

from knowngood.core.approvals import NO_VOTERS
from knowngood.core.errors import BadPolicy, TargetUnfit
from knowngood.core.evaluation import Evaluation, Tally
from knowngood.core.gate import Answer, closed
from knowngood.core.model import Confirming, Spell, Standing, State, Steady, Verifying
from knowngood.core.promotion import Soaked, fails_as_target, promotion_gates, soaked_since
from knowngood.core.steps import operator
from knowngood.core.steps.case import Case
from knowngood.core.steps.target import asked_of, choose_target, is_target_due, unfit_of
from tests.core.build import (
    BAD,
    DAY,
    HOUR,
    MINUTE,
    NOW,
    Story,
    entry,
    kinds,
    observed,
    policy,
    state,
)

SERVING = state("v1", entry("v1", "good", -2 * DAY), since=-2 * DAY)
CLEAN = Soaked(True, Standing.CANDIDATE, False, DAY, 500)
ARTICLE = policy(evaluations=[{"suite": "accuracy", "at_least": "75%"}])


def evaluated(passed: int, failed: int, age_ms: int = HOUR, version: str = "v2") -> Evaluation:
    """An evaluation of the suite `accuracy`."""
    return Evaluation(
        prompt="cs",
        version=version,
        digest="0" * 64,
        suite="accuracy",
        tally=Tally(passed, failed),
        source="test",
        actor="ann",
        recorded_ms=NOW - age_ms,
    )


def answers(where=SERVING, rules=None, soaked=CLEAN, evaluations=()):
    """Each gate's answer, by name."""
    found = promotion_gates(where, "v2", rules or policy(), soaked, evaluations, NO_VOTERS, NOW)
    return {gate.name: gate.answer.value for gate in found}


@pytest.mark.parametrize(
    ("soaked", "answer", "words"),
    [
        (CLEAN, "allow", "no breach"),
        (Soaked(), "allow", "nothing of this prompt was ever served on staging"),
        (Soaked(True), "deny", "never served on staging"),
        (replace(CLEAN, standing=Standing.QUARANTINED), "deny", "rolled back on staging"),
        (replace(CLEAN, has_trouble=True), "deny", "open incident on staging"),
        (replace(CLEAN, clean_ms=23 * HOUR), "not_yet", "23 h of 1 d without a breach"),
        (replace(CLEAN, call_count=99), "not_yet", "99 of 100 calls on staging"),
    ],
)
def test_the_soak(soaked, answer, words):
    """24 hours without a breach and enough calls, of prompts that are served on staging at all."""
    gates = promotion_gates(SERVING, "v2", policy(), soaked, (), NO_VOTERS, NOW)
    (gate,) = [gate for gate in gates if gate.name == "soak"]
    assert (gate.answer.value, words in gate.because) == (answer, True)


@pytest.mark.parametrize(
    ("rules", "soaked", "answer"),
    [
        (policy(soak={"required": "always"}), Soaked(), "deny"),
        (policy(soak={"required": "never"}), Soaked(True), "allow"),
        (policy(soak={"for": "1h", "min_calls": 0}), replace(CLEAN, clean_ms=HOUR), "allow"),
        (policy(soak={"environment": "production"}), Soaked(True), "allow"),
    ],
)
def test_the_soak_is_what_the_policy_asks_for(rules, soaked, answer):
    """Always, never, or for as long; and not where versions soak themselves."""
    assert answers(rules=rules, soaked=soaked)["soak"] == answer


def test_the_first_version_needs_no_soak():
    """There is nobody whom it could hurt more than no answer at all."""
    assert answers(State("production", "cs"), soaked=Soaked(True))["soak"] == "allow"


@pytest.mark.parametrize(
    ("spells", "left_ms", "span"),
    [
        ((), None, (NOW - DAY, NOW)),
        ((), NOW - HOUR, (NOW - DAY, NOW - HOUR)),
        ((Spell(NOW - 5 * HOUR, NOW - 4 * HOUR, "v2"),), None, (NOW - 4 * HOUR, NOW)),
        ((Spell(NOW - 5 * HOUR, NOW - 4 * HOUR, "v1"),), None, (NOW - DAY, NOW)),
        ((Spell(NOW - MINUTE, NOW, "v2"),), NOW - HOUR, (NOW - DAY, NOW - HOUR)),
    ],
)
def test_what_counts_for_the_soak(spells, left_ms, span):
    """From its deploy or its last trouble there, until now or until it left."""
    serving = "v2" if left_ms is None else "v3"
    there = state(
        serving,
        replace(entry("v2", "candidate", -DAY), left_ms=left_ms),
        entry("v3", "candidate", -HOUR),
        spells=spells,
    )
    assert soaked_since(there, "v2", NOW) == span
    assert soaked_since(there, "v9", NOW) is None


@pytest.mark.parametrize(
    ("evaluations", "answer"),
    [
        ([], "not_yet"),
        ([evaluated(75, 25)], "allow"),
        ([evaluated(74, 26)], "deny"),
        ([evaluated(74, 26, HOUR), evaluated(80, 20, MINUTE)], "allow"),
    ],
)
def test_a_recorded_evaluation(evaluations, answer):
    """The newest one of the suite counts: the article's accuracy of 75 %."""
    assert answers(rules=ARTICLE, evaluations=evaluations)["evaluation"] == answer
    assert answers(evaluations=evaluations)["evaluation"] == "allow"


def test_an_evaluation_gets_old():
    """What was measured a month ago is waited for anew."""
    rules = policy(evaluations=[{"suite": "accuracy", "at_least": "75%", "max_age": "7d"}])
    assert answers(rules=rules, evaluations=[evaluated(9, 1, 8 * DAY)])["evaluation"] == "not_yet"


def test_what_denies_comes_first():
    """Of several closed gates the one that only a person opens is named first."""
    rules = policy(evaluations=[{"suite": "accuracy", "at_least": "75%"}])
    gates = promotion_gates(SERVING, "v2", rules, Soaked(True), (), NO_VOTERS, NOW)
    assert [gate.answer for gate in closed(gates)] == [Answer.DENY, Answer.NOT_YET]


@pytest.mark.parametrize(
    "rule",
    [
        {"suite": "accuracy"},
        {"at_least": "75%"},
        {"suite": "accuracy", "at_least": "175%"},
        {"suite": "accuracy", "at_least": "75%", "for": ["lunch"]},
        {"suite": "accuracy", "at_least": "75%", "least": 1},
        "accuracy",
    ],
)
def test_a_rule_that_is_none_is_refused(rule):
    """When the policy is loaded, with its path."""
    with pytest.raises(BadPolicy, match=r"defaults\.evaluations\[0\]"):
        policy(evaluations=[rule])


# --- As the check of a rollback's target


def test_a_target_that_its_evaluation_speaks_against():
    """A failed one does; one that is missing keeps no rollback from happening."""
    assert fails_as_target(ARTICLE, [evaluated(60, 40)], NOW)
    assert fails_as_target(ARTICLE, [evaluated(80, 20)], NOW) is None
    assert fails_as_target(ARTICLE, [], NOW) is None
    only = policy(evaluations=[{"suite": "accuracy", "at_least": "75%", "for": ["promotion"]}])
    assert fails_as_target(only, [evaluated(60, 40)], NOW) is None


LEDGER = (
    entry("v0", "good", -9 * DAY),
    entry("v1", "good", -2 * DAY),
    entry("v2", "candidate", -HOUR),
)


def test_evaluations_are_asked_for_where_a_target_is_chosen():
    """Of the good versions alone, and only while a breach is confirmed or a rollback verified."""
    here = state("v2", *LEDGER)
    assert asked_of(here, ARTICLE) == ("v0", "v1")
    assert asked_of(here, policy()) == ()
    seen = [
        Steady(),
        Confirming("error_critical", "v2", NOW, NOW),
        Verifying("v2", "v1", (), NOW, NOW + HOUR, "system", automatic=True),
    ]
    assert [is_target_due(replace(here, phase=phase)) for phase in seen] == [False, True, True]


def test_what_is_recorded_says_who_is_unfit():
    """A version by its failed evaluation, with the reason; one without any is fit."""
    recorded = {"v0": [evaluated(80, 20)], "v1": [evaluated(60, 40)], "v3": []}
    unfit = unfit_of(ARTICLE, recorded, NOW)
    assert list(unfit) == ["v1"] and "60.0% < 75%" in unfit["v1"]


def test_the_next_good_one_is_taken():
    """Newest first, and those passed over that fail their evaluation."""
    here = state("v2", *LEDGER)
    assert choose_target(here, "v2", {}) == "v1"
    assert choose_target(here, "v2", {"v1": "accuracy 60.0% < 75%"}) == "v0"
    assert choose_target(here, "v2", {"v1": "low", "v0": "low"}) is None


def test_an_automatic_rollback_passes_over_it():
    """The switch goes to the newest good version that is fit."""
    story = Story(state("v2", *LEDGER))
    story.until("rollback.suspected", v2=BAD)
    real = story.detectors.read
    story.detectors.read = lambda where, seen: replace(  # type: ignore[method-assign]
        real(where, seen), unfit={"v1": "accuracy 60.0% < 75%"}
    )
    story.until("rollback.switched", v2=BAD)
    assert story.state.route.control.version == "v0"


def test_without_a_fit_target_a_person_is_asked():
    """The page names each version and why it is none."""
    story = Story(state("v2", *LEDGER))
    story.until("rollback.suspected", v2=BAD)
    real = story.detectors.read
    story.detectors.read = lambda where, seen: replace(  # type: ignore[method-assign]
        real(where, seen), unfit={"v1": "accuracy 60.0% < 75%", "v0": "accuracy 50.0% < 75%"}
    )
    done = story.sees(v2=BAD)
    assert kinds(done) == ["rollback.held"]
    assert any("v1 (accuracy 60.0% < 75%)" in getattr(a, "because", "") for a in done)


def test_a_person_may_insist():
    """By hand an unfit target is refused with what is known, unless it is overridden."""
    seen = replace(observed(), unfit={"v1": "accuracy 60.0% < 75%"})
    case = Case(state("v2", *LEDGER), seen, ARTICLE, (), NOW)
    with pytest.raises(TargetUnfit, match="by its last evaluation"):
        operator.roll_back(case, operator.RollbackRequest("now", target="v1"))
    insists = operator.RollbackRequest("now", target="v1", override=("target_evaluation",))
    assert operator.roll_back(case, insists)

"""The A/B gate: its five answers, in this order, and that each is final but one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.compare import absolute_difference, p_above, sample_ratio_p
from knowngood.core.experiment import (
    SAMPLE_RATIO_ALPHA,
    Begun,
    Experiment,
    ExperimentState,
    judge,
)
from knowngood.core.experiment_metric import MetricResult, slow_above, slow_calls
from knowngood.core.explain_experiment import (
    experiment_lines,
    experiment_words,
    gate_wait_words,
    result_words,
)
from knowngood.core.model import ScoreRange
from knowngood.core.rare import Failures, log_below, p_of
from knowngood.core.rules import Aim, ExperimentRule, Looks, Margin
from knowngood.core.unit_sums import ArmSummary, UnitSums, counted
from knowngood.core.window import Window, latency_bucket

DAY_MS = 86_400_000
SCORES = {
    "quality": ScoreRange(0, 1),
    "tone": ScoreRange(1, 5),
    "toxicity": ScoreRange(0, 1, better="lower"),
}
PASS, FAIL, CONTINUE, INVALID, INSUFFICIENT = ExperimentState
RULE = ExperimentRule()
BETTER = ExperimentRule(aim=Aim.SUPERIORITY)
ERRORS_ONLY = ExperimentRule(primary="error_rate", guardrails=(Margin("error_rate", 0.005),))


def graded(n: int, mean: float, sd: float = 0.2) -> UnitSums:
    """The sums of n units of this mean and spread, exactly."""
    return UnitSums(n, n * mean, n * mean * mean + (n - 1) * sd * sd)


def arm(
    n: int = 20_000, errors: float = 0.005, slow: float = 0.005, quality: float = 0.8
) -> ArmSummary:
    """An arm in which everything is as expected."""
    return ArmSummary(
        unit_count=n,
        metrics={
            "error_rate": counted(round(errors * n), n),
            "latency_p99": counted(round(slow * n), n),
            "quality": graded(n, quality),
        },
    )


def gate(
    control: ArmSummary,
    candidate: ArmSummary,
    rule: ExperimentRule = RULE,
    share_bp: int = 5_000,
    before: Experiment | None = None,
    elapsed_ms: int = DAY_MS,
) -> Experiment:
    return judge(
        Begun(rule, share_bp, 1_000, SCORES), control, candidate, before, 1_000 + elapsed_ms
    )


def kinds(found: Experiment) -> list[tuple[str, str]]:
    return [(reason.kind, reason.metric) for reason in found.reasons]


def of(found: Experiment, metric: str) -> MetricResult:
    return next(each for each in found.metrics if each.metric == metric)


@pytest.mark.parametrize(
    ("control", "candidate", "rule", "state", "why"),
    [
        pytest.param(arm(), arm(), RULE, PASS, ("shown", "quality"), id="alike"),
        pytest.param(arm(), arm(), BETTER, INSUFFICIENT, ("max_units", ""), id="not better"),
        pytest.param(arm(5_000), arm(5_000), BETTER, CONTINUE, ("open", "quality"), id="not yet"),
        pytest.param(arm(), arm(quality=0.82), BETTER, PASS, ("shown", "quality"), id="better"),
        pytest.param(arm(), arm(quality=0.77), BETTER, FAIL, ("harm", "quality"), id="worse"),
        pytest.param(arm(), arm(quality=0.75), RULE, FAIL, ("harm", "quality"), id="harm"),
        pytest.param(arm(), arm(errors=0.02), RULE, FAIL, ("harm", "error_rate"), id="errors"),
        pytest.param(arm(), arm(slow=0.04), RULE, FAIL, ("harm", "latency_p99"), id="slow"),
        pytest.param(
            arm(errors=0.0002), arm(errors=0.002), RULE, FAIL, ("harm", "error_rate"), id="tenfold"
        ),
        pytest.param(
            arm(slow=0.04), arm(slow=0.04), RULE, INSUFFICIENT, ("max_units", ""), id="both slow"
        ),
        pytest.param(arm(100), arm(100), RULE, CONTINUE, ("open", "quality"), id="few"),
        pytest.param(arm(), arm(18_000), RULE, INVALID, ("sample_ratio", ""), id="lost units"),
    ],
)
def test_answers(control, candidate, rule, state, why):
    """What is seen, the answer, and the first reason for it."""
    found = gate(control, candidate, rule)
    assert (found.state, kinds(found)[0]) == (state, why)
    assert found.is_final == (state is not CONTINUE)
    assert bool(found.waits) == (state is CONTINUE)
    assert all(line for line in experiment_lines(found))


def test_all_has_to_be_shown():
    """One guardrail that is open keeps the gate shut, and is named."""
    candidate = arm()
    heavy = replace(candidate, metrics={**candidate.metrics, "latency_p99": counted(95, 10_000)})
    found = gate(arm(), heavy, replace(RULE, max_units_count=50_000))
    assert found.state is CONTINUE
    assert kinds(found) == [("open", "latency_p99")]
    assert [wait.detail for wait in found.waits] == ["latency_p99"]


def test_one_metric_may_be_asked_twice():
    """To be better, and not to be worse by a margin: each has its own words."""
    assert experiment_words(gate(arm(), arm(quality=0.82), BETTER)).startswith(
        "Passed: quality: better; errors: not worse by 0.5 percentage points or more; "
        "p99 latency: not worse by 10.0% or more; quality: not worse by 2.0% or more"
    )
    both = experiment_words(gate(arm(), arm(quality=0.7, errors=0.03), BETTER))
    assert both == (
        "Failed: quality: worse, and had to be better; errors: more by over 0.5 percentage points, "
        "or more than twice as many; quality: worse by more than 2.0%."
    )


def test_harm_comes_first():
    """A better primary metric does not buy more errors."""
    found = gate(arm(), arm(quality=0.9, errors=0.02), BETTER)
    assert of(found, "quality").shown
    assert found.state is FAIL


def test_a_mismatch_says_nothing_about_the_metrics():
    """When units went astray, no result is shown: it might be believed."""
    found = gate(arm(10_000), arm(8_000, quality=0.5))
    assert found.state is INVALID and not found.metrics and not found.waits
    assert found.sample_ratio_p == sample_ratio_p((8_000, 10_000), (1, 1)) < SAMPLE_RATIO_ALPHA
    assert "not split as intended" in experiment_words(found)


def test_units_are_held_against_the_share():
    """1,000 of 20,000 units are right at 5 %, and wrong at 10 %."""
    assert gate(arm(19_000), arm(1_000), share_bp=500).state is not INVALID
    assert gate(arm(19_000), arm(1_000), share_bp=1_000).state is INVALID


def test_labels_that_are_missing_in_one_arm():
    """A judge that scores fewer of the candidate's units compares different things."""
    candidate = arm()
    few = replace(candidate, metrics={**candidate.metrics, "quality": graded(15_000, 0.8)})
    found = gate(arm(), few)
    assert (found.state, kinds(found)) == (INVALID, [("labels", "quality")])
    assert "labels for quality" in experiment_words(found)


def test_the_smallest_p_of_the_split_is_kept():
    """Evidence of a wrong split does not wear off."""
    first = gate(arm(1_000), arm(1_100))
    later = gate(arm(30_000), arm(30_000), before=first)
    assert first.state is CONTINUE
    assert later.sample_ratio_p == first.sample_ratio_p < 1


@pytest.mark.parametrize("state", [PASS, FAIL, INVALID, INSUFFICIENT])
def test_a_final_answer_stays(state):
    """Whatever comes later, what was decided was decided."""
    before = Experiment(state)
    assert gate(arm(), arm(quality=0.1), before=before) is before


@pytest.mark.parametrize(
    ("n", "elapsed_ms", "waiting"),
    [
        (150, DAY_MS, {"units"}),
        (20_000, DAY_MS - 1, {"full_day"}),
        (150, DAY_MS - 1, {"units", "full_day"}),
    ],
)
def test_a_day_and_enough_units(n, elapsed_ms, waiting):
    """Nothing passes before a full daily cycle and the least number of units."""
    both = arm(n, errors=0, slow=0)
    rule = replace(RULE, guardrails=(Margin("quality", 0.9),))
    found = gate(both, both, rule, elapsed_ms=elapsed_ms)
    assert of(found, "quality").shown
    assert found.state is CONTINUE
    assert {wait.kind for wait in found.waits} == waiting
    assert gate(arm(200), arm(200), rule).state is PASS


def test_harm_does_not_wait_for_the_day():
    """What is proven to be worse is worse in the first minute."""
    assert gate(arm(300), arm(300, errors=0.3), elapsed_ms=60_000).state is FAIL


def test_one_look_says_nothing_before():
    """At 999 of 1,000 units: no p-value, no interval; only a wrong split is told."""
    rule = replace(BETTER, looks=Looks.FIXED, max_units_count=1_000, guardrails=())
    found = gate(arm(999), arm(999, quality=0.1), rule)
    assert (found.state, kinds(found)) == (CONTINUE, [("one_look", "")])
    assert not found.metrics
    assert gate_wait_words(found.waits[0]) == (
        "the one look, at n = 1,000 units per arm; 999 so far"
    )
    assert gate(arm(999), arm(500), rule).state is INVALID


def test_one_look_is_the_last():
    """At n there is a verdict, and it is final; what is not shown then is never shown."""
    rule = replace(BETTER, looks=Looks.FIXED, max_units_count=1_000, guardrails=())
    open_look = gate(arm(1_000), arm(1_000, quality=0.81), rule)
    assert (open_look.state, open_look.waits) == (INSUFFICIENT, ())
    again = gate(arm(9_000), arm(9_000, quality=0.9), rule, before=open_look)
    assert again is open_look
    assert gate(arm(1_000), arm(1_000, quality=0.82), rule).state is PASS
    assert gate(arm(1_000), arm(1_000, quality=0.78), rule).state is FAIL


def test_one_look_is_the_plain_test():
    """It is a z-test: sharper at its n than what may be looked at any time."""
    once = replace(BETTER, looks=Looks.FIXED, max_units_count=1_000)
    at_n = arm(1_000), arm(1_000, quality=0.82)
    z = 0.02 / np.sqrt(2 * 0.04 / 1_000)
    plain = of(gate(*at_n, once), "quality")
    assert plain.p == pytest.approx(0.0253, abs=1e-4) and z == pytest.approx(2.236, abs=1e-3)
    assert of(gate(*at_n, replace(BETTER, max_units_count=1_000)), "quality").p > plain.p


def test_results_are_those_of_the_core():
    """No formula of its own: the sequence with a margin as a ratio, and the exact bets."""
    control, candidate = arm(5_000), arm(5_000, errors=0.006, quality=0.79)
    found = gate(control, candidate)
    kept = absolute_difference(
        control.of("quality").sample(), candidate.of("quality").sample(), 0.98
    )
    assert kept
    assert of(found, "quality").p == p_above(kept, 40_000)
    exact = p_of(log_below(Failures(25, 30, 10_000, 0.5), 0.005))
    assert of(found, "error_rate").p == exact
    assert found.units_count == 5_000
    assert [each.metric for each in found.metrics] == ["quality", "error_rate", "latency_p99"]


def test_units_with_a_label_count():
    """The primary metric's units are those with a label; waits say how many more it takes."""
    control = replace(arm(), metrics={**arm().metrics, "quality": graded(300, 0.8)})
    found = gate(control, control)
    assert found.units_count == 300
    wait = next(wait for wait in found.waits if wait.detail == "quality")
    assert wait.need and wait.eta_ms and wait.have == 300
    enough = replace(control, metrics={**control.metrics, "quality": graded(round(wait.need), 0.8)})
    assert of(gate(enough, enough), "quality").shown
    assert wait.eta_ms == pytest.approx((wait.need - 300) / 300 * DAY_MS)


def test_without_labels_it_says_so():
    """Nobody scored a call: the gate goes on and says what is missing, whatever the time."""
    unscored = ArmSummary(20_000, {"error_rate": counted(100, 20_000)})
    found = gate(unscored, unscored, elapsed_ms=30 * DAY_MS)
    assert found.state is CONTINUE
    assert "any value of quality" in "\n".join(experiment_lines(found))


@pytest.mark.parametrize(
    ("metric", "control", "worse"),
    [
        ("score.tone", 4.0, 3.5),
        ("score.toxicity", 0.2, 0.25),
        ("cost_per_call", 0.01, 0.012),
    ],
)
def test_each_metric_has_its_direction(metric, control, worse):
    """More toxicity or cost is worse, less tone is worse; the other way round is fine."""
    rule = ExperimentRule(primary=metric, guardrails=(Margin(metric, 0.02),))
    good, bad = (
        ArmSummary(9_000, {metric: graded(9_000, mean, sd=mean / 4)}) for mean in (control, worse)
    )
    assert gate(good, bad, rule).state is FAIL
    assert gate(bad, good, rule).state is PASS
    better = replace(rule, aim=Aim.SUPERIORITY)
    assert gate(bad, good, better).state is PASS
    assert gate(good, bad, better).state is FAIL


def test_a_primary_metric_may_be_rare():
    """Fewer errors, or fewer slow units, as what has to be better: exact as well."""
    rule = replace(ERRORS_ONLY, aim=Aim.SUPERIORITY)
    found = gate(arm(errors=0.02), arm(errors=0.01), rule)
    assert found.state is PASS
    assert gate(arm(errors=0.01), arm(errors=0.02), rule).state is FAIL
    slow = ExperimentRule(primary="latency_p99", aim=Aim.SUPERIORITY, guardrails=())
    assert gate(arm(slow=0.02), arm(slow=0.01), slow).state is PASS
    first = found.metrics[0]
    assert first.low and first.high and first.low < -0.01 < first.high < 0


@pytest.mark.parametrize(
    ("metric", "sums"),
    [
        ("quality", counted(980, 1_000)),
        ("quality", graded(49, 0.5)),
        ("quality", counted(500, 500)),
        ("cost_per_call", graded(100, 0.01, sd=0.05)),
    ],
)
def test_what_is_not_normal_is_not_judged(metric, sums):
    """20 of 1,000 away from the end of the range, fewer than 50, no spread, a wild cost: open."""
    rule = ExperimentRule(primary=metric, guardrails=(Margin(metric, 0.5),))
    both = ArmSummary(sums.unit_count, {metric: sums})
    found = gate(both, both, rule)
    assert found.state is CONTINUE
    assert not found.metrics[0].shown


def test_a_share_has_two_arms():
    """A candidate with nothing or with everything is compared with nobody."""
    for share_bp in (0, 10_000):
        with pytest.raises(ValueError, match="no comparison"):
            gate(arm(), arm(), share_bp=share_bp)


@given(
    st.integers(60, 20_000),
    st.floats(0, 0.2),
    st.floats(0, 0.2),
    st.floats(0.3, 0.9),
    st.floats(0.3, 0.9),
)
def test_swapping_the_arms_swaps_better_and_worse(n, e0, e1, q0, q1):
    """At half and half: what is shown better one way is worse the other way."""
    one, other = arm(n, errors=e0, quality=q0), arm(n, errors=e1, quality=q1)
    rule = replace(BETTER, guardrails=(), max_units_count=10**6)
    there, back = gate(one, other, rule), gate(other, one, rule)
    a, b = there.metrics[0], back.metrics[0]
    assert (a.p, a.harm_p) == pytest.approx((b.harm_p, b.p))
    assert (there.state is FAIL) == (back.state is PASS)


@given(st.integers(60, 20_000), st.floats(0, 0.05), st.integers(0, 50), st.floats(0, 0.05))
def test_more_failures_never_help(n, errors, more, slow):
    """One failure or slow unit more of the candidate: what was open is not shown by it."""
    control, candidate = arm(n, errors, slow), arm(n, errors, slow)
    bad = candidate.of("error_rate").total
    worse = replace(
        candidate,
        metrics={**candidate.metrics, "error_rate": counted(round(min(n, bad + more)), n)},
    )
    rule = replace(RULE, max_units_count=10**6)
    better, after = (of(gate(control, each, rule), "error_rate") for each in (candidate, worse))
    assert after.p >= better.p * (1 - 1e-9)
    assert after.harm_p <= better.harm_p * (1 + 1e-9)
    assert not (after.shown and after.harmed and more == 0)


def test_slow_calls_are_counted_above_the_old_p99():
    """The healthy day's p99 with its margin is the bar; a call that timed out is slow."""
    day = Window(ok=1_000, latency={latency_bucket(100): 985, latency_bucket(1_000): 15})
    above = slow_above(day, 0.1)
    assert above == latency_bucket(1_100)
    later = Window(ok=96, errors={"timeout": 1}, latency={above: 95, above + 1: 2})
    assert slow_calls(later, above) == counted(2, 97)
    assert slow_above(Window(latency={5: 458}), 0.1) is None


def test_words():
    """A gate in numbers, as the CLI and the page show it."""
    found = gate(arm(2_000), arm(2_000, errors=0.006, quality=0.79))
    lines = list(experiment_lines(found))
    assert lines[0].startswith("Goes on: not shown yet: quality not worse by 2.0%")
    assert lines[1].startswith("quality -1.25% (")
    assert lines[2].startswith("errors +0.10 pp (")
    assert "margin 0.5 percentage points: open" in lines[2]
    assert "slower than the old p99 + 10.0%, limit 1.0%" in lines[3]
    assert lines[4].startswith("waiting on about ")
    nothing = MetricResult("quality", 0.02, 3, 4)
    assert result_words(nothing) == "quality: too few to compare (3 and 4 units)"

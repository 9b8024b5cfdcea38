"""What a ladder takes at today's traffic: exact counts, known sample sizes, honest words."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.compare import anytime_factor, needed_for_means
from knowngood.core.explain_experiment import plan_lines, plan_reason_words
from knowngood.core.plan import (
    ALMOST_SURE,
    FAILURES_MAX,
    LIKELY,
    POWER,
    GateNeed,
    Plan,
    PlanReason,
    Spread,
    Today,
    calls_to_be_safe,
    gate_needs,
    plan,
    stage_need,
)
from knowngood.core.rare import needed_for_below, needed_for_rate_below
from knowngood.core.rollout import Ladder
from knowngood.core.rules import Aim, ExperimentRule, Looks, Margin
from knowngood.core.stats import is_safe, safe_calls

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
LADDER = Ladder((100, 500, 2_500, 10_000), 10 * MINUTE_MS, 6 * HOUR_MS)
BUSY = Today(10, 200_000, 0.005, 0.006, {"quality": Spread(0.8, 0.2)})
QUIET = replace(BUSY, calls_per_s=0.5, units_per_day=5_000)
RULE = ExperimentRule()


def shares(found: Plan) -> list[int]:
    return [each.share_bp for each in found.proposed]


def kinds(found: Plan) -> list[str]:
    return [reason.kind for reason in found.reasons]


@pytest.mark.parametrize(
    ("rate", "limit", "likely", "sure"),
    [(0.005, 0.05, 70, 168), (0.005, 0.02, 314, 870), (0.0, 0.05, 70, 70), (0.0, 0.01, 358, 358)],
)
def test_calls_until_safe_are_the_published_ones(rate, limit, likely, sure):
    """Median and 95th percentile of the design's table, here exact."""
    assert calls_to_be_safe(rate, limit, LIKELY) == likely
    assert calls_to_be_safe(rate, limit, ALMOST_SURE) == sure


def test_calls_until_safe_by_simulation():
    """2 % of failures against 5 %: the share of simulated versions that are safe by then."""
    bad = (np.random.default_rng(2).random((2_000, 800)) < 0.02).cumsum(axis=1)
    at = np.array([safe_calls(b, 0.05) for b in range(60)])
    safe = np.arange(1, 801) >= at[bad]
    for chance in (LIKELY, ALMOST_SURE):
        calls = calls_to_be_safe(0.02, 0.05, chance)
        assert calls
        assert safe[:, :calls].any(axis=1).mean() >= chance - 0.02
        assert safe[:, : calls - 1].any(axis=1).mean() <= chance + 0.02


@given(st.floats(0, 0.03), st.floats(0, 0.03))
def test_a_healthier_version_is_safe_sooner(one, other):
    """Fewer failures never take more calls, and no chance is reached before a smaller one."""
    healthy, worse = sorted((one, other))
    a, b = (calls_to_be_safe(rate, 0.05, LIKELY) for rate in (healthy, worse))
    late = calls_to_be_safe(healthy, 0.05, ALMOST_SURE)
    assert a and b and late and a <= min(b, late)


@given(st.integers(0, 300), st.sampled_from([0.01, 0.05, 0.2]))
def test_so_many_calls_are_just_enough(bad, limit):
    """One call fewer with these failures proves nothing."""
    calls = safe_calls(bad, limit)
    assert is_safe(bad, calls, limit)
    assert calls - 1 <= bad or not is_safe(bad, calls - 1, limit)


@pytest.mark.parametrize("rate", [0.04, 0.05, 0.2, 1.0])
def test_never_is_said(rate):
    """At the limit, above it, or so close below that FAILURES_MAX failures prove nothing."""
    assert FAILURES_MAX == 400
    assert calls_to_be_safe(rate, 0.05, ALMOST_SURE) is None
    found = plan(LADDER, replace(BUSY, error_rate=rate), None)
    assert (shares(found), kinds(found)[-1], found.total_ms) == ([], "too_close", None)
    assert "1%: proof of safety never" in plan_lines(found)


def test_stage_times_follow_traffic():
    """70 and 168 calls: at 10 calls a second and 1 % every tenth second brings one."""
    need = stage_need(100, BUSY, None)
    assert (need.likely_ms, need.sure_ms, need.gate) == (700_000, 1_680_000, ())
    assert stage_need(1_000, BUSY, None).sure_ms == 168_000
    with pytest.raises(ValueError, match="no stage"):
        stage_need(0, BUSY, None)


def test_a_ladder_that_works_is_left_alone():
    """Enough traffic and no gate: nothing to propose."""
    found = plan(LADDER, BUSY, None)
    assert (shares(found), found.reasons) == (list(LADDER.stages_bp), ())
    assert found.total_ms == 1_680_000 + 2 * 10 * MINUTE_MS


def test_a_first_stage_that_takes_too_long_is_raised():
    """Half a call a second: 1 % needs over nine hours, 2 % not five."""
    found = plan(LADDER, QUIET, None)
    assert shares(found) == [200, 500, 2_500, 10_000]
    assert [(r.kind, r.share_bp, r.to_bp) for r in found.reasons] == [
        ("too_slow", 100, 0),
        ("raised", 100, 200),
    ]
    lines = list(plan_lines(found))
    assert lines[0] == "1%: proof of safety 3 h 53 min, up to 9 h 20 min"
    assert lines[4].startswith("proposed: 2%, 5%, 25%, 100% (about ")
    assert (
        lines[-1] == "because 2% instead of 1% is the smallest first stage that is proven in time"
    )


def test_a_stage_close_to_the_next_is_no_step():
    """At 0.05 calls a second 20 % would do, but 25 % is there already."""
    found = plan(LADDER, replace(BUSY, calls_per_s=0.05), None)
    assert shares(found) == [2_500, 10_000]
    assert kinds(found) == ["too_slow", "too_slow"]


@pytest.mark.parametrize("calls_per_s", [0.005, 0.0])
def test_too_little_traffic_is_told(calls_per_s):
    """When one half of the traffic proves nothing in time, no ladder is proposed."""
    found = plan(LADDER, replace(QUIET, calls_per_s=calls_per_s), RULE)
    assert (shares(found), kinds(found)[-1], found.total_ms) == ([], "too_little_traffic", None)
    assert "proposed: no ladder; a person has to decide" in plan_lines(found)


def test_the_gate_needs_what_its_metrics_need():
    """The formulas of the core, each metric with a third of the risk, the slowest one decides."""
    power = 1 - (1 - POWER) / 3
    needs = {each.metric: each.units_count for each in gate_needs(RULE, BUSY, 0.5)}
    errors = needed_for_below(0.005, 0.005, 0.5, 0.005, 0.05, power)
    slow = needed_for_rate_below(0.006, 0.01, 0.05, power)
    assert errors and slow
    assert needs == {
        "error_rate": -(-errors // 2),
        "latency_p99": slow,
        "quality": needs["quality"],
    }
    one_look = needed_for_means(0.04, 0.016, 0.05, power, sides=1)
    assert needs["quality"] == pytest.approx(one_look * anytime_factor(0.05, power, 1), abs=2)
    stage = stage_need(5_000, BUSY, RULE)
    assert stage.gate_units_count == slow
    assert stage.gate_ms == DAY_MS  # 100,000 units a day in each arm: the daily cycle decides
    assert stage_need(500, BUSY, RULE).gate_ms == pytest.approx(slow / 10_000 * DAY_MS, abs=1)


def test_an_arm_that_is_small_needs_fewer_units():
    """Beside a large control each unit of the candidate tells more: half as many at most."""
    means = [
        next(e.units_count for e in gate_needs(RULE, BUSY, share) if e.metric == "quality") or 0
        for share in (0.5, 0.25, 0.01, 0.99)
    ]
    assert means[0] > means[1] > means[2] == means[3] > means[0] / 2


def test_better_needs_a_lift():
    """The primary metric first, with a part of the risk of its own; a rate by half a point."""
    better = replace(RULE, aim=Aim.SUPERIORITY)
    needs = list(gate_needs(better, BUSY, 0.5))
    assert [each.metric for each in needs] == ["quality", "error_rate", "latency_p99", "quality"]
    rare = replace(better, primary="error_rate")
    assert next(iter(gate_needs(rare, BUSY, 0.5))).units_count


def test_one_look_is_at_its_number():
    """With one look the gate ends at max_units, if they are enough; it needs fewer for the same."""
    means = (Margin("quality", 0.02),)
    once = replace(RULE, looks=Looks.FIXED, guardrails=means, max_units_count=3_000)
    assert stage_need(5_000, BUSY, once).gate_units_count == 3_000
    assert stage_need(5_000, BUSY, replace(once, max_units_count=1_000)).gate_units_count is None
    (fixed,), (anytime,) = (
        list(gate_needs(replace(once, looks=looks), BUSY, 0.5))
        for looks in (Looks.FIXED, Looks.ANYTIME)
    )
    assert fixed.units_count and anytime.units_count
    assert fixed.units_count < anytime.units_count


def test_the_gate_moves_to_one_half():
    """5,000 units a day: nine days at 25 %, under five at 50 %, and both are told to be long."""
    found = plan(LADDER, QUIET, RULE)
    assert shares(found) == [200, 500, 2_500, 5_000, 10_000]
    half = found.reasons[-2]
    assert (half.kind, half.share_bp, half.to_bp) == ("gate_at_half", 2_500, 5_000)
    assert kinds(found)[-1] == "wait_longer"
    assert half.need_ms and found.total_ms and found.total_ms > half.need_ms > 4 * DAY_MS
    assert any("A/B gate 9 d" in line for line in plan_lines(found))
    quick = plan(replace(LADDER, wait_ms=10 * DAY_MS), BUSY, RULE)
    assert shares(quick) == list(LADDER.stages_bp) and quick.reasons == ()


def test_a_gate_that_never_ends_is_told():
    """A margin that takes more units than max_units, and calls that come without a unit."""
    narrow = replace(RULE, guardrails=(Margin("error_rate", 0.001), Margin("quality", 0.02)))
    found = plan(LADDER, BUSY, narrow)
    assert [(r.kind, r.metric) for r in found.reasons] == [("gate_never", "error_rate")]
    assert found.total_ms is None
    assert "proposed: 1%, 5%, 25%, 100% (never ends)" in plan_lines(found)
    nobody = plan(LADDER, replace(BUSY, units_per_day=0), RULE)
    assert kinds(nobody) == ["no_units"]
    assert any("and none come" in line for line in plan_lines(nobody))
    nothing = replace(BUSY, slow_share=0.02)
    assert list(gate_needs(RULE, nothing, 0.5))[1] == GateNeed("latency_p99", None)


def test_what_is_not_known_is_left_out_and_said():
    """No scores and no latencies yet: the plan is for errors alone, and says so."""
    found = plan(LADDER, Today(10, 200_000, 0.005), RULE)
    unknown = [reason.metric for reason in found.reasons if reason.kind == "unknown"]
    assert unknown == ["latency_p99", "quality"]
    assert stage_need(5_000, Today(10, 200_000, 0.005), RULE).gate_units_count


@given(
    st.floats(0.001, 50),
    st.floats(10, 1e6),
    st.floats(0, 0.06),
    st.lists(st.integers(1, 9_999), min_size=1, max_size=5, unique=True),
    st.sampled_from([None, RULE, replace(RULE, aim=Aim.SUPERIORITY)]),
)
def test_whatever_is_proposed_works(calls_per_s, units_per_day, rate, stages, rule):
    """Proposed stages rise to the whole, each is proven in time, and each reason has words."""
    ladder = replace(LADDER, stages_bp=(*sorted(stages), 10_000))
    found = plan(ladder, Today(calls_per_s, units_per_day, rate), rule)
    proposed = shares(found)
    assert proposed == sorted(set(proposed))
    assert not proposed or proposed[-1] == 10_000
    assert len(found.stages) == len(ladder.stages_bp)
    for each in found.proposed:
        in_time = each.sure_ms is not None and each.sure_ms <= ladder.wait_ms
        assert in_time or rule is not None
    assert all(plan_reason_words(reason) != reason.kind for reason in found.reasons)
    assert list(plan_lines(found))


def test_an_unknown_reason_is_its_own_word():
    """Words that are missing are no crash."""
    assert plan_reason_words(PlanReason("else")) == "else"

"""What the A/B gate promises, by seeded simulation: seldom wrong, however often one looks.

The simulations are those of `make bench-detect`; the published figures are those of the design.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from bench.experiment import (
    SUPERIOR,
    TRUTHS,
    Truth,
    clustered,
    gate_run,
    looked,
    needed_z,
    share,
    z_values,
)
from knowngood.core.compare import absolute_difference, p_differs, rate_sample
from knowngood.core.experiment import ExperimentState
from knowngood.core.rules import ExperimentRule, Looks, Margin
from knowngood.core.unit_sums import ArmSummary, counted
from tests.core.test_experiment import gate

PASS, FAIL, CONTINUE, INVALID, INSUFFICIENT = ExperimentState


def test_the_simulation_s_bar_is_the_core_s():
    """A simulated z is above its bar exactly when the core's p-value is below 5 %."""
    dice = np.random.default_rng(1)
    for _ in range(200):
        n = int(dice.integers(100, 2_000))
        control, candidate = dice.binomial(n, 0.75, size=2)
        found = absolute_difference(rate_sample(int(control), n), rate_sample(int(candidate), n))
        assert found
        z = z_values(*(np.array([each]) for each in (control, candidate, n)))[0]
        assert z == pytest.approx(found.point / found.se)
        assert (abs(z) > needed_z(n, 2_000)) == (p_differs(found, 4_000) < 0.05)


@pytest.mark.parametrize(
    ("size", "often", "sequence"), [(2_000, 0.25, 0.011), (10_000, 0.4, 0.021)]
)
def test_looking_every_hundred_is_free(size, often, sequence):
    """The published comparison: the z-test is wrong in 25 and 40 %, the sequence in 1 to 2 %."""
    found = looked(0.0, size, runs=2_000, seed=4)
    assert share(found.often) == pytest.approx(often, abs=0.04)
    assert share(found.single) == pytest.approx(0.05, abs=0.015)
    assert share(found.sequence) <= sequence + 0.01


@pytest.mark.parametrize(
    ("lift", "single", "sequence", "stop"),
    [(0.02, 0.915, 0.717, 6_700), (0.03, 0.998, 0.984, 3_300)],
)
def test_power_is_what_was_published(lift, single, sequence, stop):
    """Lifts at 75 %, 10,000 per arm: beside one look, and when half of those seen are seen."""
    found = looked(lift, 10_000, runs=2_000, seed=5)
    assert share(found.single) == pytest.approx(single, abs=0.02)
    assert share(found.sequence) == pytest.approx(sequence, abs=0.03)
    seen = found.sequence[np.isfinite(found.sequence)]
    assert np.median(seen) == pytest.approx(stop, rel=0.2)


def test_users_who_come_back_are_no_crowd():
    """Taken for independent, the calls of equal arms differ in every fourth run or more; unit by
    unit, though the units' means go on moving, in one of 20 at most."""
    by_calls, by_users = clustered(runs=60, seed=6)
    assert by_calls > 0.25
    assert by_users <= 0.05


def told(truth: Truth, runs: int, step: int = 1_000) -> dict[ExperimentState, float]:
    states = [gate_run(truth, seed, step)[0].state for seed in range(runs)]
    return {state: states.count(state) / runs for state in ExperimentState}


NAMED = {truth.name: truth for truth in TRUTHS}
MARGINS = "quality -2 %, the margin", "errors 1.0 %, the margin", "slow 1 %, the limit"
HARMS = "quality -4 %", "errors 2 % for 0.5 %", "slow 3 %"


@pytest.mark.parametrize("share_bp", [5_000, 2_000])
@pytest.mark.parametrize("name", MARGINS)
def test_at_a_margin_the_gate_opens_for_one_in_twenty(name, share_bp):
    """Worse by exactly the margin, looked at all the time: PASS in 5 % of the runs at most."""
    rule = replace(ExperimentRule(), max_units_count=10_000)
    said = told(replace(NAMED[name], rule=rule, share_bp=share_bp), runs=60)
    assert said[PASS] <= 0.05
    assert said[FAIL] <= 0.05


@pytest.mark.parametrize("name", HARMS)
def test_harm_is_found(name):
    """Well beyond a margin the gate fails, and never opens before."""
    assert told(NAMED[name], runs=25)[FAIL] == 1


def test_equals_pass_and_are_no_better():
    """An equal candidate passes if it has to be no worse, and not if it has to be better."""
    assert told(NAMED["alike, must not be worse"], runs=25)[PASS] >= 0.95
    rule = replace(SUPERIOR, max_units_count=5_000)
    said = told(replace(NAMED["alike, must be better"], rule=rule), runs=40)
    assert said[PASS] <= 0.05
    assert said[INSUFFICIENT] >= 0.9


def test_lost_units_invalidate():
    """Every tenth unit of the candidate goes astray: found, mostly before the gate would open."""
    assert told(NAMED["10 % of its units astray"], runs=25, step=100)[INVALID] >= 0.8


def test_the_one_look_is_wrong_as_often_as_it_says():
    """Equal arms: decided in 5 %, half of it each way; a lift that it is planned for in 80 %."""
    rule = ExperimentRule(
        primary="quality", aim=SUPERIOR.aim, looks=Looks.FIXED, guardrails=(), max_units_count=1_251
    )
    dice = np.random.default_rng(8)

    def states(candidate: float) -> list[ExperimentState]:
        pairs = dice.binomial(1_251, (0.70, candidate), size=(1_000, 2)).tolist()
        arms = [
            [ArmSummary(1_251, {"quality": counted(bad, 1_251)}) for bad in pair] for pair in pairs
        ]
        return [gate(pair[0], pair[1], rule).state for pair in arms]

    equal, better = states(0.70), states(0.75)
    assert stats.binomtest(1_000 - equal.count(INSUFFICIENT), 1_000, 0.05).pvalue > 0.01
    assert stats.binomtest(better.count(PASS), 1_000, 0.80).pvalue > 0.01


def test_a_judge_who_is_nearly_always_content():
    """Scores of 0 and 1, 98 % of them 1: the gate waits until the mean is normal."""
    rule = ExperimentRule(guardrails=(Margin("quality", 0.01),), max_units_count=5_000)
    dice = np.random.default_rng(9)
    wrong = 0
    for _ in range(200):
        before, good, n = None, [0, 0], 0
        while before is None or not before.is_final:
            n += 250
            good = [
                g + int(dice.binomial(250, p)) for g, p in zip(good, (0.98, 0.9702), strict=True)
            ]
            arms = [ArmSummary(n, {"quality": counted(g, n)}) for g in good]
            before = gate(arms[0], arms[1], rule, before=before)
        wrong += before.state is PASS
    assert wrong <= 200 * 0.05

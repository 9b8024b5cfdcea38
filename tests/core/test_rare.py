"""Two arms compared on rare failures: exact evidence, by simulation and by enumeration."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.rare import (
    STAKES,
    Failures,
    bounds,
    log_above,
    log_below,
    log_rate_above,
    log_rate_below,
    log_ratio_above,
    needed_for_below,
    needed_for_rate_below,
    p_of,
    rate_bounds,
)
from knowngood.core.stats import SAFE_EVIDENCE, is_safe, log_safe

ENOUGH = math.log(20)
shares = st.floats(0.01, 0.99)
margins = st.floats(-0.9, 0.9)
rates = st.floats(0, 1)


@pytest.mark.parametrize("log_e", [log_below, log_above])
@given(shares, margins, rates)
def test_a_unit_at_the_margin_is_a_fair_bet(log_e, share, margin, control):
    """One unit more, rates exactly the margin apart: the evidence stays 1 on average."""
    candidate = control + margin
    if not 0 <= candidate <= 1:
        return
    outcomes = {
        (0, 1): share * candidate,
        (1, 0): (1 - share) * control,
        (0, 0): share * (1 - candidate) + (1 - share) * (1 - control),
    }
    fair = sum(p * math.exp(log_e(Failures(*bad, 1, share), margin)) for bad, p in outcomes.items())
    assert fair == pytest.approx(1, abs=1e-9)


@given(shares, st.floats(0.25, 4), st.floats(0.001, 0.2))
def test_a_failure_at_the_ratio_is_a_fair_bet(share, ratio, control):
    """One failure more, the candidate's rate the ratio times the control's: 1 on average."""
    mine, theirs = share * ratio * control, (1 - share) * control
    e = [math.exp(log_ratio_above(Failures(*bad, 1, share), ratio)) for bad in ((0, 1), (1, 0))]
    assert (mine * e[0] + theirs * e[1]) / (mine + theirs) == pytest.approx(1)


@given(st.lists(rates, min_size=1, max_size=30), shares, margins)
def test_a_unit_that_failed_in_part_is_never_overstated(means, share, margin):
    """The sum of the units' means is enough: each unit's own bet would say as much or more."""
    seen = Failures(0, sum(means), len(means), share)
    stakes = np.array(STAKES)[:, None]
    expected = (1 - share) * (1 - margin * share)
    losses = (1 - share) * (1 - np.array(means))
    exact = np.log1p(stakes * (losses / expected - 1)).sum(axis=1)
    assert log_below(seen, margin) <= np.logaddexp.reduce(exact) - math.log(len(STAKES)) + 1e-9


@given(st.integers(0, 50), st.integers(0, 50), st.integers(100, 5_000), shares, margins)
def test_swapping_the_arms_mirrors_the_evidence(control, candidate, n, share, margin):
    """Better by the margin here is worse by it there."""
    there = Failures(control, candidate, n, share)
    back = Failures(candidate, control, n, 1 - share)
    assert log_below(there, margin) == pytest.approx(log_above(back, -margin), abs=1e-6)
    low, high = bounds(there, 0.05)
    assert bounds(back, 0.05) == pytest.approx((-high, -low), abs=1e-9)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(100, 5_000), shares, margins, margins)
def test_evidence_is_monotone(control, candidate, n, share, one, other):
    """A wider margin is easier to keep; one failure more of the candidate speaks against it."""
    near, far = sorted((one, other))
    seen, worse = (Failures(control, candidate + more, n, share) for more in (0, 1))
    assert log_below(seen, near) <= log_below(seen, far) + 1e-9
    assert log_above(seen, near) >= log_above(seen, far) - 1e-9
    assert log_below(worse, near) <= log_below(seen, near) + 1e-9
    assert log_above(worse, near) >= log_above(seen, near) - 1e-9
    low, high = bounds(seen, 0.05)
    assert -1 <= low <= high <= 1
    assert p_of(log_below(seen, min(0.999, high + 1e-9))) <= 0.05 + 1e-9 or high == 1


@given(st.integers(0, 300), st.integers(300, 5_000))
def test_bounds_of_a_rate_are_where_the_evidence_turns(bad, n):
    """Above the upper bound the rate is proven to be below; below the lower one, above."""
    low, high = rate_bounds(bad, n, 0.05)
    assert 0 <= low <= bad / n <= high <= 1
    if high < 0.999:
        assert log_rate_below(bad, n, high * 1.001) >= ENOUGH - 1e-6
        assert log_rate_below(bad, n, high * 0.999) < ENOUGH
    if low > 0.001:
        assert log_rate_above(bad, n, low * 0.999) >= ENOUGH - 1e-6


def test_proof_close_below_a_limit():
    """0.8 % of 25,000 is proof of less than 1 %; the coarser proof of safety never comes."""
    assert log_rate_below(200, 25_000, 0.01) >= ENOUGH
    assert log_safe(200, 25_000, 0.01) < 0
    assert is_safe(0, 358, 0.01) and math.exp(ENOUGH) == pytest.approx(SAFE_EVIDENCE)


def paths(candidate: float, control: float, share: float, seed: int) -> list[np.ndarray]:
    """Failures of 1,000 experiments at 100 looks, 200 units between them, 20,000 in all."""
    dice = np.random.default_rng(seed)
    mine = dice.binomial(200, share, size=(1_000, 100))
    bad = dice.binomial(mine, candidate).cumsum(axis=1)
    other = dice.binomial(200 - mine, control).cumsum(axis=1)
    return [other, bad, 200 * np.arange(1, 101)]


def twin(log_e, margin: float, share: float, seen: list[np.ndarray]) -> np.ndarray:
    """ln E of every look, from the bets on single units: the same sum, vectorised by numpy."""
    unit = Failures(0, 0, 1, share), Failures(1, 0, 1, share), Failures(0, 1, 1, share)
    expected = (1 - share) * (1 - margin * share)
    losses = [1 - share, 1.0, 0.0]
    if log_e is log_above:
        expected, losses = 1 - expected, [share, 0.0, 1.0]
    sound, control, candidate = (
        np.log1p(np.array(STAKES) * (loss / expected - 1)) for loss in losses
    )
    for one, logs in zip(unit, (sound, control, candidate), strict=True):
        assert np.log(np.exp(logs).mean()) == pytest.approx(log_e(one, margin))
    bad0, bad1, n = (counts[..., None] for counts in seen)
    logs = (n - bad0 - bad1) * sound + bad0 * control + bad1 * candidate
    return np.logaddexp.reduce(logs, axis=-1) - math.log(len(STAKES))


@pytest.mark.parametrize("share", [0.5, 0.05])
@pytest.mark.parametrize(("candidate", "control"), [(0.01, 0.005), (0.025, 0.02), (0.005, 0.0)])
def test_at_the_margin_it_is_hardly_ever_shown(share, candidate, control):
    """Half a point worse in truth, 100 looks: shown not to be, or shown to be more, at most 5 %."""
    seen = paths(candidate, control, share, seed=11)
    for log_e in (log_below, log_above):
        ever = (twin(log_e, 0.005, share, seen) >= ENOUGH).any(axis=1).mean()
        assert ever <= 0.05


def test_half_a_point_takes_what_the_formula_says():
    """0.5 % in both arms: 5,217 per arm is the formula's for four of five; a sixth more at most."""
    within = twin(log_below, 0.005, 0.5, paths(0.005, 0.005, 0.5, seed=12)) >= ENOUGH
    assert within[:, : 5_200 * 2 // 200].any(axis=1).mean() >= 0.72
    assert within[:, : 6_100 * 2 // 200].any(axis=1).mean() >= 0.80


@pytest.mark.parametrize(("rate", "share"), [(0.005, 0.5), (0.0, 0.5), (0.0005, 0.5), (0.001, 0.2)])
def test_sample_sizes_are_enough(rate, share):
    """Simulated, four of five are through by the stated number, and not long before it."""
    n = needed_for_below(rate, rate, share, 0.005, 0.05, 0.8)
    assert n
    within = twin(log_below, 0.005, share, paths(rate, rate, share, seed=13)) >= ENOUGH
    assert within[:, : -(-n // 200)].any(axis=1).mean() >= 0.8
    assert within[:, : int(0.7 * n / 200)].any(axis=1).mean() < 0.8


def test_sample_size_of_one_rate():
    """0.6 % against 1 %: simulated, four of five are through; at 1 % nothing ever is."""
    n = needed_for_rate_below(0.006, 0.01, 0.05, 0.8)
    assert n
    bad = np.random.default_rng(14).binomial(n, 0.006, size=300).tolist()
    assert np.mean([log_rate_below(each, n, 0.01) >= ENOUGH for each in bad]) >= 0.75
    assert needed_for_rate_below(0.01, 0.01, 0.05, 0.8) is None
    assert needed_for_below(0.02, 0.03, 0.5, 0.005, 0.05, 0.8) is None


def test_no_failure_at_all_is_shown_too():
    """Without a failure in either arm 1,200 units per arm show it; a ratio of them never does."""
    clean = Failures(0, 0, 2_600, 0.5)
    assert log_below(clean, 0.005) >= ENOUGH
    assert log_ratio_above(clean, 2.0) == pytest.approx(0)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda: Failures(0, 0, 10, 0.0), id="no share"),
        pytest.param(lambda: Failures(0, 0, 10, 1.0), id="the whole"),
        pytest.param(lambda: Failures(6, 5, 10, 0.5), id="11 of 10"),
        pytest.param(lambda: Failures(-1, 5, 10, 0.5), id="negative"),
    ],
)
def test_nonsense_is_refused(ask):
    """What cannot have been seen is a caller's mistake, and raises ValueError."""
    with pytest.raises(ValueError, match="no comparison"):
        ask()

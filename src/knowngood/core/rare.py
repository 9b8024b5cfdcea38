"""Two arms compared on what is rare: failed units, slow units. Exact, at any time, from sums alone.

A mean of few failures is not normal, so no sequence of core/compare.py holds for it. Here every
unit is a bet. The candidate gets a unit with probability `share`, whatever the unit is like; so

    X = Y / share            for a unit of the candidate that failed by Y (0 not at all, 1 wholly),
    X = -Y / (1 - share)     for one of the control,

is on average the candidate's rate less the control's. X is bounded, and a bounded mean is tested by
betting on it [Waudby-Smith and Ramdas, arXiv 2010.09686; `bet` of core/stats.py], with X moved to
a loss within 0 and 1. If nothing but failures is told apart, the same bets are those of Lindon and
Malek [arXiv 2011.03567; `relative_factors`].

A logarithm is concave, so a unit that failed by 0.4 may be counted as 0.4 of a failed unit and 0.6
of a sound one: that understates the evidence and never overstates it. All that is needed of an arm
is therefore the sum of its units' means. P(ever log e >= ln(1 / alpha)) <= alpha for each function
here, whatever the rates do over time, as long as what it speaks against stays true.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from knowngood.core.compare import upper_z
from knowngood.core.stats import (
    BETS,
    RELATIVE_RISKS,
    bet,
    log_evidence,
    observe,
    relative_factors,
    start,
)

# The detectors' stakes and two smaller ones, for margins that are small beside the rate: half a
# percentage point at a rate of 5 % and more.
STAKES = (0.0125, 0.025, *BETS)
HALVINGS = 40  # of an interval that is at most two wide: to the last of twelve digits


@dataclass(frozen=True, slots=True)
class Failures:
    """How much failed in both arms, out of `n` units of both together.

    Sums of the units' means, each within 0 and 1: whole numbers if a unit fails wholly or not at
    all. `share` is the candidate's share of the assignment, as intended, within 0 and 1. Raises
    ValueError for a share out of range or more failures than units.
    """

    control: float
    candidate: float
    n: float
    share: float

    def __post_init__(self) -> None:
        least = min(self.control, self.candidate)
        # Sums of fractions may be a few last digits too large.
        most = self.n * (1 + 1e-9)
        if not 0 < self.share < 1 or least < 0 or self.control + self.candidate > most:
            raise ValueError(f"no comparison of {self}")


def log_below(seen: Failures, margin: float) -> float:
    """ln E that the candidate's rate is less than `margin` above the control's, -1 < margin < 1.

    It speaks against "candidate - control >= margin": with a margin above zero evidence of 20
    shows the candidate not to be worse by that much, with 0 that it is better.
    """
    share = seen.share
    losses = {0.0: seen.candidate, 1 - share: _sound(seen), 1.0: seen.control}
    return _log_bets(losses, (1 - share) * (1 - margin * share))


def log_above(seen: Failures, margin: float) -> float:
    """ln E that the candidate's rate is more than `margin` above the control's; see `log_below`."""
    share = seen.share
    losses = {1.0: seen.candidate, share: _sound(seen), 0.0: seen.control}
    return _log_bets(losses, 1 - (1 - share) * (1 - margin * share))


def bounds(seen: Failures, alpha: float) -> tuple[float, float]:
    """(low, high) of candidate - control: each is wrong with P <= alpha, over all looks together.

    The margins at which `log_above` and `log_below` reach ln(1 / alpha); -1 and 1 if none does.
    """
    enough = math.log(1 / alpha)
    return (
        -_edge(lambda margin: log_above(seen, -margin) >= enough),
        _edge(lambda margin: log_below(seen, margin) >= enough),
    )


def log_ratio_above(seen: Failures, ratio: float) -> float:
    """ln E that the candidate's rate is more than `ratio` > 0 times the control's.

    Lindon and Malek's e-process: of what failed, too much was the candidate's. Units that did not
    fail say nothing. The ratio is one that the detectors leave room for: below the largest of
    their relative risks.
    """
    weights = start(len(RELATIVE_RISKS), 1.0)
    factors = relative_factors(seen.share, ratio)
    return log_evidence(observe(weights, factors, seen.candidate, seen.control))


def log_rate_below(bad: float, n: float, limit: float) -> float:
    """ln E that the rate behind `bad` of `n` units is below `limit`, within 0 and 1.

    Like `log_safe` of core/stats.py, with stakes for rates that are close below the limit.
    """
    return _log_bets({0.0: bad, 1.0: n - bad}, 1 - limit)


def log_rate_above(bad: float, n: float, limit: float) -> float:
    """ln E that the rate behind `bad` of `n` units is above `limit`, within 0 and 1."""
    return _log_bets({1.0: bad, 0.0: n - bad}, limit)


def rate_bounds(bad: float, n: float, alpha: float) -> tuple[float, float]:
    """(low, high) of a rate: each is wrong with P <= alpha, over all looks together."""
    enough = math.log(1 / alpha)
    return (
        1 - _edge(lambda away: log_rate_above(bad, n, 1 - away) >= enough, low=0.0),
        _edge(lambda limit: log_rate_below(bad, n, limit) >= enough, low=0.0),
    )


def needed_for_below(
    control: float, candidate: float, share: float, margin: float, alpha: float, power: float
) -> int | None:
    """Units of both arms after which `log_below` has shown it with P of about `power` or more.

    For true rates within 0 and 1; None when it never will: the margin is too narrow for the stakes.
    """
    expected = (1 - share) * (1 - margin * share)
    mine, theirs = share * candidate, (1 - share) * control
    outcomes = ((mine, 0.0), (1 - mine - theirs, 1 - share), (theirs, 1.0))
    return _needed(outcomes, expected, alpha, power)


def needed_for_rate_below(rate: float, limit: float, alpha: float, power: float) -> int | None:
    """Units after which `log_rate_below` has shown it with P of about `power`; None: never."""
    return _needed(((rate, 0.0), (1 - rate, 1.0)), 1 - limit, alpha, power)


def _needed(
    outcomes: tuple[tuple[float, float], ...], expected: float, alpha: float, power: float
) -> int | None:
    """When the best of the stakes is at ln(1 / alpha) and its share of the weights.

    `outcomes` are (probability, loss). The logarithm of a bet is a sum over units, so about normal:
    n mean - z sd sqrt(n) = what is asked for, solved for n. To pass it for a moment is enough,
    which makes up for what the other stakes might have added.
    """
    asked = math.log(len(STAKES) / alpha)
    z = upper_z(1 - power)
    found: list[float] = []
    for stake in STAKES:
        gains = [(p, math.log1p(stake * (loss / expected - 1))) for p, loss in outcomes]
        mean = sum(p * gain for p, gain in gains)
        sd = math.sqrt(max(0.0, sum(p * gain * gain for p, gain in gains) - mean * mean))
        if mean > 0:
            root = (z * sd + math.sqrt(z * z * sd * sd + 4 * mean * asked)) / (2 * mean)
            found.append(root * root)
    return math.ceil(min(found)) if found else None


def p_of(log_e: float) -> float:
    """The p-value of evidence: min(1, 1 / E)."""
    return math.exp(-max(0.0, log_e))


def _sound(seen: Failures) -> float:
    return max(0.0, seen.n - seen.control - seen.candidate)


def _log_bets(losses: dict[float, float], expected: float) -> float:
    weights = start(len(STAKES), 1.0)
    return log_evidence(bet(weights, losses, expected, STAKES))


def _edge(holds: Callable[[float], bool], low: float = -1.0) -> float:
    """The smallest number in (low, 1) from which on it holds; 1 if it does nowhere."""
    high = 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high

"""The plain rule: a metric of one window against its limit, with a minimum of evidence.

It judges what has no sequential test: `evidence: none`, sums without a spread, shares that are too
low, and whether a metric is back on the target of a rollback.
"""

import math

from knowngood.core.measure import QUANTILES, Measure, measure
from knowngood.core.model import Comparison, Verdict, Wait
from knowngood.core.rules import Condition, PromptPolicy, Trigger
from knowngood.core.scoring import FIXED_TEST_FACTOR, MOVE_MIN
from knowngood.core.window import Window

# A move of a mean counts only when it is this many standard errors from nothing: the look is
# repeated every second, so the usual two would cry wolf (docs/decisions/0003).
REAL_MOVE_SIGMAS = 4.0

Judged = tuple[Verdict, tuple[Wait, ...]]


def found_by(trigger: Trigger, window: Window, policy: PromptPolicy) -> Measure:
    """The trigger's metric of a window, with the evidence that it asks for."""
    found = measure(trigger.when.metric, window, trigger.kinds, policy.scores)
    if trigger.evidence != "none":
        return found
    # The bare threshold of those who want it: no minimum but their own, and no look at noise.
    return Measure(
        found.unit, found.n, trigger.min_requests or 1, found.estimate, found.bad, min_bad=0
    )


def judge(when: Condition, found: Measure, base: Measure | None, window: Window) -> Judged:
    """The verdict on a measure against its limit and, if the limit is relative, a baseline."""
    if found.n == 0 or found.estimate is None:
        kind = found.unit if window.call_count else "idle"
        return Verdict.UNSURE, (Wait(kind, found.min_n, 0, when.metric),)
    if is_relative(when) and base is None:  # more traffic would not help
        return Verdict.UNSURE, (Wait("baseline", detail=when.metric),)
    if found.n < found.min_n:
        return Verdict.UNSURE, (Wait(found.unit, found.min_n, found.n, when.metric),)
    return _compare(when, found, base)


def is_relative(when: Condition) -> bool:
    """Whether the condition is held against a baseline."""
    return when.comparison in (Comparison.DROP, Comparison.INCREASE)


def enough(metric: str, base: Measure, policy: PromptPolicy) -> int:
    """How many requests or labels a baseline needs; a quantile needs as many as on our side."""
    if base.unit == "labels":
        return policy.baseline.min_labels
    return base.min_n if metric in QUANTILES else policy.baseline.min_requests


def _compare(when: Condition, found: Measure, base: Measure | None) -> Judged:
    assert found.estimate is not None
    move = worsening(when.comparison, found.estimate, base.estimate if base else None)
    over = move > when.limit if when.comparison is not Comparison.BELOW else move > -when.limit
    if found.bad is not None and over and found.bad < found.min_bad:
        return Verdict.UNSURE, (Wait("errors", found.min_bad, found.bad, when.metric),)
    if found.se is not None:
        return _compare_mean(when, found, base, move)
    if over and base and not _apart(when.comparison, found, base):
        return Verdict.UNSURE, (Wait("noise", detail=when.metric),)
    return (Verdict.BREACH if over else Verdict.CLEAR), ()


def worsening(comparison: Comparison, estimate: float, baseline: float | None) -> float:
    """How far a metric moved in the bad direction, to be held against the limit.

    Relative comparisons give a fraction of the baseline, `above` the estimate itself, and `below`
    its negative (so that larger is always worse).
    """
    match comparison:
        case Comparison.ABOVE:
            return estimate
        case Comparison.BELOW:
            return -estimate
        case Comparison.DROP:
            assert baseline
            return (baseline - estimate) / baseline
        case Comparison.INCREASE:
            assert baseline
            return (estimate - baseline) / baseline


def _apart(comparison: Comparison, found: Measure, base: Measure) -> bool:
    """Whether two quantiles' rank bounds do not overlap; metrics without bounds always pass."""
    if found.low is None or found.high is None or base.low is None or base.high is None:
        return True
    if comparison is Comparison.INCREASE:
        return found.low > base.high
    return found.high < base.low


def _compare_mean(when: Condition, found: Measure, base: Measure | None, move: float) -> Judged:
    """A mean breaches when it moved past its limit and past what noise does; else it is unsure."""
    assert found.se is not None and found.estimate is not None
    limit = when.limit if when.comparison is not Comparison.BELOW else -when.limit
    if base is None:
        se, excess = found.se, move - limit
        real = excess > REAL_MOVE_SIGMAS * se
    else:
        assert base.se is not None and base.estimate is not None
        # A few labels that happen to agree understate their own noise: skewed scores do that often.
        own_se = max(found.se, base.se * math.sqrt(base.n / found.n))
        ratio = found.estimate / base.estimate
        se = math.hypot(own_se, ratio * base.se) / base.estimate
        excess = move - limit
        real = move > REAL_MOVE_SIGMAS * se
    if excess > 0 and real:
        return Verdict.BREACH, ()
    if excess + se <= 0:
        return Verdict.CLEAR, ()
    return Verdict.UNSURE, (_needs(found, base, max(move, limit) if base else excess, se, when),)


def _needs(found: Measure, base: Measure | None, move: float, se: float, when: Condition) -> Wait:
    """How many labels a side a single fixed test would need to tell this move from noise."""
    if base is not None and base.se is not None and base.estimate:
        variance = ((found.se or 0) ** 2 * found.n + base.se**2 * base.n) / base.estimate**2
    else:
        variance = se**2 * found.n
    need = FIXED_TEST_FACTOR * variance / max(abs(move), MOVE_MIN) ** 2
    return Wait("separable", max(math.ceil(need), found.n + 1), found.n, when.metric)

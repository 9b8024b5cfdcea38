"""One trigger against what was reported: breach, clear, unsure or blind, and what it waits on."""

import math
from dataclasses import dataclass, replace

from knowngood.core.measure import QUANTILES, Measure, measure
from knowngood.core.model import Comparison, Finding, Verdict, Wait
from knowngood.core.rules import Condition, PromptPolicy, Trigger
from knowngood.core.window import Window

# A move of a mean counts only when it is this many standard errors from nothing: the look is
# repeated every second, so the usual two would cry wolf (docs/decisions/0003).
REAL_MOVE_SIGMAS = 4.0
# One-sided 5 %, power 80 %: (1.645 + 0.842)^2, for "needs about N labels".
FIXED_TEST_FACTOR = 6.18


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a version is held against, and where that comes from."""

    source: str
    window: Window


@dataclass(frozen=True, slots=True)
class Frame:
    """A version's look: its window, the possible baselines in order, and whether we can see."""

    version: str
    since_ms: int
    until_ms: int
    window: Window
    baselines: tuple[Baseline, ...] = ()
    blind: bool = False


def detect(trigger: Trigger, frame: Frame, policy: PromptPolicy) -> Finding:
    """The finding of one trigger for one version; pure, from the frame alone."""
    when = trigger.when
    found = measure(when.metric, frame.window, trigger.kinds, policy.scores)
    base, source = _baseline(when, trigger.kinds, frame, policy)
    if trigger.evidence == "none":
        # The bare threshold of those who want it: no minimum but their own, and no look at noise.
        found = replace(found, min_n=trigger.min_requests or 1, min_bad=0, se=None, low=None)
    verdict, waits = _judge(when, found, base, frame)
    return Finding(
        trigger=trigger.name,
        version=frame.version,
        metric=when.metric,
        comparison=when.comparison,
        limit=when.limit,
        verdict=verdict,
        response=trigger.action,
        severity=trigger.severity,
        n=found.n,
        bad=found.bad,
        estimate=found.estimate,
        baseline=base.estimate if base else None,
        baseline_source=source,
        since_ms=frame.since_ms,
        until_ms=frame.until_ms,
        waiting_on=waits,
    )


def is_relative(when: Condition) -> bool:
    """Whether the condition is held against a baseline."""
    return when.comparison in (Comparison.DROP, Comparison.INCREASE)


def _baseline(
    when: Condition, kinds: tuple[str, ...], frame: Frame, policy: PromptPolicy
) -> tuple[Measure | None, str]:
    if not is_relative(when):
        return None, ""
    for candidate in frame.baselines:
        base = measure(when.metric, candidate.window, kinds, policy.scores)
        enough = _enough(when.metric, base, policy)
        if base.estimate is not None and base.n >= enough and base.estimate > 0:
            return base, candidate.source
    return None, ""


def _enough(metric: str, base: Measure, policy: PromptPolicy) -> int:
    """How many requests or labels a baseline needs; a quantile needs as many as on our side."""
    if base.unit == "labels":
        return policy.baseline.min_labels
    return base.min_n if metric in QUANTILES else policy.baseline.min_requests


def _judge(
    when: Condition,
    found: Measure,
    base: Measure | None,
    frame: Frame,
) -> tuple[Verdict, tuple[Wait, ...]]:
    if frame.blind:
        return Verdict.BLIND, (Wait("reports"),)
    if found.n == 0 or found.estimate is None:
        kind = found.unit if frame.window.call_count else "idle"
        return Verdict.UNSURE, (Wait(kind, found.min_n, 0, when.metric),)
    if is_relative(when) and base is None:  # more traffic would not help
        return Verdict.UNSURE, (Wait("baseline", detail=when.metric),)
    if found.n < found.min_n:
        return Verdict.UNSURE, (Wait(found.unit, found.min_n, found.n, when.metric),)
    return _compare(when, found, base)


def _compare(
    when: Condition, found: Measure, base: Measure | None
) -> tuple[Verdict, tuple[Wait, ...]]:
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


def _compare_mean(
    when: Condition, found: Measure, base: Measure | None, move: float
) -> tuple[Verdict, tuple[Wait, ...]]:
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
    need = FIXED_TEST_FACTOR * variance / max(abs(move), 0.01) ** 2
    return Wait("separable", max(math.ceil(need), found.n + 1), found.n, when.metric)

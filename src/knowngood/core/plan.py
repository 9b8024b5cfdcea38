"""How long a ladder takes at today's traffic, stage by stage, and which one is worth climbing.

Numbers in, numbers out: what is needed is counted in calls (proof of safety) and in units (the A/B
gate, which is asked before the last stage), and divided by what comes along each day.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from knowngood.core.compare import Sides, anytime_factor, needed_for_means
from knowngood.core.experiment_metric import LATENCY, SLOW_LIMIT
from knowngood.core.model import WHOLE_BP
from knowngood.core.rare import needed_for_below, needed_for_rate_below
from knowngood.core.rollout import Ladder
from knowngood.core.rules import Aim, ExperimentRule, Looks
from knowngood.core.stats import DAY_MS, safe_calls
from knowngood.core.unit_sums import ERRORS

SAFE_LIMIT = 0.05  # what a stage has to prove the error rate to be below (detectors.md, 3.5)
LIKELY, ALMOST_SURE = 0.5, 0.95  # of healthy versions that have proven it by then
FAILURES_MAX = 400  # with more than that on the way, the rate is as good as at the limit
NEGLIGIBLE = 1e-12
POWER = 0.8  # that all of the gate's metrics are shown, if the candidate is as assumed
LIFT = 0.02  # of the control's mean; of a rate, half a percentage point: what is worth seeing
RATE_LIFT = 0.005
ROUND_BP = (100, 200, 500, 1_000, 2_000, 2_500, 5_000)  # shares that people choose
STEP = 2  # a stage that is not even so many times the one below is no step
HALF_BP = 5_000  # at which both arms fill at the same pace, so the gate takes the fewest days


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean and standard deviation of a metric over units."""

    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class Today:
    """What comes along, and how the version that is served does.

    `slow_share` is the share of units slower than the p99 of now plus the policy's margin; None if
    it is not known, as is every metric without a spread.
    """

    calls_per_s: float
    units_per_day: float
    error_rate: float
    slow_share: float | None = None
    spreads: Mapping[str, Spread] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateNeed:
    """What one metric of the gate needs: units of the smaller arm.

    None with `known`: no number of units would show it; without: its spread is not known.
    """

    metric: str
    units_count: int | None
    known: bool = True


@dataclass(frozen=True, slots=True)
class StageNeed:
    """What a stage needs before the next one.

    `likely_ms` and `sure_ms` are when a version as healthy as today's has proven to be safe, in
    half of the cases and in 19 of 20; None: never, at this traffic or at this error rate. `gate` is
    what each metric of the gate needs at this share, empty without a gate; `gate_units_count` what
    all of them need, and `gate_ms` how long that takes; None: more units than the policy allows, or
    than ever come. The whole of the traffic needs nothing.
    """

    share_bp: int
    likely_ms: int | None = 0
    sure_ms: int | None = 0
    gate: tuple[GateNeed, ...] = ()
    gate_units_count: int | None = None
    gate_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PlanReason:
    """Why a ladder is proposed as it is: `kind` is a word that explain_experiment.py knows."""

    kind: str
    share_bp: int = 0
    to_bp: int = 0
    need_ms: int | None = None
    metric: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Every stage of the ladder as it is, and the one that is proposed: empty if none can work.

    `total_ms` is how long the proposed one takes in 19 of 20 cases; None if never.
    """

    stages: tuple[StageNeed, ...]
    proposed: tuple[StageNeed, ...]
    reasons: tuple[PlanReason, ...]
    total_ms: int | None


def plan(ladder: Ladder, today: Today, rule: ExperimentRule | None) -> Plan:
    """How long each stage of the ladder needs at today's traffic, and what would be better.

    Stages that would not prove safety within `wait_ms` are left out; if that is the first,
    the smallest round share that would takes its place, unless the next stage is close to it. The
    gate belongs to the last stage below
    the whole, and moves to one half if that is where it can end in time, or at all.
    """
    needs = tuple(stage_need(each, today, rule) for each in ladder.stages_bp)
    below = [each for each in needs if each.share_bp < WHOLE_BP]
    kept = [each for each in below if _in_time(each, ladder)]
    reasons = [
        PlanReason("too_slow", each.share_bp, need_ms=each.sure_ms)
        for each in below
        if each not in kept
    ]
    if below and below[0] not in kept:
        first = _first_in_time(ladder, today, rule)
        if first is None:
            never = calls_to_be_safe(today.error_rate, SAFE_LIMIT, ALMOST_SURE) is None
            why = PlanReason("too_close" if never else "too_little_traffic")
            return Plan(needs, (), (*reasons, why), None)
        if not kept or STEP * first.share_bp <= kept[0].share_bp:
            kept.insert(0, first)
            reasons.append(PlanReason("raised", below[0].share_bp, first.share_bp, first.sure_ms))
    if rule is not None:
        kept, more = _with_gate(kept, ladder, today, rule)
        reasons += more
    proposed = (*kept, StageNeed(WHOLE_BP))
    return Plan(needs, proposed, tuple(reasons), _total_ms(kept, ladder, rule))


def stage_need(share_bp: int, today: Today, rule: ExperimentRule | None) -> StageNeed:
    """What one stage needs. Raises ValueError for a share that is not above 0 and up to 10 000."""
    if not 0 < share_bp <= WHOLE_BP:
        raise ValueError(f"no stage of {share_bp} bp")
    if share_bp == WHOLE_BP:
        return StageNeed(share_bp)
    share = share_bp / WHOLE_BP
    a_second = today.calls_per_s * share
    likely, sure = (
        _time_ms(calls_to_be_safe(today.error_rate, SAFE_LIMIT, chance), a_second)
        for chance in (LIKELY, ALMOST_SURE)
    )
    need = StageNeed(share_bp, likely, sure)
    if rule is None:
        return need
    gate = tuple(gate_needs(rule, today, share))
    units = _gate_units(rule, gate)
    a_day = today.units_per_day * min(share, 1 - share)
    gate_ms = _time_ms(units, a_day * 1_000 / DAY_MS)
    if gate_ms is not None:
        gate_ms = max(gate_ms, rule.min_time_ms)
    return replace(need, gate=gate, gate_units_count=units, gate_ms=gate_ms)


@lru_cache(maxsize=256)
def calls_to_be_safe(rate: float, limit: float, chance: float) -> int | None:
    """How many calls until a version that fails at `rate` has proven to be below `limit`.

    With P >= `chance`. Exact: a version that has shown `bad` failures is safe at `safe_calls(bad,
    limit)` calls and not before, so the chances are carried from one such count to the next.
    0.5 % against 5 %: 70 calls in half of the cases, 168 in 19 of 20. None: not within FAILURES_MAX
    failures, as at the limit or above it.
    """
    if not 0 <= rate < limit:
        return None
    alive, calls, done = {0: 1.0}, 0, 0.0  # failures so far -> chance that it is not proven yet
    for bad in range(FAILURES_MAX):
        enough = safe_calls(bad, limit)
        alive = _after(alive, enough - calls, rate)
        calls = enough
        done += alive.pop(bad, 0.0)
        if done >= chance:
            return calls
    return None


def _after(alive: Mapping[int, float], calls: int, rate: float) -> dict[int, float]:
    """The chance of each number of failures, so many calls later."""
    more: list[float] = []
    term = (1 - rate) ** calls
    for bad in range(calls + 1):
        if bad > calls * rate and term < NEGLIGIBLE:
            break
        more.append(term)
        term *= (calls - bad) / (bad + 1) * rate / (1 - rate)
    later: dict[int, float] = {}
    for before, chance in alive.items():
        for bad, each in enumerate(more):
            later[before + bad] = later.get(before + bad, 0.0) + chance * each
    return {bad: chance for bad, chance in later.items() if chance > NEGLIGIBLE}


def gate_needs(rule: ExperimentRule, today: Today, share: float) -> Iterable[GateNeed]:
    """What each metric of the gate needs, for a candidate that is in truth as good as today's.

    One that has to be better is better by LIFT, a rate by RATE_LIFT. All are shown together with
    POWER, so each has its part of the risk (detectors.md, section 4). 0 < share < 1.
    """
    asked: list[tuple[str, float | None]] = [(e.metric, e.margin) for e in rule.guardrails]
    if rule.aim is Aim.SUPERIORITY:
        asked.insert(0, (rule.primary, None))
    power = 1 - (1 - POWER) / max(1, len(asked))
    for metric, margin in asked:
        yield _metric_need(metric, margin, rule, today, share, power)


def _metric_need(
    metric: str,
    margin: float | None,
    rule: ExperimentRule,
    today: Today,
    share: float,
    power: float,
) -> GateNeed:
    smaller = min(share, 1 - share)
    if metric in (ERRORS, LATENCY):
        rate = today.error_rate if metric == ERRORS else today.slow_share
        if rate is None:
            return GateNeed(metric, None, known=False)
        if metric == LATENCY and margin is not None:
            mine = needed_for_rate_below(rate, SLOW_LIMIT, rule.alpha, power)
            both = None if mine is None else mine / share
        else:
            lift, alpha = (0.0, rule.alpha) if margin is not None else (RATE_LIFT, rule.alpha / 2)
            better = max(0.0, rate - lift)
            both = needed_for_below(rate, better, share, margin or 0.0, alpha, power)
        return GateNeed(metric, None if both is None else math.ceil(both * smaller))
    spread = today.spreads.get(metric)
    if spread is None or not spread.mean > 0 or not spread.sd > 0:
        return GateNeed(metric, None, known=False)
    if margin is None:
        return GateNeed(metric, _mean_units(spread, LIFT, 2, rule, share, power))
    return GateNeed(metric, _mean_units(spread, margin, 1, rule, share, power))


def _mean_units(
    spread: Spread, change: float, sides: Sides, rule: ExperimentRule, share: float, power: float
) -> int:
    """Units of the smaller arm for a relative change of a mean."""
    even = needed_for_means(spread.sd**2, change * spread.mean, rule.alpha, power, sides)
    if rule.looks is Looks.ANYTIME:
        even = math.ceil(even * anytime_factor(rule.alpha, power, sides))
    # The variance of a difference: 1/n + 1/m instead of 2/n.
    smaller = min(share, 1 - share)
    return math.ceil(even * (1 + smaller / (1 - smaller)) / 2)


def _gate_units(rule: ExperimentRule, needs: Sequence[GateNeed]) -> int | None:
    """Units of the smaller arm until the gate can pass; None if it cannot within its largest."""
    known = [each for each in needs if each.known]
    counts = [each.units_count for each in known if each.units_count is not None]
    most = max((rule.min_units_count, *counts))
    if len(counts) < len(known) or most > rule.max_units_count:
        return None
    return rule.max_units_count if rule.looks is Looks.FIXED else most


def _time_ms(count: int | None, per_s: float) -> int | None:
    if count is None or not per_s > 0:
        return None
    return math.ceil(count / per_s * 1_000)


def _in_time(need: StageNeed, ladder: Ladder) -> bool:
    return need.sure_ms is not None and need.sure_ms <= ladder.wait_ms


def _first_in_time(ladder: Ladder, today: Today, rule: ExperimentRule | None) -> StageNeed | None:
    rounds = (stage_need(each, today, rule) for each in ROUND_BP)
    return next((each for each in rounds if _in_time(each, ladder)), None)


def _with_gate(
    kept: list[StageNeed], ladder: Ladder, today: Today, rule: ExperimentRule
) -> tuple[list[StageNeed], list[PlanReason]]:
    """The stages with one at which the gate can end, and what is to be said of it."""
    reasons: list[PlanReason] = []
    last = kept[-1] if kept else None
    half = stage_need(HALF_BP, today, rule)
    at_last = last.gate_ms if last else None
    late = at_last is None or at_last > ladder.wait_ms
    if late and half.gate_ms is not None and (at_last is None or half.gate_ms < at_last):
        # Stages above one half give the control too little.
        kept = [each for each in kept if each.share_bp < HALF_BP] + [half]
        from_bp = last.share_bp if last else 0
        reasons.append(PlanReason("gate_at_half", from_bp, HALF_BP, half.gate_ms))
    reasons += [PlanReason("unknown", metric=e.metric) for e in half.gate if not e.known]
    final = kept[-1].gate_ms if kept else None
    if final is None:
        open_ones = [e for e in half.gate if e.known and _hopeless(e, rule)]
        reasons += [PlanReason("gate_never", metric=each.metric) for each in open_ones]
        if not open_ones:
            reasons.append(PlanReason("no_units"))
    elif final > ladder.wait_ms:
        reasons.append(PlanReason("wait_longer", kept[-1].share_bp, need_ms=final))
    return kept, reasons


def _hopeless(need: GateNeed, rule: ExperimentRule) -> bool:
    return need.units_count is None or need.units_count > rule.max_units_count


def _total_ms(kept: Sequence[StageNeed], ladder: Ladder, rule: ExperimentRule | None) -> int | None:
    total = 0
    for each in kept:
        if each.sure_ms is None:
            return None
        total += max(ladder.hold_ms, each.sure_ms)
    if rule is None or not kept:
        return total
    gate_ms = kept[-1].gate_ms
    if gate_ms is None:
        return None
    last = kept[-1].sure_ms or 0
    return total - max(ladder.hold_ms, last) + max(ladder.hold_ms, last, gate_ms)

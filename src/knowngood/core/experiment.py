"""The A/B gate: may this candidate be promoted, by what it has shown beside its control?

A pure function of sums over units. It may be asked at every tick: each test behind it holds however
often one looks. With `Looks.FIXED` it looks once, at the size that was registered, and says nothing
before.
"""

from collections.abc import Iterable

from knowngood.core.compare import sample_ratio_p
from knowngood.core.experiment_metric import Terms, judge_metric
from knowngood.core.model import WHOLE_BP, Wait
from knowngood.core.trial import Aim, ExperimentRule, Looks, MetricResult
from knowngood.core.trial import Begun as Begun
from knowngood.core.trial import Experiment as Experiment
from knowngood.core.trial import ExperimentState as ExperimentState
from knowngood.core.trial import Reason as Reason
from knowngood.core.unit_sums import ArmSummary
from knowngood.core.watch import is_score

SAMPLE_RATIO_ALPHA = 0.001


def judge(
    begun: Begun,
    control: ArmSummary,
    candidate: ArmSummary,
    before: Experiment | None,
    now_ms: int,
) -> Experiment:
    """The gate's answer on these sums, at this time.

    `before` is the last answer, None at the first look; a final one is returned as it is. So store
    the answer before anybody is told of it, in the same fenced transaction: a caller that forgets
    a final answer would look again, and a second look at `Looks.FIXED` is not what its p means.

    In this order: INVALID if the units are not split as intended, or labels are missing more in
    one arm; FAIL if a metric is proven to be worse; PASS if everything is shown, with the least
    number of units and the least time; INSUFFICIENT at the largest number of units; else CONTINUE.
    Raises ValueError for a share that leaves an arm empty.
    """
    if before is not None and before.is_final:
        return before
    if not 0 < begun.share_bp < WHOLE_BP:
        raise ValueError(f"no comparison with a share of {begun.share_bp} bp")
    rule = begun.rule
    units = min(arm.of(rule.primary).unit_count for arm in (control, candidate))
    p = min(before.sample_ratio_p if before else 1.0, _ratio_p(begun, control, candidate))
    skewed = tuple(_skewed(begun, control, candidate, p))
    if skewed:
        return Experiment(ExperimentState.INVALID, skewed, (), (), units, p)
    time_left_ms = max(0, begun.began_ms + rule.min_time_ms - now_ms)
    waits = tuple(_waits(rule, units, time_left_ms))
    if rule.looks is Looks.FIXED and waits:
        return Experiment(ExperimentState.CONTINUE, (Reason("one_look"),), waits, (), units, p)
    results = tuple(_results(begun, control, candidate))
    state, reasons = _verdict(rule, results, units, bool(waits))
    if state is ExperimentState.CONTINUE:
        elapsed_ms = now_ms - begun.began_ms
        waits += tuple(_metric_waits(results, units, elapsed_ms))
    else:
        waits = ()
    return Experiment(state, reasons, waits, results, units, p)


def _ratio_p(begun: Begun, control: ArmSummary, candidate: ArmSummary) -> float:
    counts = candidate.unit_count, control.unit_count
    return sample_ratio_p(counts, (begun.share_bp, WHOLE_BP - begun.share_bp))


def _skewed(begun: Begun, control: ArmSummary, candidate: ArmSummary, p: float) -> Iterable[Reason]:
    """What makes the arms incomparable. Labels are drawn at random, so they split like units."""
    if p < SAMPLE_RATIO_ALPHA:
        yield Reason("sample_ratio")
    for metric in _named(begun.rule):
        if is_score(metric):
            counts = candidate.of(metric).unit_count, control.of(metric).unit_count
            shares = begun.share_bp, WHOLE_BP - begun.share_bp
            if sample_ratio_p(counts, shares) < SAMPLE_RATIO_ALPHA:
                yield Reason("labels", metric)


def _named(rule: ExperimentRule) -> tuple[str, ...]:
    """Every metric of the rule, the primary one first."""
    return tuple(dict.fromkeys((rule.primary, *(each.metric for each in rule.guardrails))))


def _results(begun: Begun, control: ArmSummary, candidate: ArmSummary) -> Iterable[MetricResult]:
    rule = begun.rule
    share = begun.share_bp / WHOLE_BP
    # The arms together, when the smaller one has its largest number.
    tuning_n = rule.max_units_count / min(share, 1 - share)
    once = rule.looks is Looks.FIXED
    terms = Terms(rule.alpha, share, None if once else tuning_n, begun.scores)

    def result(metric: str, margin: float | None) -> MetricResult:
        return judge_metric(metric, margin, control.of(metric), candidate.of(metric), terms)

    if rule.aim is Aim.SUPERIORITY:
        yield result(rule.primary, None)
        asked = [each.metric for each in rule.guardrails]
    else:
        asked = list(_named(rule))
    for metric in asked:
        yield result(metric, rule.margin_of(metric) or 0.0)


def _verdict(
    rule: ExperimentRule, results: tuple[MetricResult, ...], units: int, early: bool
) -> tuple[ExperimentState, tuple[Reason, ...]]:
    if harmed := tuple(_reason("harm", each) for each in results if each.harmed):
        return ExperimentState.FAIL, harmed
    open_ones = tuple(_reason("open", each) for each in results if not each.shown)
    if not open_ones and not early:
        return ExperimentState.PASS, tuple(_reason("shown", each) for each in results)
    if open_ones and units >= rule.max_units_count:
        return ExperimentState.INSUFFICIENT, (Reason("max_units"), *open_ones)
    return ExperimentState.CONTINUE, open_ones


def _reason(kind: str, result: MetricResult) -> Reason:
    return Reason(kind, result.metric, result.margin)


def _waits(rule: ExperimentRule, units: int, time_left_ms: int) -> Iterable[Wait]:
    """What has to be there whatever the metrics say."""
    once = rule.looks is Looks.FIXED
    need = rule.max_units_count if once else rule.min_units_count
    if units < need:
        yield Wait("one_look" if once else "units", need, units)
    if time_left_ms > 0:
        yield Wait("full_day", need=rule.min_time_ms, eta_ms=time_left_ms)


def _metric_waits(results: tuple[MetricResult, ...], units: int, elapsed_ms: int) -> Iterable[Wait]:
    for each in results:
        if each.shown:
            continue
        have = min(each.control_units, each.candidate_units)
        if have == 0:
            yield Wait("no_values", detail=each.metric)
        elif each.further_units is None:
            yield Wait("not_foreseeable", have=have, detail=each.metric)
        else:
            eta_ms = round(each.further_units / have * elapsed_ms) if elapsed_ms > 0 else None
            need = have + each.further_units
            yield Wait("metric_units", need=need, have=have, detail=each.metric, eta_ms=eta_ms)

"""The A/B gate, and the plan of a ladder, in words for all who show them: a part of explain.py."""

from collections.abc import Iterable

from knowngood.core.experiment import SAMPLE_RATIO_ALPHA, Experiment, ExperimentState, Reason
from knowngood.core.experiment_metric import AMOUNTS, LATENCY, SLOW_LIMIT, MetricResult
from knowngood.core.explain import duration, metric_words, percent
from knowngood.core.model import WHOLE_BP, Wait
from knowngood.core.plan import SAFE_LIMIT, Plan, PlanReason, StageNeed
from knowngood.core.unit_sums import ERRORS

STATES = {
    ExperimentState.PASS: "Passed",
    ExperimentState.FAIL: "Failed",
    ExperimentState.CONTINUE: "Goes on",
    ExperimentState.INVALID: "Not comparable",
    ExperimentState.INSUFFICIENT: "Not shown",
}


def experiment_words(found: Experiment) -> str:
    """The gate's answer and why, in one sentence."""
    reasons = "; ".join(reason_words(reason, found) for reason in found.reasons)
    reasons = reasons or "nothing speaks against it so far"
    return f"{STATES[found.state]}: {reasons}."


def reason_words(reason: Reason, found: Experiment) -> str:
    """One reason: `quality is not worse by 2.0% or more`."""
    name = metric_words(reason.metric) if reason.metric else ""
    margin = _margin(reason.metric, reason.margin)
    match reason.kind:
        case "sample_ratio":
            return (
                f"units are not split as intended (p = {found.sample_ratio_p:.1g} < "
                f"{SAMPLE_RATIO_ALPHA:g}), so whatever split them may be the difference"
            )
        case "labels":
            return f"labels for {name} are missing more in one arm than in the other"
        case "harm" if not margin:
            return f"{name}: worse, and had to be better"
        case "harm" if reason.metric == ERRORS:
            return f"{name}: more by over {margin}, or more than twice as many"
        case "harm":
            return f"{name}: worse by more than {margin}"
        case "shown":
            return f"{name}: not worse by {margin} or more" if margin else f"{name}: better"
        case "open":
            return f"not shown yet: {name} {'not worse by ' + margin if margin else 'better'}"
        case "max_units":
            return f"{found.units_count:,} units per arm are as many as were planned"
        case "deciding":
            return "its answer is about to be written down"
        case "one_look":
            return "there is one look only, at the number of units that was named beforehand"
        case _:
            return reason.kind


def gate_wait_words(wait: Wait) -> str:
    """What the gate waits on: `about 1,766 more units for quality (1,000 so far)`."""
    name = metric_words(wait.detail) if wait.detail else ""
    have, need = round(wait.have or 0), round(wait.need or 0)
    eta = "" if wait.eta_ms is None else f", {duration(wait.eta_ms)} at this traffic"
    match wait.kind:
        case "one_look":
            return f"the one look, at n = {need:,} units per arm; {have:,} so far"
        case "units":
            return f"{need - have:,} more units in the smaller arm ({have:,} of {need:,})"
        case "full_day":
            return f"{duration(wait.need or 0)} in all, {duration(wait.eta_ms or 0)} to go"
        case "no_values":
            return f"any value of {name}: nobody reported one in both arms"
        case "metric_units":
            return f"about {need - have:,} more units per arm for {name} ({have:,} so far{eta})"
        case "not_foreseeable":
            return f"{name}: as it looks so far, more units would not show it ({have:,} so far)"
        case _:
            return wait.detail or wait.kind


def result_words(result: MetricResult) -> str:
    """A metric in numbers: `quality -0.40% (-1.90% to +1.10%), margin 2.0%: shown, p = 0.004`."""
    name, margin = metric_words(result.metric), _margin(result.metric, result.margin)
    units = f"{result.control_units:,} and {result.candidate_units:,} units"
    if result.estimate is None or result.low is None or result.high is None:
        return f"{name}: too few to compare ({units})"
    verdict = "shown" if result.shown else "harm" if result.harmed else "open"
    told = f"{verdict}, p = {result.p:.2g} ({units})"
    if result.metric == LATENCY and margin:
        return (
            f"{name}: {percent(result.estimate)} ({percent(result.low)} to {percent(result.high)}) "
            f"slower than the old p99 + {margin}, limit {percent(SLOW_LIMIT)}: {told}"
        )
    span = [_signed(result.metric, each) for each in (result.estimate, result.low, result.high)]
    asked = f"margin {margin}" if margin else "to be better"
    return f"{name} {span[0]} ({span[1]} to {span[2]}), {asked}: {told}"


def experiment_lines(found: Experiment) -> Iterable[str]:
    """The answer, each metric, and what is waited on: a line each."""
    yield experiment_words(found)
    yield from map(result_words, found.metrics)
    yield from (f"waiting on {gate_wait_words(wait)}" for wait in found.waits)


def _margin(metric: str, margin: float | None) -> str:
    if margin is None:
        return ""
    return f"{100 * margin:g} percentage points" if metric == ERRORS else percent(margin)


def _signed(metric: str, value: float) -> str:
    unit = " pp" if metric in (ERRORS, LATENCY) else "%"
    digits = 1 if metric in AMOUNTS else 2
    return f"{100 * value:+.{digits}f}{unit}"


# --- Plans


def plan_lines(found: Plan) -> Iterable[str]:
    """Each stage with what it needs, the ladder that is proposed, and why: a line each."""
    yield from map(stage_words, found.stages)
    if found.proposed:
        shares = ", ".join(_share(each.share_bp) for each in found.proposed)
        total = "never ends" if found.total_ms is None else f"about {duration(found.total_ms)}"
        yield f"proposed: {shares} ({total})"
    else:
        yield "proposed: no ladder; a person has to decide"
    yield from (f"because {plan_reason_words(reason)}" for reason in found.reasons)


def stage_words(need: StageNeed) -> str:
    """`1%: proof of safety 12 min, up to 28 min; A/B gate 5 d 19 h (11,625 units per arm)`."""
    name = _share(need.share_bp)
    if need.share_bp == WHOLE_BP:
        return f"{name}: nothing more to prove here; the bake watches it"
    if need.likely_ms is None or need.sure_ms is None:
        words = f"{name}: proof of safety never"
    else:
        words = f"{name}: proof of safety {duration(need.likely_ms)}, up to "
        words += duration(need.sure_ms)
    if not need.gate:
        return words
    if need.gate_units_count is None:
        return f"{words}; A/B gate never: it takes more units than the policy allows"
    units = f"{need.gate_units_count:,} units per arm"
    if need.gate_ms is None:
        return f"{words}; A/B gate never: {units}, and none come"
    return f"{words}; A/B gate {duration(need.gate_ms)} ({units})"


def plan_reason_words(reason: PlanReason) -> str:
    """Why the proposed ladder is as it is."""
    share, to = _share(reason.share_bp), _share(reason.to_bp)
    need = "for ever" if reason.need_ms is None else duration(reason.need_ms)
    name = metric_words(reason.metric) if reason.metric else ""
    match reason.kind:
        case "too_slow":
            return f"{share} may take {need} to prove safety, which is longer than wait_at_most"
        case "raised":
            return f"{to} instead of {share} is the smallest first stage that is proven in time"
        case "too_little_traffic":
            return "there is too little traffic: not even 50% would be proven safe in time"
        case "too_close":
            limit = percent(SAFE_LIMIT)
            return f"errors of today are too close to {limit}: nothing proves them to be below it"
        case "gate_at_half":
            return f"the A/B gate is quickest at {to}: {need}"
        case "wait_longer":
            return f"the A/B gate needs {need} at {share}: raise canary.wait_at_most to more"
        case "gate_never":
            return (
                f"the A/B gate would not be passed: {name} takes more units than max_units, "
                "even at 50%; widen its margin or take it out"
            )
        case "no_units":
            return "the A/B gate counts units, and no calls come with one"
        case "unknown":
            return f"{name} has no figures yet, so the plan leaves it out"
        case _:
            return reason.kind


def _share(share_bp: int) -> str:
    return f"{share_bp / 100:g}%"

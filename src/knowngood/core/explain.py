"""Findings, decisions and waits as sentences. CLI, pages, API and messages all use these words."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from knowngood.core.evaluation import Met, Tally, Why
from knowngood.core.ladder import stages_words
from knowngood.core.measure import QUANTILES, rung_of
from knowngood.core.model import (
    WHOLE_BP,
    Comparison,
    Confirming,
    Decision,
    Finding,
    Phase,
    Route,
    Severity,
    State,
    Steady,
    Verdict,
    Verifying,
    Wait,
)
from knowngood.core.paired import PROOF, Paired
from knowngood.core.reading import Proof, TimeToDetect
from knowngood.core.rollout import RolloutKind
from knowngood.core.watch import WORSE_THAN_REPLACED, is_rate
from knowngood.core.window import LATENCY_BASE

LOG_MILLION = math.log(1e6)
NAMES_SHOWN = 5  # of processes, in a sentence
# Of processes, frozen in a line of history. A fleet may have 10,000, which would be half a megabyte
# a line; people go by the first ones, and words show no more than NAMES_SHOWN.
NAMES_KEPT = 100

METRIC_WORDS = {
    "error_rate": "errors",
    "refusal_rate": "refusals",
    "latency_p50": "p50 latency",
    "latency_p90": "p90 latency",
    "latency_p99": "p99 latency",
    "first_token_p99": "p99 time to first token",
    "tokens_per_call": "tokens per call",
    "cost_per_call": "cost per call",
}


def metric_words(metric: str) -> str:
    """A metric's name as a person says it."""
    return METRIC_WORDS.get(metric, metric.removeprefix("score.").removeprefix("counter."))


def few(names: Sequence[str], unnamed_count: int = 0) -> str:
    """The first names of a list: `web-1, web-2 and 9,998 more`. A subject is no census."""
    more = len(names) + unnamed_count - NAMES_SHOWN
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{shown} and {more:,} more" if more > 0 else shown


def percent(fraction: float) -> str:
    """0.112 -> `11.2%`; one decimal, two below one percent's tenth."""
    value = 100 * fraction
    return f"{value:.2f}%" if 0 < abs(value) < 0.1 else f"{value:.1f}%"


def duration(ms: float) -> str:
    """A time span in the two largest units: `27 s`, `4 min 10 s`, `1 h 5 min`, `2 d`."""
    seconds = round(ms / 1000)
    if seconds < 60:
        return f"{seconds} s"
    for big, small, names in ((60, 1, "min s"), (3600, 60, "h min"), (86400, 3600, "d h")):
        if seconds < big * (60 if big == 60 else 24 if big == 3600 else 10**9):
            first, second = names.split()
            rest = seconds % big // small
            return f"{seconds // big} {first}" + (f" {rest} {second}" if rest else "")
    return f"{seconds} s"


def moment(ms: int) -> str:
    """An instant as people read it, in UTC: `2026-01-31 12:00:00Z`."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


def amount(metric: str, value: float) -> str:
    """A metric's value with its unit."""
    if metric in QUANTILES:
        return f"{value:.0f} ms" if value >= 10 else f"{value:.2f} ms"
    if metric.endswith("_rate") or metric.startswith("counter."):
        return percent(value)
    if metric == "cost_per_call":
        return f"${value:.6f}"
    return f"{value:.1f}" if metric == "tokens_per_call" else f"{value:.3f}"


def finding_words(finding: Finding) -> str:
    """What a finding saw, in numbers: `errors 11.2% > 5.0% (35 of 312)`."""
    name = metric_words(finding.metric)
    if finding.verdict is Verdict.BLIND:
        return f"{name}: blind, no reports"
    if finding.estimate is None:
        return f"{name}: nothing to judge yet"
    if finding.trigger == WORSE_THAN_REPLACED:
        return _replaced_words(finding, finding.estimate)
    if lower := _lower_rung_words(finding):
        return lower
    seen = f"{name} {_compared(finding)}"
    if finding.bad is not None:
        return f"{seen} ({finding.bad} of {finding.n}){_cascade_words(finding)}"
    return f"{seen} (n = {finding.n})"


def _replaced_words(finding: Finding, estimate: float) -> str:
    """`errors 1.5% (30 of 2000), against 0.2% of v2, which it replaces: proven worse`."""
    seen = f"{metric_words(finding.metric)} {amount(finding.metric, estimate)}"
    count = f"n = {finding.n}" if finding.bad is None else f"{finding.bad} of {finding.n}"
    theirs = "nothing" if finding.baseline is None else amount(finding.metric, finding.baseline)
    proven = "proven worse" if finding.verdict is Verdict.BREACH else "not proven worse"
    against = f"against {theirs} of {finding.baseline_source}, which it replaces"
    return f"{seen} ({count}), {against}: {proven}"


def _cascade_words(finding: Finding) -> str:
    """`, together with faq, while hr is well`: who fails too, and why no provider is blamed."""
    if not finding.related:
        return ""
    return f", together with {few(finding.related)}, while {finding.well} is well"


def _lower_rung_words(finding: Finding) -> str | None:
    """What a p99 cannot say of calls that all got slower, when its p90 or p50 speaks for it.

    `p50 latency: 61.0% of calls slower than 1240 ms > 50.0% (305 of 500)`.
    """
    proof = finding.proof
    if finding.metric not in QUANTILES or proof is None or proof.limit is None or not proof.over:
        return None
    rung = rung_of(finding.metric, proof.limit)
    if rung == finding.metric:
        return None
    share = f"{percent(proof.bad / proof.n)} of calls slower than {_slow_words(proof)}"
    seen = f"{share} > {percent(proof.limit)} ({proof.bad} of {proof.n})"
    return f"{metric_words(rung)}: {seen}"


def _slow_words(proof: Proof) -> str:
    """What a call has to be above to count as slow: the upper edge of its bucket."""
    return amount("latency_p99", LATENCY_BASE ** (proof.above + 1))


def proof_words(finding: Finding) -> str | None:
    """What a finding rests on: `E = 38 of 1,000, healthy up to 0.8%`; None for a plain one."""
    proof = finding.proof
    if proof is None:
        return None
    words = [f"E = {_e_words(proof.log_e)} of {1 / proof.alpha:,.0f}"]
    if finding.trigger == WORSE_THAN_REPLACED:
        words[0] += f" that it does worse than {finding.baseline_source}"
    slower = ""
    if finding.metric in QUANTILES and proof.limit is not None:
        words[0] += f" on the {metric_words(rung_of(finding.metric, proof.limit))}"
        slower = f" slower than {_slow_words(proof)}"
    if proof.healthy is not None:
        words.append(f"healthy up to {percent(proof.healthy)}{slower}")
    if not proof.separable and proof.limit is not None:
        raised = percent(proof.limit)
        words.append(
            f"proof is asked for {raised}, the baseline is too close (THRESHOLD_NOT_SEPARABLE)"
        )
    if proof.log_e_relative is not None:
        words.append(f"against the control E = {_e_words(proof.log_e_relative)}")
    if is_rate(finding.metric) and finding.trigger != WORSE_THAN_REPLACED:
        times = detect_words(proof.time_to_detect) or "unknown without traffic"
        words.append(f"time to detect {times}")
    return ", ".join(words)


def detect_words(times: Iterable[TimeToDetect]) -> str:
    """`6% 2 min, 20% 19 s, 100% 6 s` at today's traffic; `never` where it cannot be found."""
    return ", ".join(
        f"{100 * t.rate:g}% {'never' if t.after_ms is None else duration(t.after_ms)}"
        for t in times
    )


def _e_words(log_e: float) -> str:
    """An e-value; beyond a million its size says nothing more."""
    if log_e > LOG_MILLION:
        return "over 1,000,000"
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _compared(finding: Finding) -> str:
    assert finding.estimate is not None
    value = amount(finding.metric, finding.estimate)
    if finding.comparison is Comparison.ABOVE:
        sign = ">" if finding.estimate > finding.limit else "<="
        return f"{value} {sign} {amount(finding.metric, finding.limit)}"
    if finding.comparison is Comparison.BELOW:
        sign = "<" if finding.estimate < finding.limit else ">="
        return f"{value} {sign} {amount(finding.metric, finding.limit)}"
    if not finding.baseline:
        return f"{value}, no baseline"
    change = finding.estimate / finding.baseline - 1
    word = "up" if change >= 0 else "down"
    source = finding.baseline_source.replace("_", " ")
    return (
        f"{word} {percent(abs(change))} (limit {percent(finding.limit)}), "
        f"{amount(finding.metric, finding.baseline)} -> {value}, against the {source}"
    )


def wait_words(wait: Wait) -> str:
    """What is waited on, in a person's words."""
    name = metric_words(wait.detail) if wait.detail else ""
    have, need = _count(wait.have), _count(wait.need)
    match wait.kind:
        case "labels" if have == 0:
            return f"labels for {name}: nobody scored a call in the window ({need} needed)"
        case "requests" | "labels" | "errors":
            about = f" for {name}" if name and wait.kind != "errors" else ""
            noun = wait.kind.removesuffix("s") if need - have == 1 else wait.kind
            eta = "" if wait.eta_ms is None else f", about {duration(wait.eta_ms)} at this traffic"
            return f"{need - have} more {noun}{about} ({have} of {need}){eta}"
        case "idle":
            return "traffic: no calls in the window"
        case "baseline":
            return f"a baseline for {name}: neither a control nor the previous good version has one"
        case "noise":
            return f"more traffic: {name} has not moved further than noise does"
        case "separable":
            return (
                f"about {need} labels a side: with {have} the change of {name} "
                "is not separable from noise"
            )
        case "evidence":
            return _evidence_words(wait, name)
        case "not_separable":
            return (
                f"a wider limit for {name}: a healthy version passes this one by chance "
                "(THRESHOLD_NOT_SEPARABLE)"
            )
        case "reports":
            return "reports: every process that used to report is silent"
        case _:
            return _other_wait_words(wait, have, need)


def _evidence_words(wait: Wait, name: str) -> str:
    """`more evidence on errors: E = 38 of 1,000, about 3 min at this traffic`."""
    have = f"{wait.have:.1f}" if (wait.have or 0) < 10 else f"{wait.have:,.0f}"
    eta = "" if wait.eta_ms is None else f", about {duration(wait.eta_ms)} at this traffic"
    return f"more evidence on {name}: E = {have} of {_count(wait.need):,}{eta}"


def _other_wait_words(wait: Wait, have: int, need: int) -> str:
    detail = wait.detail
    match wait.kind:
        case "next_look":
            return "the next look, to confirm the breach on newer data"
        case "clients":
            return f"processes that still run an older generation ({have} of {need}): {detail}"
        case "census":
            return f"any process to report: {detail}"
        case "verify_requests":
            return f"proof of recovery on the target: {have} of {need} calls, if no more fail"
        case "verify_limit":
            return f"the target to be healthy: {detail}"
        case "verify_metric":
            return f"the target's {metric_words(detail)} to be back: not enough evidence yet"
        case "first_look":
            return "the first look at this stage"
        case "stage_time":
            return f"the stage's time: {duration(wait.need or 0)} left"
        case "stage_proof":
            eta = "" if wait.eta_ms is None else f", about {duration(wait.eta_ms)} at this traffic"
            return f"proof that {detail} is safe: {have} of {need} calls, if no more fail{eta}"
        case "soak":
            return f"the soak on {detail}: {duration(wait.need or 0)} left"
        case "soak_calls":
            return f"calls on {detail}: {have} so far, {need} needed"
        case "freeze":
            return f"the end of a change freeze ({detail}): {duration(wait.need or 0)} left"
        case "gate":
            return f"a person: {detail}"
        case "approvals":
            more = (wait.need or 0) - have
            whose = f" ({detail} can)" if detail else ""
            return f"the word of {more} more {'person' if more == 1 else 'people'}{whose}"
        case "ab":
            return f"the A/B gate: {detail}"
        case "bake_time":
            return f"the bake: {duration(wait.need or 0)} left before {detail} can be good"
        case "bake_evidence":
            return f"calls to prove {detail} good: {have} of {need}, if no more fail"
        case "settle":
            return f"the open incident to settle by itself: {detail}"
        case "route":
            return "a first `knowngood promote`: nothing is routed here"
        case "operator":
            return f"an operator: {detail}"
        case "answer":
            return f"{detail}; {_left(wait.need)}"
        case "ack":
            return f"{detail} to acknowledge the page before others are told; {_left(wait.need)}"
        case "brake":
            return f"a brake: {detail}"
        case "left_behind":
            return f"a person: the rest of the release {detail} went back without it"
        case "release":
            return f"what it was released with: {detail}, not ready yet"
        case "attribution":
            return (
                f"proof that it is the version and not its provider: E = {wait.have or 0:.1f} of "
                f"{need} against the control {detail}"
            )
        case "control_calls":
            return f"calls of the control {detail}, to see whether it fails too ({have} of {need})"
        case _:
            return detail or wait.kind


def _left(left: float | None) -> str:
    return f"{duration(_count(left))} left" if (left or 0) > 0 else "overdue"


def _count(value: float | None) -> int:
    return round(value or 0)


def strongest(findings: Iterable[Finding]) -> list[Finding]:
    """Breaches first, the most severe and the most strongly acted on before the others."""
    verdicts, severities = list(Verdict), list(Severity)
    return sorted(
        findings,
        key=lambda f: (verdicts.index(f.verdict), severities.index(f.severity)),
    )


def route_words(route: Route | None) -> str:
    """`v1.9.0 95% + v2.0.0 5%`."""
    if route is None:
        return "no route"
    return arms_words((arm.version, arm.weight_bp) for arm in route.arms)


def arms_words(arms: Iterable[Sequence[Any]]) -> str:
    """The arms of a frozen decision, pairs of version and weight, as those of a route."""
    return " + ".join(f"{version} {100 * bp / WHOLE_BP:g}%" for version, bp in arms)


def phase_words(phase: Phase) -> str:
    """What is under way."""
    match phase:
        case Steady():
            return "steady"
        case Confirming(trigger=trigger, version=version):
            return f"confirming {trigger} on {version}"
        case Verifying(from_version=old, to_version=new):
            return f"verifying the rollback {old} -> {new}"


def doing_words(state: State) -> str:
    """What is under way with a prompt, its rollout included: `canary of v2: 1% -> [5%] -> 100%`."""
    rollout = state.rollout
    if rollout is None or not isinstance(state.phase, Steady):
        return phase_words(state.phase)
    paused = f", paused by {rollout.pause.actor}" if rollout.pause else ""
    if rollout.kind is RolloutKind.GRADUAL:
        way = f"{rollout.from_version} -> {rollout.to_version}"
        return f"gradual rollback {way}: {stages_words(rollout)}{paused}"
    if rollout.is_baking:
        return f"bake of {rollout.to_version}{paused}"
    return f"canary of {rollout.to_version}: {stages_words(rollout)}{paused}"


def decision_words(state: State, decision: Decision) -> str:
    """One sentence: what was decided, or why nothing."""
    if not decision.findings:
        return "Nothing to judge."
    breaches = [f for f in decision.findings if f.verdict is Verdict.BREACH]
    if isinstance(state.phase, Verifying):
        return _as_sentence(phase_words(state.phase))
    held = next((w for w in decision.waiting_on if w.kind == "brake"), None)
    if held:
        return f"Rollback held: waiting on {wait_words(held)}."
    if isinstance(state.phase, Confirming):
        return _as_sentence(phase_words(state.phase))
    if breaches:
        worst = strongest(breaches)[0]
        return f"Breach of {worst.trigger} on {worst.version}: {finding_words(worst)}."
    blind = [f for f in decision.findings if f.verdict is Verdict.BLIND]
    if blind:
        return f"Blind on {blind[0].version}: no reports, so nothing is decided."
    unsure = sum(f.verdict is Verdict.UNSURE for f in decision.findings)
    if unsure == len(decision.findings):
        return "Nothing: not enough evidence for any trigger yet."
    more = f"; {unsure} of {len(decision.findings)} triggers are unsure" if unsure else ""
    return f"Nothing: no trigger is breached{more}."


def _as_sentence(words: str) -> str:
    # Names keep their capitals, so this is not str.capitalize().
    return f"{words[0].upper()}{words[1:]}."


PLAIN_NAMES = {"error_rate": "Error rate", "latency_p99": "Latency"}


def article_words(finding: Finding | None) -> str:
    """A breach as the plain rule behind `evidence: none` says it; None: nothing was found.

    `Error rate 7.3% exceeds 5% threshold`, `Quality dropped 25.0%`, `Latency increased 120.0%`, and
    `All metrics healthy` for whatever is no breach: the reasons of the article's class, letter by
    letter, for whoever has them in an alert or a script already.
    """
    if finding is None or finding.verdict is not Verdict.BREACH or finding.estimate is None:
        return "All metrics healthy"
    words = metric_words(finding.metric)
    name = PLAIN_NAMES.get(finding.metric, f"{words[0].upper()}{words[1:]}")
    match finding.comparison:
        case Comparison.DROP | Comparison.INCREASE if finding.baseline:
            verb = "dropped" if finding.comparison is Comparison.DROP else "increased"
            move = abs(finding.estimate - finding.baseline) / finding.baseline
            return f"{name} {verb} {100 * move:.1f}%"
        case Comparison.ABOVE if finding.bad is not None:
            rate, limit = 100 * finding.estimate, 100 * finding.limit
            return f"{name} {rate:.1f}% exceeds {limit:g}% threshold"
    value, threshold = (amount(finding.metric, x) for x in (finding.estimate, finding.limit))
    verb = "is below" if finding.comparison is Comparison.BELOW else "exceeds"
    return f"{name} {value} {verb} {threshold} threshold"


def tally_words(tally: Tally) -> str:
    """`75 of 100 passed (75.0%), 2 of the others could not be judged, 3 skipped, mean 0.81`."""
    share = percent(tally.passed_count / tally.case_count)
    words = [f"{tally.passed_count} of {tally.case_count} passed ({share})"]
    if tally.error_count:
        words.append(f"{tally.error_count} of the others could not be judged")
    if tally.skipped_count:
        words.append(f"{tally.skipped_count} skipped")
    if tally.score_mean is not None:
        words.append(f"mean score {tally.score_mean:.3f}")
    return ", ".join(words)


def answer_words(answer: Met) -> str:
    """Why an evaluation allows a version, denies it, or is waited on."""
    requirement, found = answer.requirement, answer.evaluation
    wanted = f"{requirement.suite} of at least {_rate(requirement.at_least)}"
    if found is None:
        return f"needs an evaluation: {wanted}, and none is recorded"
    if answer.why is Why.OLD:
        return (
            f"needs a newer evaluation: {wanted}, and the last one is "
            f"{duration(answer.age_ms)} old (at most {duration(requirement.max_age_ms or 0)})"
        )
    sign = ">=" if answer.why is Why.MET else "<"
    counts = f"{found.tally.passed_count} of {found.tally.case_count}"
    return (
        f"{requirement.suite} {percent(found.accuracy)} {sign} {_rate(requirement.at_least)} "
        f"({counts})"
    )


def _rate(rate: float) -> str:
    """A rate as its owner wrote it: `75%`, `99.95%`."""
    return f"{round(100 * rate, 6):g}%"


def paired_words(a: str, b: str, found: Paired) -> str:
    """What a comparison of versions `a` and `b` saw: pairs, who passed alone, p and E."""
    if not found.pair_count:
        return f"no example was judged with both {a} and {b}"
    return (
        f"{found.pair_count} pairs, {found.discordant_count} discordant: "
        f"{len(found.only_a)} passed with {a} alone, {len(found.only_b)} with {b} alone "
        f"(McNemar p = {found.p:.2g}); mean score {found.gain:+.3f} with {b}, "
        f"E = {_e_words(found.log_e)} of {PROOF:.0f}"
    )


def better_words(a: str, b: str, found: Paired) -> str:
    """Which version is better, if that is proven, and else what it would take."""
    ahead, behind = (b, a) if found.gain > 0 else (a, b)
    if found.is_proven:
        return f"{ahead} is better than {behind}: proven"
    if found.needed_count is None:
        return "no difference is proven; as it looks, there is none to be found"
    return (
        f"no difference is proven; {ahead} is ahead, and if it stays so, about "
        f"{found.needed_count:,} more pairs prove it"
    )

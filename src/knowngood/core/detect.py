"""One trigger against what was reported: breach, clear, unsure or blind, and what it waits on."""

import math
from dataclasses import dataclass, replace

from knowngood.core.counts import base_count, count_of
from knowngood.core.levels import MIN_LATENCY_BASELINE
from knowngood.core.measure import QUANTILES, Measure, measure, rung_of
from knowngood.core.model import Comparison, Finding, Verdict, Wait
from knowngood.core.plain import enough, found_by, is_relative, judge
from knowngood.core.reading import (
    NOTHING_READ,
    Proof,
    RateSign,
    Reading,
    ScoreSign,
    TimeToDetect,
)
from knowngood.core.rules import Condition, PromptPolicy, Trigger
from knowngood.core.stats import (
    TICKS_TO_ALARM,
    alternatives,
    calls_to_alarm,
    cap_of,
    growth,
    rate_factors,
)
from knowngood.core.track import GATE_BAD, GATE_REQUESTS, relative_key
from knowngood.core.watch import Watch, is_rate, is_score, watch_of
from knowngood.core.window import BUCKET_MS, Window

EXPECTED_RATES = (0.06, 0.2, 1.0)  # for which the time to detect is told
LAG_MS = 2_000  # until a bucket is final


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
    reading: Reading = NOTHING_READ


def detect(trigger: Trigger, frame: Frame, policy: PromptPolicy) -> Finding:
    """The finding of one trigger for one version; pure, from the frame alone."""
    watch = watch_of(trigger)
    if watch is None:
        return detect_plain(trigger, frame, policy)
    if is_score(watch.metric):
        return _score_finding(trigger, watch, frame)
    return _rate_finding(trigger, watch, frame, policy)


def detect_plain(trigger: Trigger, frame: Frame, policy: PromptPolicy) -> Finding:
    """The finding by the plain rule: one window, its limit and a minimum count."""
    when = trigger.when
    found = found_by(trigger, frame.window, policy)
    base, source = _baseline(when, trigger.kinds, frame, policy)
    verdict, waits = judge(when, found, base, frame.window)
    return _finding(
        trigger,
        frame,
        replace(
            _EMPTY,
            verdict=verdict,
            n=found.n,
            bad=found.bad,
            estimate=found.estimate,
            baseline=base.estimate if base else None,
            source=source,
            waits=waits,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was found, before it is put into its trigger's words."""

    verdict: Verdict
    n: int = 0
    bad: int | None = None
    estimate: float | None = None
    baseline: float | None = None
    source: str = ""
    waits: tuple[Wait, ...] = ()
    proof: Proof | None = None


_EMPTY = _Judged(Verdict.UNSURE)


def _finding(trigger: Trigger, frame: Frame, judged: _Judged) -> Finding:
    when = trigger.when
    return Finding(
        trigger=trigger.name,
        version=frame.version,
        metric=when.metric,
        comparison=when.comparison,
        limit=when.limit,
        verdict=Verdict.BLIND if frame.blind else judged.verdict,
        response=trigger.action,
        severity=trigger.severity,
        n=judged.n,
        bad=judged.bad,
        estimate=judged.estimate,
        baseline=judged.baseline,
        baseline_source=judged.source,
        since_ms=frame.since_ms,
        until_ms=frame.until_ms,
        waiting_on=(Wait("reports"),) if frame.blind else judged.waits,
        proof=judged.proof,
    )


def _baseline(
    when: Condition, kinds: tuple[str, ...], frame: Frame, policy: PromptPolicy
) -> tuple[Measure | None, str]:
    if not is_relative(when):
        return None, ""
    for candidate in frame.baselines:
        base = measure(when.metric, candidate.window, kinds, policy.scores)
        least = enough(when.metric, base, policy)
        if base.estimate is not None and base.n >= least and base.estimate > 0:
            return base, candidate.source
    return None, ""


# --- Shares: failures, counters, slow calls


def _rate_finding(trigger: Trigger, watch: Watch, frame: Frame, policy: PromptPolicy) -> Finding:
    base, source = _begun_with(watch, frame, policy)
    judged = replace(_EMPTY, baseline=base.estimate if base else None, source=source)
    signs = frame.reading.rates.get(watch.key, ())
    sign = max(signs, key=_strength, default=None)
    if watch.metric in QUANTILES:
        found = measure(watch.metric, frame.window, trigger.kinds, policy.scores)
        judged = replace(judged, n=found.n, estimate=found.estimate)
    elif sign is not None and sign.n:
        judged = replace(judged, n=sign.n, bad=sign.bad, estimate=sign.bad / sign.n)
    if sign is not None:
        judged = replace(judged, proof=_proof(watch, sign, frame.reading))
    verdict, waits = _judge_rate(watch, sign, frame)
    return _finding(trigger, frame, replace(judged, verdict=verdict, waits=waits))


def _begun_with(watch: Watch, frame: Frame, policy: PromptPolicy) -> tuple[Measure | None, str]:
    """What the detector of a relative limit began with: the frozen day, else the control."""
    if watch.comparison is not Comparison.INCREASE:
        return None, ""
    least = policy.baseline.min_requests
    if watch.metric in QUANTILES:
        least = MIN_LATENCY_BASELINE
    for candidate in sorted(frame.baselines, key=lambda each: each.source == "control"):
        base = measure(watch.metric, candidate.window, watch.kinds, policy.scores)
        if base.estimate and base.n >= least:
            return base, candidate.source
    return None, ""


def _strength(sign: RateSign) -> tuple[bool, float]:
    """How close a detector is to an alarm: the first rung of a ladder that is, speaks for it."""
    return sign.over, sign.log_e + math.log(sign.alpha)


def _judge_rate(
    watch: Watch, sign: RateSign | None, frame: Frame
) -> tuple[Verdict, tuple[Wait, ...]]:
    if frame.window.call_count == 0:
        return Verdict.UNSURE, (Wait("idle", GATE_REQUESTS, 0, watch.metric),)
    if sign is None:
        kind = "not_separable" if watch.key in frame.reading.inseparable else "baseline"
        return Verdict.UNSURE, (Wait(kind, detail=watch.metric),)
    if sign.over:
        if is_proof(sign.log_e, sign.alpha):
            return Verdict.BREACH, ()
        return Verdict.UNSURE, (evidence_wait(watch, sign, frame),)
    least = GATE_REQUESTS if is_rate(watch.metric) else max(GATE_REQUESTS, round(1 / sign.limit))
    n, bad = (sign.n, sign.bad) if sign.n >= least else (sign.calm_n, sign.calm_bad)
    if n < least:
        per_s = frame.reading.calls_per_s
        eta_ms = round(1000 * (least - n) / per_s) if per_s > 0 else None
        return Verdict.UNSURE, (Wait("requests", least, n, watch.metric, eta_ms),)
    if bad > (sign.threshold or sign.limit) * n:  # by too few to be a breach, or a while ago
        if is_rate(watch.metric) and bad < GATE_BAD:
            return Verdict.UNSURE, (Wait("errors", GATE_BAD, bad, watch.metric),)
        return Verdict.UNSURE, (evidence_wait(watch, sign, frame),)
    return Verdict.CLEAR, ()


def is_proof(log_e: float, alpha: float) -> bool:
    """Whether evidence of `log_e` nats is enough at level `alpha`."""
    return log_e >= math.log(1 / alpha)


def evidence_wait(watch: Watch, sign: RateSign, frame: Frame) -> Wait:
    """More evidence is needed; `need` and `have` are values of E, `eta_ms` if it goes on so."""
    left = max(0.0, math.log(1 / sign.alpha) - sign.log_e)
    told = _told_per_s(watch, sign, frame)
    eta_ms = round(1000 * left / told) if told > 0 else None
    about = rung_of(watch.metric, sign.limit) if watch.metric in QUANTILES else watch.metric
    return Wait("evidence", 1 / sign.alpha, math.exp(sign.log_e), about, eta_ms)


def _told_per_s(watch: Watch, sign: RateSign, frame: Frame) -> float:
    """How much evidence a second brings on average, in nats, or takes away.

    At the rate of the trigger's whole window. The window that passes the gate is the worst of
    several, so what it shows is more than what goes on.
    """
    count = count_of(watch.metric, watch.kinds, sign.above)
    n, bad = base_count(count.base, frame.window), count.bad(frame.window)
    per_s = 1000 * n / max(BUCKET_MS, frame.until_ms - frame.since_ms)
    if n < GATE_REQUESTS:  # too few to be a rate: then the gate's window is a longer one
        n, bad, per_s = sign.n, sign.bad, frame.reading.calls_per_s
    if not n:
        return 0.0
    told = growth(bad / n, rate_factors(sign.limit, sign.healthy)) * per_s
    return min(told, cap_of(sign.alpha))


def _proof(watch: Watch, sign: RateSign, reading: Reading) -> Proof:
    relative = reading.relative.get(relative_key(watch.metric, watch.kinds))
    on_calls = is_rate(watch.metric)
    return Proof(
        alpha=sign.alpha,
        log_e=sign.log_e,
        over=sign.over,
        limit=sign.limit,
        healthy=sign.healthy,
        n=sign.n,
        bad=sign.bad,
        window_ms=sign.window_ms,
        over_since_ms=sign.over_since_ms,
        log_e_relative=relative,
        separable=sign.separable,
        above=sign.above,
        time_to_detect=time_to_detect(sign, reading.calls_per_s) if on_calls else (),
    )


def time_to_detect(sign: RateSign, calls_per_s: float) -> tuple[TimeToDetect, ...]:
    """How long some true rates would take to be found, from a deploy and at this traffic.

    The calls of detectors.md, section 1, and at least as many distinct failing seconds as the cap
    on a tick asks for; None for a rate that is never found, not being above the healthy one and the
    limit. Empty without traffic: nobody can tell.
    """
    if calls_per_s <= 0:
        return ()
    told: list[TimeToDetect] = []
    for rate in EXPECTED_RATES:
        calls = calls_to_alarm(rate, sign.healthy, sign.alpha, len(alternatives(sign.limit)))
        if math.isinf(calls) or rate <= sign.limit:
            told.append(TimeToDetect(rate))
            continue
        ticks_s = (TICKS_TO_ALARM + 1) * max(1.0, 1 / (rate * calls_per_s))
        after_ms = round(1000 * max(calls / calls_per_s, ticks_s)) + LAG_MS
        told.append(TimeToDetect(rate, after_ms))
    return tuple(told)


# --- Scores


def _score_finding(trigger: Trigger, watch: Watch, frame: Frame) -> Finding:
    sign = frame.reading.scores.get(watch.key)
    if sign is None:
        kind = "labels" if frame.window.call_count else "idle"
        missing = Wait(kind, watch.min_labels, 0, watch.metric)
        return _finding(trigger, frame, replace(_EMPTY, waits=(missing,)))
    verdict, waits = _judge_score(trigger.when, watch, sign)
    judged = _Judged(
        verdict=verdict,
        n=sign.recent_n,
        estimate=sign.mean,
        baseline=sign.baseline,
        source=sign.source,
        waits=waits,
        proof=Proof(sign.alpha, sign.log_e, sign.over, n=sign.n),
    )
    return _finding(trigger, frame, judged)


def _judge_score(
    when: Condition, watch: Watch, sign: ScoreSign
) -> tuple[Verdict, tuple[Wait, ...]]:
    if is_relative(when) and sign.baseline is None:
        return Verdict.UNSURE, (Wait("baseline", detail=when.metric),)
    if sign.n < watch.min_labels:
        return Verdict.UNSURE, (Wait("labels", watch.min_labels, sign.n, when.metric),)
    if sign.over and is_proof(sign.log_e, sign.alpha):
        return Verdict.BREACH, ()
    limit = when.limit if is_relative(when) else 0.0
    if not sign.over and sign.move + sign.move_se <= limit:
        return Verdict.CLEAR, ()
    if sign.needed_n > sign.n:
        return Verdict.UNSURE, (Wait("separable", sign.needed_n, sign.n, when.metric),)
    have = math.exp(min(sign.log_e, math.log(1 / sign.alpha)))
    return Verdict.UNSURE, (Wait("evidence", 1 / sign.alpha, have, when.metric),)

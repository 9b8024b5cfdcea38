"""All findings on a prompt: which versions are looked at, over which stretch, against what."""

import math
from collections.abc import Container, Iterable
from dataclasses import replace

from knowngood.core.detect import Baseline, Frame, detect
from knowngood.core.measure import measure
from knowngood.core.model import (
    WHOLE_BP,
    Comparison,
    Entry,
    Finding,
    Observed,
    Response,
    Severity,
    ShareStep,
    Standing,
    State,
    Verdict,
    Verifying,
    Wait,
)
from knowngood.core.reading import Proof, RateSign, Reading
from knowngood.core.rollout import RolloutKind
from knowngood.core.rules import AlertRule, Condition, PromptPolicy, Trigger
from knowngood.core.track import GATE_BAD, GATE_REQUESTS, Plan, Split, replaced_key
from knowngood.core.watch import (
    ELEVATED_RATE,
    WORSE_THAN_REPLACED,
    Watch,
    alert_triggers,
    elevated,
    target_trigger,
)
from knowngood.core.window import BUCKET_MS, Window

WORSE_THAN_CONTROL = "worse_than_control"
CASCADE = "cascade"
WORSE_EVIDENCE = 100.0  # that the candidate does worse than its control, for a question of its own
CASCADE_EVIDENCE = 100.0
CASCADE_WITHIN_MS = 300_000
# Evidence reaches back at least this far, so that "it was reported before" can be seen.
LOOKBACK_MS = 10 * 60_000
# A verification may go on for a day; what it looks at is bounded by this.
MAX_LOOKBACK_MS = 2 * 3_600_000
CASCADE_CHANGED_MS = 24 * 3_600_000  # a version that came within this may be why


def _elevated_trigger(window_ms: int) -> Trigger:
    when = Condition("error_rate", Comparison.ABOVE, ELEVATED_RATE, "error_rate > 2%")
    return Trigger(CASCADE, when, Severity.HIGH, Response.ASK, "on-call", window_ms)


def findings(
    state: State, observed: Observed, policy: PromptPolicy, now_ms: int
) -> tuple[Finding, ...]:
    """Every trigger on every version of the route, and the alerts in force on the suspect.

    Two more are always there: a candidate that does provably worse than its control, and related
    prompts that fail together.
    """
    route = state.route
    if route is None:
        return ()
    found: list[Finding] = []
    for arm in route.arms:
        triggers = list(policy.triggers)
        if arm == route.suspect:
            for rule in alert_rules(policy, age_ms(state, arm.version, now_ms)):
                triggers += alert_triggers(rule, policy)
        # Most triggers share one window: each is summed once.
        frames = {
            window_ms: frame(state, observed, policy, arm.version, window_ms)
            for window_ms in {t.window_ms for t in triggers}
        }
        found += [detect(t, frames[t.window_ms], policy) for t in triggers]
    return (*found, *_of_target(state, observed, policy), *_always(state, observed, policy, now_ms))


def _of_target(state: State, observed: Observed, policy: PromptPolicy) -> tuple[Finding, ...]:
    """How the target of a gradual rollback is, which decides whether it goes on."""
    rollout = state.rollout
    if rollout is None or rollout.kind is not RolloutKind.GRADUAL:
        return ()
    trigger = target_trigger(policy)
    seen = frame(state, observed, policy, rollout.to_version, policy.window_ms)
    ill = detect(trigger, seen, policy)
    relative = seen.reading.relative.get(replaced_key(trigger.when.metric, trigger.kinds))
    if relative is None or ill.proof is None:
        return (ill,)
    replaced = frame(state, observed, policy, rollout.from_version, policy.window_ms)
    base = measure(trigger.when.metric, replaced.window, trigger.kinds, policy.scores)
    return (ill, _held_against(ill, ill.proof, relative, rollout.from_version, base.estimate))


def _held_against(
    ill: Finding, proof: Proof, relative: float, version: str, base: float | None
) -> Finding:
    """Whether the target does worse than the version that gives way to it (detectors.md, 3.5).

    Both have traffic at the same time, so what troubles both speaks against neither. The target has
    to fail more often than a healthy version may: one that does as it always did gives way to no
    version that is ill in another way.
    """
    over = proof.bad >= GATE_BAD and proof.bad > (proof.healthy or 0.0) * proof.n
    verdict = Verdict.CLEAR
    waits: tuple[Wait, ...] = ()
    if over and relative >= math.log(WORSE_EVIDENCE):
        verdict = Verdict.BREACH
    elif ill.verdict is Verdict.BLIND:
        verdict, waits = Verdict.BLIND, ill.waiting_on
    elif proof.n < GATE_REQUESTS:
        verdict, waits = Verdict.UNSURE, (Wait("requests", GATE_REQUESTS, proof.n, ill.metric),)
    alone = Proof(
        alpha=1 / WORSE_EVIDENCE,
        log_e=relative,
        over=over,
        healthy=proof.healthy,
        n=proof.n,
        bad=proof.bad,
        window_ms=proof.window_ms,
        above=proof.above,
    )
    return replace(
        ill,
        trigger=WORSE_THAN_REPLACED,
        verdict=verdict,
        waiting_on=waits,
        baseline=base,
        baseline_source=version,
        proof=alone,
    )


def _always(
    state: State, observed: Observed, policy: PromptPolicy, now_ms: int
) -> tuple[Finding, ...]:
    assert state.route is not None
    suspect = state.route.suspect.version
    seen = frame(state, observed, policy, suspect, policy.window_ms)
    high = detect(_elevated_trigger(policy.window_ms), seen, policy)
    proof = high.proof
    if proof is None or not proof.over:
        return ()
    told: list[Finding] = []
    relative = proof.log_e_relative
    if state.route.candidate and relative is not None and relative >= math.log(WORSE_EVIDENCE):
        told.append(replace(high, trigger=WORSE_THAN_CONTROL, verdict=Verdict.BREACH))
    related = failing_together(observed, now_ms)
    if proof.log_e >= math.log(CASCADE_EVIDENCE) and related:
        changed = now_ms - state.route.since_ms < CASCADE_CHANGED_MS
        allowed = changed and _rolls_back(policy)
        response = Response.ROLLBACK if allowed else Response.ASK
        told.append(
            replace(
                high,
                trigger=CASCADE,
                verdict=Verdict.BREACH,
                response=response,
                severity=Severity.CRITICAL,
                related=related,
                well=observed.unrelated_clear[0],
            )
        )
    return tuple(told)


def _rolls_back(policy: PromptPolicy) -> bool:
    """Whether failures may roll this prompt back by themselves at all."""
    return any(
        t.when.metric == "error_rate" and t.action is Response.ROLLBACK and not t.dry_run
        for t in policy.triggers
    )


def failing_together(observed: Observed, now_ms: int) -> tuple[str, ...]:
    """The related prompts that began to fail lately; none unless the provider serves another well.

    definitions.md, Judging: what they have in common is then not the provider.
    """
    if not observed.unrelated_clear:
        return ()
    recent = (r for r in observed.related if now_ms - r.elevated_since_ms <= CASCADE_WITHIN_MS)
    return tuple(r.prompt for r in recent)


def is_elevated(reading: Reading, policy: PromptPolicy) -> bool:
    """Whether the version fails more often than 2 %, with the evidence of a cascade."""
    sign = _elevated_sign(reading, policy)
    return sign is not None and sign.over and sign.log_e >= math.log(CASCADE_EVIDENCE)


def is_well(reading: Reading, policy: PromptPolicy) -> bool:
    """Whether enough calls were seen lately to say that the version is not elevated."""
    sign = _elevated_sign(reading, policy)
    if sign is None or sign.over or sign.n < GATE_REQUESTS:
        return False
    return 0 < sign.window_ms <= policy.window_ms


def _elevated_sign(reading: Reading, policy: PromptPolicy) -> RateSign | None:
    signs = reading.rates.get(elevated(policy.window_ms).key, ())
    return signs[0] if signs else None


def breaches(
    found: tuple[Finding, ...], version: str, response: Response | None = None
) -> tuple[Finding, ...]:
    """The breaches on one version, of one response if given."""
    return tuple(
        f
        for f in found
        if f.version == version
        and f.verdict is Verdict.BREACH
        and (response is None or f.response is response)
    )


def overall(found: Iterable[Finding]) -> Verdict | None:
    """The verdict on a prompt as a whole; None when nothing judges it.

    The worst one counts, but a trigger that more traffic alone would not make sure (nobody gives
    labels, there is no baseline) leaves the word to the others.
    """
    judged = list(found)
    heard = [f for f in judged if not is_out_of_reach(f)]
    verdicts = {f.verdict for f in heard or judged}
    order = (Verdict.BREACH, Verdict.BLIND, Verdict.UNSURE, Verdict.CLEAR)
    return next((v for v in order if v in verdicts), None)


def is_out_of_reach(finding: Finding) -> bool:
    """Whether more traffic of the same kind would never make the trigger sure."""
    return finding.verdict is Verdict.UNSURE and all(
        wait.kind in ("baseline", "not_separable")
        or (wait.kind in ("labels", "requests") and not wait.have)  # nobody scores, or times, calls
        for wait in finding.waiting_on
    )


def frame(
    state: State, observed: Observed, policy: PromptPolicy, version: str, window_ms: int
) -> Frame:
    """What a trigger sees of a version: its window, cut where the version came onto the route."""
    entry = state.entry(version)
    routed_ms = entry.routed_ms if entry and entry.routed_ms is not None else 0
    # Its first calls are in the bucket that was open when it came.
    since_ms = max(observed.until_ms - window_ms, routed_ms - routed_ms % BUCKET_MS)
    evidence = observed.evidence(version)
    return Frame(
        version=version,
        since_ms=since_ms,
        until_ms=observed.until_ms,
        window=evidence.since(since_ms),
        reading=evidence.reading,
        baselines=_baselines(state, observed, policy, version, since_ms),
        blind=is_blind(state, observed, version),
    )


def _baselines(
    state: State, observed: Observed, policy: PromptPolicy, version: str, since_ms: int
) -> tuple[Baseline, ...]:
    assert state.route is not None
    possible: list[Baseline] = []
    for source in policy.baseline.sources:
        if source == "control" and state.route.candidate:
            control = state.route.control.version
            if control != version:
                window = observed.evidence(control).since(since_ms)
                possible.append(Baseline("control", window))
        elif source == "previous_good":
            previous = newest_good(state, besides=version, with_baseline=True)
            if previous and previous.baseline:
                possible.append(Baseline(f"previous good {previous.version}", previous.baseline))
    return tuple(possible)


def newest_good(
    state: State, besides: str, with_baseline: bool = False, without: Container[str] = ()
) -> Entry | None:
    """The good version that served most recently, other than `besides` and those in `without`.

    Versions that a person vouched for but that never served come last, newest word first.
    """
    good = [
        e
        for e in state.ledger
        if e.standing is Standing.GOOD
        and e.version != besides
        and e.version not in without
        and (e.baseline is not None or not with_baseline)
    ]
    return max(good, key=lambda e: (e.routed_ms or 0, e.since_ms), default=None)


def blind_notice(version: str) -> str:
    """The name of the notice that the version is blind."""
    return f"blind:{version}"


def is_blind(state: State, observed: Observed, version: str) -> bool:
    """Whether reports that the census leads us to expect are missing.

    Connected processes that report zero calls are idle, not blind: so nobody may be live, somebody
    must have fallen silent, and the version must have been reported before. Reports age out of the
    evidence in minutes, so what was told blind stays so for as long as the silence lasts.
    """
    census = observed.census
    evidence = observed.evidence(version)
    reported = bool(evidence.buckets) or evidence.lifetime.call_count > 0
    reported = reported or blind_notice(version) in state.told
    return reported and census.live_count == 0 and bool(census.silent)


def age_ms(state: State, version: str, now_ms: int) -> int | None:
    """A candidate's age since its share last rose; None for a version that is settled."""
    if state.route is None or state.standing(version) is not Standing.CANDIDATE:
        return None
    return now_ms - state.route.since_ms


def alert_rules(policy: PromptPolicy, version_age_ms: int | None) -> tuple[AlertRule, ...]:
    """The alert rules in force at an age; a settled version (None) has the open-ended ones."""
    if version_age_ms is None:
        return tuple(rule for rule in policy.alerts if rule.max_age_ms is None)
    return tuple(
        rule
        for rule in policy.alerts
        if rule.min_age_ms <= version_age_ms
        and (rule.max_age_ms is None or version_age_ms < rule.max_age_ms)
    )


def plan_for(state: State, version: str, policy: PromptPolicy, watches: tuple[Watch, ...]) -> Plan:
    """What the detectors of a version on the route watch, and against what."""
    route = state.route
    assert route is not None
    control = ""
    if route.candidate and route.candidate.version == version:
        control = route.control.version
    day: Window | None = None
    source = ""
    if "previous_good" in policy.baseline.sources:
        previous = newest_good(state, besides=version, with_baseline=True)
        if previous is not None:
            day, source = previous.baseline, f"previous good {previous.version}"
    rollout, beside = state.rollout, ""
    if rollout is not None and rollout.kind is RolloutKind.GRADUAL:
        beside = rollout.from_version if rollout.to_version == version else ""
    return Plan(watches, policy.baseline, policy.scores, control, day, source, beside)


def split_at(state: State, at_ms: int, version: str = "") -> Split | None:
    """The router's share of `version`, or of the candidate, at a moment, and since when."""
    route = state.route
    if route is None or route.candidate is None:
        return None
    steps = route.steps or (ShareStep(route.since_ms, route.candidate.weight_bp),)
    step = next((s for s in reversed(steps) if s.since_ms <= at_ms), steps[0])
    is_control = version == route.control.version
    return Split(WHOLE_BP - step.weight_bp if is_control else step.weight_bp, step.since_ms)


def look_since_ms(state: State, policy: PromptPolicy, until_ms: int) -> int:
    """From where on a look up to `until_ms` needs the buckets one by one, in ms.

    As far back as the longest window, and while a rollback is verified as far as its switch.
    """
    windows_ms = [policy.window_ms, *(t.window_ms for t in policy.triggers)]
    since_ms = until_ms - max(LOOKBACK_MS, *windows_ms)
    if isinstance(state.phase, Verifying):
        since_ms = min(since_ms, max(state.phase.began_ms, until_ms - MAX_LOOKBACK_MS))
    return since_ms


def evidence_since_ms(state: State, version: str) -> int:
    """Where a version's evidence begins: its deploy, or the end of its last alarm."""
    entry, begins_ms = state.entry(version), routed_since_ms(state, version)
    if entry is None or entry.fresh_ms is None:
        return begins_ms
    return max(begins_ms, -(-entry.fresh_ms // BUCKET_MS) * BUCKET_MS)


def routed_since_ms(state: State, version: str) -> int:
    """Where the first calls of a version's deploy are: in the bucket that was open when it came."""
    entry = state.entry(version)
    routed_ms = entry.routed_ms if entry and entry.routed_ms is not None else 0
    return routed_ms - routed_ms % BUCKET_MS

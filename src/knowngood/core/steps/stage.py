"""The gates of a stage: what has to hold before a canary gets more of the traffic."""

from knowngood.core.explain import (
    duration,
    few,
    finding_words,
    metric_words,
    percent,
    wait_words,
)
from knowngood.core.gate import Gate, allow, deny, not_yet
from knowngood.core.look import is_blind, is_out_of_reach
from knowngood.core.model import Finding, Response, Verdict, Wait
from knowngood.core.policy_freeze import freeze_in_force
from knowngood.core.rollout import Rollout
from knowngood.core.stats import is_safe, safe_calls
from knowngood.core.steps.advance import of_stage
from knowngood.core.steps.brakes import in_force
from knowngood.core.steps.case import Case
from knowngood.core.steps.comparison import ab_gate
from knowngood.core.steps.respond import needs_person, settling

UNSAFE_RATE = 0.05  # the critical gate: the error rate that a stage is left with proof against
# What a finding may be unsure for and a stage is left all the same: it is seen to be within its
# limit, and only a test that nobody asked for would need more.
SEEN_ENOUGH = ("separable",)


def stage_gates(case: Case, rollout: Rollout) -> tuple[Gate, ...]:
    """Every gate of the stage in force. A timed ladder asks for no proof, and for no harm."""
    gates = (
        _paused(rollout),
        _time(case, rollout),
        _freeze(case),
        _automation(case),
        _arrived(case),
        _incident(case),
        _breach(case, rollout),
    )
    if rollout.ladder.timed:
        return gates
    return (*gates, _errors(case, rollout), _metrics(case, rollout), *ab_gate(case, rollout))


def _paused(rollout: Rollout) -> Gate:
    pause = rollout.pause
    if pause is None:
        return allow("pause", "nobody has paused it")
    return deny("pause", f"paused by {pause.actor}: {pause.because}")


def _time(case: Case, rollout: Rollout) -> Gate:
    left_ms = rollout.ladder.hold_ms - (case.now_ms - rollout.stage_ms)
    if left_ms <= 0:
        return allow("time", f"the stage has lasted {duration(rollout.ladder.hold_ms)}")
    wait = Wait("stage_time", left_ms, eta_ms=left_ms)
    return not_yet("time", f"{duration(left_ms)} of the stage's time are left", wait)


def _freeze(case: Case) -> Gate:
    held = freeze_in_force(case.policy.freezes, case.now_ms)
    if held is None:
        return allow("freeze", "no change freeze")
    rule, end_ms = held
    left_ms = end_ms - case.now_ms
    words = f"change freeze: {rule.because} ({duration(left_ms)} left)"
    return not_yet("freeze", words, Wait("freeze", left_ms, detail=rule.because, eta_ms=left_ms))


def _automation(case: Case) -> Gate:
    fleet = case.observed.fleet.automation if case.observed.fleet else None
    for hold in (case.state.automation, fleet):
        if hold is not None and in_force(hold, case.now_ms):
            return deny("automation", f"automation is off by {hold.actor}: {hold.because}")
    return allow("automation", "automation is on")


def _arrived(case: Case) -> Gate:
    """The share that is judged is the one that is served."""
    census = case.observed.census
    if not census.behind:
        return allow("arrival", "every connected process serves this stage")
    names = few(census.behind)
    wait = Wait("clients", census.live_count, census.current_count, names)
    return not_yet("arrival", f"not yet served by {names}", wait)


def _incident(case: Case) -> Gate:
    """A suspicion that goes away lets it go on by itself; what is proven needs a person."""
    incident = case.state.incident
    if incident is None:
        return allow("incident", "no open incident")
    if needs_person(case):
        return deny("incident", f"incident {incident.id} is open")
    wait = settling(case)
    words = f"incident {incident.id} is open, and nothing is breached any more"
    return not_yet("incident", words, *((wait,) if wait else ()))


def _breach(case: Case, rollout: Rollout) -> Gate:
    """No breach of either arm, alerts apart; blind is not healthy."""
    # Of a version that nobody has called yet no report is missing; its control's are.
    for version in (rollout.to_version, rollout.from_version):
        if is_blind(case.state, case.observed, version):
            return deny("breach", f"blind on {version}: no reports")
    found = [
        f for f in case.findings if f.verdict is Verdict.BREACH and f.response is not Response.ALERT
    ]
    if found:
        return deny("breach", f"{found[0].version}: {finding_words(found[0])}")
    return allow("breach", "no trigger is breached")


def _errors(case: Case, rollout: Rollout) -> Gate:
    """Proof that it fails in fewer than 5 % of its calls at this stage; not the absence of harm."""
    evidence = case.observed.evidence(rollout.moving)
    n, bad = of_stage(case, rollout)
    seen = f"errors {percent(bad / n if n else 0)} ({bad} of {n})"
    if is_safe(bad, n, UNSAFE_RATE):
        return allow("errors", f"proven below {percent(UNSAFE_RATE)}: {seen}")
    need = safe_calls(bad, UNSAFE_RATE)
    per_s = evidence.reading.calls_per_s
    eta_ms = round(1000 * max(0, need - n) / per_s) if per_s > 0 else None
    wait = Wait("stage_proof", need, n, rollout.moving, eta_ms)
    return not_yet("errors", f"not proven below {percent(UNSAFE_RATE)} yet: {seen}", wait)


def _metrics(case: Case, rollout: Rollout) -> Gate:
    """Whatever else is judged has enough data, and is not past its limit unproven."""
    unsure = [f for f in case.findings if f.version == rollout.moving and _is_open(f)]
    if not unsure:
        blank = [f for f in case.findings if f.version == rollout.moving and _is_blank(f)]
        names = ", ".join(dict.fromkeys(metric_words(f.metric) for f in blank))
        more = f"; not judged: {names}, nobody reports it or it has no baseline" if names else ""
        return allow("metrics", f"enough data on whatever else is judged{more}")
    wait = next(w for w in unsure[0].waiting_on if w.kind not in SEEN_ENOUGH)
    names = ", ".join(dict.fromkeys(metric_words(f.metric) for f in unsure))
    return not_yet("metrics", f"not enough data on {names}: {wait_words(wait)}", wait)


def _is_blank(finding: Finding) -> bool:
    return finding.response is not Response.ALERT and is_out_of_reach(finding)


def _is_open(finding: Finding) -> bool:
    """Whether more data on this metric is to be waited for."""
    if finding.verdict is not Verdict.UNSURE or finding.response is Response.ALERT:
        return False
    if finding.metric == "error_rate":  # has its own proof; past its limit it is no proof
        return any(wait.kind == "evidence" for wait in finding.waiting_on)
    kinds = {wait.kind for wait in finding.waiting_on}
    return not is_out_of_reach(finding) and not kinds <= {*SEEN_ENOUGH}

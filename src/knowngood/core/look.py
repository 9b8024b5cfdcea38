"""All findings on a prompt: which versions are looked at, over which stretch, against what."""

from collections.abc import Iterable

from knowngood.core.detect import Baseline, Frame, detect
from knowngood.core.model import (
    Entry,
    Finding,
    Observed,
    Response,
    Severity,
    Standing,
    State,
    Verdict,
)
from knowngood.core.rules import AlertRule, PromptPolicy, Trigger
from knowngood.core.window import BUCKET_MS


def findings(
    state: State, observed: Observed, policy: PromptPolicy, now_ms: int
) -> tuple[Finding, ...]:
    """Every trigger on every version of the route, and the alerts in force on the suspect."""
    route = state.route
    if route is None:
        return ()
    found: list[Finding] = []
    for arm in route.arms:
        triggers = list(policy.triggers)
        if arm == route.suspect:
            triggers += alert_triggers(policy, age_ms(state, arm.version, now_ms))
        # Most triggers share one window: each is summed once.
        frames = {
            window_ms: frame(state, observed, policy, arm.version, window_ms)
            for window_ms in {t.window_ms for t in triggers}
        }
        found += [detect(t, frames[t.window_ms], policy) for t in triggers]
    return tuple(found)


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
    heard = [f for f in judged if not _is_out_of_reach(f)]
    verdicts = {f.verdict for f in heard or judged}
    order = (Verdict.BREACH, Verdict.BLIND, Verdict.UNSURE, Verdict.CLEAR)
    return next((v for v in order if v in verdicts), None)


def _is_out_of_reach(finding: Finding) -> bool:
    return finding.verdict is Verdict.UNSURE and all(
        wait.kind == "baseline" or (wait.kind == "labels" and not wait.have)
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
    return Frame(
        version=version,
        since_ms=since_ms,
        until_ms=observed.until_ms,
        window=observed.evidence(version).since(since_ms),
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


def newest_good(state: State, besides: str, with_baseline: bool = False) -> Entry | None:
    """The good version that served most recently, other than `besides`.

    Versions that a person vouched for but that never served come last, newest word first.
    """
    good = [
        e
        for e in state.ledger
        if e.standing is Standing.GOOD
        and e.version != besides
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


def alert_triggers(policy: PromptPolicy, version_age_ms: int | None) -> list[Trigger]:
    """The alert rules in force as triggers that only alert, named `<rule>.<metric>`."""
    return [
        Trigger(
            name=f"{rule.name}.{when.metric}",
            when=when,
            severity=Severity.LOW,
            action=Response.ALERT,
            who="team",
            window_ms=policy.window_ms,
        )
        for rule in alert_rules(policy, version_age_ms)
        for when in rule.when
    ]

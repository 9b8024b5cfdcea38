"""Whether a fact that a runbook's step expects holds, by a fresh look at the prompt."""

from collections.abc import Callable, Mapping

from knowngood.core.expectation import Judged
from knowngood.core.explain import few, finding_words
from knowngood.core.look import is_blind
from knowngood.core.model import Finding, Outcome, Response, Standing, Verdict, Verifying
from knowngood.core.steps.case import Case
from knowngood.core.steps.target import choose_target


def judge_fact(fact: str, case: Case, version: str) -> Judged:
    """Whether the fact, one of expectation.FACTS, holds of the prompt and version."""
    return _FACTS[fact](case, version)


def _confirmed(case: Case, version: str) -> Judged:
    found = _triggers(case)
    return _by_verdict(found, Verdict.BREACH, "nothing is in breach now")


def _recovered(case: Case, version: str) -> Judged:
    phase, incident = case.state.phase, case.state.incident
    if isinstance(phase, Verifying):
        words = f"the rollback to {phase.to_version} is not verified yet"
        return Judged(Verdict.UNSURE, words)
    if incident and incident.outcome is Outcome.NOT_RECOVERED:
        return Judged(Verdict.BREACH, f"{incident.id} did not recover")
    found = _triggers(case)
    breach = [f for f in found if f.verdict is Verdict.BREACH]
    if breach:
        return Judged(Verdict.BREACH, _words(breach))
    if any(f.verdict is Verdict.BLIND for f in found):
        return Judged(Verdict.BLIND, "no reports arrive")
    if incident is not None:
        return Judged(Verdict.UNSURE, f"nothing is in breach, and {incident.id} is still open")
    return Judged(Verdict.CLEAR, "nothing is in breach, and no incident is open")


def _propagated(case: Case, version: str) -> Judged:
    census = case.observed.census
    if census.behind:
        behind = few(census.behind, census.unnamed_behind_count)
        return Judged(Verdict.BREACH, f"on an older route: {behind}")
    if census.live_count == 0:
        return Judged(Verdict.BLIND, "no process reports here")
    words = f"{census.current_count} of {census.live_count} on generation {case.generation}"
    return Judged(Verdict.CLEAR, words)


def _reporting(case: Case, version: str) -> Judged:
    route = case.state.route
    arms = [arm.version for arm in route.arms] if route else []
    if any(is_blind(case.state, case.observed, each) for each in arms):
        count = len(case.observed.census.silent) + case.observed.census.unnamed_silent_count
        return Judged(Verdict.BREACH, f"blind: {count} processes fell silent, no reports arrive")
    live = case.observed.census.live_count
    if not live:
        return Judged(Verdict.UNSURE, "no process reports here")
    return Judged(Verdict.CLEAR, f"{live} processes report")


def _target(case: Case, version: str) -> Judged:
    if case.state.route is None:
        return Judged(Verdict.BREACH, "nothing is routed here")
    target = choose_target(case.state, case.suspect, case.observed.unfit)
    if target is not None:
        return Judged(Verdict.CLEAR, f"{target} is known good")
    others = [e for e in case.state.ledger if e.version != case.suspect]
    known = ", ".join(f"{e.version} ({e.standing.value})" for e in others) or "no other version"
    good = any(e.standing is Standing.GOOD for e in others)
    why = "what is known good is unfit" if good else "no known-good version to go back to"
    return Judged(Verdict.BREACH, f"{why}; the ledger has {known}")


def _served(case: Case, version: str) -> Judged:
    weight = case.state.route.weight_bp(version) if case.state.route else 0
    words = f"{version} has {weight / 100:g} % of the traffic"
    return Judged(Verdict.CLEAR if weight else Verdict.BREACH, words)


def _not_served(case: Case, version: str) -> Judged:
    served = _served(case, version)
    return Judged(Verdict.BREACH if served.holds else Verdict.CLEAR, served.words)


def _triggers(case: Case) -> list[Finding]:
    return [f for f in case.findings if f.response is not Response.ALERT]


def _by_verdict(found: list[Finding], wanted: Verdict, otherwise: str) -> Judged:
    holding = [f for f in found if f.verdict is wanted]
    if holding:
        return Judged(Verdict.CLEAR, _words(holding))
    for verdict in (Verdict.BLIND, Verdict.UNSURE):
        open_ones = [f for f in found if f.verdict is verdict]
        if open_ones and len(open_ones) == len(found):
            return Judged(verdict, _words(open_ones[:1]))
    return Judged(Verdict.BREACH, otherwise)


def _words(found: list[Finding]) -> str:
    return "; ".join(f"{f.version} {finding_words(f)}" for f in found)


_FACTS: Mapping[str, Callable[[Case, str], Judged]] = {
    "confirmed": _confirmed,
    "recovered": _recovered,
    "propagated": _propagated,
    "reporting": _reporting,
    "target": _target,
    "served": _served,
    "not_served": _not_served,
}

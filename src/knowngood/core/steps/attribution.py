"""Is the version at fault, or would its control fail as well? A rollback helps the former only."""

import math
from dataclasses import dataclass
from enum import StrEnum

from knowngood.core.counts import Count, base_count, count_of
from knowngood.core.model import WHOLE_BP, Finding, Wait
from knowngood.core.steps.case import Case
from knowngood.core.watch import is_score

PROOF = 20.0  # evidence that the candidate does worse than its control: wrong one time in twenty
VETO_PATIENCE_MS = 30_000  # a small control may hold a rollback, and not for long
BEFORE_MS = 15_000  # the trouble began at most about this long before it was found
# What was proven may be from an earlier trouble: it convicts nobody while the control fails as
# often, or nearly so.
ALIKE = 0.9
HEALTHY_CALLS = 3
FAILING_CALLS = 2
SHARE_OF_RATE = 0.5  # a control that fails half as often as the candidate fails too
# A candidate that has failed less since the trouble was found, or hardly was called, excuses itself
# with no failure that its control always has: less than this share of the limit is none.
SHARE_OF_LIMIT = 0.5


class Blame(StrEnum):
    """Who is at fault."""

    VERSION = "version"
    UPSTREAM = "upstream"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who is at fault, and what is waited on while that is unclear."""

    blame: Blame
    waiting_on: tuple[Wait, ...] = ()


def attribute(case: Case, found: tuple[Finding, ...], began_ms: int) -> Attribution:
    """Hold the breach, first seen at `began_ms`, against the control (detectors.md, 3.2).

    Without a control it is the version's. One with at least half of the calls has to prove that it
    does better, in this trouble as well; a smaller one, or an idle one, has only a veto, for while
    it fails too. Both arms are counted over the same stretch: when a common trouble ends, the
    control is well no sooner than the version.
    """
    route = case.state.route
    assert route is not None
    worst = max(found, key=_rate)
    if route.candidate is None or is_score(worst.metric):
        return Attribution(Blame.VERSION)  # a score's control is its baseline already
    control = route.control.version
    since_ms = _compared_since_ms(case, worst, began_ms)
    own_n, own_bad = _seen(case, worst, route.candidate.version, since_ms)
    n, bad = _seen(case, worst, control, since_ms)
    share = SHARE_OF_RATE * own_bad / max(1, own_n)
    least = max(share, SHARE_OF_LIMIT * _limit(worst))
    fails = bad >= FAILING_CALLS and bad >= least * n
    healthy = n >= HEALTHY_CALLS and bad < share * n
    if worst.proof is None:  # the plain rule waits for nothing
        return Attribution(Blame.UPSTREAM if fails else Blame.VERSION)
    relative = worst.proof.log_e_relative
    idle = n < HEALTHY_CALLS  # a control that nobody calls can prove nothing
    if route.control.weight_bp * 2 >= WHOLE_BP and relative is not None and not idle:
        alike = fails and bad * own_n >= ALIKE * own_bad * n
        if relative >= math.log(PROOF) and not alike:
            return Attribution(Blame.VERSION)
        if fails:
            return Attribution(Blame.UPSTREAM)
        return _unclear("attribution", PROOF, math.exp(relative), control)
    if fails:
        return Attribution(Blame.UPSTREAM)
    if healthy or case.now_ms - began_ms >= VETO_PATIENCE_MS:
        return Attribution(Blame.VERSION)
    return _unclear("control_calls", HEALTHY_CALLS, n, control)


def _unclear(kind: str, need: float, have: float, control: str) -> Attribution:
    return Attribution(Blame.UNCLEAR, (Wait(kind, need, have, control),))


def _rate(finding: Finding) -> float:
    """The share of calls that the evidence saw go wrong."""
    proof = finding.proof
    if proof is None:
        return (finding.bad or 0) / finding.n if finding.n else 0.0
    return proof.bad / proof.n if proof.n else 0.0


def _limit(finding: Finding) -> float:
    """The share of bad calls that is too much; for the plain rule what it has seen."""
    return _rate(finding) if finding.proof is None else finding.proof.limit or 0.0


def _count(case: Case, finding: Finding) -> Count:
    """What went wrong, to be counted in the control in the same way."""
    kinds = next((t.kinds for t in case.policy.triggers if t.name == finding.trigger), ())
    return count_of(finding.metric, kinds, finding.proof.above if finding.proof else 0)


def _compared_since_ms(case: Case, finding: Finding, began_ms: int) -> int:
    """From when on the arms are held against each other: since the trouble began.

    Where hardly anybody has called either of them since, over what convicts the candidate: its
    control may have failed all along, too.
    """
    route, recent_ms = case.state.route, began_ms - BEFORE_MS
    assert route is not None
    fresh = max(_seen(case, finding, arm.version, recent_ms)[0] for arm in route.arms)
    own_n, _ = _seen(case, finding, finding.version, finding.since_ms)
    return finding.since_ms if fresh < HEALTHY_CALLS <= own_n else recent_ms


def _seen(case: Case, finding: Finding, version: str, since_ms: int) -> tuple[int, int]:
    """A version's (calls, bad ones) since then."""
    window = case.observed.evidence(version).since(since_ms)
    count = _count(case, finding)
    return base_count(count.base, window), count.bad(window)

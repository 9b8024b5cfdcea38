"""The bake: a candidate that survives at 100 % with enough evidence becomes known good."""

from knowngood.core.explain import duration, percent
from knowngood.core.model import (
    WHOLE_BP,
    Record,
    Response,
    Stand,
    Standing,
    Steady,
    Verdict,
    Wait,
)
from knowngood.core.stats import is_safe, safe_calls
from knowngood.core.steps.case import IDLE, Case, Step

UNSAFE_RATE = 0.05  # the critical gate: the error rate that a good version is proven to be below


def bake(case: Case) -> Step:
    """Write `good` into the ledger after the bake, or say what is missing."""
    state, route = case.state, case.state.route
    assert route is not None
    version = case.suspect
    alone = route.suspect.weight_bp == WHOLE_BP
    if not alone or state.standing(version) is not Standing.CANDIDATE:
        return IDLE
    left_ms = case.policy.bake.for_ms - (case.now_ms - route.since_ms)
    if left_ms > 0:
        return Step(waiting_on=(Wait("bake_time", left_ms, detail=version),))
    calls = case.observed.evidence(version).lifetime
    n, bad = calls.call_count, calls.error_count
    if not is_safe(bad, n, UNSAFE_RATE):
        need = safe_calls(bad, UNSAFE_RATE)
        return Step(waiting_on=(Wait("bake_evidence", need, n, version),))
    open_finding = any(
        f.verdict in (Verdict.BREACH, Verdict.BLIND) and f.response is not Response.ALERT
        for f in case.findings
    )
    if state.incident or open_finding or not isinstance(state.phase, Steady):
        return Step(waiting_on=(Wait("bake", detail=f"no open finding on {version}"),))
    because = (
        f"survived {duration(case.policy.bake.for_ms)} at 100%: "
        f"errors {percent(bad / n)} ({bad} of {n})"
    )
    detail = {"version": version, "n": n, "bad": bad}
    return Step((Stand(version, Standing.GOOD, because), Record("version.good", because, detail)))

"""The bake: a candidate that survives at 100 % with enough evidence becomes known good."""

from dataclasses import replace

from knowngood.core.explain import duration, percent
from knowngood.core.ladder import share
from knowngood.core.model import (
    Action,
    MoveRoute,
    Record,
    Response,
    SetRollout,
    Stand,
    Standing,
    Steady,
    Verdict,
    Wait,
    whole,
)
from knowngood.core.rollout import Rollout
from knowngood.core.stats import is_safe, safe_calls
from knowngood.core.steps.advance import first_look, of_stage
from knowngood.core.steps.case import IDLE, Case, Step

UNSAFE_RATE = 0.05  # the critical gate: the error rate that a good version is proven to be below


def bake(case: Case) -> Step:
    """Release the holdback when its time is over, and write `good` once that is proven.

    Without the proof everybody gets the version all the same when the time is over, and the ledger
    waits.
    """
    state, route = case.state, case.state.route
    assert route is not None
    rollout = state.rollout
    if rollout is not None and not rollout.is_baking:
        return IDLE
    if rollout is None and (route.candidate or not _is_candidate(case)):
        return IDLE
    began_ms = route.since_ms if rollout is None else rollout.stage_ms
    first = first_look(case, rollout) if rollout is not None else None
    if first is not None and first.actions:
        return first
    version = case.suspect
    left_ms = case.policy.bake.for_ms - (case.now_ms - began_ms)
    if left_ms > 0:
        return Step(waiting_on=(Wait("bake_time", left_ms, detail=version, eta_ms=left_ms),))
    if first is not None:
        return first
    if rollout is not None and rollout.pause is not None:
        words = f"paused by {rollout.pause.actor}: {rollout.pause.because}"
        return Step(waiting_on=(Wait("gate", detail=words),))
    if held := _held(case):
        return Step(waiting_on=(held,))
    calls = case.observed.evidence(version).lifetime
    n, bad = calls.call_count, calls.error_count
    if rollout is not None:
        n, bad = of_stage(case, rollout)
    if is_safe(bad, n, UNSAFE_RATE):
        because = (
            f"survived {duration(case.policy.bake.for_ms)} at {_share(rollout)}: "
            f"errors {percent(bad / n)} ({bad} of {n})"
        )
        return Step(done_actions(version, rollout, because, {"n": n, "bad": bad}))
    wait = Wait("bake_evidence", safe_calls(bad, UNSAFE_RATE), n, version)
    if rollout is not None and rollout.holdback_bp:
        return Step(_release(version, rollout), (wait,))
    return Step(waiting_on=(wait,))


def _is_candidate(case: Case) -> bool:
    return case.state.standing(case.suspect) is Standing.CANDIDATE


def _share(rollout: Rollout | None) -> str:
    return share(10_000 - (rollout.holdback_bp if rollout else 0))


def _held(case: Case) -> Wait | None:
    """What is wrong keeps the control beside it, and the ledger as it is."""
    open_finding = any(
        f.verdict in (Verdict.BREACH, Verdict.BLIND) and f.response is not Response.ALERT
        for f in case.findings
    )
    if case.state.incident or open_finding or not isinstance(case.state.phase, Steady):
        return Wait("bake", detail=f"no open finding on {case.suspect}")
    return None


def _release(version: str, rollout: Rollout) -> tuple[Action, ...]:
    """The holdback's time is over; the proof is not there yet."""
    words = f"the holdback of {share(rollout.holdback_bp)} on {rollout.from_version} is released"
    return (
        MoveRoute(whole(version)),
        SetRollout(replace(rollout, holdback_bp=0)),
        Record("rollout.released", words, {"version": version}),
    )


def done_actions(
    version: str, rollout: Rollout | None, because: str, detail: dict[str, object]
) -> tuple[Action, ...]:
    """The bake is over: everybody has the version, and it is known good."""
    release: tuple[Action, ...] = ()
    if rollout is not None:
        move = (MoveRoute(whole(version)),) if rollout.holdback_bp else ()
        release = (*move, SetRollout(None))
    return (
        *release,
        Stand(version, Standing.GOOD, because),
        Record("version.good", because, {"version": version, **detail}),
    )

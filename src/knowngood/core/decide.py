"""The decision on one prompt: a pure function that only orders the steps.

Laws, held by tests: deciding again after applying a decision changes nothing (fixpoint); unsure and
blind never move a route; no brake and no hold stops a person's rollback.
"""

from dataclasses import replace

from knowngood.core.frozen import FROZEN, freeze
from knowngood.core.look import findings
from knowngood.core.model import (
    Action,
    Change,
    Confirming,
    Decision,
    Observed,
    Record,
    SetAutomation,
    Standing,
    State,
    Steady,
    Verdict,
    Verifying,
    Wait,
)
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps.bake import bake
from knowngood.core.steps.brakes import in_force
from knowngood.core.steps.case import Case, Step
from knowngood.core.steps.confirm import confirm
from knowngood.core.steps.escalate import escalate
from knowngood.core.steps.follow import follow
from knowngood.core.steps.gradual import descend
from knowngood.core.steps.ladder import climb
from knowngood.core.steps.notice import alert, blindness
from knowngood.core.steps.respond import respond, settle
from knowngood.core.steps.together import stranded
from knowngood.core.steps.verify import verify
from knowngood.core.steps.watchdog import watchdog, watchdog_over

# The article's slowest allowed look is 30 s; ours is 5 s while anything happens (R6).
BUSY_RECHECK_MS = 1_000
ACTIVE_RECHECK_MS = 5_000
# Reports and changes wake a prompt at once. An idle one is looked at for what time alone changes:
# the end of a bake or of a hold soon, nothing else that would be known today.
WATCHED_RECHECK_MS = 300_000
IDLE_RECHECK_MS = 3_600_000


def decide(state: State, observed: Observed, policy: PromptPolicy, now_ms: int) -> Decision:
    """What to do about one prompt now, why, and what it waits on.

    The first step that wants something done is done alone; the rest is looked at again on the state
    that follows, so that no step acts on a state that another has just changed.
    """
    if state.route is None:
        return Decision(waiting_on=(Wait("route"),), recheck_after_ms=IDLE_RECHECK_MS)
    found = findings(state, observed, policy, now_ms)
    case = Case(state, observed, policy, found, now_ms)
    actions: tuple[Action, ...] = ()
    fleet_actions: tuple[Action, ...] = ()
    companions: tuple[Change, ...] = ()
    before_ms: int | None = None
    waits = _evidence_waits(case)
    # What is past its threshold and not proven yet is what people look for first.
    waiting = [wait for wait in waits if wait.kind == "evidence"]
    for step in _steps(case):
        waiting += step.waiting_on
        if step.actions and not actions:
            actions, fleet_actions = step.actions, step.fleet_actions
            companions, before_ms = step.companions, step.before_ms
    waiting += waits
    return Decision(
        actions=_with_look(case, actions),
        findings=found,
        waiting_on=tuple(dict.fromkeys(waiting)),
        fleet_actions=fleet_actions,
        companions=companions,
        recheck_after_ms=BUSY_RECHECK_MS if actions else _recheck_ms(case),
        before_ms=before_ms,
    )


def _with_look(case: Case, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """The actions with all that they rest on put away in their first line of history."""
    for place, action in enumerate(actions):
        if isinstance(action, Record):
            look = freeze(case.state, case.observed, case.now_ms)
            full = replace(action, detail={**action.detail, FROZEN: look})
            return (*actions[:place], full, *actions[place + 1 :])
    return actions


def _steps(case: Case) -> tuple[Step, ...]:
    """The steps of the phase in force, protection first."""
    match case.state.phase:
        case Verifying() as phase:
            return (verify(case, phase), escalate(case), blindness(case))
        case Confirming() as phase:
            # A hold of a rollback does not keep one that is under way from going on.
            return (
                confirm(case, phase),
                watchdog_over(case),
                follow(case),
                escalate(case),
                descend(case),
                blindness(case),
                stranded(case),
            )
        case Steady():
            return (
                respond(case),
                stranded(case),
                watchdog(case),
                blindness(case),
                _automation_ended(case),
                settle(case),
                follow(case),
                escalate(case),
                descend(case),
                alert(case),
                climb(case),
                bake(case),
            )


def _automation_ended(case: Case) -> Step:
    hold = case.state.automation
    if hold is None or in_force(hold, case.now_ms):
        return Step()
    because = f"the hold by {hold.actor} has ended: {hold.because}"
    return Step((SetAutomation(None), Record("automation.on", because)))


def _evidence_waits(case: Case) -> list[Wait]:
    """What the unsure and blind triggers wait on, each said once."""
    return [
        wait
        for f in case.findings
        if f.verdict in (Verdict.UNSURE, Verdict.BLIND)
        for wait in f.waiting_on
    ]


def _recheck_ms(case: Case) -> int:
    state, route = case.state, case.state.route
    assert route is not None
    if not isinstance(state.phase, Steady):
        return BUSY_RECHECK_MS
    seen = any(case.observed.evidence(arm.version).buckets for arm in route.arms)
    if seen or state.incident or state.told:
        return ACTIVE_RECHECK_MS
    baking = state.rollout or state.standing(case.suspect) is Standing.CANDIDATE
    idle_ms = WATCHED_RECHECK_MS if baking or state.automation else IDLE_RECHECK_MS
    return min([idle_ms, *(max(ms, BUSY_RECHECK_MS) for ms in _ends_ms(case) if ms > 0)])


def _ends_ms(case: Case) -> list[int]:
    """In how long the times of a stage or a bake are over, which no report would tell."""
    rollout, route = case.state.rollout, case.state.route
    assert route is not None
    bake_ms = case.policy.bake.for_ms
    if rollout is None:
        candidate = case.state.standing(case.suspect) is Standing.CANDIDATE
        return [route.since_ms + bake_ms - case.now_ms] if candidate else []
    since_ms = rollout.stage_ms - case.now_ms
    if rollout.is_baking:
        return [since_ms + bake_ms]
    steps = rollout.ladder  # a process that lags holds a stage on its way down once more as long
    return [since_ms + ms for ms in (steps.hold_ms, 2 * steps.hold_ms, steps.wait_ms)]

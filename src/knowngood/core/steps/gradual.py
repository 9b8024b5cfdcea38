"""The gradual rollback: the bad version gives way stage by stage, while its target is watched."""

from dataclasses import replace

from knowngood.core import ladder
from knowngood.core.asking import Purpose
from knowngood.core.explain import duration, few, finding_words
from knowngood.core.look import breaches, is_blind
from knowngood.core.model import (
    Action,
    Enter,
    MoveRoute,
    Record,
    SetRollout,
    Severity,
    Verifying,
    Wait,
    whole,
)
from knowngood.core.rollout import Pause, Rollout, RolloutKind
from knowngood.core.steps.advance import first_look, stage_actions
from knowngood.core.steps.case import IDLE, Case, Step, env_option, evidence, page, title
from knowngood.core.watch import TARGET_ILL


def descend(case: Case) -> Step:
    """Take the next units off the bad version, unless its target is ill too.

    It waits for no proof: to go back is protective. What holds it is a target that fails, or that
    nobody reports on.
    """
    rollout = case.state.rollout
    if rollout is None or rollout.kind is not RolloutKind.GRADUAL:
        return IDLE
    if first := first_look(case, rollout):
        return first
    if rollout.pause is not None:
        words = f"paused by {rollout.pause.actor}: {rollout.pause.because}"
        return Step(waiting_on=(Wait("gate", detail=words),))
    if ill := [f for f in breaches(case.findings, rollout.to_version) if f.trigger == TARGET_ILL]:
        return Step(_pause(case, rollout, finding_words(ill[0])))
    left_ms = rollout.ladder.hold_ms - (case.now_ms - rollout.stage_ms)
    if left_ms > 0:
        return Step(waiting_on=(Wait("stage_time", left_ms, eta_ms=left_ms),))
    # Of a target that nobody has called yet no report is missing; those of what leaves are.
    arms = (rollout.to_version, rollout.from_version)
    if any(is_blind(case.state, case.observed, version) for version in arms):
        return Step(waiting_on=(Wait("reports"),))
    if case.observed.census.behind:
        census = case.observed.census
        names = few(census.behind)
        late = Wait("clients", census.live_count, census.current_count, names)
        if left_ms > -rollout.ladder.hold_ms:  # a process that lags does not hold it for ever
            return Step(waiting_on=(late,))
    onward = ladder.onward(rollout, case.now_ms)
    if onward.share_bp:
        return Step(stage_actions(case.state, onward, "the target is healthy"))
    return Step(_complete(case, rollout))


def _pause(case: Case, rollout: Rollout, words: str) -> tuple[Action, ...]:
    """The target fails as well: nobody else is moved onto it before a person has looked."""
    because = f"the target {rollout.to_version} fails: {words}"
    prompt, env = case.state.prompt, env_option(case.state)
    key = f"{case.state.environment}/{prompt}/g{case.generation}:gradual-paused:{rollout.began_ms}"
    left = ladder.share(rollout.share_bp)
    body = (
        f"{because}. The gradual rollback of {rollout.from_version} is paused with {left} left on "
        f"it. `knowngood resume {prompt}{env} --because ...` goes on, "
        f"`knowngood rollback {prompt} VERSION{env} --because ...` goes to another good version."
    )
    ill = breaches(case.findings, rollout.to_version)
    return (
        SetRollout(replace(rollout, pause=Pause(case.now_ms, because, "system"))),
        Record("rollout.paused", because, {"version": rollout.moving, **evidence(case, ill)}),
        *page(
            case,
            key,
            "on-call",
            Severity.CRITICAL,
            f"{title(case)}: gradual rollback paused, {because}",
            body,
            purpose=Purpose.PAGE,
            thread=case.state.incident.id if case.state.incident else "",
        ),
    )


def _complete(case: Case, rollout: Rollout) -> tuple[Action, ...]:
    took = duration(case.now_ms - rollout.began_ms)
    because = f"{rollout.from_version} has no traffic any more, after {took}"
    return completed(case, rollout, because)


def completed(case: Case, rollout: Rollout, because: str) -> tuple[Action, ...]:
    """The last stage: everybody is on the target, and the rollback is verified like any other."""
    automatic = rollout.actor == "system"
    verify = Verifying(
        from_version=rollout.from_version,
        to_version=rollout.to_version,
        triggers=rollout.triggers,
        began_ms=case.now_ms,
        deadline_ms=case.now_ms + case.policy.verify.deadline_ms,
        by="system" if automatic else "operator",
        automatic=automatic,
        unseen=True,
    )
    detail = {
        "from": rollout.from_version,
        "to": rollout.to_version,
        "took_ms": case.now_ms - rollout.began_ms,
    }
    return (
        MoveRoute(whole(rollout.to_version)),
        Enter(verify),
        Record("rollback.completed", because, detail),
    )

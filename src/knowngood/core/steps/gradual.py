"""The gradual rollback: the bad version gives way stage by stage, while its target is watched."""

from dataclasses import replace

from knowngood.core import ladder
from knowngood.core.asking import Purpose
from knowngood.core.explain import duration, few, finding_words
from knowngood.core.look import breaches, is_blind
from knowngood.core.model import Action, Finding, Record, SetRollout, Severity, Wait
from knowngood.core.rollout import Pause, Rollout, RolloutKind
from knowngood.core.steps.abreast import downward_together, not_down, pause_together, readiness
from knowngood.core.steps.advance import completed, first_look, stage_actions
from knowngood.core.steps.case import IDLE, Case, Step, env_option, evidence, page, title
from knowngood.core.watch import TARGET_ILL, WORSE_THAN_REPLACED


def descend(case: Case) -> Step:
    """Take the next units off the bad version, unless its target is ill too.

    It waits for no proof: to go back is protective. What holds it is a target that fails, that is
    proven to do worse than what it replaces, or that nobody reports on.
    """
    rollout = case.state.rollout
    if rollout is None or rollout.kind is not RolloutKind.GRADUAL:
        return IDLE
    if first := first_look(case, rollout):
        return first
    if rollout.pause is not None:
        words = f"paused by {rollout.pause.actor}: {rollout.pause.because}"
        return Step(readiness(case, rollout, False), (Wait("gate", detail=words),))
    found = breaches(case.findings, rollout.to_version)
    if ill := [f for f in found if f.trigger in (TARGET_ILL, WORSE_THAN_REPLACED)]:
        return _pause(case, rollout, ill[0])
    wait = _wait(case, rollout)
    if told := readiness(case, rollout, wait is None):
        return Step(told, (wait,) if wait else ())
    if wait is not None:
        return Step(waiting_on=(wait,))
    if behind := not_down(case, rollout):
        return Step(waiting_on=(Wait("release", detail=few(behind)),))
    return _go_on(case, rollout)


def _wait(case: Case, rollout: Rollout) -> Wait | None:
    """What the prompt's own stage waits on."""
    left_ms = rollout.ladder.hold_ms - (case.now_ms - rollout.stage_ms)
    if left_ms > 0:
        return Wait("stage_time", left_ms, eta_ms=left_ms)
    # Of a target that nobody has called yet no report is missing; those of what leaves are.
    arms = (rollout.to_version, rollout.from_version)
    if any(is_blind(case.state, case.observed, version) for version in arms):
        return Wait("reports")
    census = case.observed.census
    # A process that lags does not hold it for ever.
    if census.behind and left_ms > -rollout.ladder.hold_ms:
        return Wait("clients", census.live_count, census.current_count, few(census.behind))
    return None


def _go_on(case: Case, rollout: Rollout) -> Step:
    """The next stage, or the end; whoever was released with it and stands here goes along."""
    because = "the target is healthy"
    companions = downward_together(case, rollout, because)
    onward = ladder.onward(rollout, case.now_ms)
    if onward.share_bp:
        return Step(stage_actions(case.state, onward, because), companions=companions)
    took = duration(case.now_ms - rollout.began_ms)
    because = f"{rollout.from_version} has no traffic any more, after {took}"
    return Step(
        completed(rollout, because, case.policy.verify.deadline_ms, case.now_ms),
        companions=companions,
    )


def _pause(case: Case, rollout: Rollout, why: Finding) -> Step:
    """The target fails as well: nobody else is moved onto it before a person has looked.

    What was released with it stays where it is, too.
    """
    does = "does worse" if why.trigger == WORSE_THAN_REPLACED else "fails"
    because = f"the target {rollout.to_version} {does}: {finding_words(why)}"
    prompt, env = case.state.prompt, env_option(case.state)
    key = f"{case.state.environment}/{prompt}/g{case.generation}:gradual-paused:{rollout.began_ms}"
    left = ladder.share(rollout.share_bp)
    body = (
        f"{because}. The gradual rollback of {rollout.from_version} is paused with {left} left on "
        f"it. `knowngood resume {prompt}{env} --because ...` goes on, "
        f"`knowngood rollback {prompt} VERSION{env} --because ...` goes to another good version."
    )
    ill = breaches(case.findings, rollout.to_version)
    companions = pause_together(case, because)
    if companions:
        names = few([change.prompt for change in companions])
        body += f" Paused with it, as one release: {names}; `resume` lets all of them go on."
    actions: tuple[Action, ...] = (
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
    return Step(actions, companions=companions)

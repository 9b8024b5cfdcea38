"""The canary: it climbs when every gate of its stage is open, and asks a person when none opens."""

from knowngood.core import ladder
from knowngood.core.explain import duration, few
from knowngood.core.gate import Gate, allow, closed, not_yet
from knowngood.core.model import (
    Action,
    Record,
    Severity,
    Told,
    Wait,
)
from knowngood.core.policy_freeze import freeze_begins_ms
from knowngood.core.rollout import Rollout, RolloutKind
from knowngood.core.steps.abreast import climbing, not_ready, onward_together, readiness
from knowngood.core.steps.advance import first_look, stage_actions
from knowngood.core.steps.case import IDLE, Case, Step, env_option, page, title
from knowngood.core.steps.comparison import ASKED, answer, answered
from knowngood.core.steps.stage import stage_gates


def climb(case: Case) -> Step:
    """The next stage, or what this one waits on. Holds are advisory: no breach gets this far."""
    rollout = case.state.rollout
    if rollout is None or rollout.kind is not RolloutKind.CANARY or rollout.is_baking:
        return IDLE
    if first := first_look(case, rollout):
        return first
    found = answer(case, rollout)
    if found is not None and found.is_final and rollout.answer is None:
        return Step(answered(case, rollout, found))
    gates = stage_gates(case, rollout)
    told = readiness(case, rollout, not closed(gates), gates)
    if told:
        return Step(told)
    gates = every_gate(case, rollout)
    shut = closed(gates)
    if not shut:
        onward, why = ladder.onward(rollout, case.now_ms), "every gate is open"
        actions = stage_actions(case.state, onward, why, gates)
        begins_ms = freeze_begins_ms(case.policy.freezes, case.now_ms)
        return Step(actions, companions=onward_together(case, why), before_ms=begins_ms)
    waits = tuple(wait for gate in shut for wait in gate.waiting_on)
    waited_ms = case.now_ms - rollout.stage_ms
    if rollout.pause is not None or waited_ms < rollout.ladder.wait_ms:
        return Step(waiting_on=waits)
    asked = Wait("operator", detail=f"skip, replan or abort the rollout of {rollout.to_version}")
    if case.told(ASKED):
        return Step(waiting_on=(asked, *waits))
    because = "; ".join(gate.because for gate in shut)
    words = f"{rollout.to_version} waits at {ladder.share(rollout.share_bp)} for {because}"
    return Step((Told(ASKED), *_ask(case, rollout, words)), (asked, *waits))


def every_gate(case: Case, rollout: Rollout) -> tuple[Gate, ...]:
    """The gates of the stage in force, and of what it was released with."""
    return (*stage_gates(case, rollout), *_release(case, rollout))


def _release(case: Case, rollout: Rollout) -> tuple[Gate, ...]:
    """What was released as one climbs as one: the last one that is ready takes all along."""
    if not climbing(case):
        return ()
    if behind := not_ready(case, rollout):
        return (not_yet("release", f"released with {few(behind)}, not ready yet"),)
    return (allow("release", "whatever it was released with is ready"),)


def _ask(case: Case, rollout: Rollout, words: str) -> tuple[Action, ...]:
    prompt, env = case.state.prompt, env_option(case.state)
    key = f"{case.state.environment}/{prompt}/g{case.generation}:{ASKED}"
    body = (
        f"{words}. It has waited for {duration(rollout.ladder.wait_ms)} and stays where it is. "
        f"`knowngood skip {prompt}{env} --because ...` goes on without proof, "
        f"`knowngood abort {prompt}{env} --because ...` takes it off."
    )
    return (
        Record("rollout.waiting", words, {"stage": rollout.stage}),
        *page(case, key, "on-call", Severity.MEDIUM, f"{title(case)}: {words}", body),
    )

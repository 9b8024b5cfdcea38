"""The A/B gate of a canary: laid down with the promotion, asked before the last stage.

Every stage is a comparison of its own, with sums from zero, because the share of a comparison may
not change (core/ladder.py); only the one that decides about everybody is asked.
"""

from dataclasses import replace

from knowngood.core import ladder
from knowngood.core.codec import to_data
from knowngood.core.experiment import judge
from knowngood.core.experiment_metric import LATENCY, slow_above
from knowngood.core.explain_experiment import (
    experiment_lines,
    experiment_words,
    gate_wait_words,
    reason_words,
)
from knowngood.core.gate import Gate, allow, deny, not_yet
from knowngood.core.model import Action, Record, SetRollout, Severity, State, Told, Wait
from knowngood.core.rollout import Rollout
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps.case import Case, env_option, page, title
from knowngood.core.trial import Begun, Experiment, ExperimentState, Reason
from knowngood.core.unit_sums import Arms, ArmSummary
from knowngood.core.watch import is_score
from knowngood.core.window import Window

GATE = "ab"
ASKED = "stage:waits"  # a person was asked about this stage: once is enough
NOTHING = Arms(ArmSummary(), ArmSummary())


def with_comparison(
    rollout: Rollout, state: State, policy: PromptPolicy, day: Window | None, now_ms: int
) -> Rollout:
    """The rollout at its beginning, with what is compared laid down for all of its stages.

    Nothing is for somebody who has everybody at once, on a timed ladder, or without `ab` in the
    policy. `day` is the control's healthy day if it is not in the ledger yet.
    """
    rule = policy.ab
    if rule is None or rollout.is_baking or rollout.ladder.timed:
        return rollout
    entry = state.entry(rollout.from_version)
    healthy = day or (entry.baseline if entry else None)
    margin = rule.margin_of(LATENCY)
    above = None
    if healthy is not None and margin is not None:
        above = slow_above(healthy, margin)
    named = {rule.primary, *(each.metric for each in rule.guardrails)}
    names = {metric.removeprefix("score.") for metric in named if is_score(metric)}
    scores = {name: policy.scores[name] for name in sorted(names) if name in policy.scores}
    return replace(rollout, begun=Begun(rule, rollout.share_bp, now_ms, scores, above))


def compares_units(state: State, generation: int) -> bool:
    """Whether what single units show at this generation of the route is still compared.

    An answered comparison too, for as long as its stage is in force: people may ask what it saw.
    """
    current = state.route is not None and state.route.generation == generation
    return current and state.rollout is not None and state.rollout.begun is not None


def answer(case: Case, rollout: Rollout) -> Experiment | None:
    """What the comparison says now; None while it is not asked."""
    begun = rollout.begun
    if begun is None or not rollout.is_before_whole or rollout.ladder.timed:
        return None
    if rollout.answer is not None:
        return rollout.answer
    arms = case.observed.arms or NOTHING
    return judge(begun, arms.control, arms.candidate, None, case.now_ms)


def shown(case: Case, rollout: Rollout) -> Experiment | None:
    """What people may see of the comparison; None while it is not asked.

    A final answer is kept before anybody is told of it: whoever saw one on fresher data than the
    engine's would have looked twice, where there is one look only.
    """
    found = answer(case, rollout)
    if found is None or not found.is_final or rollout.answer is not None:
        return found
    return Experiment(
        ExperimentState.CONTINUE, (Reason("deciding"),), units_count=found.units_count
    )


def answered(case: Case, rollout: Rollout, found: Experiment) -> tuple[Action, ...]:
    """Remember a final answer; a person is asked unless it lets through."""
    words = f"{rollout.to_version} beside {rollout.from_version}: {experiment_words(found)}"
    detail = {
        "state": found.state.value,
        "version": rollout.to_version,
        "stage": rollout.stage,
        "share_bp": rollout.share_bp,
        "lines": list(experiment_lines(found)),
        "answer": to_data(found),
    }
    kept = SetRollout(replace(rollout, answer=found))
    record = Record("rollout.compared", words, detail)
    if found.state is ExperimentState.PASS:
        return (kept, record)
    asked = () if case.told(ASKED) else (Told(ASKED),)
    return (kept, record, *asked, *_ask(case, rollout, words))


def ab_gate(case: Case, rollout: Rollout) -> tuple[Gate, ...]:
    """The gate as the one of its list; none where it is not asked."""
    found = shown(case, rollout)
    if found is None:
        return ()
    why = "; ".join(reason_words(reason, found) for reason in found.reasons)
    match found.state:
        case ExperimentState.PASS:
            return (allow(GATE, why),)
        case ExperimentState.FAIL:
            return (deny(GATE, why),)
        case ExperimentState.INVALID:
            return (deny(GATE, f"the arms cannot be compared: {why}"),)
        case ExperimentState.INSUFFICIENT:
            return (deny(GATE, f"not shown: {why}"),)
        case ExperimentState.CONTINUE:
            waits = [Wait(GATE, w.need, w.have, gate_wait_words(w), w.eta_ms) for w in found.waits]
            waits = waits or [Wait(GATE, detail="its answer, within a minute")]
            return (not_yet(GATE, why or "nothing speaks against it so far", *waits),)


def _ask(case: Case, rollout: Rollout, words: str) -> tuple[Action, ...]:
    prompt, env = case.state.prompt, env_option(case.state)
    key = f"{case.state.environment}/{prompt}/g{case.generation}:{GATE}"
    body = (
        f"{words} It stays at {ladder.share(rollout.share_bp)}. "
        f"`knowngood gates {prompt} {rollout.to_version}{env}` shows the numbers, "
        f"`knowngood abort {prompt}{env} --because ...` takes it off, "
        f"`knowngood skip {prompt}{env} --because ...` goes on all the same."
    )
    return page(case, key, "product-owner", Severity.MEDIUM, f"{title(case)}: {words}", body)

"""The gates before a promotion: what has to be true of a version before anybody is served it."""

from collections.abc import Sequence
from dataclasses import dataclass

from knowngood.core.approvals import Voters, approvals_gate
from knowngood.core.evaluation import Evaluation, meets
from knowngood.core.explain import answer_words, duration
from knowngood.core.gate import Answer, Gate, allow, deny, not_yet
from knowngood.core.ladder import busy_words
from knowngood.core.model import Confirming, Standing, State, Verifying, Wait
from knowngood.core.policy_freeze import freeze_begins_ms, freeze_in_force
from knowngood.core.rollout import RolloutKind
from knowngood.core.rules import PromptPolicy, SoakRule

ALWAYS, NEVER = "always", "never"


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a version has been through in the soak's environment.

    `is_used`: the prompt is served there at all. `clean_ms` is for how long the version was served
    there since it came or since its last trouble ended, and `call_count` its calls in that time.
    """

    is_used: bool = False
    standing: Standing | None = None
    has_trouble: bool = False
    clean_ms: int = 0
    call_count: int = 0


def soaked_since(state: State, version: str, now_ms: int) -> tuple[int, int] | None:
    """The stretch (from, until) that counts for the soak; None if it was never served there."""
    entry = state.entry(version)
    if entry is None or entry.routed_ms is None:
        return None
    serves = state.route is not None and state.route.weight_bp(version) > 0
    until_ms = now_ms if serves or entry.left_ms is None else entry.left_ms
    troubles = [s.until_ms for s in state.spells if s.version == version]
    since_ms = max([entry.routed_ms, *(ms for ms in troubles if ms <= until_ms)])
    return since_ms, max(since_ms, until_ms)


def promotion_gates(
    state: State,
    version: str,
    policy: PromptPolicy,
    soaked: Soaked,
    evaluations: Sequence[Evaluation],
    voters: Voters,
    now_ms: int,
) -> tuple[Gate, ...]:
    """Every gate of a promotion, open or not; a person may override each by its name.

    `evaluations` are those of the version, `voters` who asks and who may agree.
    """
    return (
        _quarantined(state, version),
        _in_progress(state, version),
        _freeze(policy, now_ms),
        _soak(state, policy.soak, soaked),
        _evaluated(state, policy, evaluations, now_ms),
        approvals_gate(state, version, policy.approvals, voters, now_ms),
    )


def promote_before_ms(
    policy: PromptPolicy, environment: str, override: Sequence[str], now_ms: int
) -> int | None:
    """Until when a promotion that is decided now may be put in force: the next freeze's beginning.

    None where no freeze holds it: on the soak's environment, or by a person's override.
    """
    if "freeze" in override or environment == policy.soak.environment:
        return None
    return freeze_begins_ms(policy.freezes, now_ms)


def skip_before_ms(state: State, policy: PromptPolicy, now_ms: int) -> int | None:
    """Until when a stage that is skipped now may be put in force, as with a promotion.

    Whoever skips asks no gate, that of a freeze in force neither; but one that begins after they
    have said so is news to them. None for a rollback that is on its way: no freeze holds it.
    """
    if state.rollout is None or state.rollout.kind is RolloutKind.GRADUAL:
        return None
    return freeze_begins_ms(policy.freezes, now_ms)


def fails_as_target(
    policy: PromptPolicy, evaluations: Sequence[Evaluation], now_ms: int
) -> str | None:
    """Why a recorded evaluation speaks against a version as a rollback's target, or None.

    One that is missing or old is no reason: a rollback waits for nothing.
    """
    for rule in policy.evaluations:
        if rule.of_target:
            met = meets(evaluations, rule.requirement, now_ms)
            if met.answer is Answer.DENY:
                return answer_words(met)
    return None


def _evaluated(
    state: State, policy: PromptPolicy, evaluations: Sequence[Evaluation], now_ms: int
) -> Gate:
    asked = [rule for rule in policy.evaluations if rule.of_promotion]
    if not asked:
        return allow("evaluation", "the policy asks for none")
    if state.environment == policy.soak.environment:
        return allow("evaluation", f"{state.environment} is where versions soak")
    met = [meets(evaluations, rule.requirement, now_ms) for rule in asked]
    words = "; ".join(answer_words(each) for each in met if each.answer is not Answer.ALLOW)
    if any(each.answer is Answer.DENY for each in met):
        return deny("evaluation", words)
    if words:
        return not_yet("evaluation", words)
    return allow("evaluation", "; ".join(answer_words(each) for each in met))


def _quarantined(state: State, version: str) -> Gate:
    entry = state.entry(version)
    if entry is None or entry.standing is not Standing.QUARANTINED:
        return allow("quarantined", "not quarantined")
    return deny("quarantined", f"{version} is quarantined: {entry.because}")


def _in_progress(state: State, version: str) -> Gate:
    match state.phase:
        case Verifying(from_version=old, to_version=new):
            return deny("in_progress", f"the rollback {old} -> {new} is being verified")
        case Confirming(version=suspect) if not any(n.startswith("held:") for n in state.told):
            return deny("in_progress", f"a breach of {suspect} is being confirmed")
    rollout = state.rollout
    climbs = rollout is not None and rollout.kind is RolloutKind.CANARY
    if rollout is None or (climbs and rollout.to_version == version):
        return allow("in_progress", "no other rollout is under way")
    return deny("in_progress", f"{busy_words(rollout)}: one rollout at a time")


def _freeze(policy: PromptPolicy, now_ms: int) -> Gate:
    held = freeze_in_force(policy.freezes, now_ms)
    if held is None:
        return allow("freeze", "no change freeze")
    rule, end_ms = held
    left_ms = end_ms - now_ms
    wait = Wait("freeze", left_ms, detail=rule.because, eta_ms=left_ms)
    return not_yet("freeze", f"change freeze: {rule.because} ({duration(left_ms)} left)", wait)


def _soak(state: State, rule: SoakRule, soaked: Soaked) -> Gate:
    where = rule.environment
    if rule.required == NEVER:
        return allow("soak", "the policy asks for none")
    if state.environment == where:
        return allow("soak", f"{where} is where versions soak")
    if state.route is None:
        return allow("soak", "the first version has nothing to be held against")
    if not soaked.is_used and rule.required != ALWAYS:
        return allow("soak", f"nothing of this prompt was ever served on {where}")
    if soaked.standing is None:
        return deny("soak", f"it was never served on {where}")
    if soaked.standing is Standing.QUARANTINED:
        return deny("soak", f"it was rolled back on {where}")
    if soaked.has_trouble:
        return deny("soak", f"it has an open incident on {where}")
    left_ms = rule.for_ms - soaked.clean_ms
    if left_ms > 0:
        words = (
            f"{duration(soaked.clean_ms)} of {duration(rule.for_ms)} without a breach on {where}"
        )
        return not_yet("soak", words, Wait("soak", left_ms, detail=where, eta_ms=left_ms))
    if soaked.call_count < rule.min_calls:
        words = f"{soaked.call_count} of {rule.min_calls} calls on {where}"
        return not_yet("soak", words, Wait("soak_calls", rule.min_calls, soaked.call_count, where))
    words = f"{duration(soaked.clean_ms)} and {soaked.call_count} calls on {where}, no breach"
    return allow("soak", words)

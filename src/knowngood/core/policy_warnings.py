"""What a valid policy says that its owner may not have meant."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from knowngood.core.experiment_metric import AMOUNTS
from knowngood.core.explain import duration
from knowngood.core.model import WHOLE_BP, Comparison, Response, Severity
from knowngood.core.policy_build import PolicyFile, is_glob, overlapping_pairs
from knowngood.core.policy_parse import ROLES
from knowngood.core.rules import AlertRule, Condition, PromptPolicy, Trigger

# detectors.md, section 1: the plain threshold on a healthy prompt, 5-minute window, up to 0.25/s.
EVIDENCE_NONE_RISK = (
    "at up to 0.25 requests a second the plain threshold finds a healthy prompt (0.5 % errors) at"
    " fault within 24 hours with a probability of 0.35 to 1.00"
)
VERIFY_DEADLINE_MAX_MS = 300_000  # a verified recovery takes five minutes at the latest


def warnings(policy_file: PolicyFile) -> list[str]:
    """Sentences about the policy, each with its path, for `policy check`; empty is possible."""
    defaults = list(_of_policy(policy_file, policy_file.resolve(())))
    said = [f"defaults.{where}: {what}" for where, what in defaults]
    for key in policy_file.data["prompts"]:
        entries = _entries(policy_file, key)
        said += [
            f"prompts.{key}.{where}: {what}"
            for where, what in _of_policy(policy_file, policy_file.resolve(entries))
            if (where, what) not in defaults
        ]
    said += _of_prompts(policy_file)
    return list(dict.fromkeys(said))


def _entries(file: PolicyFile, key: str) -> tuple[str, ...]:
    """What applies together with this key of `prompts:`; a name is never without its globs."""
    return (key,) if is_glob(key) else file.entries_of(key)


def _of_policy(file: PolicyFile, policy: PromptPolicy) -> Iterator[tuple[str, str]]:
    for trigger in policy.triggers:
        for what in _of_trigger(file, trigger):
            yield f"triggers.{trigger.name}", what
    for stronger, weaker in combinations(policy.triggers, 2):  # they come most severe first
        if never_first(stronger, weaker):
            yield (
                f"triggers.{weaker.name}",
                f"{weaker.when.text} is never reached before {stronger.name} "
                f"({stronger.when.text}), which is more severe",
            )
    yield from _of_alerts(policy.alerts)
    yield from _of_ab(policy)
    if policy.verify.deadline_ms > VERIFY_DEADLINE_MAX_MS:
        yield "verify.deadline", "a recovery that takes more than 5 minutes to verify is too slow"
    if policy.flap.per_prompt_hour_count > policy.flap.fleet_hour_count:
        yield "flap.per_prompt_hour", "one prompt may roll back more often than the whole fleet"


def _of_ab(policy: PromptPolicy) -> Iterator[tuple[str, str]]:
    """An A/B gate that cannot be passed, or not in the time that a stage is given."""
    rule = policy.ab
    if rule is None:
        return
    if rule.min_time_ms > policy.canary.wait_ms:
        yield (
            "ab.min_time",
            f"{duration(rule.min_time_ms)} is longer than canary.wait_at_most "
            f"({duration(policy.canary.wait_ms)}): a person is asked before the gate can open",
        )
    if not any(bp < WHOLE_BP for bp in policy.canary.stages_bp):
        yield "ab", "canary.stages has no stage below 100%, so nothing is ever compared"
    asked = {each.metric: f"ab.guardrails.{each.metric}" for each in rule.guardrails}
    for metric, where in {**asked, rule.primary: "ab.primary"}.items():
        if metric in AMOUNTS:
            yield where, f"clients report no {metric} by unit, so the gate would never open"


def _of_trigger(file: PolicyFile, trigger: Trigger) -> Iterator[str]:
    if trigger.evidence == "none":
        yield f"without evidence, {EVIDENCE_NONE_RISK}"
    if trigger.action is Response.OBSERVE and trigger.then is None:
        yield "observes, and nothing follows when the breach persists; add then: ask"
    asks = Response.ASK in (trigger.action, trigger.then)
    if asks and trigger.limit_ms is None:
        yield "asks without a time limit: an unanswered question never escalates; add limit:"
    automatic = trigger.action is Response.ROLLBACK or trigger.then is Response.ROLLBACK
    if automatic and trigger.severity is not Severity.CRITICAL:
        yield f"rolls back by itself although its severity is {trigger.severity.value}"
    known = {p.name for p in file.people} | {role for p in file.people for role in p.roles}
    if file.people and trigger.who != "system" and trigger.who not in known:
        hint = "no one has this role" if trigger.who in ROLES else "there is no such person or role"
        yield f"who: {trigger.who} reaches nobody; {hint} under people:"


def never_first(stronger: Trigger, weaker: Trigger) -> bool:
    """Is a less severe trigger breached only when a more severe one is too?"""
    return (
        stronger.severity is not weaker.severity
        and stronger.kinds == weaker.kinds
        and looser(weaker.when, stronger.when, or_equal=True)
    )


def looser(a: Condition, b: Condition, or_equal: bool = False) -> bool:
    """Does `a` bear more of the same harm than `b` before it is breached?"""
    if (a.metric, a.comparison) != (b.metric, b.comparison):
        return False
    if a.limit == b.limit:
        return or_equal
    return a.limit < b.limit if a.comparison is Comparison.BELOW else a.limit > b.limit


def _of_alerts(alerts: Sequence[AlertRule]) -> Iterator[tuple[str, str]]:
    for young in alerts:
        for old in alerts:
            if young.max_age_ms is None or old.min_age_ms < young.max_age_ms:
                continue
            for a in young.when:
                for b in old.when:
                    if looser(a, b):
                        yield (
                            f"alerts.{young.name}",
                            f"{a.text} is looser for a new version than {b.text} in {old.name}",
                        )


def _of_prompts(file: PolicyFile) -> Iterator[str]:
    prompts = file.data["prompts"]
    for key in prompts:
        entries = _entries(file, key)
        if file.resolve(entries) == file.resolve(entries[:-1]):
            yield f"prompts.{key}: it changes nothing: what it says holds already"
    for first, second in overlapping_pairs(prompts):
        if prompts[first] == prompts[second]:
            yield f"prompts.{second}: it says the same as prompts.{first}, which overlaps with it"

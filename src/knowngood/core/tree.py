"""The decision tree of the policy in force: as data, so that a page can draw it and mark the path
of an incident by the nodes' keys, and as text."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from knowngood.core.explain import amount, duration, metric_words
from knowngood.core.model import Comparison, Method, Response, Severity
from knowngood.core.rules import (
    Aim,
    AlertRule,
    Condition,
    ExperimentRule,
    Looks,
    PromptPolicy,
    Trigger,
)

Words = Callable[[Condition], str]


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A question or an action, and what may follow. `key` is unique within a tree:

    `start`, `yes`, `no`, `unsure`; `severity/<severity>`; `trigger/<name>` and below it `/action`,
    `/held`, `/stale`, `/unconfirmed`, `/no_target`, `/confirmed`, `/approved`, `/declined`,
    `/unanswered`, `/persists`, `/then`, `/resolves`; `monitor`, `alert/<name>`; `rollback` and
    below it `/confirm`, `/choose`, `/switch`, `/verify`, `/verify/<outcome>`, `/record`; `brakes`,
    `brake/<kind>`; `ab` and below it `/<metric>`, if the policy asks for a comparison.
    """

    key: str
    label: str
    children: tuple["TreeNode", ...] = ()


def condition_words(when: Condition) -> str:
    """`quality drop > 20%` as "quality drops > 20%"; limits as people write them."""
    name = metric_words(when.metric)
    match when.comparison:
        case Comparison.DROP:
            return f"{name} drops > {_percent(when.limit)}"
        case Comparison.INCREASE:
            return f"{name} rises > {_percent(when.limit)}"
    sign = ">" if when.comparison is Comparison.ABOVE else "<"
    return f"{name} {sign} {_limit(when.metric, when.limit)}"


def tree(policy: PromptPolicy, say: Words = condition_words) -> TreeNode:
    """The tree of this policy; `say` puts a condition into words."""
    metrics = dict.fromkeys(metric_words(t.when.metric) for t in policy.triggers)
    severities = tuple(
        _severity(severity, group, policy, say)
        for severity in Severity  # the most severe is declared first
        if (group := [t for t in policy.triggers if t.severity is severity])
    )
    nothing = TreeNode("yes/none", "→ there is no trigger: nothing is ever judged")
    return TreeNode(
        "start",
        f"START: is a limit breached? ({', '.join(metrics) or 'no triggers'})",
        (
            TreeNode("yes", "YES: how severe is it?", severities or (nothing,)),
            TreeNode("no", "NO: every limit is kept", (_monitor(policy.alerts, say),)),
            TreeNode(
                "unsure",
                "CANNOT SAY: too little evidence, or no data",
                (
                    TreeNode("unsure/unsure", "unsure → WAIT; say how much evidence is missing"),
                    TreeNode("unsure/blind", "blind → WAIT; page once"),
                ),
            ),
            _rollback(policy),
            _brakes(policy),
            *_comparison(policy.ab),
        ),
    )


def render_tree(node: TreeNode) -> str:
    """The tree as text, one line a node, with a line break at the end."""
    return "\n".join(_lines(node)) + "\n"


def _lines(node: TreeNode) -> Iterable[str]:
    yield node.label
    for index, child in enumerate(node.children):
        last = index == len(node.children) - 1
        first, *rest = _lines(child)
        yield ("└─ " if last else "├─ ") + first
        yield from (("   " if last else "│  ") + line for line in rest)


def _severity(
    severity: Severity, triggers: list[Trigger], policy: PromptPolicy, say: Words
) -> TreeNode:
    return TreeNode(
        f"severity/{severity.value}",
        f"{severity.value.upper()}?",
        tuple(_trigger(trigger, policy, say) for trigger in triggers),
    )


def _trigger(trigger: Trigger, policy: PromptPolicy, say: Words) -> TreeNode:
    key = f"trigger/{trigger.name}"
    of = f" of kind {' or '.join(trigger.kinds)}" if trigger.kinds else ""
    dry = " [dry-run: only recorded]" if trigger.dry_run else ""
    label = f"{trigger.name}: {say(trigger.when)}{of} over {duration(trigger.window_ms)}{dry}"
    return TreeNode(key, label, (_response(f"{key}/action", key, trigger, trigger.action, policy),))


def _response(
    key: str, base: str, trigger: Trigger, response: Response, policy: PromptPolicy
) -> TreeNode:
    match response:
        case Response.ROLLBACK:
            return _automatic(key, base, trigger, policy)
        case Response.ASK:
            return _ask(key, base, trigger)
        case Response.OBSERVE:
            return _observe(key, base, trigger, policy)
        case Response.ALERT:
            return TreeNode(key, f"→ ALERT {trigger.who}; nothing is changed")


def _automatic(key: str, base: str, trigger: Trigger, policy: PromptPolicy) -> TreeNode:
    children = [
        TreeNode(f"{base}/held", "a brake is on → HOLD, and say which; page on-call"),
        TreeNode(
            f"{base}/unconfirmed",
            "the next look no longer sees it → NOT CONFIRMED: nothing is changed",
        ),
        TreeNode(f"{base}/no_target", "no known-good version → PAGE with the options"),
        TreeNode(f"{base}/confirmed", "confirmed → EXECUTE ROLLBACK"),
    ]
    who = trigger.who if trigger.who == "system" else f"system, {trigger.who} is told"
    label = f"→ ROLL BACK by itself{_method(trigger)} ({who}{_within(trigger)})"
    if not policy.auto_rollback_stale:
        stale = "good for 24 h, and nothing was deployed → PAGE with the option"
        children.insert(1, TreeNode(f"{base}/stale", stale))
    return TreeNode(key, label, tuple(children))


def _ask(key: str, base: str, trigger: Trigger) -> TreeNode:
    alone = (
        "ROLL BACK by itself" if trigger.on_timeout == "rollback" else "ESCALATE, and keep asking"
    )
    limit = f" within {duration(trigger.limit_ms)}" if trigger.limit_ms is not None else ""
    unanswered = f"nobody answers{limit} → {alone if limit else 'KEEP ASKING'}"
    return TreeNode(
        key,
        f"→ ASK {trigger.who}: roll back{_method(trigger)}, or investigate?{limit}",
        (
            TreeNode(f"{base}/approved", '"roll back" → EXECUTE ROLLBACK'),
            TreeNode(f"{base}/declined", '"investigate" → nothing is changed; keep watching'),
            TreeNode(f"{base}/unanswered", unanswered),
        ),
    )


def _observe(key: str, base: str, trigger: Trigger, policy: PromptPolicy) -> TreeNode:
    then = (_response(f"{base}/then", base, trigger, trigger.then, policy),) if trigger.then else ()
    length = f" for {duration(trigger.for_ms)}" if trigger.for_ms is not None else ""
    return TreeNode(
        key,
        f"→ ALERT {trigger.who}, and OBSERVE{length}",
        (
            TreeNode(f"{base}/persists", "persists" if then else "persists → nothing more", then),
            TreeNode(f"{base}/resolves", "resolves → MONITOR"),
        ),
    )


def _method(trigger: Trigger) -> str:
    return " gradually" if trigger.method is Method.GRADUAL else " at once"


def _within(trigger: Trigger) -> str:
    return f", within {duration(trigger.limit_ms)}" if trigger.limit_ms is not None else ""


def _monitor(alerts: Iterable[AlertRule], say: Words) -> TreeNode:
    return TreeNode(
        "monitor",
        "→ MONITOR (no action)",
        tuple(
            TreeNode(
                f"alert/{rule.name}",
                f"{rule.name}, {_age(rule)}: ALERT on {', '.join(map(say, rule.when))}",
            )
            for rule in alerts
        ),
    )


def _age(rule: AlertRule) -> str:
    if rule.max_age_ms is not None:
        return f"younger than {duration(rule.max_age_ms)}"
    return f"from {duration(rule.min_age_ms)} on" if rule.min_age_ms else "at any age"


def _rollback(policy: PromptPolicy) -> TreeNode:
    verify = policy.verify
    authors = f" and the authors ({', '.join(policy.authors)})" if policy.authors else ""
    outcomes = (
        ("recovered", "recovered → STAND DOWN; the incident is resolved"),
        ("not_recovered", f"not recovered → CRITICAL: page on-call{authors}"),
        ("inconclusive", "inconclusive → NOTIFY, and ask again in 15 min"),
    )
    judged = TreeNode(
        "rollback/verify",
        f"4 verify: errors < {_percent(verify.error_rate_below)} and what had breached is back; "
        f"goal {duration(verify.goal_ms)}, at the latest {duration(verify.deadline_ms)}",
        tuple(TreeNode(f"rollback/verify/{kind}", label) for kind, label in outcomes),
    )
    return TreeNode(
        "rollback",
        "EXECUTE ROLLBACK",
        (
            TreeNode("rollback/confirm", "1 confirm: the next look sees the breach on newer data"),
            TreeNode("rollback/choose", "2 choose: the newest known-good version but the suspect"),
            TreeNode("rollback/switch", "3 switch: the route and its record, in one transaction"),
            judged,
            TreeNode("rollback/record", "5 record: the timeline and the post-mortem"),
        ),
    )


def _brakes(policy: PromptPolicy) -> TreeNode:
    flap = policy.flap
    dry = ", ".join(trigger.name for trigger in policy.triggers if trigger.dry_run)
    brakes = (
        ("dry_run", f"dry-run, by trigger: {dry or 'none'}"),
        ("upstream", "upstream veto: the control or the provider's other prompts fail too → PAGE"),
        (
            "flap",
            f"flap guard: one in {duration(flap.cooldown_ms)}, "
            f"{flap.per_prompt_hour_count} an hour, {flap.fleet_hour_count} an hour of all prompts",
        ),
        ("automation_off", "automation off: knowngood automation off [NAME] --for 2h --because …"),
    )
    return TreeNode(
        "brakes",
        "BRAKES: these hold an automatic rollback, never a person's",
        tuple(TreeNode(f"brake/{kind}", label) for kind, label in brakes),
    )


def _comparison(rule: ExperimentRule | None) -> Iterable[TreeNode]:
    """What a candidate has to show beside its control before it is promoted."""
    if rule is None:
        return
    once = rule.looks is Looks.FIXED
    looks = f"one look, at {rule.max_units_count:,}" if once else f"to {rule.max_units_count:,}"
    metrics = {each.metric: f"not worse by {_percent(each.margin)}" for each in rule.guardrails}
    if rule.aim is Aim.SUPERIORITY:
        kept = metrics.get(rule.primary)
        metrics[rule.primary] = "better" if kept is None else f"better, and {kept}"
    yield TreeNode(
        "ab",
        f"A/B GATE before a promotion: {looks} units an arm, {duration(rule.min_time_ms)} at least",
        tuple(
            TreeNode(f"ab/{metric}", f"{metric_words(metric)}: {asked}, p < {rule.alpha:g}")
            for metric, asked in metrics.items()
        ),
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.10g}%"


def _limit(metric: str, limit: float) -> str:
    if metric.endswith("_rate") or metric.startswith("counter."):
        return _percent(limit)
    if metric == "quality" or metric.startswith("score."):
        return f"{limit:g}"
    return amount(metric, limit)

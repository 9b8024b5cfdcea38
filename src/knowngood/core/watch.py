"""What is watched over for a trigger: a metric, its limit, and the budget for false alarms."""

from dataclasses import dataclass

from knowngood.core.measure import QUANTILES
from knowngood.core.model import Comparison, Response, Severity
from knowngood.core.rules import AlertRule, Condition, PromptPolicy, Trigger

# The probability of a false alarm that each response may cost (detectors.md, 3.6).
ALPHAS = {
    Response.ROLLBACK: 0.001,
    Response.ASK: 0.01,
    Response.OBSERVE: 0.02,
    Response.ALERT: 0.01,
}
SCORE_ALPHAS = {**ALPHAS, Response.ASK: 0.005}
MIN_LABELS = 10  # a handful of scores is one person's mood
# A version that fails more often than this is worth a question whatever the policy asks for: the
# gate of cascades and of a canary that does worse than its control.
ELEVATED_RATE = 0.02
TARGET_ILL = "gradual_target"
WORSE_THAN_REPLACED = "worse_than_replaced"  # the target of a gradual rollback does
UP = (Comparison.ABOVE, Comparison.INCREASE)


@dataclass(frozen=True, slots=True)
class Watch:
    """One detector that is asked for; triggers that ask for the same share it.

    `healthy` is the rate that the owner declares healthy, or None: it is taken from the baseline.
    """

    metric: str
    comparison: Comparison
    limit: float
    alpha: float
    window_ms: int
    kinds: tuple[str, ...] = ()
    healthy: float | None = None
    min_labels: int = MIN_LABELS

    @property
    def key(self) -> str:
        """Names the detector in readings and checkpoints."""
        parts = (
            self.metric,
            "+".join(self.kinds),
            self.comparison.value,
            f"{self.limit:.12g}",
            f"a{self.alpha:.12g}",
            f"w{self.window_ms}",
            "" if self.healthy is None else f"q{self.healthy:.12g}",
            f"l{self.min_labels}" if is_score(self.metric) else "",
        )
        return " ".join(part for part in parts if part)


def is_rate(metric: str) -> bool:
    """Whether the metric is a share of calls."""
    return metric in ("error_rate", "refusal_rate") or metric.startswith("counter.")


def is_score(metric: str) -> bool:
    """Whether the metric is a declared score."""
    return metric == "quality" or metric.startswith("score.")


def watch_of(trigger: Trigger) -> Watch | None:
    """The detector of a trigger; None where the plain rule judges.

    That is for `evidence: none`, for sums without a spread (tokens and cost per call), and for
    shares that are too low rather than too high.
    """
    when = trigger.when
    if trigger.evidence == "none" or not _is_covered(when):
        return None
    alphas = SCORE_ALPHAS if is_score(when.metric) else ALPHAS
    return Watch(
        metric=when.metric,
        comparison=when.comparison,
        limit=when.limit,
        alpha=trigger.alpha or alphas[trigger.action],
        window_ms=trigger.window_ms,
        kinds=trigger.kinds,
        healthy=trigger.healthy,
        min_labels=trigger.min_labels or MIN_LABELS,
    )


def _is_covered(when: Condition) -> bool:
    if is_score(when.metric):
        return True
    return (is_rate(when.metric) or when.metric in QUANTILES) and when.comparison in UP


def elevated(window_ms: int) -> Watch:
    """The detector that is always there: more than 2 % errors of any kind, at level .01."""
    alpha = ALPHAS[Response.ASK]
    return Watch("error_rate", Comparison.ABOVE, ELEVATED_RATE, alpha, window_ms)


def watches(policy: PromptPolicy) -> tuple[Watch, ...]:
    """Every detector that the policy asks for, at whatever age of a version, each once.

    Alerts of every age are watched from the deploy on, so that the next age does not begin blind.
    """
    triggers = [*policy.triggers]
    for rule in policy.alerts:
        triggers += alert_triggers(rule, policy)
    triggers.append(target_trigger(policy))
    asked = [watch for trigger in triggers if (watch := watch_of(trigger))]
    return tuple(dict.fromkeys((*asked, elevated(policy.window_ms))))


def target_trigger(policy: PromptPolicy) -> Trigger:
    """What pauses a gradual rollback: its target's own failures."""
    return Trigger(
        name=TARGET_ILL,
        when=policy.pause_above,
        severity=Severity.CRITICAL,
        action=Response.ASK,
        who="on-call",
        window_ms=policy.window_ms,
    )


def alert_triggers(rule: AlertRule, policy: PromptPolicy) -> list[Trigger]:
    """An alert rule as triggers that only alert, named `<rule>.<metric>`."""
    return [
        Trigger(
            name=f"{rule.name}.{when.metric}",
            when=when,
            severity=Severity.LOW,
            action=Response.ALERT,
            who="team",
            window_ms=policy.window_ms,
        )
        for when in rule.when
    ]

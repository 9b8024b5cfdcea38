"""Whether a metric that had breached is back, on the target of a rollback."""

from dataclasses import replace
from enum import StrEnum

from knowngood.core.detect import Baseline, Frame, detect_plain
from knowngood.core.measure import QUANTILES
from knowngood.core.model import Comparison, Verdict, Verifying
from knowngood.core.rules import Condition, Trigger
from knowngood.core.steps.case import Case

QUALITY_BACK = 0.07  # quality is back at 93 % of the target's own baseline
LATENCY_BACK = 0.50  # a latency is back below 1.5 times the target's own baseline


class Recovery(StrEnum):
    """What fresh evidence on the target says of one metric."""

    BACK = "back"
    STILL_BAD = "still_bad"
    UNPROVEN = "unproven"


def recovery(case: Case, phase: Verifying, trigger_name: str) -> Recovery:
    """Hold the target's window since the switch against the target's own baseline.

    Errors are judged by verify itself; a trigger that the policy no longer has asks for nothing.
    """
    trigger = next((t for t in case.policy.triggers if t.name == trigger_name), None)
    if trigger is None or trigger.when.metric == "error_rate":
        return Recovery.BACK
    found = detect_plain(_easier(trigger), _frame(case, phase), case.policy)
    if found.verdict is Verdict.CLEAR:
        return Recovery.BACK
    return Recovery.STILL_BAD if found.verdict is Verdict.BREACH else Recovery.UNPROVEN


def _frame(case: Case, phase: Verifying) -> Frame:
    entry = case.state.entry(phase.to_version)
    own = entry.baseline if entry else None
    return Frame(
        version=phase.to_version,
        since_ms=phase.began_ms,
        until_ms=case.observed.until_ms,
        window=case.observed.evidence(phase.to_version).since(phase.began_ms),
        baselines=(Baseline("its own baseline", own),) if own else (),
    )


def _easier(trigger: Trigger) -> Trigger:
    """The trigger with the limit that recovery has to keep (definitions.md, Judging)."""
    when = trigger.when
    limit = when.limit
    if when.comparison is Comparison.DROP:
        limit = QUALITY_BACK
    elif when.comparison is Comparison.INCREASE and when.metric in QUANTILES:
        limit = LATENCY_BACK
    eased = Condition(when.metric, when.comparison, limit, when.text)
    return replace(trigger, when=eased)

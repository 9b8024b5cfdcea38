"""Which runbook belongs to a page or an incident."""

from collections.abc import Iterable, Mapping, Sequence

from knowngood.core.model import Finding, Response, Verdict
from knowngood.core.runbook import Situation

# What the runbooks that come with knowngood are for; a test holds this and their texts together.
# A page is written by the engine, which reads no files: it names these, and whoever has a runbook
# of their own gives it the same id.
SHIPPED: Mapping[str, str] = {
    Situation.ROLLBACK_FAILED.value: "rollback-failed",
    Situation.TARGET_BAD.value: "target-bad",
    Situation.BLIND.value: "metrics-blind",
    Situation.UPSTREAM.value: "provider-outage",
    Situation.CASCADE.value: "several-prompts",
    Situation.FLAP.value: "flapping",
    "quality_high": "accuracy-drop",
    "quality_medium": "accuracy-drop",
    "quality": "accuracy-drop",
    "error_critical": "error-spike",
    "error_high": "error-spike",
    "error_rate": "error-spike",
    "latency_high": "latency-doubled",
    "latency_medium": "latency-doubled",
    "latency_p50": "latency-doubled",
    "latency_p90": "latency-doubled",
    "latency_p99": "latency-doubled",
    "first_token_p99": "latency-doubled",
}

# What a page's key says of its situation: keys are names that never change (see core.steps).
_KEYS: Mapping[str, Situation] = {
    "rollback-failed": Situation.ROLLBACK_FAILED,
    "blind": Situation.BLIND,
    "left-behind": Situation.TARGET_BAD,
    "gradual-paused": Situation.TARGET_BAD,
    "held:no_target": Situation.TARGET_BAD,
    "held:upstream": Situation.UPSTREAM,
    "held:unclear": Situation.UPSTREAM,
    "held:flap": Situation.FLAP,
}


def runbook_for(
    situation: str,
    triggers: Sequence[str],
    metrics: Sequence[str] = (),
    table: Mapping[str, str] = SHIPPED,
) -> str | None:
    """The id of the runbook: the situation says most, then a trigger's name, then its metric.

    `table` maps each of them to an id; of several triggers the first decides.
    """
    for name in (situation, *triggers, *metrics):
        if name and name in table:
            return table[name]
    return None


def table_of(runbooks: Iterable[tuple[str, Sequence[str]]]) -> dict[str, str]:
    """What `runbook_for` looks up, from runbooks as (id, triggers); the first that says so wins."""
    table: dict[str, str] = {}
    for name, triggers in runbooks:
        for trigger in triggers:
            table.setdefault(trigger, name)
    return table


def situation_of(key: str, findings: Sequence[Finding] = ()) -> str:
    """The situation that a page is about, by its key; empty when its triggers say it all."""
    parts = key.split(":")[1:]
    for size in (2, 1):
        for start in range(len(parts) - size + 1):
            found = _KEYS.get(":".join(parts[start : start + size]))
            if found is not None:
                return found.value
    cascade = any(f.related and f.verdict is Verdict.BREACH for f in findings)
    return Situation.CASCADE.value if cascade else ""


def runbook_of_page(key: str, findings: Sequence[Finding]) -> str | None:
    """The runbook that a page names, by its key and by what is in breach, the worst first."""
    found = [
        f for f in findings if f.verdict is Verdict.BREACH and f.response is not Response.ALERT
    ]
    found.sort(key=lambda f: list(Response).index(f.response))
    return runbook_for(
        situation_of(key, found), [f.trigger for f in found], [f.metric for f in found]
    )

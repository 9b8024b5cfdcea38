"""What other systems say of our prompts: evidence beside an incident, and never an order.

An alert of another system is told apart by its source and key. Its first word, each change of its
status and nothing else is news: a repeat is no second alert.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from knowngood.core.history import AuditEntry

LABELS_MAX = 64  # what one alert may carry; more is no label but a payload
LABEL_CHARS_MAX = 500
SUMMARY_CHARS_MAX = 500
KEPT_MS = 180 * 24 * 3_600_000  # as long as archived versions: an incident is looked at again
# What was taken once is not taken again within a week; senders give up after minutes.
TAKEN_KEPT_MS = 7 * 24 * 3_600_000
# Alertmanager repeats every four hours by default; what nobody repeats for a day is forgotten
# there, and no longer known to fire.
SILENT_MS = 24 * 3_600_000
RECEIVED = "evidence.received"


class AlertStatus(StrEnum):
    """How an alert of another system stands."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class OutsideAlert:
    """One alert of another system, as we remember it. `id` is given by the store.

    `prompt` and `environment` are what its labels were mapped to; empty when they name nothing
    here. `began_ms` and `ended_ms` are the other system's times; `at_ms` is when we heard of its
    present status, `seen_ms` when we last heard of it at all. `digest` is the sha256 of the body
    that it came in.
    """

    source: str
    key: str
    status: AlertStatus
    began_ms: int
    summary: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    prompt: str = ""
    environment: str = ""
    ended_ms: int | None = None
    url: str = ""
    digest: str = ""
    at_ms: int = 0
    seen_ms: int = 0
    id: int = 0


def remember(before: OutsideAlert | None, now: OutsideAlert) -> tuple[OutsideAlert, bool]:
    """What to keep of an alert that comes in, and whether it is news.

    A word that was overtaken by the alert's end is not its beginning anew: that begins later.
    """
    if before is None:
        return replace(now, seen_ms=now.at_ms), True
    seen = replace(before, seen_ms=max(before.seen_ms, now.at_ms))
    ended_ms = before.ended_ms if before.ended_ms is not None else before.at_ms
    over = before.status is AlertStatus.RESOLVED
    if before.status is now.status or (over and now.began_ms <= ended_ms):
        return seen, False
    began_ms = now.began_ms if over else before.began_ms
    summary = now.summary or before.summary
    return replace(now, id=before.id, began_ms=began_ms, summary=summary, seen_ms=now.at_ms), True


def history_line(alert: OutsideAlert, policy_revision: str) -> AuditEntry | None:
    """The line of history of an alert that is mapped to a prompt; None for one that is not."""
    if not alert.prompt:
        return None
    return AuditEntry(
        at_ms=alert.at_ms,
        environment=alert.environment,
        prompt=alert.prompt,
        kind=RECEIVED,
        because=f"{alert.source}: {alert.summary or alert.key} ({alert.status.value})",
        actor=alert.source,
        revision=0,
        generation=0,
        policy_revision=policy_revision,
        detail={
            "source": alert.source,
            "key": alert.key,
            "status": alert.status.value,
            "labels": dict(alert.labels),
            "url": alert.url,
            "began_ms": alert.began_ms,
            "sha256": alert.digest,
        },
    )


def is_shown(alert: OutsideAlert, since_ms: int) -> bool:
    """Whether the alert still fires, as far as is known, or ended at `since_ms` or later."""
    if alert.status is AlertStatus.RESOLVED:
        return alert.ended_ms is None or max(alert.ended_ms, alert.at_ms) >= since_ms
    return alert.seen_ms >= since_ms - SILENT_MS


def bounded(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels within what is kept of them, by name."""
    kept = sorted(labels)[:LABELS_MAX]
    return {name[:LABEL_CHARS_MAX]: labels[name][:LABEL_CHARS_MAX] for name in kept}

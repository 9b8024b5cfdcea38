"""Alertmanager's webhook (format 4), and Grafana's, which has the same shape and more fields."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from knowngood.core.errors import BadRequest
from knowngood.core.inbound import InboundRule, as_text
from knowngood.core.outside import SUMMARY_CHARS_MAX, AlertStatus, OutsideAlert, bounded

ALERTS_MAX = 1_000  # in one message; a group of that size is an outage, and says so with fewer
EPOCH, MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
NEVER = 0  # what Alertmanager means by the year 1, and Grafana too
LINKS = ("panelURL", "dashboardURL", "generatorURL")
WORDS = ("summary", "description", "message")


@dataclass(frozen=True, slots=True)
class Group:
    """The alerts of one message; `left_out_count` are those that the sender cut off."""

    alerts: tuple[OutsideAlert, ...]
    left_out_count: int


def read(data: Any, rule: InboundRule, digest: str, now_ms: int) -> Group:
    """The alerts in the message, mapped as the rule says. Raises BadRequest for what is none."""
    if not isinstance(data, dict) or not isinstance(data.get("alerts"), list):
        raise BadRequest(f"this is no message of {rule.source}: it has no list of `alerts`")
    found = data["alerts"]
    if len(found) > ALERTS_MAX:
        raise BadRequest(
            f"the message has {len(found)} alerts; the limit is {ALERTS_MAX}",
            next_step="set max_alerts in the webhook's configuration",
        )
    cut = data.get("truncatedAlerts")
    return Group(
        tuple(_alert(each, rule, digest, now_ms) for each in found),
        cut if isinstance(cut, int) and not isinstance(cut, bool) else 0,
    )


def _alert(data: Any, rule: InboundRule, digest: str, now_ms: int) -> OutsideAlert:
    if not isinstance(data, dict) or not isinstance(data.get("labels", {}), dict):
        raise BadRequest("an alert has no `labels`")
    fingerprint, starts = data.get("fingerprint"), data.get("startsAt")
    if not isinstance(fingerprint, str) or not fingerprint or not isinstance(starts, str):
        raise BadRequest("an alert has no `fingerprint` or no `startsAt`: nothing tells it apart")
    if data.get("status") not in tuple(AlertStatus):
        raise BadRequest(
            f"an alert is {str(data.get('status'))[:50]!r}", known=[s.value for s in AlertStatus]
        )
    labels = {str(name): as_text(value) for name, value in data.get("labels", {}).items()}
    status = AlertStatus(data["status"])
    began_ms = _instant(starts)
    ended_ms = _instant(data.get("endsAt")) if status is AlertStatus.RESOLVED else NEVER
    return OutsideAlert(
        source=rule.source,
        key=f"{fingerprint[:100]}@{starts[:50]}",
        status=status,
        began_ms=began_ms or now_ms,
        summary=_summary(data.get("annotations"), labels),
        labels=bounded(labels),
        prompt=rule.take("prompt", labels),
        environment=rule.take("environment", labels),
        ended_ms=(ended_ms or now_ms) if status is AlertStatus.RESOLVED else None,
        url=next((url for key in LINKS if (url := _link(data.get(key)))), ""),
        digest=digest,
        at_ms=now_ms,
    )


def _summary(annotations: Any, labels: dict[str, str]) -> str:
    said = annotations if isinstance(annotations, dict) else {}
    for key in WORDS:
        if isinstance(said.get(key), str) and said[key].strip():
            return " ".join(said[key].split())[:SUMMARY_CHARS_MAX]
    return labels.get("alertname", "")[:SUMMARY_CHARS_MAX]


def _link(value: Any) -> str:
    is_link = isinstance(value, str) and value.startswith(("http://", "https://"))
    return value if is_link and len(value) <= 2_000 else ""


def _instant(text: Any) -> int:
    """Milliseconds of an RFC 3339 time; 0 for none. Go writes up to nine digits of a second."""
    if not isinstance(text, str):
        return NEVER
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return NEVER
    if at.year <= 1970:
        return NEVER
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (aware - EPOCH) // MS

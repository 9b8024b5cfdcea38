"""JSON of any shape: the policy says which field means what."""

from typing import Any

from knowngood.core.errors import BadRequest
from knowngood.core.inbound import InboundRule, as_text
from knowngood.core.outside import SUMMARY_CHARS_MAX, AlertStatus, OutsideAlert, bounded

KEY_CHARS_MAX = 200


def read(data: Any, rule: InboundRule, digest: str, now_ms: int) -> OutsideAlert:
    """The alert in the message. Raises BadRequest for one that nothing tells apart."""
    if not isinstance(data, dict):
        raise BadRequest("the body is no JSON object")
    labels = {
        name: as_text(value)
        for name, value in data.items()
        if isinstance(value, str | int | float | bool)
    }
    key = rule.take("key", labels, data)
    if not key or len(key) > KEY_CHARS_MAX:
        raise BadRequest(
            f"`{rule.key}` says nothing that tells this alert from others",
            next_step=f"correct inbound.{rule.source}.key in the policy",
        )
    status = _status(rule, labels, data)
    url = rule.take("url", labels, data)
    return OutsideAlert(
        source=rule.source,
        key=key,
        status=status,
        began_ms=now_ms,
        summary=" ".join(rule.take("summary", labels, data).split())[:SUMMARY_CHARS_MAX],
        labels=bounded(labels),
        prompt=rule.take("prompt", labels, data),
        environment=rule.take("environment", labels, data),
        ended_ms=now_ms if status is AlertStatus.RESOLVED else None,
        url=url if url.startswith(("http://", "https://")) and len(url) <= 2_000 else "",
        digest=digest,
        at_ms=now_ms,
    )


def _status(rule: InboundRule, labels: dict[str, str], data: Any) -> AlertStatus:
    said = rule.take("status", labels, data).strip().lower()
    over = said in [word.strip().lower() for word in rule.resolved]
    return AlertStatus.RESOLVED if over else AlertStatus.FIRING

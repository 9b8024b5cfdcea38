"""Other systems' alerts: taken in as evidence, and shown beside an incident."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from knowngood.core.inbound import InboundRule
from knowngood.core.model import Incident
from knowngood.core.outside import OutsideAlert
from knowngood.server.desk import Desk
from knowngood.server.words import when

SHOWN_MAX = 50
UNMAPPED_SHOWN = 10
BEFORE_MS = 15 * 60_000  # what ended shortly before an incident may well have to do with it
WITHOUT_MS = 60 * 60_000

log = structlog.get_logger("knowngood.server")


def receive(
    desk: Desk, rule: InboundRule, alerts: Sequence[OutsideAlert], left_out_count: int = 0
) -> dict[str, Any]:
    """Take the alerts in, in one transaction; what was news, and what names nothing here.

    An alert is never an order: nothing follows from it by itself.
    """
    environments = set(desk.store.states.environments())
    prompts = set(desk.store.registry.prompts())
    mapped = [_mapped(alert, environments, prompts) for alert in alerts]
    lost = [alert for alert, known in zip(alerts, mapped, strict=True) if not known.prompt]
    news = desk.store.outside.record(mapped, desk.policy.revision)
    if left_out_count:
        log.warning("alerts left out", source=rule.source, count=left_out_count)
    for alert in lost[:UNMAPPED_SHOWN]:
        log.warning(
            "alert of no prompt",
            source=rule.source,
            key=alert.key,
            prompt=alert.prompt,
            environment=alert.environment,
        )
    return {
        "received": len(alerts),
        "news": len(news),
        "unmapped": [_unmapped(alert, rule) for alert in lost[:UNMAPPED_SHOWN]],
        "unmapped_count": len(lost),
        "left_out_count": left_out_count,
    }


def _mapped(alert: OutsideAlert, environments: set[str], prompts: set[str]) -> OutsideAlert:
    name = alert.prompt.partition(":")[0]
    if name in prompts and alert.environment in environments:
        return replace(alert, prompt=name)
    return replace(alert, prompt="", environment="")


def _unmapped(alert: OutsideAlert, rule: InboundRule) -> str:
    if not alert.prompt:
        return f"{alert.key}: {rule.prompt} says nothing"
    return f"{alert.key}: there is no prompt {alert.prompt[:100]!r} in {alert.environment[:100]!r}"


def beside(
    desk: Desk, environment: str, prompt: str, incident: Incident | None, now_ms: int
) -> list[dict[str, Any]]:
    """What other systems say of a prompt now, or have said around its open incident."""
    since_ms = now_ms - WITHOUT_MS if incident is None else incident.opened_ms - BEFORE_MS
    return shown(desk, environment, prompt, since_ms)


def shown(desk: Desk, environment: str, prompt: str, since_ms: int) -> list[dict[str, Any]]:
    """What other systems say of a prompt: what fires, and what ended since; the newest first."""
    return [
        {
            "source": alert.source,
            "key": alert.key,
            "status": alert.status.value,
            "words": f"{alert.source}: {alert.summary or alert.key}",
            "labels": dict(alert.labels),
            "url": alert.url,
            **when("began", alert.began_ms),
            **when("ended", alert.ended_ms),
            **when("heard", alert.seen_ms),
        }
        for alert in desk.store.outside.of(environment, prompt, since_ms, SHOWN_MAX)
    ]

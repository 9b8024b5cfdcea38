"""PagerDuty's Events API v2: trigger, acknowledge and resolve, and change events.

PagerDuty takes an event and works on it later: 202 does not say that anybody was called. A page
with the key of an acknowledged alert calls nobody, which is why a failed rollback has a thread of
its own. Acknowledging and resolving under another routing key than that of the trigger is dropped.
"""

import json
from hashlib import sha256
from typing import Any

from knowngood.adapters.answers import asked, judge
from knowngood.adapters.egress import Answer, Egress
from knowngood.adapters.secrets import Secret
from knowngood.adapters.wording import cut, facts, iso, title
from knowngood.core.asking import Purpose
from knowngood.core.model import Severity
from knowngood.ports import Delivered, Page, Rejected, Retry

HOSTS = {"us": "https://events.pagerduty.com", "eu": "https://events.eu.pagerduty.com"}
SEVERITIES = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
}
ACTIONS = {
    Purpose.PAGE: "trigger",
    Purpose.ACKNOWLEDGED: "acknowledge",
    Purpose.RESOLVED: "resolve",
}
SUMMARY_MAX = 1_024
KEY_MAX = 255
EVENT_BYTES_MAX = 512_000  # as Alertmanager has it; the documented limit is 512 KB
CLIENT = "knowngood"


class PagerDuty:
    """One integration of one PagerDuty service."""

    def __init__(
        self, egress: Egress, routing_key: Secret, region: str = "us", url: str = ""
    ) -> None:
        """`url` replaces the region's address, such as that of a relay of one's own."""
        self._egress = egress
        self._key = routing_key
        self._url = (url or HOSTS[region]).rstrip("/")

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered | Retry | Rejected:
        """See ports.Notifier."""
        action = ACTIONS.get(page.purpose)
        if action is None:  # context for whoever looks; it calls nobody
            return asked(lambda: self._post("/v2/change/enqueue", self._change(page), now_ms, ""))
        key = dedup_key(page.thread or page.key)
        if receipt and receipt.partition(" ")[0] != self._fingerprint() and action != "trigger":
            return Rejected(
                "the routing key is another one than when this was paged, and PagerDuty drops what "
                "comes under another: close it there"
            )
        event = {"routing_key": self._key.reveal(), "event_action": action, "dedup_key": key}
        if action == "trigger":
            event |= self._trigger(page)
        new = f"{self._fingerprint()} {key}"
        return asked(lambda: self._post("/v2/enqueue", event, now_ms, new))

    def _post(
        self, path: str, event: dict[str, Any], now_ms: int, receipt: str
    ) -> Delivered | Retry | Rejected:
        body = json.dumps(event).encode()
        if len(body) > EVENT_BYTES_MAX:  # what it says in short is worth more than nothing
            event["payload"]["custom_details"] = {"note": "left out: it was too large"}
            body = json.dumps(event).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        answer = self._egress.post(self._url + path, headers, body)
        return judge(answer, now_ms, _said(answer), receipt)

    def _trigger(self, page: Page) -> dict[str, Any]:
        details = {name.lower(): value for name, value in facts(page)}
        payload = {
            "summary": cut(title(page), SUMMARY_MAX),
            "source": f"{CLIENT}/{page.environment}",
            "severity": SEVERITIES[page.severity],
            "timestamp": iso(page.created_ms),
            "component": page.prompt,
            "group": page.environment,
            "class": page.thread.rpartition(":")[2] if ":" in page.thread else "incident",
            "custom_details": {"body": page.body, **details},
        }
        event: dict[str, Any] = {"payload": payload, "client": CLIENT, "links": _links(page)}
        if page.url:
            event["client_url"] = page.url
        return event

    def _change(self, page: Page) -> dict[str, Any]:
        return {
            "routing_key": self._key.reveal(),
            "payload": {
                "summary": cut(title(page), SUMMARY_MAX),
                "source": f"{CLIENT}/{page.environment}",
                "timestamp": iso(page.created_ms),
                "custom_details": {"body": page.body, "prompt": page.prompt},
            },
            "links": _links(page),
        }

    def _fingerprint(self) -> str:
        """Which routing key it was, without saying it."""
        return sha256(self._key.reveal().encode()).hexdigest()[:12]


def dedup_key(thread: str) -> str:
    """The thread, or where that is too long what stands for it."""
    if len(thread) <= KEY_MAX:
        return thread
    return thread[: KEY_MAX - 17] + "#" + sha256(thread.encode()).hexdigest()[:16]


def _links(page: Page) -> list[dict[str, str]]:
    links = [{"href": b.url, "text": b.text} for b in page.buttons if b.url]
    if page.url:
        links.append({"href": page.url, "text": "Show more"})
    return links


def _said(answer: Answer) -> str:
    """`message` and `errors` of PagerDuty's answer."""
    try:
        data = json.loads(answer.body)
    except ValueError:
        return ""
    if not isinstance(data, dict):
        return ""
    errors = data.get("errors")
    listed = "; ".join(str(each) for each in errors) if isinstance(errors, list) else ""
    return f"{data.get('message', '')} {listed}".strip()

"""PagerDuty's v3 webhooks: who acknowledged or resolved a page, told back to us.

A signature has no time in it, so a copy of a message is as good as the message: what was taken in
is remembered by the event's id. An answer of 4xx is dropped for good and three of them silence the
subscription for a day, so whatever is signed and not for us is taken and left alone.
"""

import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from knowngood.core.errors import BadRequest

SIGNATURE_HEADER = "x-pagerduty-signature"
SIGNATURES_MAX = 20  # two while a secret is rotated; a longer list is somebody trying
ACKNOWLEDGED, RESOLVED = "incident.acknowledged", "incident.resolved"


@dataclass(frozen=True, slots=True)
class PagerEvent:
    """One event: what happened to the page that went out under the key `thread`."""

    id: str
    kind: str
    thread: str
    agent_id: str
    agent: str
    url: str

    @property
    def is_answer(self) -> bool:
        """Whether it says that somebody looks, or that it is over, of a page that has our key."""
        return bool(self.thread) and self.kind in (ACKNOWLEDGED, RESOLVED)


def is_signed(body: bytes, header: str, secrets: Iterable[str]) -> bool:
    """Whether one of the signatures (`v1=<hex>`, comma-separated) was made with one of ours."""
    given = [part.strip().removeprefix("v1=") for part in header.split(",")[:SIGNATURES_MAX]]
    found = False
    for secret in secrets:
        right = hmac.new(secret.encode(), body, sha256).hexdigest().encode()
        for signature in given:  # all of them, so that the time says nothing
            found |= hmac.compare_digest(right, signature.encode())
    return found


def read(body: bytes) -> PagerEvent:
    """The event in the body. Raises BadRequest for what is none."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not valid JSON") from None
    event = _mapping(_mapping(data).get("event"))
    if not isinstance(event.get("id"), str) or not event["id"]:
        raise BadRequest("this is no PagerDuty event: it has no `event.id`")
    agent, about = _mapping(event.get("agent")), _mapping(event.get("data"))
    return PagerEvent(
        id=event["id"],
        kind=_text(event.get("event_type")),
        thread=_text(about.get("incident_key")),
        agent_id=_text(agent.get("id")),
        agent=_text(agent.get("summary")),
        url=_text(about.get("html_url")),
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value[:500] if isinstance(value, str) else ""

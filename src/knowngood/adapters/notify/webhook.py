"""Any other program: Standard Webhooks 1.0 around a CloudEvents 1.0 body.

Either side of that is enough to take it in: the headers sign the body and tell a retry from a new
message; the body says what it is about.
"""

import base64
import binascii
import hmac
import json
from hashlib import sha256
from typing import Any

from knowngood.adapters.answers import asked, judge
from knowngood.adapters.egress import Egress
from knowngood.adapters.secrets import Secret
from knowngood.adapters.wording import cut, iso, title
from knowngood.core.errors import BadPolicy
from knowngood.ports import Delivered, Page, Rejected, Retry

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)  # as the specification has it
# 20 kB is what receivers are told to expect: two long texts and some names fit.
TEXT_MAX = 4_000


class Webhook:
    """One address that is told."""

    def __init__(self, egress: Egress, url: Secret, secret: Secret | None = None) -> None:
        """Without `secret` messages are not signed. Raises BadPolicy for one that cannot sign."""
        self._egress, self._url = egress, url
        self._key = signing_key(secret) if secret else None

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered | Retry | Rejected:
        """See ports.Notifier."""
        number = message_id(page)
        body = json.dumps(event(page, number)).encode()
        headers = {
            "Content-Type": "application/cloudevents+json",
            "webhook-id": number,
            "webhook-timestamp": str(now_ms // 1000),
        }
        if self._key is not None:
            headers["webhook-signature"] = sign(self._key, number, now_ms // 1000, body)
        # What somebody else's inner service says is not for the delivery log: the status is enough.
        return asked(
            lambda: judge(self._egress.post(self._url.reveal(), headers, body), now_ms, "", number)
        )


def signing_key(secret: Secret) -> bytes:
    """The bytes of a `whsec_` secret. Raises BadPolicy."""
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith(PREFIX) or len(key) not in SECRET_BYTES:
        raise BadPolicy(
            "a webhook's secret is `whsec_` and the base64 of 24 to 64 random bytes",
            next_step="make one: python3 -c 'import base64, secrets; "
            'print("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())\'',
        )
    return key


def sign(key: bytes, number: str, at_s: int, body: bytes) -> str:
    """The `webhook-signature` header."""
    signed = f"{number}.{at_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def message_id(page: Page) -> str:
    """The same for every try of a page, so that the receiver can tell."""
    return "msg_" + sha256(page.key.encode()).hexdigest()[:32]


def event(page: Page, number: str) -> dict[str, Any]:
    """The CloudEvent. `timestamp` and `data` are where Standard Webhooks has them."""
    at = iso(page.created_ms)
    return {
        "specversion": "1.0",
        "id": number,
        "source": f"/knowngood/{page.environment}",
        "type": f"io.knowngood.{page.purpose.value}",
        "subject": f"{page.environment}/{page.prompt}",
        "time": at,
        "timestamp": at,
        "datacontenttype": "application/json",
        "data": {
            "key": page.key,
            "purpose": page.purpose.value,
            "thread": page.thread,
            "incident": page.incident,
            "environment": page.environment,
            "prompt": page.prompt,
            "severity": page.severity.value,
            "audience": page.audience,
            "people": [person.name for person in page.people],
            "subject": cut(title(page), TEXT_MAX),
            "body": cut(page.body, TEXT_MAX),
            "question": page.question,
            "answers": [
                {"answer": b.answer.value, "text": b.text, "url": b.url} for b in page.buttons
            ],
            "url": page.url,
            "drill": page.drill,
        },
    }

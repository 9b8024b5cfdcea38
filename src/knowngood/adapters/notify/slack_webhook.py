"""Slack's incoming webhook: one way, one channel, and no buttons but links.

Its address is the secret: no error repeats it. A webhook's message cannot be updated, so every
message of a thread is a new one.
"""

import json

from knowngood.adapters.answers import asked, judge
from knowngood.adapters.blocks import blocks, fallback
from knowngood.adapters.egress import Egress
from knowngood.adapters.secrets import Secret
from knowngood.ports import Delivered, Page, Rejected, Retry


class SlackWebhook:
    """One incoming webhook."""

    def __init__(self, egress: Egress, url: Secret) -> None:
        """It posts to `url`."""
        self._egress, self._url = egress, url

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered | Retry | Rejected:
        """See ports.Notifier."""
        body = {"text": fallback(page), "blocks": blocks(page, interactive=False)}
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}

        def ask() -> Delivered | Retry | Rejected:
            answer = self._egress.post(self._url.reveal(), headers, data)
            # A refusal is one word, such as no_service or channel_is_archived.
            said = "" if answer.status < 300 else answer.body[:200].decode("utf-8", "replace")
            return judge(answer, now_ms, said)

        return asked(ask)

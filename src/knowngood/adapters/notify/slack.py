"""Slack through an app: a message per thread, kept up to date in place, with buttons.

Slack answers 200 also to what it refuses; `ok` and `error` say what became of it. Editing a message
calls nobody, so a page to a next level is a reply in the thread that the channel sees, too.
"""

import json
from typing import Any

from knowngood.adapters.answers import asked, judge, retry_after_ms
from knowngood.adapters.blocks import blocks, escape, fallback
from knowngood.adapters.egress import Answer, Egress
from knowngood.adapters.secrets import Secret
from knowngood.adapters.wording import cut, title
from knowngood.core.asking import Purpose
from knowngood.ports import Delivered, Page, Rejected, Retry

API = "https://slack.com/api"
# What ends by itself. Every other error is about the message, the channel or the token.
PASSING = frozenset(
    {
        "fatal_error",
        "internal_error",
        "rate_limited",
        "ratelimited",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    }
)
# The message to be updated is gone, or not ours any more: a new one takes its place.
LOST = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
UPDATES = (Purpose.ACKNOWLEDGED, Purpose.RESOLVED)
BEFORE_MAX = 300


class Slack:
    """One channel of one workspace."""

    def __init__(self, egress: Egress, token: Secret, channel: str, url: str = "") -> None:
        """`url` replaces Slack's own address, such as that of a relay of one's own."""
        self._egress, self._token, self._channel = egress, token, channel
        self._url = (url or API).rstrip("/")

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered | Retry | Rejected:
        """See ports.Notifier."""
        place = _place(receipt)
        if place is None:
            return asked(lambda: self._post(page, None, now_ms))
        if page.purpose in UPDATES:
            return asked(lambda: self._update(page, place, now_ms))
        return asked(lambda: self._post(page, place, now_ms))

    def _post(
        self, page: Page, place: dict[str, str] | None, now_ms: int
    ) -> Delivered | Retry | Rejected:
        body: dict[str, Any] = {
            "channel": self._channel,
            "text": fallback(page),
            "blocks": blocks(page),
            "unfurl_links": False,  # Slack would fetch the links of buttons
            "unfurl_media": False,
        }
        if place is not None:
            body |= {"channel": place["channel"], "thread_ts": place["ts"]}
            body["reply_broadcast"] = page.purpose is Purpose.PAGE
        return self._call("chat.postMessage", body, page, place, now_ms)

    def _update(
        self, page: Page, place: dict[str, str], now_ms: int
    ) -> Delivered | Retry | Rejected:
        body = {
            "channel": place["channel"],
            "ts": place["ts"],
            "text": fallback(page),
            "blocks": blocks(page, place.get("subject", "")),
        }
        return self._call("chat.update", body, page, place, now_ms)

    def _call(
        self,
        method: str,
        body: dict[str, Any],
        page: Page,
        place: dict[str, str] | None,
        now_ms: int,
    ) -> Delivered | Retry | Rejected:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Authorization": f"Bearer {self._token.reveal()}",
        }
        answer = self._egress.post(f"{self._url}/{method}", headers, json.dumps(body).encode())
        said = _fields(answer)
        if not 200 <= answer.status < 300:
            return judge(answer, now_ms, str(said.get("error", "")))
        if said.get("ok") is True:
            kept = place or _made(page, said, self._channel)
            return Delivered(f"{method}: ok", json.dumps(kept, separators=(",", ":")))
        error = cut(escape(str(said.get("error") or "an answer that is not Slack's")), 100)
        if error in LOST and place is not None:
            return self._post(page, None, now_ms)
        if error in PASSING:
            return Retry(f"{method}: {error}", retry_after_ms(answer.headers, now_ms))
        return Rejected(f"{method}: {error}")


def _made(page: Page, said: dict[str, Any], channel: str) -> dict[str, str]:
    """Where the new message is. Slack names the channel by its id, which alone can be updated."""
    return {
        "channel": str(said.get("channel") or channel),
        "ts": str(said.get("ts", "")),
        "subject": cut(title(page), BEFORE_MAX),
    }


def _place(receipt: str) -> dict[str, str] | None:
    """The message that a receipt stands for; None when there is none, or none that is known."""
    try:
        data = json.loads(receipt)
    except ValueError:
        return None
    if not isinstance(data, dict) or not data.get("channel") or not data.get("ts"):
        return None
    return {str(name): str(value) for name, value in data.items()}


def _fields(answer: Answer) -> dict[str, Any]:
    try:
        data = json.loads(answer.body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}

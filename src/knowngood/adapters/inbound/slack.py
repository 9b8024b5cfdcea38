"""Slack's interactivity: somebody pressed a button of one of our messages.

Slack signs the time together with the body, and a copy within those five minutes would be as good
as the message: so each body is taken once. A button carries what it answers, and nothing that could
be made up: who may answer is looked up by the person's member id.
"""

import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

from knowngood.adapters.blocks import escaped
from knowngood.adapters.egress import Egress, Failed, Refused
from knowngood.core.buttons import Choice, choice_of, is_ours
from knowngood.core.errors import BadRequest

SIGNATURE_HEADER, TIME_HEADER = "x-slack-signature", "x-slack-request-timestamp"
APART_S_MAX = 300  # between Slack's clock and ours, and the time in between
TIME_CHARS_MAX = 12
TEXT_MAX = 1_500  # twice it is below what Slack shows of a text


@dataclass(frozen=True, slots=True)
class Press:
    """One press of a button of ours: who said what.

    `response_url` is where Slack takes an answer for that person: five, within half an hour.
    """

    user_id: str
    user: str
    choice: Choice
    response_url: str = field(default="", repr=False)  # whoever knows it can write there


def is_signed(
    body: bytes, timestamp: str, signature: str, secrets: Iterable[str], now_ms: int
) -> bool:
    """Whether Slack signed the body, at most five minutes ago, with one of our secrets."""
    # Digits alone: int() takes blanks, signs, underscores and the digits of other scripts.
    digits = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= TIME_CHARS_MAX
    fresh = digits and abs(now_ms / 1000 - int(timestamp)) <= APART_S_MAX
    base = b"v0:" + timestamp.encode() + b":" + body
    found = False
    for secret in secrets:
        right = f"v0={hmac.new(secret.encode(), base, sha256).hexdigest()}"
        found |= hmac.compare_digest(right.encode(), signature.encode())
    return found and fresh


def nonce_of(body: bytes) -> str:
    """What tells one press from another: Slack never sends the same body twice."""
    return sha256(body).hexdigest()


def read(body: bytes) -> Press | None:
    """The press in the body; None for what Slack sends of anything but our buttons.

    Raises BadRequest for a body that is no form with a payload, or a button that says nothing.
    """
    payload = _payload(body)
    actions = payload.get("actions")
    pressed = [each for each in actions if _is_ours(each)] if isinstance(actions, list) else []
    if payload.get("type") != "block_actions" or not pressed:
        return None
    user = payload.get("user")
    if not isinstance(user, dict) or not isinstance(user.get("id"), str):
        raise BadRequest("nobody pressed this button: there is no `user.id`")
    name = user.get("username") or user.get("name")
    shown = name[:100] if isinstance(name, str) else ""
    url = payload.get("response_url")
    choice = choice_of(pressed[0].get("value"))
    return Press(user["id"][:100], shown, choice, url if isinstance(url, str) else "")


def say(egress: Egress, press: Press, words: str, command: str = "") -> str:
    """Say something to who pressed, and to nobody else; why it could not be said, or empty.

    Slack wants a press acknowledged with 200 whatever becomes of it; what is to be read goes to
    its `response_url`. The message with the button stays as it is.
    """
    text = escaped(words, TEXT_MAX) + (f"\n`{escaped(command, TEXT_MAX)}`" if command else "")
    body = {"response_type": "ephemeral", "replace_original": False, "text": text}
    headers = {"Content-Type": "application/json; charset=utf-8"}
    try:
        answer = egress.post(press.response_url, headers, json.dumps(body).encode())
    except (Refused, Failed) as error:
        return str(error)
    return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"


def _payload(body: bytes) -> dict[str, Any]:
    try:
        form = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=20)
        data = json.loads(form["payload"][0])
    except (ValueError, KeyError, RecursionError):
        raise BadRequest("this is no interaction of Slack: no form with a `payload`") from None
    if not isinstance(data, dict):
        raise BadRequest("this is no interaction of Slack: its payload is no object")
    return data


def _is_ours(action: object) -> bool:
    return isinstance(action, dict) and is_ours(action.get("action_id"))

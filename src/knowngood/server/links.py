"""Signed links that end: an answer that a message offers to whoever it was sent to.

A link says what is answered, how, on whose behalf and until when; the signature says that we said
so. It takes the place of a token, so that a question can be answered from a phone at night. It is
bound to the question's number: once that is decided, or another one is asked, it answers nothing.
"""

import base64
import binascii
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from knowngood.core.asking import Answer
from knowngood.core.errors import KnowngoodError
from knowngood.core.evolve import incident_of
from knowngood.core.history import Outgoing
from knowngood.core.model import FLEET
from knowngood.core.people import Person
from knowngood.ports import Policies
from knowngood.server.tokens import NOBODY, Roster

PATH = "/answer/"
LIVES_MS = 24 * 3_600_000  # a question that nobody has answered for a day is asked anew
INCIDENT = re.compile(r"[^/]+/[^/]+/g\d+\.\d+")
KEY_BYTES = 32
TOKEN_CHARS_MAX = 2_500  # a thread has some hundred characters; Slack takes URLs of 3,000
LINK_KEY = "link-key"  # where it is kept, beside the data's lineage
SIGNED_AS = b"knowngood answer 1\0"  # no other use of the key signs the same bytes


class BadLink(KnowngoodError):
    """This link is not one of ours, or not all of it arrived."""

    code = "bad_link"


class LinkExpired(KnowngoodError):
    """This link has ended."""

    code = "link_expired"


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says. `who` is a person's name, or the audience of a channel that many read.

    `number` is the question's, None for a page that asks nothing. `to` is whom the message was for,
    and `held` whether the person had a token then: both are looked at again when it is answered.
    """

    thread: str
    answer: Answer
    number: int | None
    who: str
    is_person: bool
    expires_ms: int
    to: tuple[str, ...] = ()
    held: bool = False


@dataclass(frozen=True, slots=True)
class Links:
    """The server's signature. Without `public_url` nobody could follow a link, and none is made."""

    key: bytes
    public_url: str = ""
    roster: Callable[[], Roster] = lambda: NOBODY

    def url(
        self, message: Outgoing, answer: Answer, people: tuple[Person, ...], now_ms: int
    ) -> str:
        """The link that says `answer` to the message (engine.deliver.Link)."""
        if not self.public_url or not message.thread:
            return ""
        alone = people[0].name if len(people) == 1 else ""
        number = message.question if answer is not Answer.ACK else None
        link = Link(
            message.thread,
            answer,
            number,
            alone or message.audience,
            bool(alone),
            now_ms + LIVES_MS,
            message.targets or (message.audience,),
            bool(alone) and self.roster().role_of(alone, now_ms) is not None,
        )
        token = make(self.key, link)
        return f"{self.public_url.rstrip('/')}{PATH}{token}" if token else ""

    def page(self, message: Outgoing) -> str:
        """Where a browser shows what the message is about (engine.deliver.Where).

        The incident, else the prompt, else its environment. Whoever opens it has to sign in.
        """
        if not self.public_url or not message.environment:
            return ""
        incident, name = incident_of(message.thread), message.prompt
        if not INCIDENT.fullmatch(incident):
            incident = ""  # a page of its own matter, such as blindness
        path = f"/incidents/{incident}" if incident else "/"
        if not incident and name and name != FLEET:
            path = f"/prompts/{name}"
        query = {} if incident else {"environment": message.environment}
        return f"{self.public_url.rstrip('/')}{quote(path)}{'?' if query else ''}{urlencode(query)}"


def make(key: bytes, link: Link) -> str:
    """The token of a link; empty for one that would be too long to be sent."""
    said = {
        "t": link.thread,
        "a": link.answer.value,
        "q": link.number,
        "w": link.who,
        "p": int(link.is_person),
        "e": link.expires_ms,
        "o": link.to,
        "h": int(link.held),
    }
    payload = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    token = f"{_text(payload)}.{_text(_signature(key, payload))}"
    return token if len(token) <= TOKEN_CHARS_MAX else ""


def verify(key: bytes, token: str, now_ms: int) -> Link:
    """What the token says. Raises BadLink, or LinkExpired when it comes too late."""
    payload, _, signature = token.partition(".")
    try:
        if len(token) > TOKEN_CHARS_MAX:
            raise ValueError("too long")
        body = _bytes(payload)
        genuine = hmac.compare_digest(_signature(key, body), _bytes(signature))
    except (binascii.Error, ValueError):
        genuine = False
    if not genuine:
        raise BadLink(next_step="open it from the message once more, or use the command in it")
    said = json.loads(body)  # ours, as the signature says
    link = Link(
        said["t"],
        Answer(said["a"]),
        said["q"],
        said["w"],
        bool(said["p"]),
        said["e"],
        tuple(said.get("o", ())),
        bool(said.get("h")),
    )
    if now_ms >= link.expires_ms:
        raise LinkExpired(next_step=f"knowngood {link.answer.value} {link.thread}")
    return link


def kept_key(policies: Policies, now_ms: int) -> bytes:
    """The key that the first server with this database has drawn: all of them sign alike."""
    policies.put(LINK_KEY, {"key": secrets.token_hex(KEY_BYTES)}, now_ms)
    kept = policies.get(LINK_KEY)
    assert kept is not None
    return bytes.fromhex(str(kept["key"]))


def _signature(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, SIGNED_AS + payload, "sha256")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """Raises ValueError for anything but what `_text` wrote, to the last bit."""
    data = base64.b64decode(
        text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True
    )
    if _text(data) != text:
        raise ValueError("not as it was written")
    return data

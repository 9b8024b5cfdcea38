"""Sessions of browsers: a token is shown once, and a signed cookie stands for it afterwards.

Nothing is kept here: the cookie names the token by its digest, and the roster is asked at every
request. So a session ends with its token, works on every server of one database, and outlives a
restart. A cookie opens pages only, never `/api`.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass

from knowngood.core.errors import KnowngoodError, Unauthorized
from knowngood.server.roles import Caller
from knowngood.server.tokens import Roster, digest_of

COOKIE = "knowngood_session"
# Whoever is on call this week signs in once; a phone that gets lost is no way in next month.
LIVES_MS = 7 * 24 * 3_600_000
COOKIE_CHARS_MAX = 300
SIGNED_AS = b"knowngood session 1\0"  # no other use of the key signs the same bytes
FORM_AS = b"knowngood form 1\0"
LOCAL = "local"  # the session of a server that asks nobody who they are


class SessionEnded(Unauthorized):
    """This session has ended."""

    code = "unauthorized"


class ForeignForm(KnowngoodError):
    """This form is not one that this server made for you."""

    code = "forbidden"


@dataclass(frozen=True, slots=True)
class Sessions:
    """The server's signature under sessions. `secure`: the cookie travels over TLS only."""

    key: bytes
    secure: bool = False

    def open(self, token: str, roster: Roster, now_ms: int) -> str:
        """The cookie that stands for a token. Raises Unauthorized for one that is not known."""
        roster.recognise(token, now_ms)
        said = f"{digest_of(token).hex()}.{now_ms + LIVES_MS}"
        return f"{said}.{_text(self._sign(SIGNED_AS, said))}"

    def caller(self, cookie: str, roster: Roster, now_ms: int) -> Caller:
        """Whose session it is. Raises SessionEnded."""
        said, _, signature = cookie.rpartition(".")
        digest, _, until = said.partition(".")
        if len(cookie) > COOKIE_CHARS_MAX or not self._is_ours(said, signature):
            raise SessionEnded("this session is not one of this server's", next_step="sign in")
        if now_ms >= int(until):
            raise SessionEnded(next_step="sign in again")
        found = roster.holder(bytes.fromhex(digest), now_ms)
        if found is None:
            raise SessionEnded("the token of this session was taken away", next_step="sign in")
        return found

    def header(self, cookie: str) -> str:
        """The Set-Cookie header; an empty cookie ends the session."""
        life_s = LIVES_MS // 1000 if cookie else 0
        secure = "; Secure" if self.secure else ""
        return f"{COOKIE}={cookie}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Lax{secure}"

    def form_token(self, session: str) -> str:
        """What a form of this session carries, and no other site can know."""
        return _text(self._sign(FORM_AS, session))

    def check_form(self, session: str, given: str) -> None:
        """Raises ForeignForm."""
        if not hmac.compare_digest(self.form_token(session).encode(), given.encode()):
            raise ForeignForm(
                "this form was not made for this session; nothing was changed",
                next_step="open the page again: you may have signed in anew in another tab",
            )

    def _sign(self, purpose: bytes, said: str) -> bytes:
        return hmac.digest(self.key, purpose + said.encode(), "sha256")

    def _is_ours(self, said: str, signature: str) -> bool:
        try:
            given = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(self._sign(SIGNED_AS, said), given)


def cookie_of(header: str) -> str:
    """The session's cookie in a Cookie header; empty if there is none."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")

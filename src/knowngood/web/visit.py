"""One visit of one page: who came, what for, and how whatever they see is written."""

import gzip
import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse

from knowngood.server.roles import Caller, Need, may
from knowngood.server.runtime import Runtime, runtime_of
from knowngood.server.sessions import SessionEnded
from knowngood.web.look import ENVIRONMENT, asset_url

USUAL = "production"
NAME_CHARS_MAX = 300
NUMBER_DIGITS_MAX = 19  # 2^63 has nineteen
GZIP_LEVEL = 5  # a page of 150 KB becomes 12 KB in 2 ms
# Scripts and styles are files of ours, pictures are ours, forms come back here: nothing else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # A form's own request has to say where it comes from, and does not under `no-referrer`.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Visit:
    """Who looks at which page, in which environment, and when."""

    request: Request
    server: Runtime
    caller: Caller
    environment: str
    now_ms: int

    @property
    def session(self) -> str:
        """What this visit's forms are bound to."""
        found: str = self.request.state.session
        return found

    @property
    def is_local(self) -> bool:
        """Whether nobody is asked who they are."""
        return self.server.settings.is_local

    def has_ended(self) -> bool:
        """Whether the session was one when the request came, and is none any more."""
        given = self.request.headers.get("authorization", "").lower()
        if self.is_local or given.startswith("bearer "):
            return False
        try:
            roster = self.server.desk.roster
            self.server.sessions.caller(self.session, roster, self.now_ms)
        except SessionEnded:
            return True
        return False

    def query(self, name: str, default: str = "") -> str:
        """A word of the address's query, cut to what a name may have."""
        return self.request.query_params.get(name, default)[:NAME_CHARS_MAX]

    def number(self, name: str) -> int | None:
        """A whole number of the address's query; None for what is none, or larger than any id."""
        said = self.request.query_params.get(name, "")
        is_number = said.isascii() and said.isdecimal() and len(said) < NUMBER_DIGITS_MAX
        return int(said) if is_number else None

    def may(self, need: Need) -> bool:
        """Whether the visitor's role will do."""
        return may(self.caller.role, need)


def visit_of(request: Request) -> Visit:
    """The visit that a request is."""
    server = runtime_of(request)
    caller: Caller | None = request.state.caller
    environment = request.query_params.get("environment", USUAL)[:NAME_CHARS_MAX]
    return Visit(request, server, caller or Caller(), environment, server.clock.now_ms())


def url(path: str, environment: str = USUAL, **query: object) -> str:
    """The address of a page; the usual environment is not said."""
    said = {name: value for name, value in query.items() if value not in (None, "")}
    if environment != USUAL:
        said = {"environment": environment, **said}
    return f"{path}?{urlencode(said)}" if said else path


def respond(visit: Visit, text: str, status: int = 200) -> HTMLResponse:
    """The page on its way, smaller where the browser can unpack it."""
    body, headers = text.encode(), dict(HEADERS)
    if "gzip" in visit.request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, GZIP_LEVEL)
        headers["Content-Encoding"] = "gzip"
        headers["Vary"] = "Accept-Encoding"
    return HTMLResponse(body, status, headers)


def go(where: str) -> RedirectResponse:
    """To another page, with a request that changes nothing."""
    return RedirectResponse(where, 303, HEADERS)


def frame(visit: Visit, environments: list[str] | None = None) -> dict[str, Any]:
    """What every page's frame shows: the visitor, the environments, the way around.

    Reads the environments unless they are given: then it may be called where nobody waits.
    """
    known = visit.server.store.states.environments() if environments is None else environments
    return {
        "visit": visit,
        "environment": visit.environment,
        "environments": known,
        "who": visit.caller.name,
        "role": visit.caller.role.value,
        "is_local": visit.is_local,
        "form_token": visit.server.sessions.form_token(visit.session),
        "path": visit.request.url.path,
        "now_ms": visit.now_ms,
        "url": url,
        "asset": asset_url,
    }


def draw(template: str, data: dict[str, Any]) -> str:
    """A template filled in."""
    return ENVIRONMENT.get_template(template).render(data)


def mark(text: str) -> str:
    """What a piece of a page is recognised by."""
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

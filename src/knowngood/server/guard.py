"""Who may knock: one ASGI layer before everything else, plain and quick.

In this order: the Host header (a web page whose name was bent to 127.0.0.1 has another one), the
token and its role, how often it has written lately, where a browser's request comes from, the kind
of body, its size. Every refusal has the one error shape, and every answer the security headers.
"""

import json
import math
from collections.abc import Callable, Iterable
from urllib.parse import quote, urlsplit

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from knowngood.core.errors import Forbidden, KnowngoodError, Unauthorized
from knowngood.server import answer_page
from knowngood.server.errors import Internal, NotJson, TooLarge, TooMany, body_of, status_of
from knowngood.server.limits import Limits
from knowngood.server.roles import (
    ANYBODY,
    Caller,
    Door,
    Need,
    enough_for,
    is_page,
    may,
    need_of,
)
from knowngood.server.sessions import LOCAL, Sessions, cookie_of
from knowngood.server.tokens import NEXT_STEP, Roster

log = structlog.get_logger("knowngood.server")

BODY_BYTES_MAX = 1024 * 1024  # a batch of observations has a few KB, the largest prompt a quarter
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Where a signature in the address takes the place of a token; the route checks it.
SIGNED_LINKS = "/answer/"
# Who cannot do otherwise: what Slack's buttons and a browser's form send.
FORM_PATHS = ("/hooks/slack", SIGNED_LINKS)
JSON_KIND, FORM_KIND = b"application/json", b"application/x-www-form-urlencoded"
SECRET_HEADER = b"x-knowngood-secret"
NAMES_SHOWN = 10  # of those who may: enough to find one who is awake
# What a proxy adds to what it passes on: then the loopback address no longer says who is asking.
PROXY_HEADERS = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """The layer around the application."""

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str],
        roster: Callable[[], Roster],
        now_ms: Callable[[], int],
        limits: Limits | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        """`hosts` are the allowed names, without ports; an empty roster asks for no token.

        `roster` says who holds a token now. Without `sessions` pages open to a token only.
        """
        self._app = app
        self._sessions = sessions
        self._hosts = frozenset(hosts)
        self._roster = roster
        self._now_ms = now_ms
        self._limits = limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _Answer(send)
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name == b"host" and name in headers:
                value = b""  # two Host headers: not a request of anybody honest
            headers[name] = value
        try:
            self._check(scope, headers)
            if scope["method"] not in SAFE_METHODS:
                kinds = _kinds_of(scope)
                whole = await _whole_body(headers, kinds, receive)
                if whole is None:
                    return  # the client is gone, and nobody waits for an answer
                receive = whole
            await self._app(scope, receive, answer.send)
        except KnowngoodError as error:
            await self._refuse(error, scope, answer.send)
        except Exception as error:
            # The client learns that it was us; what it was stands in the log, a signed link not.
            is_signed = scope["path"].startswith(SIGNED_LINKS)
            path = SIGNED_LINKS if is_signed else scope["path"]
            log.error("failed", path=path, error=str(error), exc_info=error)
            if not answer.started:
                await self._refuse(Internal(), scope, answer.send)

    async def _refuse(self, error: KnowngoodError, scope: Scope, send: Send) -> None:
        """In the words of whoever asked: a person in front of a page, or a program."""
        if not is_page(scope["method"], scope["path"]):
            await refuse(error, send)
        elif isinstance(error, Unauthorized):
            await _show_in(scope, send)
        else:
            await _refuse_on_page(error, send)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        self._check_host(host)
        method, need = scope["method"], need_of(scope["method"], scope["path"])
        caller = self._caller(headers, need)
        # None: what the request proves, and whether that is enough, is for the route to find out.
        state = scope.setdefault("state", {})
        state["caller"] = caller
        state["session"] = self._session(headers)
        # For who learns only later what is asked: a page's order names its verb in the address.
        state["slow_down"] = lambda: self._slow_down(caller) if caller else None
        if method in SAFE_METHODS:
            return
        if self._roster().tokens and not need.hurried:
            self._slow_down(scope["path"] if caller is None else caller)
        _check_origin(host, headers)

    def _caller(self, headers: dict[bytes, bytes], need: Need) -> Caller | None:
        """Who asks. Raises Unauthorized, or Forbidden for a role that will not do."""
        if need.door is Door.SIGNED:
            return None
        roster = self._roster()
        if not roster.tokens:
            _check_direct(headers)
            return ANYBODY
        if need.door is Door.OPEN:
            return None
        if (
            need.door is Door.SECRET
            and b"authorization" not in headers
            and SECRET_HEADER in headers
        ):
            return None
        now_ms = self._now_ms()
        cookie = cookie_of(headers.get(b"cookie", b"").decode("latin-1"))
        if need.door is Door.PAGE and cookie and self._sessions and not _has_token(headers):
            caller = self._sessions.caller(cookie, roster, now_ms)
        else:
            caller = roster.recognise(_bearer(headers), now_ms)
        if not may(caller.role, need):
            raise _not_enough(caller, need, roster.who(need, now_ms))
        return caller

    def _session(self, headers: dict[bytes, bytes]) -> str:
        """What the forms of a browser are bound to."""
        if not self._roster().tokens:
            return LOCAL
        if _has_token(headers):
            return headers[b"authorization"].decode("latin-1")
        return cookie_of(headers.get(b"cookie", b"").decode("latin-1"))

    def _slow_down(self, key: Caller | str) -> None:
        wait_ms = self._limits.take(key, self._now_ms())
        if wait_ms is not None:
            raise TooMany(
                "this token has written too often in the last minute",
                after_s=math.ceil(wait_ms / 1000),
                next_step="wait as long as Retry-After says; a rollback is never held up",
            )

    def _check_host(self, host: str) -> None:
        # The port is free: a tunnel or a container may have its own. The name is what protects.
        name = _host_name(host)
        if name not in self._hosts:
            raise Forbidden(
                f"the host {host[:100]!r} is not one of this server's names",
                known=sorted(self._hosts),
                next_step=f"start the server with --allow-host {name}" if name else "",
            )


def _has_token(headers: dict[bytes, bytes]) -> bool:
    """A proxy's own Basic authentication is no token of ours."""
    return headers.get(b"authorization", b"")[:7].lower() == b"bearer "


def _bearer(headers: dict[bytes, bytes]) -> str:
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer":
        raise Unauthorized(
            "this token is not known here" if given else "this server needs a token",
            next_step=NEXT_STEP,
        )
    return given.strip().decode("latin-1")


def _not_enough(caller: Caller, need: Need, who: tuple[str, ...]) -> Forbidden:
    enough = [role.value for role in enough_for(need)]
    shown = ", ".join(who[:NAMES_SHOWN]) + (", ..." if len(who) > NAMES_SHOWN else "")
    whose = f"the token of {caller.name}" if caller.name else "this token"
    return Forbidden(
        f"this needs the role {enough[0]}, and {whose} has the role {caller.role.value}",
        known=enough,
        next_step=f"ask somebody who has it: {shown}" if who else "nobody has it: see --token-file",
    )


async def refuse(error: KnowngoodError, send: Send) -> None:
    """Answer with the error."""
    body = json.dumps(body_of(error)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if error.code == "unauthorized":
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, TooMany):
        headers.append((b"retry-after", str(error.after_s).encode()))
    if error.code == "too_large":
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    status = status_of(error.code)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _show_in(scope: Scope, send: Send) -> None:
    """To the page where one signs in, and from there back."""
    path = scope["path"]
    if scope["method"] not in SAFE_METHODS or path.startswith("/live/"):
        path = "/"
    elif scope["query_string"]:
        path = f"{path}?{scope['query_string'].decode('latin-1')}"
    where = f"/login?next={quote(path, safe='')}"
    headers = [(b"location", where.encode("latin-1")), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse_on_page(error: KnowngoodError, send: Send) -> None:
    body = answer_page.refused(error).encode()
    own = [(k.lower().encode(), v.encode()) for k, v in answer_page.HEADERS.items()]
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *own,
    ]
    status = status_of(error.code)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _host_name(host: str) -> str:
    """The name in a Host header, without the port; empty when it is none."""
    if not host or any(c in host for c in "/@?# \\"):
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _check_direct(headers: dict[bytes, bytes]) -> None:
    """Without a token only this machine may ask, and a proxy asks for others."""
    if any(name in headers for name in PROXY_HEADERS):
        raise Forbidden(
            "a proxy passed this request on, and this server runs without a token",
            next_step="start the server with a token: KNOWNGOOD_TOKEN=... knowngood serve",
        )


def _check_origin(host: str, headers: dict[bytes, bytes]) -> None:
    """Only pages of our own may change anything; what is no browser says nothing of the kind."""
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        allowed = site in (b"same-origin", b"none")
    else:
        origin = headers.get(b"origin")
        allowed = origin is None or _host_of(origin.decode("latin-1")) == host.lower()
    if not allowed:
        raise Forbidden("a web page of another site may not change anything here")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _kinds_of(scope: Scope) -> tuple[bytes, ...]:
    is_form = scope["path"].startswith(FORM_PATHS) or is_page(scope["method"], scope["path"])
    return (FORM_KIND,) if is_form else (JSON_KIND,)


async def _whole_body(
    headers: dict[bytes, bytes], kinds: tuple[bytes, ...], receive: Receive
) -> Receive | None:
    """The body, read to its end and within its limit, whatever length was announced.

    None when the client went away in the middle of it.

    Raises TooLarge, and NotJson for a body that does not say that it is of the kind that is
    `wanted`: what a foreign page can send without asking first is never JSON.
    """
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > BODY_BYTES_MAX:
        raise TooLarge(_too_large(int(announced)))
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise TooLarge(_too_large(size))
        chunks.append(chunk)
        if not message.get("more_body", False):
            break
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if size and kind not in kinds:
        wanted = kinds[0].decode()
        raise NotJson(
            f"the body is {kind.decode('latin-1')[:100] or 'of no kind'!r}, not "
            + ("JSON" if kinds == (JSON_KIND,) else "a form"),
            known=[wanted],
            next_step=f'send it with -H "Content-Type: {wanted}"',
        )
    body = b"".join(chunks)
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay


def _too_large(size: int) -> str:
    return f"the body has {size} bytes or more; the limit is {BODY_BYTES_MAX}"


class _Answer:
    """The answer on its way out, with the security headers."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            there = {name.lower() for name, _ in message["headers"]}
            added = [(name, value) for name, value in HEADERS if name not in there]
            message = {**message, "headers": [*message["headers"], *added]}
        await self._send(message)

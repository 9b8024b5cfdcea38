"""Who may knock: one ASGI layer before everything else, plain and quick.

In this order: the Host header (a web page whose name was bent to 127.0.0.1 has another one), the
token, where a browser's request comes from, the kind of body, its size. Every refusal has the one
error shape, and every answer the security headers.
"""

import hmac
import json
from collections.abc import Iterable
from hashlib import sha256
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from knowngood.core.errors import Forbidden, KnowngoodError, Unauthorized
from knowngood.server.errors import Internal, NotJson, TooLarge, body_of, status_of

log = structlog.get_logger("knowngood.server")

BODY_BYTES_MAX = 1024 * 1024  # a batch of observations has a few KB, the largest prompt a quarter
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# What a load balancer and a supervisor may ask without a token; they say nothing else.
OPEN_PATHS = ("/healthz", "/readyz")
# Where a signature in the address takes the place of a token; the route checks it. A browser sends
# a form there, and nowhere else.
SIGNED_PATHS = "/answer/"
JSON_KIND, FORM_KIND = b"application/json", b"application/x-www-form-urlencoded"
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

    def __init__(self, app: ASGIApp, hosts: Iterable[str], tokens: Iterable[str]) -> None:
        """`hosts` are the allowed names, without ports; without `tokens` none is asked for."""
        self._app = app
        self._hosts = frozenset(hosts)
        # Compared as digests: of one length, whatever somebody sends.
        self._tokens = [(sha256(t.encode()).digest(), t.rpartition(":")[0]) for t in tokens]

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
                kind = FORM_KIND if scope["path"].startswith(SIGNED_PATHS) else JSON_KIND
                whole = await _whole_body(headers, kind, receive)
                if whole is None:
                    return  # the client is gone, and nobody waits for an answer
                receive = whole
            await self._app(scope, receive, answer.send)
        except KnowngoodError as error:
            await refuse(error, answer.send)
        except Exception as error:
            # The client learns that it was us; what it was stands in the log.
            is_signed = scope["path"].startswith(SIGNED_PATHS)
            path = SIGNED_PATHS if is_signed else scope["path"]
            log.error("failed", path=path, error=str(error), exc_info=error)
            if not answer.started:
                await refuse(Internal(), answer.send)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        self._check_host(host)
        if scope["path"].startswith(SIGNED_PATHS):
            pass
        elif not self._tokens:
            _check_direct(headers)
        elif scope["path"] not in OPEN_PATHS:
            scope.setdefault("state", {})["token_name"] = self._token_name(headers)
        if scope["method"] not in SAFE_METHODS:
            _check_origin(host, headers)

    def _check_host(self, host: str) -> None:
        # The port is free: a tunnel or a container may have its own. The name is what protects.
        name = _host_name(host)
        if name not in self._hosts:
            raise Forbidden(
                f"the host {host[:100]!r} is not one of this server's names",
                known=sorted(self._hosts),
                next_step=f"start the server with --allow-host {name}" if name else "",
            )

    def _token_name(self, headers: dict[bytes, bytes]) -> str:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        sent = sha256(given.strip()).digest()
        found = None
        for known, name in self._tokens:  # all of them, so that the time says nothing
            if hmac.compare_digest(known, sent):
                found = name
        if scheme.lower() != b"bearer" or found is None:
            wrong = "this token is not known here" if given else "this server needs a token"
            raise Unauthorized(
                wrong, next_step="send `Authorization: Bearer TOKEN`; the CLI takes KNOWNGOOD_TOKEN"
            )
        return found


async def refuse(error: KnowngoodError, send: Send) -> None:
    """Answer with the error."""
    body = json.dumps(body_of(error)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if error.code == "unauthorized":
        headers.append((b"www-authenticate", b"Bearer"))
    if error.code == "too_large":
        headers.append((b"connection", b"close"))  # the rest of the body is not read
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


async def _whole_body(
    headers: dict[bytes, bytes], wanted: bytes, receive: Receive
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
    if size and kind != wanted:
        name = "JSON" if wanted == JSON_KIND else "a form"
        raise NotJson(
            f"the body is {kind.decode('latin-1')[:100] or 'of no kind'!r}, not {name}",
            known=[wanted.decode()],
            next_step=f'send it with -H "Content-Type: {wanted.decode()}"',
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

"""HTTP to the server: one kept connection, short timeouts, bounded answers."""

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from knowngood.sdk.snapshot import SNAPSHOT_BYTES_MAX
from knowngood.wire import Batch, encode_batch

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# A server that asks for more would look to its own census as if the process had died.
RETRY_AFTER_MAX_S = 60.0


class Unreachable(Exception):
    """No answer came: refused, cut, too slow or not HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; `retry_after_s` only if it asked for patience."""

    status: int
    body: bytes
    etag: str | None = None
    retry_after_s: float | None = None


class Transport:
    """The two requests of the SDK. Not for several threads at once.

    Raises ValueError when the address is not http(s), or when the token would travel in the clear.
    """

    def __init__(
        self, url: str, token: str | None, timeout_s: float, allow_insecure: bool = False
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the address of a server: http(s)://host[:port]")
        in_the_clear = parts.scheme == "http" and parts.hostname not in _LOOPBACK
        if token and in_the_clear and not allow_insecure:
            raise ValueError(
                f"the token would travel to {parts.hostname} in the clear: use https, "
                "or say allow_insecure=True"
            )
        self._https = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {"Accept": "application/json", "User-Agent": "knowngood-python"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: HTTPConnection | None = None
        self._abandoned: HTTPConnection | None = None

    def get_snapshot(self, environment: str, etag: str | None) -> Answer:
        """Ask for the snapshot unless it still has this ETag. Raises Unreachable."""
        headers = {"If-None-Match": etag} if etag else {}
        return self._request("GET", f"/api/snapshot?environment={quote(environment)}", headers)

    def post_batch(self, batch: Batch) -> Answer:
        """Report. Raises Unreachable, in which case the server may or may not have it."""
        body = json.dumps(encode_batch(batch), separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json"}
        return self._request("POST", "/api/observations", headers, body)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        """Let go of the connection in a forked child, where it still belongs to the parent."""
        connection, self._connection = self._connection, None
        # Kept, so that no finaliser runs: it might wait for a lock that one of the parent's threads
        # held.
        self._abandoned = connection
        with contextlib.suppress(Exception):
            if connection is not None and connection.sock is not None:
                os.close(connection.sock.detach())

    def _request(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> Answer:
        kept = self._connection is not None
        try:
            return self._exchange(method, path, headers, body)
        except Unreachable as error:
            # A server may close a kept connection at any moment; that is no sign of trouble. Asking
            # twice is safe: a report is known by its sequence number.
            if not kept or isinstance(error.__cause__, TimeoutError):
                raise
        return self._exchange(method, path, headers, body)

    def _exchange(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> Answer:
        from http.client import HTTPException  # late, to keep `import knowngood` light

        try:
            connection = self._connection or self._connect()
            connection.request(method, self._path + path, body, {**self._headers, **headers})
            response = connection.getresponse()
            answer = _read(response)
            if response.will_close:
                self.close()
            return answer
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            raise Unreachable(f"{type(error).__name__}: {error}") from error

    def _connect(self) -> "HTTPConnection":
        from http.client import HTTPConnection, HTTPSConnection

        make: Any = HTTPSConnection if self._https else HTTPConnection
        connection: HTTPConnection = make(self._host, self._port, timeout=self._timeout_s)
        self._connection = connection
        return connection


def _read(response: "HTTPResponse") -> Answer:
    body = response.read(SNAPSHOT_BYTES_MAX + 1)
    if len(body) > SNAPSHOT_BYTES_MAX:
        raise ValueError("the answer is too large")
    if not response.isclosed():
        response.read()  # to the end, so that the connection can be kept
    return Answer(
        response.status,
        body,
        response.getheader("ETag"),
        _seconds(response.getheader("Retry-After")),
    )


def _seconds(text: str | None) -> float | None:
    # The other form of the header, a date, needs a wall clock that can be trusted.
    if text is None or not text.strip().isascii() or not text.strip().isdigit():
        return None
    return min(float(text), RETRY_AFTER_MAX_S)

"""Where a verb gets its answers: the server over HTTP or, with `--db`, a database file.

Both speak the API's paths and JSON, so that a verb is written once.
"""

import getpass
import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from knowngood.cli.errors import Unreachable, Usage, refusal

# Longer than any read takes on a busy server, shorter than an operator's patience.
TIMEOUT_S = 10.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")
RETRY = "start it with `knowngood serve`, or name it with --url or KNOWNGOOD_URL"
BREAK_GLASS = "reads and `rollback` work without it: add --db FILE"


class Backend(Protocol):
    """What answers a verb. Raises KnowngoodError for every refusal."""

    def get(self, path: str, **query: Any) -> Any:
        """The answer of a read; what is None or empty in the query is left out."""

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer of a write; what is None in the body is left out."""


def connect(
    url: str,
    token: str = "",
    actor: str = "",
    db: Path | None = None,
    policy: Path | None = None,
    patience_s: float = TIMEOUT_S,
) -> Backend:
    """The server at `url` or, when `db` is given, that database file."""
    who = actor or operating_system_user()
    if db is None:
        return Remote(url, token, who, patience_s)
    from knowngood.cli.breakglass import open_local  # heavy: SQLAlchemy

    return open_local(db, who, policy)


def operating_system_user() -> str:
    """The name that this process runs under; `unknown` where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container whose user id is in no list


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and "%" not in text


class Remote:
    """The server over HTTP. The standard library's client: httpx alone takes 0.3 s to import."""

    def __init__(self, url: str, token: str, actor: str, patience_s: float = TIMEOUT_S) -> None:
        self._patience_s = patience_s
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Usage(f"{url!r} is no URL of a server", next_step="such as http://host:8000")
        if token and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise Usage(
                f"the token would travel to {parts.hostname} in the clear", next_step="use https"
            )
        self.url = url.rstrip("/")
        self._parts = parts
        self._headers = {
            "Accept": "application/json",
            # A header holds no more than ASCII; a name that has more arrives percent-encoded.
            "X-Knowngood-Actor": actor if _is_plain(actor) else quote(actor),
        }
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> Any:
        """The answer of a read."""
        said = {key: value for key, value in query.items() if value not in (None, "")}
        return self._ask("GET", f"{path}?{urlencode(said)}" if said else path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer of a write."""
        said = {key: value for key, value in body.items() if value is not None}
        return self._ask("POST", path, json.dumps(said).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        status, text = self._exchange(method, path, body)
        try:
            data = json.loads(text)
        except ValueError:
            data = None
        if not 200 <= status < 300:
            raise refusal(data, status)
        if data is None:
            raise Unreachable(f"what answers at {self.url} is no knowngood server", next_step=RETRY)
        return data

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._patience_s)
        headers = self._headers | ({"Content-Type": "application/json"} if body else {})
        try:
            connection.request(method, self._parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException) as error:
            raise Unreachable(
                f"no server answers at {self.url} ({type(error).__name__})",
                next_step=f"{RETRY}; {BREAK_GLASS}",
            ) from error
        finally:
            connection.close()

"""A tiny real server that speaks the SDK's two requests and can misbehave in every way we know."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from knowngood.core.model import Arm, Content, Message, Route, ScoreRange, whole
from knowngood.wire import (
    Batch,
    Compared,
    PromptSnapshot,
    Receipt,
    Snapshot,
    VersionContent,
    decode_batch,
    encode_receipt,
    encode_snapshot,
)

SALT = "0123456789abcdef"
WAIT_S = 20.0  # for what takes milliseconds; only a broken test waits so long

VERSIONS = {
    "v1": VersionContent(Content(text="Hello {{ name }}", config={"model": "m1"}), "d1"),
    "v2": VersionContent(Content(text="Hi {{ name }}", config={"model": "m2"}), "d2"),
}
CHAT = {
    "c1": VersionContent(
        Content(messages=(Message("system", "Be {{ tone }}."), Message("user", "{{ q }}"))), "d3"
    )
}


def snapshot(
    generation: int = 1, candidate_bp: int = 0, boot: str = "b", compared: Compared | None = None
) -> Snapshot:
    """Two prompts; `candidate_bp` of the first goes to v2, and may be `compared`."""
    arms = (Arm("v1", 10_000 - candidate_bp), Arm("v2", candidate_bp)) if candidate_bp else ()
    return Snapshot(
        environment="production",
        generation=generation,
        scores={"quality": ScoreRange(0, 1), "stars": ScoreRange(1, 5)},
        prompts={
            "bot": PromptSnapshot(Route(arms or whole("v1"), SALT), VERSIONS, compared),
            "chat": PromptSnapshot(Route(whole("c1")), CHAT),
        },
        boot=boot,
    )


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class TinyServer:
    """Serves `snapshot`, keeps what is reported; every hook below makes it misbehave.

    `before` is called with each request and may return (status, body, headers) to answer instead.
    With `lose_answers` a report is taken and the connection cut before the answer.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot | bytes = snapshot()
        self.receipt = Receipt()
        self.before: Callable[[Any], tuple[int, bytes, dict[str, str]] | None] = lambda _: None
        self.lose_answers = False
        self.changed = threading.Condition()
        self.requests: list[str] = []
        self.statuses: list[int] = []
        self.batches: list[Batch] = []
        self.ignored: list[dict[str, int]] = []
        self.headers: list[dict[str, str]] = []
        self._connections: list[socket.socket] = []
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, again on the same port after a stop."""
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Be gone: kept connections are cut too."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(WAIT_S)
        for connection in self._connections:
            with contextlib.suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Wait until a request made the condition true."""
        with self.changed:
            return self.changed.wait_for(condition, WAIT_S)

    def deploy(self, new: Snapshot) -> None:
        """Serve another snapshot, and say so in receipts."""
        self.snapshot = new
        self.receipt = replace(self.receipt, generation=new.generation)

    def rows(self) -> list[Any]:
        """The rows of all batches."""
        return [row for batch in self.batches for row in batch.rows]


def _handler(server: TinyServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server._connections.append(self.connection)

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers["Content-Length"])))

        def answer(self, body: bytes) -> None:
            with server.changed:
                server.requests.append(f"{self.command} {self.path}")
                server.headers.append(dict(self.headers))
                reply = server.before(self) or self.reply(body)
                if reply is not None:
                    server.statuses.append(reply[0])
                server.changed.notify_all()
            if reply is None:
                self.close_connection = True
                return
            status, content, headers = reply
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def reply(self, body: bytes) -> tuple[int, bytes, dict[str, str]] | None:
            if self.command == "GET":
                return self.reply_snapshot()
            batch, ignored = decode_batch(json.loads(body))
            server.batches.append(batch)
            server.ignored.append(ignored)
            if server.lose_answers:
                return None
            return 200, json.dumps(encode_receipt(server.receipt)).encode(), {}

        def reply_snapshot(self) -> tuple[int, bytes, dict[str, str]]:
            if isinstance(server.snapshot, bytes):
                return 200, server.snapshot, {}
            etag = f'"{server.snapshot.generation}"'
            if self.headers.get("If-None-Match") == etag:
                return 304, b"", {"ETag": etag}
            return 200, json.dumps(encode_snapshot(server.snapshot)).encode(), {"ETag": etag}

    return Handler

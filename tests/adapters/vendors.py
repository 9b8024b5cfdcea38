"""Providers on this machine that check what they are sent as the real ones document it."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from knowngood.adapters.egress import Egress
from knowngood.core.asking import Answer, Purpose
from knowngood.core.model import Severity
from knowngood.core.people import Person
from knowngood.ports import Button, Page

NOW_MS = 1_767_225_600_000
THREAD = "production/cs/g3.1"
TOTAL_S = 0.5  # that a request may take here
LOCAL = Egress(loopback=True, total_s=TOTAL_S)
ANA = Person("ana", "ana@example.com", "U1ANA", "PANA", ("on-call",))
BEN = Person("ben", "ben@example.com")


def page(**fields: Any) -> Page:
    """A page about an incident, with a question."""
    given: dict[str, Any] = {
        "key": f"{THREAD}:page",
        "audience": "on-call",
        "severity": Severity.CRITICAL,
        "subject": "customer-support: 6 % of calls fail. Roll back or investigate?",
        "body": "v2 fails 6 %, v1 failed 0.3 %.\nknowngood approve production/cs/g3.1",
        "environment": "production",
        "prompt": "cs",
        "purpose": Purpose.PAGE,
        "thread": THREAD,
        "incident": THREAD,
        "people": (ANA, BEN),
        "question": 2,
        "buttons": (
            Button(Answer.APPROVE, "Roll back", "https://kg.example.com/answer/approve"),
            Button(Answer.DECLINE, "Do not, I investigate", "https://kg.example.com/answer/no"),
            Button(Answer.ACK, "I am looking", "https://kg.example.com/answer/ack"),
        ),
        "created_ms": NOW_MS,
    }
    return Page(**{**given, **fields})


@dataclass
class Call:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What is answered. With `drip` the body comes a byte at a time, each after so many seconds."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    drip_s: float = 0.0
    hang: bool = False


Handler = Callable[[Call], Reply]


@dataclass
class Provider:
    """A server on this machine; `answer` says what it does with a call."""

    answer: Handler
    calls: list[Call] = field(default_factory=list)
    port: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def replies(self, *replies: Reply) -> None:
        """Answer with these, in turn; the last one again and again."""
        left = list(replies)
        self.answer = lambda call: left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def provider(answer: Handler | None = None) -> Iterator[Provider]:
    """A provider that is there, and gone afterwards."""
    made = Provider(answer or (lambda call: Reply()))

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(self.command, self.path, headers, body)
            made.calls.append(call)
            reply = made.answer(call)
            if reply.hang:
                made.ended.wait(30)
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            for at in range(len(reply.body)) if reply.drip_s else ():
                if made.ended.wait(reply.drip_s):
                    return
                try:
                    self.wfile.write(reply.body[at : at + 1])
                    self.wfile.flush()
                except OSError:
                    return
            if not reply.drip_s:
                self.wfile.write(reply.body)

        do_GET = do_POST = serve

        def log_message(self, *args: object) -> None:
            """Nothing: the tests look at `calls`."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, address: object) -> None:
            """A client that went away is what some tests are about."""

    server = Server(("127.0.0.1", 0), Requests)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        made.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

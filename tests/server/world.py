"""A server in the test's own process, on a clock that the test moves, in the words of incidents."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from starlette.testclient import TestClient

from knowngood.server.app import create_app
from knowngood.server.runtime import Runtime
from knowngood.server.settings import Settings

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
URL = "http://localhost:8000"
PROMPT = "customer-support"
ERROR_KEYS = {"code", "message", "known", "next"}


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    ms: int = START_MS

    def now_ms(self) -> int:
        return self.ms


@dataclass
class World:
    """One server with its caller and its clock."""

    client: httpx2.Client  # to a server in this process, or over the network
    clock: Clock
    runtime: Runtime
    seq: dict[str, int] = field(default_factory=dict)

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        answer = self.client.get(path, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, status: int = 200, headers: Any = None, **body: Any) -> Any:
        answer = self.client.post(path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    def refused(self, path: str, status: int, **body: Any) -> dict[str, Any]:
        """The error of a refused order, which has the one shape."""
        return error_of(self.client.post(path, json=body), status)

    def push(self, version: str, text: str | None = None, **body: Any) -> Any:
        path = f"/api/prompts/{PROMPT}/versions"
        return self.post(path, 201, version=version, text=text or f"You are {version}.", **body)

    def promote(self, version: str, **body: Any) -> Any:
        """To everybody at once, whatever is under way: most tests are about what comes then."""
        order = {"now": True, "override": ["in_progress"], "because": "test", **body}
        return self.post("/api/promote", prompt=PROMPT, version=version, **order)

    def route_two(self) -> None:
        """v1.9.0 known good, and v2.0.0 deployed over it."""
        self.push("v1.9.0")
        self.push("v2.0.0")
        self.promote("v1.9.0")
        self.promote("v2.0.0")

    def batch(self, who: str = "web-1", **changes: Any) -> dict[str, Any]:
        self.seq[who] = self.seq.get(who, 0) + 1
        return {
            "v": 1,
            "client": {"id": who, "boot": "b"},
            "seq": self.seq[who],
            "environment": "production",
            "generation": 99,
            **changes,
        }

    def report(
        self, version: str, ok: int, bad: int = 0, environment: str = "production", **row: Any
    ) -> Any:
        """One process reports a second of calls."""
        counts: Mapping[str, Any] = {"ok": ok, "errors": {"prompt": bad} if bad else {}}
        rows = [{"prompt": PROMPT, "version": version, "ago_ms": 0, **counts, **row}]
        who = "web-1" if environment == "production" else f"{environment}-1"
        return self.post("/api/observations", **self.batch(who, rows=rows, environment=environment))

    def state(self, environment: str = "production") -> Any:
        """What the store remembers of the prompt."""
        return self.runtime.store.states.get(environment, PROMPT)

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.clock.ms += 1_000
            self.runtime.heart.beat()

    def live(self, seconds: int, version: str, ok: int, bad: int = 0) -> None:
        """Traffic on one version, second by second."""
        for _ in range(seconds):
            self.report(version, ok, bad)
            self.tick()

    def kinds(self, prompt: str = PROMPT) -> list[str]:
        entries = self.get("/api/audit", prompt=prompt, limit=1000)["entries"]
        return [entry["kind"] for entry in entries]


@contextmanager
def world(pages: Any = None, **settings: Any) -> Iterator[World]:
    """A server in this process; `pages` puts the dashboard onto it."""
    clock = Clock()
    app = create_app(Settings(**{"db": "memory:", **settings}), clock, ticking=False, pages=pages)
    with TestClient(app, base_url=URL) as client:
        yield World(client, clock, app.state.runtime)


def error_of(answer: Any, status: int) -> dict[str, Any]:
    """The error of an answer, checked for status and shape."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/json"
    data = answer.json()
    assert set(data) == {"error"} and set(data["error"]) == ERROR_KEYS
    error: dict[str, Any] = data["error"]
    assert error["code"] and error["message"] and isinstance(error["known"], list)
    return error

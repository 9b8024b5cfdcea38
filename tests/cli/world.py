"""A server whose clock the test holds, the command line in front of it, and stories to replay.

A story is a text file of commands with what they print. Lines that begin with `$` are run on the
command line, those with `>` are what happens in the world, those with `##` are the story itself;
every other line is output.
`KNOWNGOOD_GOLDEN=write` writes the output anew, to be read before it is committed.
"""

import difflib
import os
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from knowngood.cli import backend, breakglass
from knowngood.cli.app import app
from knowngood.core.model import Arm, Route
from knowngood.core.routing import choose, unit_hash
from knowngood.server.app import create_app
from knowngood.server.settings import Settings

GOLDEN = Path(__file__).parent / "golden"
START_MS = 1_767_225_600_000  # 2026-01-01 00:00:00Z
URL = "http://127.0.0.1:8000"
CLIENTS = 4
HOSTS = {"production": "host", "staging": "stage"}
LATENCY_BUCKET = 523  # about 290 ms


class Clock:
    """The only clock there is."""

    def __init__(self):
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms


class Answered:
    """A response as http.client gives it."""

    def __init__(self, response):
        self.status = response.status_code
        self._body = response.content

    def read(self) -> bytes:
        return self._body


class World:
    """One server on a SQLite file, four processes that report to it, and an operator, eve."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.clock = Clock()
        self.folder = folder
        self.seq = 0
        self._client: TestClient | None = None
        world = self

        class Connection:
            """Stands in for http.client's: the same request, without a socket."""

            def __init__(self, host, port, timeout):
                self._response: Answered | None = None

            def request(self, method, path, body, headers):
                if world._client is None:
                    raise ConnectionRefusedError
                response = world._client.request(method, path, content=body, headers=headers)
                self._response = Answered(response)

            def getresponse(self) -> Answered:
                assert self._response
                return self._response

            def close(self):
                pass

        monkeypatch.setattr(backend, "HTTPConnection", Connection)
        monkeypatch.setattr(breakglass, "now_ms", self.clock.now_ms)
        monkeypatch.setenv("LOGNAME", "eve")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "80")
        for name in ("KNOWNGOOD_URL", "KNOWNGOOD_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(folder)

    @property
    def api(self) -> TestClient:
        """The server, to be asked directly."""
        assert self._client
        return self._client

    def server_starts(self, policy: str | None = None):
        """Start the server on kg.db, with the default policy or that of a file."""
        # Under the operator's own address, so that the Host header is an allowed one.
        server = create_app(Settings(db="kg.db", policy=policy), self.clock, ticking=False)
        self._client = TestClient(server, base_url=URL)
        self._client.__enter__()
        self._beat()

    def server_stops(self):
        """Stop the server; the file stays."""
        if self._client is not None:
            self._client.__exit__(None, None, None)
            self._client = None

    def wait(self, seconds: str):
        """Let time pass, and the engine tick."""
        for _ in range(int(seconds)):
            self.clock.ms += 1000
            self._beat()

    def calls(self, name: str, *words: str):
        """Four processes report calls of a version: `support-bot:v2.0.0 ok=88 prompt=12 for 4 s`.

        They are spread evenly over the seconds; without a time all of them are made in one.
        `support-bot:v2.0.0@staging` are calls on staging, by processes of their own.
        """
        self.wait("1")  # what began before the route moved is not counted
        name, _, environment = name.partition("@")
        said, seconds = _spoken(words)
        for second in range(seconds):
            now = {kind: _share(n, second, seconds) for kind, n in said.items()}
            for number in range(CLIENTS):
                mine = {kind: _share(n, number, CLIENTS) for kind, n in now.items()}
                self._report(number, [_row(name, mine)], environment or "production")
            self.wait("1")
        self.wait("2")  # until the last second is closed

    def users(self, prompt: str, count: str, *quality: str):
        """So many users call once, and a judge scores each: `support-bot 400 v2.0.0=0.7`.

        Who gets which version the routes say, as everywhere; scores are 0.8 unless said otherwise,
        give or take a tenth.
        """
        self.wait("1")
        means = dict(each.split("=") for each in quality)
        routed = self.api.get("/api/snapshot").json()["prompts"][prompt]
        route = Route(tuple(Arm(*arm) for arm in routed["arms"]), routed["salt"])
        shares: dict[str, dict[str, int]] = {arm.version: {} for arm in route.arms}
        for number in range(int(count)):
            unit = f"user-{number}"
            version = choose(route, unit).version
            share = round(100 * float(means.get(version, 0.8))) + 10 * (-1) ** number
            shares[version][f"{unit_hash(route.salt, unit):016x}"] = share
        rows, groups = [], []
        for version, found in shares.items():
            bins = {str(share): n for share, n in Counter(found.values()).items()}
            row = _row(f"{prompt}:{version}", {"ok": len(found)})
            rows.append({**row, "units": len(found), "scores": {"quality": bins}})
            sums = {unit: [1, 0, {"quality": [1, 100 * share]}] for unit, share in found.items()}
            group = {"prompt": prompt, "version": version, "sums": sums}
            groups.append({**group, **routed.get("compared", {"generation": 0})})
        self._report(0, rows, "production", units=groups)
        self.wait("2")  # until the second is closed

    def file(self, name: str, *text: str):
        """Write a file; `|` is a line break."""
        lines = " ".join(text).split("|")
        Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _report(self, number: int, rows: list[dict[str, object]], environment: str, **more):
        self.seq += 1
        seen = self.api.get(f"/api/clients?environment={environment}").json()
        batch = {
            "v": 1,
            "client": {"id": f"{HOSTS[environment]}:{100 + number}:abcd", "boot": "b"},
            "seq": self.seq,
            "environment": environment,
            "generation": seen["generation"],
            "dropped": 0,
            "rows": rows,
            **more,
        }
        assert self.api.post("/api/observations", json=batch).status_code == 200

    def _beat(self):
        if self._client is not None:
            self.api.app.state.runtime.heart.beat()  # type: ignore[attr-defined]

    # --- The command line

    def run(self, *words: str):
        """Run a command; its result has exit_code, stdout and stderr."""
        return CliRunner().invoke(app, list(words), prog_name="knowngood")

    def replay(self, story: Path):
        """Run the story's commands; fail with a diff where they print something else."""
        before = story.read_text(encoding="utf-8")
        after = "\n".join(self._lines(before)) + "\n"
        if os.environ.get("KNOWNGOOD_GOLDEN") == "write":
            assert os.environ.get("CI") != "true", "stories are written by people who read them"
            story.write_text(after, encoding="utf-8")
            return
        diff = difflib.unified_diff(
            before.splitlines(), after.splitlines(), "expected", "printed", lineterm="", n=2
        )
        changed = "\n".join(diff)
        assert not changed, "\n" + changed

    def _lines(self, story: str):
        for line in story.splitlines():
            if line.startswith("## "):
                yield line
            elif line.startswith("> "):
                yield line
                verb, *words = shlex.split(line[2:])
                getattr(self, verb)(*words)
            elif line.startswith("$ "):
                yield ""
                yield line
                yield from self._printed(shlex.split(line[2:])[1:])

    def _printed(self, words: list[str]):
        result = self.run(*words)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        yield from self._normal(result.stdout)
        yield from (f"! {line}" for line in self._normal(result.stderr))
        if result.exit_code:
            yield f"[exit {result.exit_code}]"

    def _normal(self, text: str):
        # A digest says that the content is the same; which one it is, other tests say.
        return re.sub(r"\b[0-9a-f]{12,64}\b", "DIGEST", text).splitlines()


def _spoken(words: tuple[str, ...]) -> tuple[dict[str, int], int]:
    """What was said of calls: how many of each outcome, and over how many seconds."""
    counts, seconds = list(words), 1
    if words[-3:-2] == ("for",):
        assert words[-1] == "s", f"seconds, not {words[-1]}"
        counts, seconds = counts[:-3], int(words[-2])
    return {kind: int(n) for kind, n in (count.split("=") for count in counts)}, seconds


def _row(name: str, outcomes: dict[str, int]) -> dict[str, object]:
    """A process's report of the calls of one version, which all took as long."""
    prompt, version = name.split(":")
    errors = {kind: n for kind, n in outcomes.items() if n and kind != "ok"}
    n = sum(outcomes.values())
    return {
        "prompt": prompt,
        "version": version,
        "ago_ms": 500,
        "ok": outcomes.get("ok", 0),
        "errors": errors,
        "latency": {str(LATENCY_BUCKET): n} if n else {},
    }


def _share(n: int, number: int, of: int) -> int:
    """The share of `n` that falls to one of so many, evenly."""
    return n * (number + 1) // of - n * number // of

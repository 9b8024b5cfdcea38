"""A real server in a process of its own, for tests that kill it."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

START_S = 60.0  # two busy cores; alone it takes one second
PROGRAM = """
import json, sys
from knowngood.server.app import run
from knowngood.server.settings import settings_from
run(settings_from(json.loads(sys.argv[1]), {}))
"""
RUNNING = re.compile(r"running on http://[^\s:]+:(\d+)")
_never = threading.Event()


def eventually(look: Callable[[], T | None], deadline_s: float = 30.0) -> T:
    """What `look` finds as soon as it finds something."""
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        _never.wait(0.05)
    raise AssertionError(f"not within {deadline_s} s: {look}")


@dataclass
class Server:
    """One server process; `log` is what it wrote to standard error, line by line."""

    process: "subprocess.Popen[str]"
    log: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def get(self, path: str) -> Any:
        return self._ask(urllib.request.Request(self.url + path))

    def post(self, path: str, **body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        data = json.dumps(body).encode()
        return self._ask(urllib.request.Request(self.url + path, data, headers))

    def kinds(self, prompt: str) -> list[str]:
        entries = self.get(f"/api/audit?prompt={prompt}&limit=1000")["entries"]
        return [entry["kind"] for entry in entries]

    def kill(self) -> None:
        """As the kernel would, without a word of warning."""
        self.process.kill()
        self.process.wait(START_S)

    def stop(self) -> int:
        """As a supervisor would; the exit status."""
        self.process.terminate()
        return self.process.wait(START_S)

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=START_S) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{error.code}: {error.read().decode()}") from None


@contextlib.contextmanager
def server(**settings: Any) -> Iterator[Server]:
    """A server that is ready; whatever happens, it is gone afterwards."""
    told = json.dumps({"port": 0, **settings})
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, told],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "KNOWNGOOD_TOKEN"},
    )
    made = Server(process)
    reader = threading.Thread(target=_read_log, args=(made,), daemon=True)
    reader.start()
    try:
        eventually(lambda: _is_ready(made), START_S)
        yield made
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(START_S)
        reader.join(START_S)
        assert process.stderr is not None
        process.stderr.close()


def _read_log(made: Server) -> None:
    assert made.process.stderr is not None
    for line in made.process.stderr:
        made.log.append(line)
        if found := RUNNING.search(line):
            made.port = int(found[1])


def _is_ready(made: Server) -> bool:
    if made.process.poll() is not None:
        raise AssertionError("the server ended:\n" + "".join(made.log))
    try:
        return made.port > 0 and bool(made.get("/readyz"))
    except (AssertionError, OSError):
        return False

"""What the benchmarks share: timing, a real server of their own, and rows of a table."""

import contextlib
import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_WITHIN_S = 30


@dataclass(frozen=True)
class Row:
    """One line of the report: a figure, its floor or peer in the same run, and the target."""

    what: str
    figure: str
    beside: str
    ratio: str
    target: str
    met: bool | None = None


def per_call_us(call: Callable[[], object], number: int = 20_000, repeat: int = 15) -> float:
    """The median over `repeat` rounds of the time of one call, in microseconds."""
    rounds = []
    call()
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeat):
            began = time.perf_counter_ns()
            for _ in range(number):
                call()
            rounds.append((time.perf_counter_ns() - began) / number / 1000)
    finally:
        gc.enable()
    return statistics.median(rounds)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(done: Callable[[], bool], within_s: float, what: str) -> None:
    """Ask every 20 ms until it is so; TimeoutError after `within_s`."""
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} took longer than {within_s} s")
        pause.wait(0.02)


@contextlib.contextmanager
def server(*options: str) -> Iterator[tuple[str, int]]:
    """A real `knowngood serve` on SQLite in a folder of its own; its URL and process id."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = (Path(folder) / "server.log").open("wb")
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "knowngood.cli",
                "serve",
                "--port",
                str(port),
                "--db",
                str(Path(folder) / "knowngood.db"),
                *options,
            ],
            stdout=log,
            stderr=log,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: is_up(url), READY_WITHIN_S, "the server's start")
            yield url, process.pid
        finally:
            process.terminate()
            process.wait(timeout=20)
            log.close()


def is_up(url: str) -> bool:
    """Whether the server says that it is ready."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def post(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """POST JSON, get JSON."""
    request = urllib.request.Request(
        url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        result: dict[str, Any] = json.load(answer)
        return result


def resident_mb(pid: int) -> float:
    """The resident memory of a process, in MB (2^20)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def machine() -> str:
    """What this was measured on."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    return f"{os.cpu_count()} cores, {model}, Python {sys.version.split()[0]}"

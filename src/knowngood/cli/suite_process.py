"""Running a suite's own command: as a group of processes, within its time, to a result or an error.

Nothing is recorded here. Whatever goes wrong is a SuiteFailed that shows the command's last words.
"""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from knowngood.cli.progress import bars
from knowngood.cli.suites import Suite
from knowngood.core.errors import SuiteFailed
from knowngood.core.explain import duration

TICK_S = 0.1  # how often the bar moves
GRACE_S = 3.0  # between the request to end and the end: time to close files, not to go on
TAIL_LINES = 15  # of what the command said
TAIL_BYTES = 20_000
# promptfoo's files hold every answer of every model; beyond it, it is some other file.
RESULT_BYTES_MAX = 100 * 1024 * 1024


def run_command(suite: Suite, words: Mapping[str, str], folder: Path, title: str) -> None:
    """Run the suite's command to its end, with the `{words}` filled in and in the environment.

    `folder` takes what the command says. Raises SuiteFailed when it cannot be started, ends with an
    exit code that goes with no result, or takes longer than it may: then every process that it has
    started in its group is ended.
    """
    command = [_filled(word, words) for word in suite.command]
    environment = {f"KNOWNGOOD_{name.upper()}": value for name, value in words.items()}
    said = folder / "output"
    with said.open("wb") as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command, and no shell
                command,
                cwd=suite.folder,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, to be ended as one
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise SuiteFailed(
                f"the suite {suite.name} cannot be started: {command[0]}: {why}",
                next_step="check `command` in the file of suites",
            ) from error
        with _ended(process), _interruptible():
            in_time = _wait(process, suite.timeout_ms, title)
    if not in_time:
        raise SuiteFailed(
            f"the suite {suite.name} was ended after {duration(suite.timeout_ms)}; "
            f"nothing was recorded{_tail(said)}",
            next_step="find out what hangs, or give it a longer `timeout`",
        )
    if process.returncode not in suite.exit_codes:
        raise SuiteFailed(
            f"the suite {suite.name} failed: {command[0]} {_ending(process.returncode)}, and only "
            f"{' or '.join(map(str, suite.exit_codes))} goes with a result; "
            f"nothing was recorded{_tail(said)}",
            next_step="mend the suite, or declare `exit_codes`",
        )


def result_of(suite: Suite, file: Path, folder: Path) -> bytes:
    """What the command wrote as its result. Raises SuiteFailed for nothing, or too much."""
    size = file.stat().st_size if file.is_file() else 0
    if not size:
        raise SuiteFailed(
            f"the suite {suite.name} wrote no result; nothing was recorded"
            f"{_tail(folder / 'output')}",
            next_step="let the command write to {result}, which is $KNOWNGOOD_RESULT too",
        )
    if size > RESULT_BYTES_MAX:
        raise SuiteFailed(
            f"the suite {suite.name} wrote {size:,} bytes; the limit is {RESULT_BYTES_MAX:,}"
        )
    return file.read_bytes()


def _filled(word: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), word)


def _wait(process: subprocess.Popen[bytes], timeout_ms: int, title: str) -> bool:
    """Whether the process ended within its time; a bar shows how much of it has gone."""
    began = time.monotonic()
    with bars() as begin:
        told = begin(f"{title} (at most {duration(timeout_ms)})")
        while (spent_ms := int((time.monotonic() - began) * 1000)) < timeout_ms:
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(TICK_S, (timeout_ms - spent_ms) / 1000))
                return True
            if told:
                told(spent_ms, timeout_ms)
    return False


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """On the way out no process of the group is left that has not ended by itself.

    Also when somebody presses Ctrl-C: the group is not the terminal's.
    """
    try:
        yield
    finally:
        if process.poll() is None:
            try:
                _signal(process, "SIGTERM")
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_S)
            finally:  # also when Ctrl-C is pressed again
                _signal(process, "SIGKILL")  # the others of the group, too
                process.wait()


@contextmanager
def _interruptible() -> Iterator[None]:
    """What ends a job in CI, or closes its terminal, ends it as Ctrl-C does: tidily."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may listen to signals
        return
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), interrupt) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _signal(process: subprocess.Popen[bytes], name: str) -> None:
    if not hasattr(os, "killpg"):  # Windows knows no groups
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, getattr(signal, name))


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with {code}"


def _tail(said: Path) -> str:
    """The last lines that the command said, each behind a bar."""
    with said.open("rb") as output:
        output.seek(max(0, said.stat().st_size - TAIL_BYTES))
        text = output.read().decode(errors="replace")
    lines = text.rstrip().splitlines()[-TAIL_LINES:]
    return "".join(f"\n  | {line}" for line in lines)

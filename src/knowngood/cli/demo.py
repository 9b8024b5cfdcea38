"""`knowngood demo`: watch a bad prompt be stopped, with a real server and real processes."""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from knowngood.cli.demo_scenes import PROMPT, SCENES
from knowngood.cli.errors import EXIT_REFUSED, Usage
from knowngood.cli.options import Json
from knowngood.cli.output import UNBROKEN, print_json
from knowngood.core.errors import KnowngoodError

if TYPE_CHECKING:
    from knowngood.cli.demo_processes import Children

WORKERS_MAX = 32  # each is a process with its own interpreter
WATCH_S = 1.0


def demo(
    scenario: Annotated[
        str,
        typer.Option(
            "--scenario",
            metavar="NAME",
            help="The story to play: `rollback` (everybody got it), `canary` (stopped at 5 %), "
            "`gradual` (taken back in stages), "
            "`approval` (a person is asked), or `observe` (watched first, then asked).",
        ),
    ] = "rollback",
    once: Annotated[
        bool, typer.Option("--once", help="End after the story instead of running until Ctrl-C.")
    ] = False,
    as_json: Json = False,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same calls.")] = 7,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=WORKERS_MAX, help="How many processes call.")
    ] = 4,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", help="The server's port; default: 8000 or, if it is taken, a free one."
        ),
    ] = None,
    keep_db: Annotated[
        bool, typer.Option("--keep-db", help="Keep the database and the logs, and say where.")
    ] = False,
) -> None:
    """Watch a bad prompt roll back: a real server, real processes."""
    if scenario not in SCENES:
        raise Usage(f"there is no scenario {scenario!r}", known=tuple(SCENES))
    if as_json and not once:
        raise Usage("--json prints one object at the end", next_step="add --once")
    # What is told on the way is no part of the one JSON object.
    narrator = Narrator(sys.stderr if as_json else sys.stdout)
    with _folder(keep_db, narrator) as folder, _ends_on_terminate():
        ended_well = _play(folder, narrator, scenario, seed, workers, port, once, as_json)
    if not ended_well:
        raise typer.Exit(EXIT_REFUSED)


class Narrator:
    """Tells the story line by line, each with the time since it began."""

    def __init__(self, out: Any) -> None:
        width = None if out.isatty() else UNBROKEN
        self._console = Console(file=out, width=width, highlight=False, soft_wrap=True)
        self._began_s: float | None = None

    def tell(self, line: str, style: str) -> None:
        """Say what happened just now; the first line is at 0:00."""
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        minutes, seconds = divmod(int(now_s - self._began_s), 60)
        self.say(Text(f"{minutes}:{seconds:02d}  ").append(line, style=style))

    def say(self, line: Text | str) -> None:
        """Say a line that has no time."""
        self._console.print(Text(line) if isinstance(line, str) else line)


def _play(
    folder: Path,
    narrator: Narrator,
    scenario: str,
    seed: int,
    workers: int,
    port: int | None,
    once: bool,
    as_json: bool,
) -> bool:
    from knowngood.cli.backend import Remote
    from knowngood.cli.demo_processes import ChildEnded, start_somewhere
    from knowngood.cli.demo_stories import STORIES
    from knowngood.cli.demo_story import WentWrong

    with start_somewhere(folder, port, SCENES[scenario].policy) as children:
        narrator.say(f"{children.url}   seed {seed}")
        api = Remote(children.url, "", "demo")
        story = STORIES[scenario](api, children, narrator.tell, workers, seed)
        try:
            result, ended_well = story.play(), True
        except (WentWrong, KnowngoodError) as error:
            narrator.tell(f"the story went wrong: {error}", "bold red")
            outcome = error.outcome if isinstance(error, WentWrong) else "failed"
            result, ended_well = story.told | {"outcome": outcome}, False
        except KeyboardInterrupt:
            result, ended_well, once = story.told | {"outcome": "interrupted"}, False, True
        if not once and ended_well:
            try:
                _until_interrupted(children, narrator)
            except ChildEnded as error:
                narrator.say(error.message)
                ended_well = False
    if as_json:
        print_json(result)  # when all children have ended, so that it is the last word
    return ended_well


def _until_interrupted(children: "Children", narrator: Narrator) -> None:
    url = "" if children.port == 8000 else f" --url {children.url}"
    narrator.say(f"\nThe server and its callers go on until Ctrl-C: open {children.url}, or try:")
    for command in (f"explain {PROMPT}", "status", f"audit {PROMPT}"):
        narrator.say(f"  knowngood {command}{url}")
    try:
        while True:
            children.check()
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        narrator.say("")


@contextmanager
def _folder(keep: bool, narrator: Narrator) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="knowngood-demo-"))
    try:
        yield folder
    finally:
        if keep:
            narrator.say(f"the database and the logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ends_on_terminate() -> Iterator[None]:
    """Make SIGTERM, and a terminal that closes, unwind as an exception does: children are ended."""

    def unwind(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = [(number, signal.signal(number, unwind)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)

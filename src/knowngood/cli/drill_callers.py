"""The callers of a drill: real processes with the real SDK, each ended for certain."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from knowngood.cli.demo_processes import ChildEnded, Served, _close_pipe, _last_line, _wait_or_kill
from knowngood.core.drill import Fault


@dataclass(slots=True)
class Callers:
    """Processes that call one prompt in one environment, as the fault says."""

    folder: Path
    url: str
    token: str
    environment: str
    prompt: str
    fault: Fault
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    diaries: list[Path] = field(default_factory=list)
    started_count: int = 0

    def start(self, count: int, seed: int) -> None:
        """Start so many processes."""
        for _ in range(count):
            number = self.started_count
            self.started_count += 1
            diary = self.folder / f"caller-{number}.jsonl"
            self.diaries.append(diary)
            place = ["--url", self.url, "--env", self.environment, "--prompt", self.prompt]
            what = ["--fault", self.fault.value, "--seed", f"{seed}:{number}"]
            kept = {k: v for k, v in os.environ.items() if not k.startswith("KNOWNGOOD_")}
            if self.token:
                kept["KNOWNGOOD_TOKEN"] = self.token  # where other users do not read it
            module = [sys.executable, "-m", "knowngood.cli.drill_worker"]
            with (self.folder / f"caller-{number}.log").open("wb") as log:
                process = subprocess.Popen(  # noqa: S603 # our own module, by this interpreter
                    [*module, *place, *what, "--diary", str(diary)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=kept,
                    start_new_session=True,
                )
            self.processes.append(process)

    def served(self) -> list[Served | None]:
        """What each process says that it serves now."""
        return [_last_line(diary) for diary in self.diaries]

    def check(self) -> None:
        """Raise ChildEnded if any process is gone."""
        for process in self.processes:
            if process.poll() is not None:
                raise ChildEnded(f"a caller of the drill ended with status {process.returncode}")

    def kill(self) -> None:
        """End them without a goodbye, as a machine that loses its power does."""
        processes, self.processes, self.diaries = self.processes, [], []
        for process in processes:
            process.kill()
            process.wait()
            _close_pipe(process)

    def end(self) -> None:
        """End them in good order, by their ids; kill what does not listen. Twice is harmless."""
        processes, self.processes = self.processes, []
        for process in processes:
            _close_pipe(process)
        for process in processes:
            _wait_or_kill(process)

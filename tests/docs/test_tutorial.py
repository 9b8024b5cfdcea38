"""The tutorial is true: its files are saved, its commands are typed, its output comes out.

A real server and a real worker run on a free port. A command that only reads is typed again until
it shows what the page shows, as a reader does who waits for it.
"""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

import pytest
from typer.testing import CliRunner

from knowngood.cli.app import app
from tests.docs.pages import DOCS, ROOT, Block, blocks, matches

PAGE = DOCS / "tutorial.md"
BLOCKS = blocks(PAGE)
PORT = "8000"  # on the page
DEADLINE_S = 60.0  # for one command's output; on a quiet machine the slowest takes ten seconds
POLL_S = 0.2
READS = ("status", "explain", "audit", "doctor", "list", "gates")
BACKGROUND = ("server", "worker")
FASTER = ("uniform(0.02, 0.08)", "uniform(0.005, 0.02)")  # the evidence is there sooner

# curl for a machine that has none: address, method, body and header are the page's.
CURL = """
import argparse, urllib.request
parser = argparse.ArgumentParser()
for name in "-X", "-d", "-H":
    parser.add_argument(name, required=True)
parser.add_argument("url")
said = parser.parse_args()
headers = dict([said.H.split(": ")])
request = urllib.request.Request(said.url, said.d.encode(), headers, method=said.X)
print(urllib.request.urlopen(request).read().decode())
"""


class Reader:
    """Somebody who does what the page says, in a folder and on a port of their own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = free_port()
        self.environment = {
            "KNOWNGOOD_URL": f"http://127.0.0.1:{self.port}",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "NO_COLOR": "1",
        }
        self.running = ExitStack()

    def follow(self, block: Block) -> None:
        """Do what one block of the page says."""
        if block.language in ("text", "python"):
            text = self._here(block.text).replace(*FASTER)
            (self.folder / block.word).write_text(text, encoding="utf-8")
        elif block.language == "console":
            for command, output in block.commands():
                if block.word in BACKGROUND:
                    self.start(command)
                else:
                    self.type(command, output)

    def start(self, command: str) -> None:
        """Run a command that goes on, such as the server, until the end of the test."""
        program, *words = shlex.split(command)
        if program == "knowngood":
            words = ["-m", "knowngood.cli", *words, "--port", str(self.port)]
        self.running.enter_context(self._process([sys.executable, *words]))
        if program == "knowngood":
            self.type("knowngood list", "there are no prompts yet\n...")

    def type(self, command: str, output: str) -> None:
        """Run a command; one that only reads, until it says what is shown. Fail if it does not."""
        give_up_s = time.monotonic() + DEADLINE_S
        printed = self._run(command)
        while not matches(output, printed):
            if command.split()[1] not in READS or time.monotonic() > give_up_s:
                pytest.fail(f"$ {command}\n--- the page shows\n{output}\n--- it printed\n{printed}")
            Event().wait(POLL_S)
            printed = self._run(command)

    def _run(self, command: str) -> str:
        program, *words = shlex.split(self._here(command))
        if program == "knowngood":
            return CliRunner(env=self.environment).invoke(app, words, prog_name=program).output
        assert program == "curl"
        told = [sys.executable, "-c", CURL, *words]
        return subprocess.run(told, capture_output=True, text=True, check=True).stdout

    def _here(self, text: str) -> str:
        return text.replace(f":{PORT}", f":{self.port}")

    @contextmanager
    def _process(self, words: list[str]) -> Iterator[None]:
        path = self.folder / "background.log"
        with path.open("ab") as log:
            process = subprocess.Popen(
                words, stdout=log, stderr=log, env=os.environ | self.environment
            )
        try:
            yield
            assert process.poll() is None, path.read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.slow
def test_the_tutorial_can_be_followed(tmp_path, monkeypatch):
    """Who does what the page says sees what the page shows, from the first push to the doctor."""
    monkeypatch.chdir(tmp_path)
    for name in ("KNOWNGOOD_URL", "KNOWNGOOD_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    reader = Reader(tmp_path)
    with reader.running:
        for block in BLOCKS:
            reader.follow(block)


def test_what_is_installed_can_be_installed():
    """The targets of make that the page names exist; its other lines need no network."""
    lines = [line for block in BLOCKS if block.language == "sh" for line in block.text.splitlines()]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [line.split()[1] for line in lines if line.startswith("make ")]
    assert targets and not [t for t in targets if f"\n{t}:" not in makefile]


def test_the_worker_is_short():
    """What an application has to write fits into fifteen lines."""
    worker = next(block for block in BLOCKS if block.word == "worker.py")
    assert FASTER[0] in worker.text
    assert len([line for line in worker.text.splitlines() if line.strip()]) <= 15


def test_blocks_say_what_they_are():
    """Nothing on the page is left out of the test by a typing error; files are named in words."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("\n```") == 2 * len(BLOCKS)
    assert {block.language for block in BLOCKS} == {"sh", "console", "text", "python"}
    for block in BLOCKS:
        if block.language in ("text", "python"):
            assert f"as `{block.word}`" in text
        assert block.language != "console" or block.word in ("", *BACKGROUND)


def test_a_page_that_lies_is_found():
    """Times and counts may differ; versions, generations, verdicts and missing lines may not."""
    shown = "clear  errors 0.0% <= 5.0% (0 of 63)\n...\nv1.9.0 100%, generation 3\n"
    printed = "clear   errors 1.5% <= 5.0% (7 of 460)\nmore\nv1.9.0 100%, generation 3\n"
    assert matches(shown, printed) and matches("", "") and matches(shown, shown)
    for said in ("generation 3", "v1.9.0", "clear", "5.0%", "more\nv1.9.0 100%, generation 3"):
        assert not matches(shown, printed.replace(said, "other"))
    assert not matches("", printed) and not matches(shown, "") and not matches("more", printed)

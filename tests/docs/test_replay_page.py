"""The page on replays is true: its trace can be played, its options exist, its keys come out."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from knowngood.cli.replay import name_of, replay
from knowngood.sim.trace import COLUMNS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "replay-a-trace.md"
TEXT = PAGE.read_text(encoding="utf-8")
SAMPLE = re.findall(r"```csv\n(.*?)```", TEXT, re.DOTALL)[0]
COMMANDS = re.findall(r"^\$ knowngood replay ([^|\n]*)", TEXT, re.MULTILINE)
POLICY = "policy: 1\ndefaults: {window: 10m}\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(replay)

    def run_command(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run_command


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page_run(run, tmp_path, command):
    """What the page shows can be typed."""
    arguments = shlex.split(command)
    for name in arguments:
        if name.endswith(".csv"):
            (tmp_path / name).write_text(SAMPLE, encoding="utf-8")
        elif name.endswith(".yaml"):
            (tmp_path / name).write_text(POLICY, encoding="utf-8")
    assert "3" in run(*arguments)


def test_the_page_names_every_column_and_key(run, tmp_path):
    """What can be written and what comes out is on the page."""
    (tmp_path / "calls.csv").write_text(SAMPLE, encoding="utf-8")
    data = json.loads(run("calls.csv", "--json"))
    assert not [name for name in (*COLUMNS, *data) if f"`{name}`" not in TEXT]
    assert (data["prompt"], data["environment"], data["calls"]) == ("calls", "production", 3)
    assert data["from"] == "2026-03-02T09:15:04.120Z"


def test_a_person_is_told_in_sentences(run, tmp_path):
    """Without --json: what happened, each version, each trigger, and what it waits on."""
    (tmp_path / "calls.csv").write_text(SAMPLE + "never,v2.0.0,,,,,,,\n", encoding="utf-8")
    said = run("calls.csv")
    assert said.startswith("calls (production)  3 calls  2026-03-02T09:15:04.120Z")
    assert "No rollback would have happened." in said
    assert re.search(r"^v1\.9\.0 +good +2 +50\.00%", said, re.MULTILINE)
    assert re.search(r"^v2\.0\.0 +error_critical +\? unsure", said, re.MULTILINE)
    assert re.search(r"^Waiting on$", said, re.MULTILINE)
    assert re.search(r"error_critical on v2\.0\.0 is unsure: \w", said)
    assert "unreadable timestamp: 1" in said


@pytest.mark.parametrize(
    ("file", "name"),
    [("Support Bot.csv", "support-bot"), ("a/x_1.v2.jsonl", "x_1.v2"), ("__.csv", "trace")],
)
def test_a_prompt_is_called_like_its_file(file, name):
    """A file may be called what a prompt may not."""
    assert name_of(Path(file)) == name

"""Drills, held for real: a server, calling processes, a fault in staging, and a verified end."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from knowngood.cli.app import app
from knowngood.cli.backend import Remote
from knowngood.cli.demo_processes import start_somewhere

# Nobody finds a drop in quality within a second: this limit is always missed.
IMPATIENT = """
policy: 1
defaults:
  triggers: {quality_high: {limit: 1s}}
"""


def run(*words: str):
    return CliRunner().invoke(app, ["drill", *words], prog_name="knowngood")


def leftovers(folder: Path) -> list[str]:
    """Processes that a drill has left behind, by their command."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(folder) in words and "drill_worker" in words:
                found.append(words)
    return found


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A real server, and a folder for what drills write."""
    for name in [name for name in os.environ if name.startswith("KNOWNGOOD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    started = []

    def start(policy=None):
        folder = tmp_path / "server"
        folder.mkdir()
        started.append(start_somewhere(folder, None, policy))
        return started[-1].url

    yield start
    for children in started:
        children.end()


@pytest.mark.slow
def test_a_drill_is_found_rolled_back_and_proven(served, tmp_path):
    """Every part within its limit; production is not touched, and nothing is left behind."""
    url = served()
    api = Remote(url, "", "ana")
    api.post("/api/prompts/faq/versions", {"version": "v1", "text": "Answer: {{question}}"})
    body = {"prompt": "faq", "version": "v1", "because": "first"}
    api.post("/api/promote", body)
    result = run("error", "faq", "--once", "--json", "--url", url, "--as", "ana")
    report = json.loads(result.stdout)
    assert result.exit_code == 0, report
    assert report["outcome"] == "kept" and report["problem"] is None
    assert [part["part"] for part in report["parts"]] == [
        "detect", "decide", "act", "propagate", "recover",
    ]  # fmt: skip
    assert report["trigger"] == "error_critical" and report["to_version"] == "v1"
    status = api.get("/api/status", environment="staging", prompt="faq")["prompts"][0]
    assert status["route"] == "v1 100%" and status["incident"] is None
    assert api.get("/api/status", prompt="faq")["prompts"][0]["generation"] == 1
    lines = api.get("/api/audit", environment="staging", prompt="faq", limit=1000)["entries"]
    assert lines[-1]["kind"] == "drill" and lines[-1]["id"] == report["entry"]
    moved = [line["because"] for line in lines if line["kind"] == "route.moved"]
    assert moved and all(because.startswith("[DRILL] error") for because in moved)
    assert not leftovers(tmp_path)
    again = run("error", "faq", "--json", "--url", url)
    assert again.exit_code == 1 and "flap guard" in again.stderr


@pytest.mark.slow
def test_a_missed_limit_is_said_with_the_exit_code(served):
    """Found and mended all the same, and too late by the policy's own limit."""
    result = run("quality", "--json", "--url", served(IMPATIENT))
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and report["outcome"] == "missed"
    missed = [part["part"] for part in report["parts"] if not part["kept"]]
    assert missed[0] == "detect" and "recover" not in missed
    assert report["trigger"] == "quality_high" and report["problem"] is None


def test_a_drill_never_touches_production():
    """Refused before anything is asked of a server; so is a fault that does not exist."""
    for words in (("error", "--env", "production"), ("flood",)):
        assert run(*words).exit_code == 2

"""`knowngood runbook`: linted without a server, shown, rehearsed and run from a terminal."""

import json
import shutil

import pytest

from knowngood.server.runbooks import SHIPPED_FOLDER
from tests.cli.world import World


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A server, and a prompt whose new version fails 3 % of its calls."""
    made = World(tmp_path, monkeypatch)
    made.server_starts()
    for version in ("v1.9.0", "v2.0.0"):
        made.file(f"{version}.txt", version)
        made.run("push", "support-bot", version, f"{version}.txt")
        made.run("promote", "support-bot", version, "--now", "--because", "test")
    made.calls("support-bot:v2.0.0", "ok=1940", "prompt=60", "for", "20", "s")
    yield made
    made.server_stops()


def incident(world):
    """The id of the incident that is open."""
    rows = world.api.get("/api/status").json()["prompts"]
    return rows[0]["incident"]["id"]


def test_lint_names_file_and_line(tmp_path, monkeypatch):
    """And its exit code is that of a test."""
    world = World(tmp_path, monkeypatch)
    good = world.run("runbook", "lint", str(SHIPPED_FOLDER))
    assert good.exit_code == 0 and good.stdout.count(": fine\n") == 9
    file = tmp_path / "bad.runbook.md"
    text = (SHIPPED_FOLDER / "error-spike.runbook.md").read_text(encoding="utf-8")
    file.write_text(text.replace("verb: rollback", "verb: rolback"), encoding="utf-8")
    shutil.copy(SHIPPED_FOLDER / "target-bad.runbook.md", tmp_path)
    result = world.run("runbook", "lint", str(file))
    assert result.exit_code == 1
    assert f"{file}:43: unknown verb 'rolback' (did you mean rollback?)" in result.stdout
    assert f"{file}:21: the link to provider-outage.runbook.md leads nowhere" in result.stdout
    assert "target-bad" not in result.stdout  # it lies beside it
    data = json.loads(world.run("runbook", "lint", str(file), "--json").stdout)
    assert [problem["line"] for problem in data["files"][0]["problems"]] == [21, 43, 67]
    assert world.run("runbook", "lint", str(tmp_path / "nothing.md")).exit_code == 1


def test_list_and_show(world):
    """The incident's own names, and commands to copy."""
    assert world.run("runbook", "list").stdout.count("\n") == 10
    shown = world.run("runbook", "show", "error-spike", "--incident", incident(world)).stdout
    assert "errors 3.0%" in shown or "errors 2." in shown
    assert "by hand: knowngood rollback support-bot v1.9.0 --because" in shown
    assert "{{" not in shown
    bare = world.run("runbook", "show", "error-spike").stdout
    assert "{{good_version}}" in bare


def test_show_works_with_the_server_down(world):
    """A runbook is needed most when everything is down."""
    world.server_stops()
    shown = world.run("runbook", "show", "error-spike", "--prompt", "support-bot", "--db", "kg.db")
    assert shown.exit_code == 0
    assert "by hand: knowngood rollback support-bot v1.9.0 --because" in shown.stdout


def test_a_rehearsal_then_a_run(world):
    """Nothing is changed by the first; the second stops where a person or time is needed."""
    where = ("--incident", incident(world))
    dry = world.run("runbook", "run", "error-spike", *where, "--dry-run")
    assert dry.exit_code == 0
    assert "→ 3. Roll back: rollback support-bot version v1.9.0: would_switch" in dry.stdout
    assert "nothing was changed" in dry.stdout
    made = world.run("runbook", "run", "error-spike", *where)
    assert made.exit_code == 1  # nobody is at the terminal
    assert "✓ 1. Look" in made.stdout
    run = f"{incident(world)}/error-spike.1"
    assert f"next: knowngood runbook answer {run} go|decline|skip" in made.stdout
    done = world.run("runbook", "answer", run, "go", "--because", "it is bad")
    assert "✓ 3. Roll back: rollback support-bot version v1.9.0: switched" in done.stdout
    said = world.run("runbook", "runs", run).stdout
    assert "✓ 3. Roll back" in said and "eve (unverified)" in said
    assert run in world.run("runbook", "runs").stdout
    assert world.run("runbook", "answer", run, "perhaps").exit_code == 2
    assert world.run("runbook", "run", "error-spike").exit_code == 2

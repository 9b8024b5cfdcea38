"""Drills, held for real: a server, calling processes, a fault in staging, and a verified end."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from knowngood.cli import drill_story
from knowngood.cli.app import app
from knowngood.cli.backend import Remote
from knowngood.cli.demo_processes import Served, start_somewhere
from knowngood.cli.drill_callers import Callers
from knowngood.core.drill import Fault
from knowngood.core.errors import KnowngoodError

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
def test_a_person_decides_and_a_missed_limit_is_said_with_the_exit_code(served):
    """It waits for them, whichever way they answer; too late by the policy's own limit."""
    url = served(IMPATIENT)
    over = threading.Event()
    ben = threading.Thread(target=approve_when_asked, args=(Remote(url, "", "ben"), over))
    ben.start()
    result = run("quality", "--hands-on", "--json", "--url", url, "--deadline", "60")
    over.set()
    ben.join()
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and report["outcome"] == "missed" and report["hands_on"]
    missed = [part["part"] for part in report["parts"] if not part["kept"]]
    assert missed[0] == "detect" and "recover" not in missed
    assert report["trigger"] == "quality_high" and report["problem"] is None
    assert "knowngood approve drill-quality --env staging" in result.stderr
    assert "rolled back by ben (unverified): drill-quality-" in result.stderr


def approve_when_asked(api, over):
    """As a person who sees that the drill says it is their turn."""
    while not over.wait(0.2):
        try:
            api.post(
                "/api/answers",
                {
                    "about": "drill-quality",
                    "answer": "approve",
                    "environment": "staging",
                    "because": "the answers are worse",
                },
            )
            return
        except KnowngoodError:
            continue  # there is nothing to answer yet


class Scripted:
    """A server that has a prompt in staging and tells of what happened, a line at a time."""

    def __init__(self, *kinds: str) -> None:
        self.arms = [("v1", "good")]
        self.kinds = list(kinds)
        self.told: list[dict[str, Any]] = []
        self.posts: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str, **query: Any) -> Any:
        arms = [{"version": v, "standing": s, "weight_bp": 10_000} for v, s in self.arms]
        if path == "/api/audit":
            return {"entries": self._lines(query)}
        if path.endswith("/explain"):
            row: dict[str, Any] = {
                "incident": None,
                "phase_kind": "steady",
                "rollout": None,
                "brakes": [],
            }
            return {"now_ms": 0, "state": {**row, "arms": arms}}
        if path.endswith("/v1"):
            return {"version": "v1", "digest": "0123456789", "content": {"text": "Answer."}}
        if path == "/api/policy":
            return {"policy": {"prompts": {}, "defaults": {}}}
        if path == "/api/clients":
            return {"live_count": 0}
        return {"name": "faq", "versions": [], "environments": {"staging": {"arms": arms}}}

    def post(self, path: str, body: dict[str, Any]) -> Any:
        self.posts.append((path, body))
        if path == "/api/promote":
            self.arms = [(body["version"], "candidate")]
            self._tell("route.moved")
        return {"id": 9}

    def _lines(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        if "after" not in query:
            return []
        moved = any(line["kind"] == "route.moved" for line in self.told)
        if self.kinds and moved and query["after"] >= len(self.told):
            self._tell(self.kinds.pop(0))
        return [line for line in self.told if line["id"] > query["after"]]

    def _tell(self, kind: str) -> None:
        detail = {"findings": [{"trigger": "latency_high"}]}
        line = {"kind": kind, "at_ms": len(self.told), "actor": "ben", "because": "said so"}
        self.told.append({**line, "id": len(self.told) + 1, "detail": detail})


class Nobody(Callers):
    """Callers that serve whatever the server says, without a process."""

    server: Scripted

    def start(self, count: int, seed: int) -> None:
        """None is needed."""

    def served(self) -> list[Served | None]:
        return [Served(self.server.arms[0][0], 0, 0)]


@pytest.mark.parametrize(
    ("kinds", "problem"),
    [
        (("rollback.requested",), "ben rolled back before anything was found"),
        (("incident.opened", "question.declined"), "ben declined: said so"),
        (("incident.opened", "rollback.requested", "rollback.held"), "rollback.held: said so"),
        (("incident.opened",), "still waiting after 0 s"),
    ],
)
def test_what_ends_a_drill_early_is_cleaned_up_after(tmp_path, monkeypatch, kinds, problem):
    """Who decides otherwise, or not at all, ends it; the version from before serves again."""
    monkeypatch.setattr(drill_story, "HEALTHY_S", 0.0)
    monkeypatch.setattr(drill_story, "POLL_S", 0.0)
    api = Scripted(*kinds)
    callers = Nobody(tmp_path, "http://127.0.0.1:1", "", "staging", "faq", Fault.LATENCY)
    callers.server = api
    report = drill_story.Drill(api, callers, lambda line: None, True, 7, 0.2).play()
    assert report["outcome"] == "missed" and report["problem"].startswith(problem)
    assert api.arms[0][0] == "v1" and api.posts[-1][0] == "/api/drills"
    late = [part for part in report["parts"] if part["part"] == "act"]
    assert late[0]["took_s"] is None and (late[0]["limit_s"] or 0) < 1_000


def test_a_drill_never_touches_production():
    """Refused before anything is asked of a server; so is a fault that does not exist."""
    for words in (("error", "--env", "production"), ("flood",)):
        assert run(*words).exit_code == 2

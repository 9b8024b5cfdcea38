"""The demo's stories, played for real: a server, its processes, a bad version, a verified end."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from knowngood.cli import demo_processes
from knowngood.cli.backend import Remote
from knowngood.cli.demo_processes import Served, _last_line
from knowngood.cli.demo_scenes import BAD, GOOD, SCENES
from knowngood.cli.demo_stories import STORIES
from knowngood.cli.demo_worker import requests

DEMO = [sys.executable, "-m", "knowngood.cli", "demo"]
DEADLINE_S = 150


def start(*words: str, folder: Path) -> "subprocess.Popen[str]":
    """The demo on a free port, with its files below `folder`."""
    return subprocess.Popen(
        [*DEMO, "--port", str(free()), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder), "NO_COLOR": "1"},
    )


def free() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children(folder: Path) -> list[int]:
    """The living processes that were started with this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue  # it ended meanwhile
            if str(folder) in words:
                found.append(int(entry.name))
    return found


def adds_up(story: dict[str, object]) -> None:
    """Its incident's clocks follow each other without a gap, from the deploy to the proof."""
    ms = story["clocks_ms"]
    assert isinstance(ms, dict)
    parts = [ms[name] for name in ("detect", "decide", "act", "recover")]
    assert sum(parts) == ms["total"] and min(parts) >= 0, ms
    assert 0 <= ms["propagate"] <= ms["recover"], ms


def wait_for_first_line(process: "subprocess.Popen[str]") -> None:
    """Wait until the story has begun, and all processes with it."""
    assert process.stdout
    killer = threading.Timer(DEADLINE_S, process.kill)
    killer.start()
    while "v1.9.0 100%" not in (line := process.stdout.readline()):
        assert line, process.communicate()[1]
    killer.cancel()


@pytest.mark.slow
def test_demo_once_json(tmp_path):
    """The story ends with a verified recovery, its figures, and no process left behind."""
    process = start("--once", "--json", "--seed", "7", folder=tmp_path)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    story = json.loads(out)
    assert out.count("\n") == 1
    assert story["scenario"] == "rollback"
    assert story["prompt"] == "support-bot"
    assert (story["from_version"], story["to_version"]) == ("v2.0.0", "v1.9.0")
    assert (story["outcome"], story["processes"], story["seed"]) == ("recovered", 4, 7)
    adds_up(story)
    assert story["error_rate"] > 0.05
    assert story["generation"] == 3
    assert 0 < story["detected_after_s"] < 60
    assert 0 < story["propagated_after_s"] <= story["verified_after_s"] + 1
    assert story["verified_after_s"] < 60
    told = err.splitlines()
    assert [line for line in told if "ROLLBACK v2.0.0 -> v1.9.0" in line and "on-call" in line]
    assert [line for line in told if "4 of 4 clients on generation 3" in line]
    assert [line for line in told if "verified: errors" in line and "closed after" in line]
    assert children(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_canary_is_stopped_at_its_second_stage(tmp_path):
    """Fine at 1 %, failing at 5 %, and there it ends: the processes count whom it ever met."""
    process = start("--scenario", "canary", "--once", "--json", folder=tmp_path)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    story = json.loads(out)
    adds_up(story)
    assert (story["scenario"], story["outcome"], story["stopped_at"]) == ("canary", "stopped", "5%")
    assert (story["from_version"], story["to_version"]) == ("v2.0.0", "v1.9.0")
    first, second = story["share_of_calls"]
    assert 0 < first < 0.02 < second < 0.08
    assert 0.01 < story["share_of_users_of_bad"] <= 0.07
    assert story["users_of_bad"] < story["users"] <= 5_000
    assert 0 < story["failed_of_bad"] <= story["failed"] < 0.02 * story["calls"]
    assert story["failed_of_bad"] < story["calls_of_bad"] < 0.1 * story["calls"]
    assert story["first_stage_s"] >= 6 and story["error_rate"] > 0.05
    told = err.splitlines()
    assert [line for line in told if "1% proven below 5.0%: errors" in line]
    assert [line for line in told if "ROLLBACK v2.0.0 -> v1.9.0" in line and "at 5%" in line]
    assert [line for line in told if "was ever seen by" in line and "of the users" in line]
    assert children(tmp_path) == [] and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_gradual_rollback_moves_nobody_back(tmp_path):
    """Slower, not failing: down in three stages with the target watched, then verified at 0 %."""
    process = start("--scenario", "gradual", "--once", "--json", folder=tmp_path)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    story = json.loads(out)
    adds_up(story)
    assert (story["scenario"], story["outcome"]) == ("gradual", "recovered")
    assert (story["from_version"], story["to_version"]) == ("v2.0.0", "v1.9.0")
    assert [stage["left"] for stage in story["stages"]] == ["75%", "50%", "25%"]
    measured = [stage["measured"] for stage in story["stages"]]
    assert measured == pytest.approx([0.75, 0.5, 0.25], abs=0.07)
    for stage in story["stages"]:
        assert stage["until_s"] - stage["from_s"] >= 3.9
        assert stage["target"] in ("clear", "unsure")
    assert story["took_s"] == story["stages"][-1]["until_s"] < 30
    assert story["users_moved_back"] == 0 < story["users"]
    assert story["failed"] < 0.01 * story["calls"]
    told = err.splitlines()
    assert [line for line in told if "observing v2.0.0: p99 latency up" in line]
    assert len([line for line in told if "target v1.9.0 watched: errors" in line]) == 3
    assert [line for line in told if "verified: errors" in line and "closed after" in line]
    assert children(tmp_path) == [] and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_approval_is_a_persons_decision(tmp_path):
    """Too few failures for the system to act: on-call is paged, takes the page, and approves."""
    process = start("--scenario", "approval", "--once", "--json", folder=tmp_path)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    story = json.loads(out)
    assert (story["scenario"], story["outcome"]) == ("approval", "recovered")
    assert (story["from_version"], story["to_version"]) == ("v2.0.0", "v1.9.0")
    assert story["stale_answer"] == "refused"
    assert "on-call to decide about error_high" in story["question"]
    assert story["decided_after_s"] >= 0 and story["verified_after_s"] > 0
    told = err.splitlines()
    assert [line for line in told if "PAGED on-call: errors" in line]
    assert [line for line in told if "page taken by the operator" in line]
    assert [line for line in told if "APPROVED by the operator: v2.0.0 -> v1.9.0" in line]
    assert children(tmp_path) == [] and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_observed_and_persists_is_asked(tmp_path):
    """Slower: observed for its time, then asked, and the approval is a gradual rollback."""
    process = start("--scenario", "observe", "--once", "--json", folder=tmp_path)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    story = json.loads(out)
    assert (story["scenario"], story["outcome"]) == ("observe", "recovered")
    assert story["observed_for_s"] >= 10
    assert "stage by stage" in story["question"] and story["stale_answer"] == "refused"
    assert [stage["left"] for stage in story["stages"]] == ["75%", "50%", "25%"]
    assert story["users_moved_back"] == 0 < story["users"]
    told = err.splitlines()
    assert [line for line in told if "PAGED on-call: persists after" in line]
    assert children(tmp_path) == [] and list(tmp_path.iterdir()) == []


def test_an_unknown_scenario_is_refused():
    """With the names of those that there are."""
    result = subprocess.run(
        [*DEMO, "--scenario", "canari"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2 and result.stdout == ""
    assert "there is no scenario 'canari'" in result.stderr
    assert "rollback, canary, gradual, approval, observe" in result.stderr
    assert list(SCENES) == list(STORIES)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_ended_leaves_nothing_behind(tmp_path, number):
    """SIGTERM and Ctrl-C end the server and the workers too, in the middle of the story."""
    process = start("--workers", "2", folder=tmp_path)
    wait_for_first_line(process)
    assert len(children(tmp_path)) == 3
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert children(tmp_path) == []


@pytest.mark.slow
def test_a_demo_that_is_killed_leaves_nothing_behind(tmp_path):
    """The server and the workers end by themselves when the demo has no chance to end them."""
    process = start("--workers", "2", folder=tmp_path)
    wait_for_first_line(process)
    left = [os.pidfd_open(pid) for pid in children(tmp_path)]
    process.kill()
    process.communicate()
    assert len(left) == 3
    for descriptor in left:
        ended, _, _ = select.select([descriptor], [], [], 30)
        os.close(descriptor)
        assert ended


def test_a_taken_port_is_refused(tmp_path):
    """The story is never played on somebody else's server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = subprocess.run([*DEMO, "--port", port], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"port {port} is taken" in result.stderr


def test_the_same_seed_draws_the_same_calls():
    """What chance decides depends on the seed and the worker, and on nothing else."""
    first, again, other = requests(7, 0, 22.0), requests(7, 0, 22.0), requests(7, 1, 22.0)
    drawn = [next(first) for _ in range(50)]
    assert drawn == [next(again) for _ in range(50)]
    assert drawn != [next(other) for _ in range(50)]
    scene = SCENES["rollback"]
    assert scene.failure_share_of(BAD) > 0.05 > scene.failure_share_of(GOOD)


@pytest.mark.slow
def test_a_taken_port_is_not_used(tmp_path, monkeypatch):
    """Without a wish the demo takes another port when somebody has the usual one.

    Also when somebody takes it after it was found free.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(demo_processes, "USUAL_PORT", port)
        bound = demo_processes._bound
        assert bound(port) is None
        monkeypatch.setattr(demo_processes, "_bound", lambda wanted: wanted or bound(0))
        with demo_processes.start_somewhere(tmp_path, None) as running:
            assert running.port not in (0, port)
            assert Remote(running.url, "", "test").get("/readyz")
    assert children(tmp_path) == []


def test_a_half_written_line_is_not_read(tmp_path):
    """A diary that is being written to is read up to its last whole line."""
    diary = tmp_path / "worker.jsonl"
    assert _last_line(diary) is None
    diary.write_text('{"version": "v1", "gen')
    assert _last_line(diary) is None
    diary.write_text('{"version": "v1", "generation": 2, "at_ms": 5}\n{"version"')
    assert _last_line(diary) == Served("v1", 2, 5)

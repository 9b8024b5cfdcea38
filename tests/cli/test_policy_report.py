"""`knowngood policy report`: what dry runs would have done, told to a person."""

import json

import pytest
from starlette.testclient import TestClient

from knowngood.server.app import create_app
from knowngood.server.settings import Settings
from tests.cli.world import URL

BOT = "support-bot"
DAY_MS = 24 * 3_600_000


@pytest.fixture
def watching(world):
    """A server on which error_critical runs dry, and two versions of which the second serves."""
    world.server_stops()
    world.file(
        "policy.yaml",
        "defaults:|  triggers:|    error_critical: {dry_run: true}|    error_high: null",
    )
    server = create_app(Settings(db="kg.db", policy="policy.yaml"), world.clock, ticking=False)
    world._client = TestClient(server, base_url=URL)
    world._client.__enter__()
    for version in ("v1", "v2"):
        world.file(f"{version}.txt", version)
        assert world.run("push", BOT, version, f"{version}.txt").exit_code == 0
        assert world.run("promote", BOT, version, "--now", "--because", "new").exit_code == 0
    return world


def fail(world):
    for _ in range(8):
        world.calls(f"{BOT}:v2", "provider=200")


def test_a_person_is_told_what_would_have_happened(watching):
    """Each trigger with its advice, and each would-be action with what became of it."""
    fail(watching)
    assert watching.run("rollback", BOT, "--because", "it fails").exit_code == 0
    watching.clock.ms += DAY_MS
    watching.wait("1")
    result = watching.run("policy", "report")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["PROMPT", "TRIGGER", "ACTION"]
    assert lines[1].split()[:5] == [BOT, "error_critical", "rollback", "2026-01-01", "00:00:00Z"]
    assert "not yet: none wrong in 1.0 days with calls" in lines[1]
    assert f"{BOT}, error_critical: error_rate > 5%" in lines
    assert "would rollback: errors 100.0% > 5.0%" in lines[-1]
    assert "rolled back by eve (unverified)" in lines[-1]


def test_json_is_the_api_s_own_object(watching):
    """Of one prompt, or of all; as far back as asked."""
    fail(watching)
    path = f"/api/policy/report?environment=production&prompt={BOT}&since=7d"
    answer = watching.api.get(path).json()
    result = watching.run("policy", "report", BOT, "--since", "7d", "--json")
    assert json.loads(result.stdout) == answer
    assert answer["triggers"][0]["acted_count"] == 1


def test_without_dry_runs_the_next_step_is_named(world):
    """Nobody is left before an empty table."""
    result = world.run("policy", "report")
    assert result.exit_code == 0
    assert "no trigger runs dry in production" in result.stdout
    assert "dry_run: true" in result.stdout


def test_what_is_not_understood_is_refused(watching):
    """With the server's own words and exit code 1."""
    result = watching.run("policy", "report", "--since", "lately")
    assert result.exit_code == 1
    assert "'lately' is not a duration" in result.stderr

"""`plan` over the API: today's traffic, each stage of the ladder, and a better one."""

import pytest

from tests.server.world import PROMPT
from tests.server.world import world as new_world

AB = """
policy: 1
defaults:
  canary: {stages: [1%, 25%, 100%], hold: 10s, wait_at_most: 1h}
  soak: {required: never}
  ab: {min_time: 30m, min_units: 100, guardrails: {error_rate: 5%, quality: 10%, latency_p99: null}}
"""


@pytest.fixture
def server(tmp_path):
    """v1.9.0 serves everybody under a policy with a gate; v2.0.0 is pushed."""
    path = tmp_path / "policy.yaml"
    path.write_text(AB, encoding="utf-8")
    with new_world(policy=str(path)) as made:
        made.push("v1.9.0")
        made.push("v2.0.0")
        made.promote("v1.9.0")
        yield made


def traffic(server, seconds=30, **row):
    for _ in range(seconds):
        labels = {"quality": {"70": 2, "90": 3}}
        server.report("v1.9.0", 100, units=20, scores=labels, **row)
        server.tick()


def plan(server, status=200, **query):
    return server.get(f"/api/prompts/{PROMPT}/plan", status, **query)


def test_every_stage_says_what_it_needs(server):
    """In calls, and in units for the gate; with a ladder that can work, and how long it takes."""
    traffic(server)
    found = plan(server, version="v2.0.0")
    assert (found["version"], found["serving"]) == ("v2.0.0", "v1.9.0")
    assert found["today"]["calls_per_s"] == pytest.approx(100, rel=0.1)
    assert found["today"]["units_per_day"] == pytest.approx(20 * 86_400, rel=0.1)
    assert [stage["share"] for stage in found["stages"]] == ["1%", "25%", "100%"]
    assert found["stages"][0]["sure_ms"] > found["stages"][1]["sure_ms"] > 0
    assert {need["metric"] for need in found["stages"][1]["gate"]} == {"error_rate", "quality"}
    assert found["stages"][1]["gate_ms"] == 30 * 60_000  # the least time that the policy asks for
    assert found["proposed"][-1]["share_bp"] == 10_000 and found["total_ms"] >= 30 * 60_000
    assert found["lines"][-1].startswith(("proposed", "because"))


def test_no_units_no_gate(server):
    """Who sends no unit is told that the gate would wait for ever."""
    for _ in range(30):
        server.report("v1.9.0", 100)
        server.tick()
    assert any("no calls come with one" in line for line in plan(server)["lines"])


def test_a_rollout_under_way_is_planned_as_it_is(server):
    """Its own ladder, and the traffic of both its arms."""
    traffic(server)
    order = {"prompt": PROMPT, "version": "v2.0.0", "because": "new", "stages": ["10%", "100%"]}
    server.post("/api/promote", **order)
    found = plan(server)
    assert [stage["share"] for stage in found["stages"]] == ["10%", "100%"]
    assert found["serving"] == "v1.9.0"


def test_too_few_calls_are_said_to_be_too_few(server):
    """No stage is made up."""
    server.report("v1.9.0", 7)
    server.tick(3)
    found = plan(server)
    assert found["today"] is None and found["stages"] == [] and found["lines"] == []
    assert found["today_words"].startswith("7 calls in the last")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        pytest.param({"version": "v9"}, 404, "unknown_version", id="no such version"),
        pytest.param({"environment": "moon"}, 404, "unknown_environment", id="no environment"),
        pytest.param({"environment": "staging"}, 422, "bad_request", id="nothing is served"),
    ],
)
def test_what_cannot_be_planned_is_refused(server, query, status, code):
    """With what is known, or what to do first."""
    assert plan(server, status, **query)["error"]["code"] == code

"""Limits that a healthy version passes by chance are named, with what is judged instead."""

from typing import Any

import pytest

from knowngood.core.window import latency_bucket
from knowngood.server.separable import CODE, not_separable
from tests.server.world import PROMPT
from tests.server.world import world as new_world

FAST, SLOW = str(latency_bucket(300)), str(latency_bucket(30_000))


def found(world: Any) -> list[dict[str, Any]]:
    """What is said of the policy in force."""
    return not_separable(world.runtime.desk, world.runtime.desk.policy)


def thresholds(world: Any) -> dict[str, Any]:
    """The doctor's check of it."""
    (check,) = [c for c in world.get("/api/doctor")["checks"] if c["name"] == "thresholds"]
    return dict(check)


def proof_of(world: Any, trigger: str) -> dict[str, Any]:
    """The evidence of a trigger as `explain` gives it."""
    sees = world.get(f"/api/prompts/{PROMPT}/explain")["sees"]
    return dict(next(f["proof"] for f in sees if f["trigger"] == trigger))


def serve(world: Any, seconds: int, bad: int = 0, **row: Any) -> None:
    """v1.9.0 serves a hundred calls a second."""
    for _ in range(seconds):
        world.report("v1.9.0", 100 - bad, **{"errors": {"prompt": bad} if bad else {}, **row})
        world.tick()


@pytest.fixture
def routed(world):
    """A first version that serves everybody, and a second one that was stored."""
    world.push("v1.9.0")
    world.push("v2.0.0")
    world.promote("v1.9.0")
    return world


def test_nothing_is_said_before_anything_is_known(routed):
    """Without a baseline no limit is too close to it: a few calls are none."""
    assert found(routed) == []
    serve(routed, 4, bad=1)
    assert found(routed) == []
    assert thresholds(routed)["verdict"] == "ok"


def test_a_limit_within_the_baseline_s_doubt_is_named(routed):
    """One in a hundred fails as ever: 0.5 % cannot be told from that, 5 % can."""
    serve(routed, 30, bad=1)
    routed.promote("v2.0.0")
    (said,) = [f for f in found(routed) if f["trigger"] == "first_hour.error_rate"]
    assert (said["code"], said["environment"], said["prompt"]) == (CODE, "production", PROMPT)
    assert said["when"] == "error_rate > 0.5%"
    assert said["words"].startswith("errors of 1.0% are normal here, too close to the limit of 0.5")
    assert "error_critical" not in [f["trigger"] for f in found(routed)]


def test_what_is_judged_instead_is_what_explain_says(routed):
    """The raised limit is the same wherever it is said: twice the baseline's upper limit."""
    serve(routed, 30, bad=1)
    routed.promote("v2.0.0")
    routed.live(5, "v2.0.0", ok=20)
    proof = proof_of(routed, "first_hour.error_rate")
    assert proof["separable"] is False and proof["limit"] > 0.005
    (said,) = [f for f in found(routed) if f["trigger"] == "first_hour.error_rate"]
    assert said["words"].endswith(f"{100 * proof['limit']:.1f}% is judged instead")
    assert "separable" not in proof_of(routed, "error_critical")  # what is as usual is left out


def test_the_doctor_warns_of_it_and_nothing_is_broken(routed):
    """A warning that names the prompt, the trigger and the code."""
    serve(routed, 30, bad=1)
    routed.promote("v2.0.0")
    check = thresholds(routed)
    assert check["verdict"] == "warning" and CODE in check["words"]
    assert f"production/{PROMPT} first_hour.error_rate: " in "\n".join(check["detail"])
    assert routed.get("/api/doctor")["ok"]


def test_health_is_what_serves_now(routed):
    """A version that has served enough speaks for itself, before it leaves a baseline behind."""
    serve(routed, 70, bad=1)  # its detectors are kept once a minute
    assert "settled.error_rate" not in [f["trigger"] for f in found(routed)]
    assert [f["trigger"] for f in found(routed)] == ["first_hour.error_rate"]


def test_trouble_is_not_taken_for_health(routed):
    """While an incident is open the failing traffic says nothing about what is normal."""
    serve(routed, 70, bad=4)
    assert routed.get("/api/status")["prompts"][0]["incident"]
    assert found(routed) == []


def test_a_heavy_tail_is_named(routed):
    """Where two calls in a hundred time out as ever, a p99 that rises by a tenth says nothing."""
    serve(routed, 30, bad=2, latency={FAST: 98, SLOW: 2}, errors={"timeout": 2})
    routed.promote("v2.0.0")
    named = {f["trigger"]: f["words"] for f in found(routed)}
    for trigger, rise in (("first_hour.latency_p99", "10.0%"), ("latency_medium", "20.0%")):
        assert f"p99 latency rises by {rise} by chance here" in named[trigger]
        assert "the limit is not judged" in named[trigger]
    routed.live(5, "v2.0.0", ok=20)
    sees = routed.get(f"/api/prompts/{PROMPT}/explain")["sees"]
    medium = next(f for f in sees if f["trigger"] == "latency_medium")
    assert CODE in medium["waiting_on"][0]["words"]


@pytest.mark.parametrize("in_1000", [6, 12])
def test_what_times_out_as_ever_is_no_slower(routed, in_1000):
    """Two versions of which the same few calls time out: nobody is asked about their latency."""

    def calls(version: str, seconds: int) -> None:
        for second in range(seconds):
            late = in_1000 * (second + 1) // 10 - in_1000 * second // 10
            latency = {FAST: 100 - late, SLOW: late} if late else {FAST: 100}
            errors = {"timeout": late} if late else {}
            routed.report(version, 100 - late, latency=latency, errors=errors)
            routed.tick()

    calls("v1.9.0", 150)
    routed.promote("v2.0.0")
    calls("v2.0.0", 400)
    assert "incident.opened" not in routed.kinds()


STRICT = "policy: 1\ndefaults: {triggers: {error_critical: {when: error_rate > 1%}}}\n"


def test_a_policy_is_checked_beside_what_is_seen(routed):
    """Before it is in force: which of its limits a healthy version passes here; nothing changes."""
    serve(routed, 70, bad=1)
    before = routed.runtime.desk.policy.revision
    answer = routed.post("/api/policy/check", policy=STRICT)
    assert answer["ok"] and answer["revision"] != before
    named = {f["trigger"]: f["words"] for f in answer["not_separable"]}
    assert "too close to the limit of 1.0%" in named["error_critical"]
    assert "error_critical" not in [f["trigger"] for f in found(routed)]
    assert routed.runtime.desk.policy.revision == before
    said = routed.refused("/api/policy/check", 422, policy="policy: 1\nfoo: 1\n")
    assert said["code"] == "bad_policy" and "foo" in said["message"]


def test_without_observations_the_doctor_says_that_it_cannot_know(routed, monkeypatch):
    """It warns, and the other checks go on."""

    def fail(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(type(routed.runtime.store.checkpoints), "load", fail)
    check = thresholds(routed)
    assert (check["verdict"], check["words"]) == ("warning", "health cannot be read")
    assert check["detail"] == ["the disk is gone"]


def test_a_limit_without_evidence_is_not_named(tmp_path):
    """Who asked for the plain threshold gets it, too close or not."""
    path = tmp_path / "policy.yaml"
    path.write_text(
        "policy: 1\ndefaults:\n  alerts: {first_hour: null, settled: null}\n  triggers:\n"
        "    error_high: {when: error_rate > 1%, evidence: none, min_requests: 50}\n",
        encoding="utf-8",
    )
    with new_world(policy=str(path)) as world:
        world.push("v1.9.0")
        world.promote("v1.9.0")
        serve(world, 70, bad=1)
        assert found(world) == []

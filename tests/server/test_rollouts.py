"""Rollouts over the API: climbed by the engine, held by people, refused by gates."""

import json

import pytest

from knowngood.engine import reconcile
from knowngood.server import act, rollouts
from tests.server.world import PROMPT
from tests.server.world import world as new_world

SHORT = """
policy: 1
defaults:
  canary: {stages: [1%, 25%, 100%], hold: 10s, wait_at_most: 1m}
  bake: {for: 20s, holdback: 5%}
  gradual: {stages: [50%, 0%], hold: 10s, pause_above: error_rate > 2%}
  soak: {for: 1h, min_calls: 100}
  evaluations: [{suite: accuracy, at_least: 75%}]
"""
NO_EVALUATION = SHORT.replace("  evaluations: [{suite: accuracy, at_least: 75%}]\n", "")


@pytest.fixture
def start(tmp_path):
    """A server under a policy, v1.9.0 known good and v2.0.0 pushed."""
    worlds = []

    def begin(policy=NO_EVALUATION):
        path = tmp_path / "policy.yaml"
        path.write_text(policy, encoding="utf-8")
        worlds.append(new_world(policy=str(path)))
        world = worlds[-1].__enter__()
        world.push("v1.9.0")
        world.push("v2.0.0")
        world.promote("v1.9.0", override=["evaluation"])
        return world

    yield begin
    for context in worlds:
        context.__exit__(None, None, None)


def climb(world, **body):
    """Promote v2.0.0 as people do who say nothing else."""
    order = {"prompt": PROMPT, "version": "v2.0.0", "because": "new", **body}
    return world.post("/api/promote", **order)


def refused(world, **body):
    """The error of such a promotion."""
    order = {"prompt": PROMPT, "version": "v2.0.0", "because": "new", **body}
    return world.refused("/api/promote", 409, **order)


def serve(world, seconds, versions=("v1.9.0", "v2.0.0"), bad=0):
    """Both versions are called, a second at a time, and the engine ticks."""
    for _ in range(seconds):
        for version in versions:
            failing = bad if version == "v2.0.0" else 0
            world.report(version, 20 - failing, failing)
        world.clock.ms += 1_000
        world.runtime.heart.beat()


def shares(world):
    """What v2.0.0 was given, from the history."""
    entries = world.get("/api/audit", prompt=PROMPT, limit=500)["entries"]
    return [e["detail"]["share_bp"] for e in entries if e["kind"] == "rollout.stage"]


def rollout(world):
    """What `explain` says of the rollout."""
    return world.get(f"/api/prompts/{PROMPT}/explain")["state"]["rollout"]


def test_a_promotion_climbs_bakes_and_ends(start):
    """1, 25 and all but the holdback; then everybody has it, and it is known good."""
    world = start()
    answer = climb(world)
    assert answer["route"] == "v1.9.0 99% + v2.0.0 1%"
    assert rollout(world)["stages_bp"] == [100, 2_500, 10_000]
    serve(world, 24)
    assert shares(world) == [2_500, 10_000]
    assert rollout(world)["is_baking"] and world.state().route.weight_bp("v2.0.0") == 9_500
    serve(world, 24)
    assert rollout(world) is None
    assert world.state().standing("v2.0.0") == "good"


def test_explain_shows_the_gates(start):
    """Each with its answer and its reason, and what is waited on."""
    world = start()
    climb(world)
    serve(world, 8)
    gates = {gate["name"]: gate for gate in rollout(world)["gates"]}
    assert gates["time"]["answer"] == "not_yet" and "left" in gates["time"]["because"]
    assert gates["errors"]["answer"] == "allow"
    assert gates["time"]["waiting_on"][0]["kind"] == "stage_time"
    status = world.get("/api/status")["prompts"][0]
    assert status["phase"] == "canary of v2.0.0: [1%] -> 25% -> 100%"


def test_a_breach_on_the_way_up_rolls_back(start):
    """Whoever had it goes back, and nothing of the rollout is left."""
    world = start()
    climb(world)
    serve(world, 12)
    serve(world, 12, bad=10)
    assert "rollback.switched" in world.kinds() and rollout(world) is None


def test_people_hold_it_and_change_it(start):
    """Pause, resume, another plan, skip and abort: each answers with the rollout as it is now."""
    world = start()
    climb(world, stages=["5%", "50%", "100%"], hold="5s")
    order = {"prompt": PROMPT, "because": "lunch"}
    paused = world.post("/api/rollouts/pause", **order)
    assert paused["rollout"]["paused"]["because"] == "lunch"
    serve(world, 10)
    assert shares(world) == []
    assert world.post("/api/rollouts/resume", **order)["rollout"]["paused"] is None
    plan = world.post("/api/rollouts/plan", stages=["10%", "100%"], **order)
    assert plan["rollout"]["stages_bp"] == [500, 1_000, 10_000]
    assert world.post("/api/rollouts/skip", **order)["route"] == "v1.9.0 90% + v2.0.0 10%"
    assert world.post("/api/rollouts/abort", **order)["route"] == "v1.9.0 100%"
    for verb in ("pause", "resume", "skip", "abort"):
        error = world.refused(f"/api/rollouts/{verb}", 409, **order)
        assert error["code"] == "no_rollout" and "status" in error["next"]


def test_a_dry_run_changes_nothing(start):
    """It says what would be done."""
    world = start()
    climb(world)
    before = world.state()
    answer = world.post("/api/rollouts/skip", prompt=PROMPT, because="?", dry_run=True)
    assert answer["dry_run"] and any("25%" in words for words in answer["did"])
    assert world.state() == before


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"stages": ["5%", "1%", "100%"]}, "do not rise"),
        ({"stages": ["5%", "5%", "100%"]}, "there twice"),
        ({"stages": ["5%", "120%"]}, "not between 0% and 100%"),
        ({"stages": ["5%"]}, "the last stage is 5%"),
        ({"stages": ["5%", "100%"], "hold": "soon"}, "duration"),
        ({"now": True, "stages": ["5%", "100%"]}, "leaves no stages"),
        ({"stages": ["5%", "100%"], "hold": "2h", "wait_at_most": "1h"}, "held longer"),
    ],
)
def test_a_ladder_that_is_none(start, body, words):
    """422 with what is wrong; nothing is half-done."""
    world = start()
    before = world.state()
    order = {"prompt": PROMPT, "version": "v2.0.0", "because": "new", **body}
    assert words in world.refused("/api/promote", 422, **order)["message"]
    assert world.state() == before


@pytest.mark.parametrize(
    "body",
    [{}, {"stages": ["5%", "100%"]}, {"now": True}, {"dry_run": True}, {"override": ["freeze"]}],
)
def test_a_canary_of_what_serves_everybody_is_refused(start, body):
    """409 already_served: since when it does, and what to do next; nothing is changed."""
    world = start()
    before = world.state()
    order = {"prompt": PROMPT, "version": "v1.9.0", "because": "again", **body}
    error = world.refused("/api/promote", 409, **order)
    assert error["code"] == "already_served" and "v1.9.0 serves everybody" in error["message"]
    assert "already, since 20" in error["message"] and "knowngood rollback" in error["next"]
    assert world.state() == before


def test_a_canary_of_the_control_is_refused(start):
    """It is what the new one is held against."""
    world = start()
    climb(world)
    order = {"prompt": PROMPT, "version": "v1.9.0", "because": "back"}
    error = world.refused("/api/promote", 422, **order)
    assert "tried against" in error["message"] and "abort" in error["next"]


def test_one_rollout_at_a_time(start):
    """The second promotion names what ends the first."""
    world = start()
    world.push("v3.0.0")
    climb(world)
    error = refused(world, version="v3.0.0")
    assert error["code"] == "in_progress" and f"knowngood skip {PROMPT}" in error["next"]
    assert climb(world, version="v3.0.0", override=["in_progress"])["outcome"] == "changed"


# --- Gates


def test_a_version_has_to_soak_where_versions_soak(start):
    """Once the prompt is served on staging, production waits for an hour and a hundred calls."""
    world = start()
    world.promote("v1.9.0", environment="staging")
    error = refused(world)
    assert error["code"] == "gate_closed" and error["known"] == ["soak"]
    assert "never served on staging" in error["message"] and "--override soak" in error["next"]
    assert world.promote("v2.0.0", environment="staging", now=False)["route"] == "v2.0.0 100%"
    assert "of 1 h without a breach" in refused(world)["message"]
    world.clock.ms += 3_600_000
    assert "0 of 100 calls" in refused(world)["message"]
    for _ in range(6):
        world.report("v2.0.0", 20, 0, environment="staging")
        world.clock.ms += 1_000
        world.runtime.heart.beat()
    assert climb(world)["outcome"] == "changed"


def test_a_gate_can_be_overridden_with_a_reason(start):
    """The history says which, and how all of them stood."""
    world = start()
    world.promote("v1.9.0", environment="staging")
    climb(world, override=["soak"], because="a fix for an incident")
    moved = [e for e in world.get("/api/audit", limit=500)["entries"] if e["kind"] == "route.moved"]
    detail = moved[-1]["detail"]
    assert detail["override"] == ["soak"]
    assert {"name": "soak", "answer": "deny"}.items() <= detail["gates"][3].items()


def test_an_evaluation_is_asked_for(start):
    """75 % accuracy, recorded: without it, not yet; below it, denied."""
    world = start(SHORT)
    assert "none is recorded" in refused(world)["message"]
    record = {"prompt": PROMPT, "version": "v2.0.0", "suite": "accuracy"}
    world.post("/api/evaluations", 201, passed=70, failed=30, **record)
    assert "70.0% < 75%" in refused(world)["message"]
    world.post("/api/evaluations", 201, passed=80, failed=20, **record)
    gates = world.get(f"/api/prompts/{PROMPT}/gates", version="v2.0.0")
    assert gates["is_open"] and gates["stage"] == []
    climb(world)
    gates = world.get(f"/api/prompts/{PROMPT}/gates", version="v2.0.0")
    assert not gates["is_open"] and gates["stage"][0]["name"] == "pause"


def test_a_target_that_failed_its_evaluation_is_refused(start):
    """With the good ones that there are, and the way to insist."""
    world = start(SHORT)
    world.promote("v2.0.0", override=["evaluation", "in_progress"])
    record = {"prompt": PROMPT, "version": "v1.9.0", "suite": "accuracy"}
    world.post("/api/evaluations", 201, passed=10, failed=30, **record)
    order = {"prompt": PROMPT, "target_version": "v1.9.0"}
    error = world.refused("/api/rollback", 409, **order)
    assert error["code"] == "target_evaluation" and "25.0% < 75%" in error["message"]
    assert world.post("/api/rollback", override=["target_evaluation"], **order)["success"]


# --- Back down


def test_a_gradual_rollback(start):
    """Half, then everybody; verified like any other, and it can be made instant."""
    world = start()
    world.promote("v2.0.0")
    answer = world.post("/api/rollback", prompt=PROMPT, gradual=True, because="a bit slower")
    assert (answer["outcome"], answer["to_version"]) == ("gradual", "v1.9.0")
    assert answer["id"] is not None
    assert world.state().route.weight_bp("v2.0.0") == 5_000
    serve(world, 20)
    assert (
        "rollback.completed" in world.kinds() and world.state().route.weight_bp("v1.9.0") == 10_000
    )
    serve(world, 10, versions=("v1.9.0",))
    assert "rollback.verified" in world.kinds()


def test_only_a_gradual_rollback_has_stages(start):
    """A misunderstanding at three in the morning is refused, not guessed at."""
    world = start()
    world.promote("v2.0.0")
    error = world.refused("/api/rollback", 422, prompt=PROMPT, stages=["50%", "0%"])
    assert "only a gradual rollback" in error["message"]
    order = {"prompt": PROMPT, "gradual": True}
    assert (
        "do not fall"
        in world.refused("/api/rollback", 422, stages=["50%", "60%", "0%"], **order)["message"]
    )


def test_promote_and_rollback_racing(start):
    """Whoever comes second sees what the first did: the rollback wins either way."""
    world = start()
    world.promote("v2.0.0")
    seen = world.state().revision
    climb(world, version="v1.9.0", now=True, override=["in_progress"])
    stale = {"prompt": PROMPT, "target_version": "v1.9.0", "revision": seen}
    assert world.refused("/api/rollback", 409, **stale)["code"] == "stale_state"
    world.promote("v2.0.0")
    world.post("/api/rollback", prompt=PROMPT)
    error = refused(world, override=["quarantined"])
    assert error["code"] == "in_progress" and "being verified" in error["message"]


# --- A change freeze that begins while an order is on its way

SALE = {"from": "2026-01-01T00:10Z", "until": "2026-01-02T00:00Z", "because": "the sale"}
FROZEN_SOON = NO_EVALUATION + f"  freeze: [{json.dumps(SALE)}]\n"


def held_for(monkeypatch, world, name, module=rollouts, ms=700_000):
    """Whoever calls this function of a module is held for so long right after it."""
    real = getattr(module, name)

    def late(*given, **named):
        found = real(*given, **named)
        world.clock.ms += ms
        return found

    monkeypatch.setattr(module, name, late)


def test_a_promotion_that_comes_late_does_not_land_in_a_freeze(start, monkeypatch):
    """Its gates were open when they were asked; by the time it would be written they are not."""
    world = start(FROZEN_SOON)
    before = world.state()
    held_for(monkeypatch, world, "_refuse")
    error = refused(world)
    assert error["code"] == "stale_state" and "a change freeze of" in error["message"]
    assert world.state() == before
    monkeypatch.undo()
    assert refused(world)["code"] == "gate_closed"


def test_a_promotion_that_overrides_the_freeze_may_be_late(start, monkeypatch):
    """Whoever insists is not held by the clock."""
    world = start(FROZEN_SOON)
    held_for(monkeypatch, world, "_refuse")
    assert climb(world, override=["freeze"])["outcome"] == "changed"


def test_a_stage_that_is_put_in_force_late_does_not_land_in_a_freeze(start, monkeypatch):
    """An engine is held between its decision and the write; then the gate says so."""
    world = start(FROZEN_SOON)
    climb(world)
    serve(world, 9)
    held_for(monkeypatch, world, "changes", reconcile)
    serve(world, 6)
    monkeypatch.undo()
    serve(world, 3)
    assert "rollout.stage" not in world.kinds()
    assert world.state().route.weight_bp("v2.0.0") == 100
    gates = world.get(f"/api/prompts/{PROMPT}/gates", version="v2.0.0")["stage"]
    assert {g["name"]: g["answer"] for g in gates}["freeze"] == "not_yet"


def test_a_stage_that_is_skipped_late_does_not_land_in_a_freeze(start, monkeypatch):
    """Who skipped before the sale did not say what they think of the sale; within it they may."""
    world = start(FROZEN_SOON)
    climb(world)
    held_for(monkeypatch, world, "case_of")
    error = world.refused("/api/rollouts/skip", 409, prompt=PROMPT, because="we are sure")
    assert error["code"] == "stale_state" and "a change freeze of" in error["message"]
    assert world.state().route.weight_bp("v2.0.0") == 100
    monkeypatch.undo()
    skipped = world.post("/api/rollouts/skip", prompt=PROMPT, because="the sale needs it")
    assert skipped["outcome"] == "changed" and world.state().route.weight_bp("v2.0.0") > 100


def test_a_gradual_rollback_is_skipped_on_however_late(start, monkeypatch):
    """It takes a bad version off: no freeze stands in its way."""
    world = start(FROZEN_SOON)
    world.promote("v2.0.0", override=["in_progress", "soak", "evaluation"])
    world.post("/api/rollback", prompt=PROMPT, because="bad", gradual=True)
    held_for(monkeypatch, world, "case_of")
    assert world.post("/api/rollouts/skip", prompt=PROMPT, because="faster")["outcome"] == "changed"


def test_a_rollback_is_held_by_no_freeze_however_late(start, monkeypatch):
    """It is protective: a freeze never stands in its way."""
    world = start(FROZEN_SOON)
    climb(world)
    order = {"prompt": PROMPT, "because": "bad"}
    held_for(monkeypatch, world, "check_ask", act)
    assert world.post("/api/rollback", **order)["outcome"] == "switched"

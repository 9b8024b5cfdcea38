"""What dry runs would have done, in hindsight, and when a trigger is ready to act on its own."""

from typing import Any

import pytest

from knowngood.core.rate_bound import WEEK_MS, most_per_week
from knowngood.server import dryrun
from tests.server.world import PROMPT
from tests.server.world import world as new_world

DAY_MS = 24 * 3_600_000
HOUR_MS = 3_600_000
ALONE = """
policy: 1
defaults:
  triggers:
    error_critical: {dry_run: true}
    error_high: null
"""
BESIDE = ALONE.replace("    error_high: null\n", "")


@pytest.fixture
def start(tmp_path):
    """A server under a policy, with v1.9.0 known good and v2.0.0 deployed over it."""
    worlds: list[Any] = []

    def begin(policy=ALONE, route=True, **settings):
        path = tmp_path / f"policy-{len(worlds)}.yaml"
        path.write_text(policy, encoding="utf-8")
        context = new_world(policy=str(path), **settings)
        world = context.__enter__()
        worlds.append(context)
        if route:
            world.route_two()
        return world

    yield begin
    for context in reversed(worlds):
        context.__exit__(None, None, None)


def row_of(world, **query):
    (row,) = world.get("/api/policy/report", **query)["triggers"]
    return row


def fail(world, version="v2.0.0"):
    """Half a minute in which every call fails: long enough for any evidence."""
    world.live(30, version, 0, 30)


def day(world, version, ok=5):
    """Another day, on which something was called."""
    world.clock.ms += DAY_MS - 5_000
    world.live(5, version, ok)


def test_without_dry_runs_there_is_nothing_to_report(start):
    """A policy that acts needs no report."""
    world = start("policy: 1\n")
    assert world.get("/api/policy/report")["triggers"] == []


def test_what_a_trigger_would_have_done(start):
    """When, about which version, and why; nothing was moved."""
    world = start()
    world.live(30, "v2.0.0", 30)
    fail(world)
    row = row_of(world)
    assert (row["prompt"], row["trigger"], row["action"]) == (PROMPT, "error_critical", "rollback")
    assert row["when"] == "error_rate > 5%"
    assert row["acted_count"] == row["pending_count"] == 1
    (act,) = row["acts"]
    assert act["version"] == "v2.0.0"
    assert act["because"].startswith("would rollback: errors ")
    assert world.get(f"/api/audit/{act['id']}")["kind"] == "dry_run"
    assert world.get("/api/status", prompt=PROMPT)["prompts"][0]["route"] == "v2.0.0 100%"


def test_a_person_s_rollback_proves_it_right(start):
    """Within a day of the would-be action; the words say who and when."""
    world = start()
    fail(world)
    world.tick(60)
    world.post("/api/rollback", prompt=PROMPT, because="it fails")
    row = row_of(world)
    assert (row["right_count"], row["wrong_count"], row["pending_count"]) == (1, 0, 0)
    assert row["acts"][0]["words"].startswith("rolled back by api (unverified) 1 min")


def test_going_back_by_hand_proves_it_right(start):
    """Whoever promotes a version that served before takes the other one back."""
    world = start()
    fail(world)
    world.promote("v1.9.0")
    assert row_of(world)["acts"][0]["words"].startswith("api (unverified) went back to v1.9.0")


def test_going_on_to_a_newer_version_proves_nothing(start):
    """A next deploy is what happens every day."""
    world = start()
    fail(world)
    world.push("v3.0.0")
    world.promote("v3.0.0")
    assert row_of(world)["pending_count"] == 1


@pytest.mark.parametrize("after_ms", [DAY_MS + 60_000, 3 * DAY_MS])
def test_what_nobody_else_saw_in_a_day_was_wrong(start, after_ms):
    """A rollback that comes later is of something else."""
    world = start()
    fail(world)
    world.clock.ms += after_ms
    world.post("/api/rollback", prompt=PROMPT, because="another story")
    row = row_of(world)
    assert (row["right_count"], row["wrong_count"]) == (0, 1)
    assert row["acts"][0]["words"] == "nobody else saw harm"


def test_an_incident_that_stays_open_proves_it_right(start):
    """Another trigger found it as well, and it did not go away."""
    world = start(BESIDE)
    fail(world)
    assert "incident.opened" in world.kinds()
    assert row_of(world)["pending_count"] == 1
    world.clock.ms += HOUR_MS
    world.tick()
    row = row_of(world)
    assert row["right_count"] == 1
    assert "was open for" in row["acts"][0]["words"]


def test_an_incident_of_a_blip_proves_nothing(start):
    """What resolved by itself, one window after it, was no reason to roll back."""
    world = start(BESIDE.replace("defaults:", "defaults:\n  window: 30s"))
    fail(world)
    for _ in range(300):
        world.live(1, "v2.0.0", 60)
        if "incident.resolved" in world.kinds():
            break
    assert "incident.resolved" in world.kinds()
    world.clock.ms += DAY_MS
    assert row_of(world)["wrong_count"] == 1


# --- Advice


def test_three_weeks_of_calls_without_a_wrong_one_are_enough(start):
    """Until then the advice says what is missing; the limit is the report's own constant."""
    world = start()
    assert most_per_week(0, 3 * WEEK_MS) < dryrun.WRONG_PER_WEEK_MAX < most_per_week(0, 2 * WEEK_MS)
    for number in range(22):
        row = row_of(world)
        assert row["days_watched"] == pytest.approx(number, abs=0.01)
        assert row["ready"] == (number >= 21)
        if number == 20:
            assert row["words"].startswith("not yet: none wrong in 20.0 days with calls")
        day(world, "v2.0.0")
    row = row_of(world)
    assert row["words"].startswith("ready to graduate: none wrong in 22.0 days with calls")
    assert "it has not shown yet that it finds harm" in row["words"]


def test_days_without_calls_prove_nothing(start):
    """A trigger that had nothing to judge was not watched."""
    world = start()
    day(world, "v2.0.0")
    world.clock.ms += 28 * DAY_MS
    world.tick()
    row = row_of(world)
    assert row["days_watched"] == pytest.approx(1, abs=0.01)
    assert not row["ready"]


def test_more_wrong_than_right_is_not_ready(start):
    """However long it was watched."""
    world = start()
    fail(world)
    for _ in range(60):
        day(world, "v2.0.0")
    row = row_of(world, since="90d")
    assert row["wrong_per_week_at_most"] < dryrun.WRONG_PER_WEEK_MAX
    assert row["words"] == "not yet: wrong 1 time, right 0 times"


def test_what_found_harm_is_ready_sooner_or_later(start):
    """Right and never wrong, for three weeks."""
    world = start()
    fail(world)
    world.post("/api/rollback", prompt=PROMPT, because="it fails")
    for _ in range(22):
        day(world, "v1.9.0")
    row = row_of(world)
    assert row["ready"]
    assert "it found harm" in row["words"]


def test_a_changed_trigger_begins_anew(start, tmp_path):
    """What another limit would have done says nothing of this one; an unknown past counts not."""
    db = str(tmp_path / "kg.db")
    first = start(db=db)
    fail(first)
    for _ in range(5):
        day(first, "v2.0.0")
    changed = ALONE.replace("dry_run: true", "dry_run: true, when: error_rate > 6%")
    second = start(changed, route=False, db=db)
    second.clock.ms = first.clock.ms + 1_000
    row = row_of(second)
    assert (row["since"], row["acted_count"], row["ready"]) == (None, 0, False)
    assert "no line yet" in row["words"]
    second.push("v3.0.0")
    second.promote("v3.0.0")
    assert row_of(second)["since_ms"] == second.clock.ms
    same = start(route=False, db=db)
    same.clock.ms = second.clock.ms + 1_000
    assert row_of(same)["since"] is None


def test_another_change_of_the_policy_does_not(start, tmp_path):
    """As long as the trigger itself is as it was."""
    db = str(tmp_path / "kg.db")
    first = start(db=db)
    fail(first)
    second = start(ALONE + "  flap: {cooldown: 30m}\n", route=False, db=db)
    second.clock.ms = first.clock.ms + DAY_MS
    second.post("/api/rollback", prompt=PROMPT, because="it fails")
    row = row_of(second)
    assert row["since_ms"] < first.clock.ms
    assert row["acted_count"] == 1


# --- Limits


def test_one_prompt_or_all(start, monkeypatch):
    """By name there is always an answer; of all, as many as can be looked at."""
    world = start()
    path = "/api/prompts/other/versions"
    world.post(path, 201, version="v1", text="hi")
    world.post("/api/promote", prompt="other", version="v1", because="first")
    rows = world.get("/api/policy/report")["triggers"]
    assert [row["prompt"] for row in rows] == [PROMPT, "other"]
    assert row_of(world, prompt="other")["prompt"] == "other"
    monkeypatch.setattr(dryrun, "PROMPTS_MAX", 1)
    answer = world.get("/api/policy/report")
    assert (len(answer["triggers"]), answer["unread_count"]) == (1, 1)


def test_a_history_that_is_too_long_shortens_the_time_that_counts(start, monkeypatch):
    """What was not read is not claimed."""
    world = start()
    fail(world)
    monkeypatch.setattr(dryrun, "LINES_MAX", 2)
    world.tick(60)
    world.post("/api/rollback", prompt=PROMPT, because="it fails")
    answer = world.get("/api/policy/report")
    assert answer["from_ms"] == world.clock.ms
    assert answer["triggers"][0]["acted_count"] == 0


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"environment": "moon"}, 404),
        ({"prompt": "nobody"}, 404),
        ({"since": "a while"}, 422),
    ],
)
def test_what_does_not_exist_is_refused(start, query, status):
    """With what exists."""
    start().get("/api/policy/report", status, **query)

"""Orders: carried out whole, recorded, thought over when somebody else was quicker."""

import threading
from typing import Any

import pytest

from knowngood.core.errors import KnowngoodError, StaleState
from knowngood.core.model import FLEET
from knowngood.server import act
from knowngood.server.act import Ask
from knowngood.server.desk import LEFT_BEHIND_MAX, within
from tests.server.world import PROMPT

ROLLBACK = "/api/rollback"


def entry(world, entry_id):
    return world.get(f"/api/audit/{entry_id}")


def state_of(world, environment="production", prompt=PROMPT):
    return world.runtime.store.states.get(environment, prompt)


# --- Rollback


def test_the_answer_of_a_rollback_is_the_articles(world):
    """Its fields, and the id of the entry in the history."""
    world.route_two()
    done = world.post(ROLLBACK, prompt=PROMPT, target_version="v1.9.0")
    switched = entry(world, done["id"])
    assert done == {
        "success": True,
        "id": done["id"],
        "from_version": "v2.0.0",
        "to_version": "v1.9.0",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "generation": 3,
        "outcome": "switched",
    }
    assert (switched["kind"], switched["because"]) == (
        "rollback.switched",
        "manual rollback via API",
    )
    assert switched["generation"] == 3 and switched["revision"] == 3


def test_a_target_that_serves_everybody_already_is_unchanged(world):
    """200, and nothing is written."""
    world.route_two()
    world.post(ROLLBACK, prompt=PROMPT)
    before = world.kinds()
    done = world.post(ROLLBACK, prompt=PROMPT, target_version="v1.9.0")
    assert (done["outcome"], done["id"], done["generation"]) == ("unchanged", None, 3)
    assert (done["from_version"], done["to_version"]) == ("v1.9.0", "v1.9.0")
    assert world.kinds() == before


def test_a_rollback_that_is_asked_for_again_goes_no_further_back(world):
    """An answer was lost, or two people were at it: one change of the route (P2)."""
    world.push("v1.8.0")
    world.promote("v1.8.0")
    world.clock.ms += 1_000
    world.route_two()
    world.post("/api/vouch", prompt=PROMPT, version="v1.9.0", because="good for a year")
    for outcome in ("switched", "unchanged", "unchanged"):
        done = world.post(ROLLBACK, prompt=PROMPT)
        assert (done["outcome"], done["to_version"]) == (outcome, "v1.9.0")
    named = world.post(ROLLBACK, prompt=PROMPT, target_version="v1.8.0")
    assert (named["outcome"], named["from_version"]) == ("switched", "v1.9.0")


@pytest.mark.parametrize(
    "names",
    [
        {"prompt": f"{PROMPT}:v1.9.0"},
        {"prompt": PROMPT, "target_version": f"{PROMPT}:v1.9.0"},
        {"prompt": f"{PROMPT}:v1.9.0", "target_version": "v1.9.0"},
        {"prompt": PROMPT},
    ],
)
def test_a_version_has_a_long_name_too(world, names):
    """`name:version` wherever a version is named."""
    world.route_two()
    assert world.post(ROLLBACK, **names)["to_version"] == "v1.9.0"


@pytest.mark.parametrize(
    "names",
    [
        {"prompt": PROMPT, "target_version": "other:v1.9.0"},
        {"prompt": f"{PROMPT}:v2.0.0", "target_version": "v1.9.0"},
    ],
)
def test_names_that_contradict_each_other_are_refused(world, names):
    """422 instead of a guess."""
    world.route_two()
    assert world.refused(ROLLBACK, 422, **names)["code"] == "bad_request"


def test_confirm_aborts_when_nothing_is_found_wrong(world):
    """409 not_confirmed, and nothing is changed; with a breach it goes through."""
    world.route_two()
    world.live(30, "v2.0.0", ok=20)
    error = world.refused(ROLLBACK, 409, prompt=PROMPT, confirm=True)
    assert error["code"] == "not_confirmed"
    assert state_of(world).route.control.version == "v2.0.0"
    world.post("/api/automation", state="off", because="by hand", **{"for": "1h"})
    world.live(20, "v2.0.0", ok=10, bad=10)
    done = world.post(ROLLBACK, prompt=PROMPT, confirm=True)
    assert done["outcome"] == "switched"
    requested = next(
        e
        for e in world.get("/api/audit", prompt=PROMPT)["entries"]
        if e["kind"] == "rollback.requested"
    )
    assert "errors" in requested["because"] and requested["detail"]["findings"]


def test_a_rehearsal_changes_nothing(world):
    """`dry_run` says what would be done."""
    world.route_two()
    before, revision = world.kinds(), state_of(world).revision
    done = world.post(ROLLBACK, prompt=PROMPT, dry_run=True)
    assert (done["outcome"], done["id"], done["dry_run"]) == ("would_switch", None, True)
    assert "serve v1.9.0 100%" in done["would"]
    assert done["generation"] == 3
    assert (world.kinds(), state_of(world).revision) == (before, revision)
    assert world.get("/api/environments")["environments"][0]["generation"] == 2


def test_a_rollback_without_quarantine_leaves_a_candidate(world):
    """`quarantine: false` is --no-quarantine."""
    world.route_two()
    world.post(ROLLBACK, prompt=PROMPT, quarantine=False)
    assert state_of(world).standing("v2.0.0") == "candidate"


class Broken:
    """Observations whose disk is gone."""

    def __getattr__(self, name):
        def fail(*args, **kwargs):
            raise KnowngoodError("the disk of the observations is gone")

        return fail


class Hanging:
    """Observations that never answer, until the test is over."""

    def __init__(self):
        self.over = threading.Event()

    def __getattr__(self, name):
        def hang(*args, **kwargs):
            self.over.wait(30)
            raise KnowngoodError("too late")

        return hang


@pytest.fixture
def no_metrics(world, monkeypatch):
    """The observations fail from here on; the control store is sound."""
    world.route_two()
    store = world.runtime.store
    broken = Broken()
    for place, name in (
        (store.series, "read"),
        (store.series, "touched"),
        (store.clients, "clients"),
    ):
        monkeypatch.setattr(place, name, getattr(broken, name))
    return world


def test_a_rollback_needs_the_control_store_only(no_metrics):
    """Without any evidence it happens all the same, and its record says so (R13)."""
    done = no_metrics.post(ROLLBACK, prompt=PROMPT)
    assert done["outcome"] == "switched"
    lines = no_metrics.get("/api/audit", prompt=PROMPT)["entries"]
    requested = next(line for line in lines if line["kind"] == "rollback.requested")
    assert "evidence unavailable: the disk" in requested["because"]
    assert requested["detail"]["evidence_unavailable"] == "the disk of the observations is gone"
    assert "nothing was found wrong" not in requested["because"]


def test_without_evidence_nothing_is_confirmed(no_metrics):
    """`confirm` aborts: blind is not bad, and not good either."""
    error = no_metrics.refused(ROLLBACK, 409, prompt=PROMPT, confirm=True)
    assert error["code"] == "not_confirmed" and "unavailable" in error["message"]
    assert state_of(no_metrics).route.control.version == "v2.0.0"


def test_a_promotion_needs_no_evidence_either(no_metrics):
    """The baseline is a favour to the future, not a condition."""
    no_metrics.push("v3")
    no_metrics.post(ROLLBACK, prompt=PROMPT)
    assert no_metrics.promote("v3", override=["in_progress"])["outcome"] == "changed"


def test_a_rollback_does_not_wait_for_evidence_that_hangs(world, monkeypatch):
    """Evidence is for the record; it has two seconds."""
    world.route_two()
    hanging = Hanging()
    monkeypatch.setattr(act, "EVIDENCE_WAIT_S", 0.05)
    monkeypatch.setattr(world.runtime.store.series, "read", hanging.read)
    try:
        assert world.post(ROLLBACK, prompt=PROMPT)["outcome"] == "switched"
        lines = world.get("/api/audit", prompt=PROMPT)["entries"]
        assert any("evidence unavailable: no answer" in line["because"] for line in lines)
    finally:
        hanging.over.set()


# --- Promotions and routes


def test_a_known_good_version_leaves_its_healthy_day_behind(world):
    """The baseline that later versions, and a rollback to it, are held against."""
    world.push("v1.9.0")
    world.push("v2.0.0")
    world.promote("v1.9.0")
    world.live(10, "v1.9.0", ok=20)
    world.promote("v2.0.0")
    frozen = state_of(world).entry("v1.9.0").baseline
    assert frozen is not None and frozen.ok == 200


def test_a_split_leaves_it_too_and_a_further_step_does_not(world):
    """It is frozen when the version leaves the whole of the traffic."""
    world.push("v1.9.0")
    world.push("v2.0.0")
    world.promote("v1.9.0")
    world.live(5, "v1.9.0", ok=20)
    arms = [{"version": "v1.9.0", "weight_bp": 9500}, {"version": "v2.0.0", "weight_bp": 500}]
    world.post("/api/route", prompt=PROMPT, arms=arms, because="try")
    assert state_of(world).entry("v1.9.0").baseline.ok == 100
    world.live(5, "v1.9.0", ok=20)
    arms = [{"version": "v1.9.0", "weight_bp": 5000}, {"version": "v2.0.0", "weight_bp": 5000}]
    world.post("/api/route", prompt=PROMPT, arms=arms, because="more")
    assert state_of(world).entry("v1.9.0").baseline.ok == 100


def test_a_version_under_suspicion_leaves_no_baseline(world):
    """A sick day is nothing to hold others against."""
    world.push("v1.9.0")
    world.push("v2.0.0")
    world.promote("v1.9.0")
    world.live(20, "v1.9.0", ok=10, bad=10)
    assert state_of(world).incident is not None
    world.promote("v2.0.0", override=["in_progress"])
    assert state_of(world).entry("v1.9.0").baseline is None


def test_of_two_arms_the_one_that_serves_is_the_control(world):
    """In whatever order they are named: the newcomer is the one on trial."""
    world.push("v1.9.0")
    world.push("v2.0.0")
    world.promote("v1.9.0")
    for arms in ([("v2.0.0", 500), ("v1.9.0", 9500)], [("v1.9.0", 9000), ("v2.0.0", 1000)]):
        listed = [{"version": version, "weight_bp": bp} for version, bp in arms]
        done = world.post("/api/route", prompt=PROMPT, arms=listed, because="try")
        assert [arm["version"] for arm in done["arms"]] == ["v1.9.0", "v2.0.0"]
    salt = state_of(world).route.salt
    listed = [{"version": "v2.0.0", "weight_bp": 5000}, {"version": "v1.9.0", "weight_bp": 5000}]
    world.post("/api/route", prompt=PROMPT, arms=listed, because="more")
    assert state_of(world).route.salt == salt


def test_the_same_promotion_again_is_a_conflict(world):
    """A script that is run twice is told so, and nothing is changed; on staging as well."""
    world.route_two()
    body = {"prompt": PROMPT, "version": "v2.0.0", "because": "again"}
    before = state_of(world)
    error = world.refused("/api/promote", 409, **body)
    assert error["code"] == "already_served" and "it bakes" in error["message"]
    assert state_of(world) == before
    world.promote("v2.0.0", environment="staging")
    error = world.refused("/api/promote", 409, environment="staging", **body)
    assert "in staging already" in error["message"] and "--env staging" in error["next"]


def test_a_promotion_during_a_verification_needs_an_override(world):
    """409 in_progress, naming what is under way."""
    world.route_two()
    world.push("v3")
    world.post(ROLLBACK, prompt=PROMPT)
    body = {"prompt": PROMPT, "version": "v3", "because": "hot fix"}
    error = world.refused("/api/promote", 409, **body)
    assert error["code"] == "in_progress" and "v2.0.0 -> v1.9.0" in error["message"]
    assert world.promote("v3", override=["in_progress"])["route"] == "v3 100%"


def test_an_order_says_what_it_did(world):
    """Before and after, the revision, and the line of history."""
    world.push("v1.9.0")
    done = world.promote("v1.9.0")
    assert (done["from_route"], done["route"]) == ("no route", "v1.9.0 100%")
    assert (done["revision"], done["generation"]) == (1, 1)
    assert entry(world, done["id"])["kind"] == "route.moved"


# --- The ledger


def test_vouching_makes_a_target(world):
    """By a person's word, recorded."""
    world.route_two()
    world.push("v3")
    done = world.post("/api/vouch", prompt=f"{PROMPT}:v3", because="seen it work")
    assert done["version"] == "v3"
    assert world.post(ROLLBACK, prompt=PROMPT, target_version="v3")["to_version"] == "v3"
    again = world.post("/api/vouch", prompt=PROMPT, version="v3", because="again")
    assert again["outcome"] == "unchanged"


def test_a_quarantine_can_be_lifted_once(world):
    """422 when there is none, with those that there are."""
    world.route_two()
    world.post(ROLLBACK, prompt=PROMPT)
    body = {"prompt": PROMPT, "version": "v2.0.0", "because": "false alarm"}
    assert world.post("/api/unquarantine", **body)["outcome"] == "changed"
    assert state_of(world).standing("v2.0.0") == "candidate"
    assert world.refused("/api/unquarantine", 422, **body)["code"] == "bad_request"


# --- Automation


def test_automation_of_one_prompt_and_of_all(world):
    """The hold has an end, is shown everywhere, and can be lifted."""
    world.route_two()
    off = {"state": "off", "because": "migration", "for": "2h"}
    assert world.post("/api/automation", prompt=PROMPT, **off)["automation"]["because"]
    assert world.post("/api/automation", **off)["prompt"] == FLEET
    status = world.get("/api/status")
    assert "migration" in status["automation"]["words"]
    assert "2 h left" in status["prompts"][0]["automation"]["words"]
    on = {"state": "on", "because": "done"}
    assert world.post("/api/automation", prompt=PROMPT, **on)["automation"] is None
    assert world.post("/api/automation", **on)["outcome"] == "changed"
    assert world.get("/api/status")["automation"] is None


def test_no_hold_stops_a_person(world):
    """A brake holds automatic rollbacks only."""
    world.route_two()
    world.post("/api/automation", state="off", because="x", **{"for": "2h"})
    assert world.post(ROLLBACK, prompt=PROMPT)["outcome"] == "switched"


# --- Environments


def test_an_environment_can_be_added_and_rehearsed(world):
    """201 when it is new, 200 when it is there; names have a form."""
    assert world.post("/api/environments", 200, name="eu", dry_run=True)["outcome"] == "new"
    assert world.post("/api/environments", 201, name="eu")["outcome"] == "new"
    assert world.post("/api/environments", 200, name="eu")["outcome"] == "unchanged"
    assert world.refused("/api/environments", 422, name="E U")["code"] == "bad_request"
    assert "environment.added" in [e["kind"] for e in world.get("/api/audit")["entries"]]
    world.push("v1.9.0")
    world.promote("v1.9.0", environment="eu")
    assert world.get("/api/status", environment="eu")["prompts"]


def test_a_push_can_be_rehearsed(world):
    """Nothing is stored."""
    path = f"/api/prompts/{PROMPT}/versions"
    body = {"version": "v1", "text": "Hello {{ name }}", "dry_run": True}
    assert world.post(path, 200, **body)["variables"] == ["name"]
    assert world.get("/api/prompts")["total"] == 0


# --- Races


def test_an_order_on_a_revision_is_refused_when_it_has_changed(world):
    """409 says what changed meanwhile, and who did it."""
    world.route_two()
    revision = state_of(world).revision
    world.post("/api/vouch", prompt=PROMPT, version="v2.0.0", because="meanwhile")
    error = world.refused(ROLLBACK, 409, prompt=PROMPT, revision=revision)
    assert error["code"] == "stale_state"
    assert f"revision {revision}" in error["message"] and "meanwhile" in error["message"]
    assert world.post(ROLLBACK, prompt=PROMPT, revision=revision + 1)["outcome"] == "switched"


def race(world, monkeypatch, losses):
    """Somebody else is quicker, this many times."""
    states = world.runtime.store.states
    apply = states.apply
    lost: list[Any] = []

    def racing(changes, now_ms):
        if len(lost) < losses:
            lost.append(changes)
            raise StaleState
        return apply(changes, now_ms)

    monkeypatch.setattr(states, "apply", racing)
    return lost


def test_an_order_that_loses_a_race_is_thought_over(world, monkeypatch):
    """Twice; the third time it is carried out."""
    world.route_two()
    lost = race(world, monkeypatch, 2)
    assert world.post(ROLLBACK, prompt=PROMPT)["outcome"] == "switched"
    assert len(lost) == 2


def test_an_order_that_keeps_losing_gives_up(world, monkeypatch):
    """409 instead of trying for ever."""
    world.route_two()
    lost = race(world, monkeypatch, 99)
    assert world.refused(ROLLBACK, 409, prompt=PROMPT)["code"] == "stale_state"
    assert len(lost) == 3


def test_racing_rollbacks_switch_once(world):
    """Whoever comes second finds it done."""
    world.route_two()
    desk, now_ms = world.runtime.desk, world.clock.now_ms()
    outcomes = []

    def roll_back():
        done = act.rollback(desk, "production", PROMPT, None, Ask("x", "race"), now_ms)
        outcomes.append(done["outcome"])

    threads = [threading.Thread(target=roll_back) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("switched") == 1
    assert world.kinds().count("rollback.switched") == 1


def test_the_engine_looks_at_once_at_what_a_person_changed(world):
    """A rollback of a quiet prompt is verified from the next second on, not five minutes later."""
    world.route_two()
    world.tick(3)
    world.post(ROLLBACK, prompt=PROMPT)
    world.tick()
    assert world.kinds()[-1] == "rollback.propagated"


def test_questions_left_behind_are_bounded():
    """A store that hangs costs a few threads, not one an order, and then no order waits for it."""
    hang, begun = threading.Event(), []

    def work():
        begun.append(1)
        hang.wait(30)

    try:
        for _ in range(LEFT_BEHIND_MAX + 3):
            with pytest.raises(TimeoutError):
                within(0.01, work)
        assert len(begun) == LEFT_BEHIND_MAX
    finally:
        hang.set()
    for thread in threading.enumerate():
        if thread.name == "knowngood-evidence":
            thread.join(30)
    assert within(30, lambda: 7) == 7

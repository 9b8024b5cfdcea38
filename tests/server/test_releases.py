"""Releases of several prompts: they come and go in one transaction, or not at all."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from knowngood.core.model import Change, MoveRoute, whole
from knowngood.core.policy import parse
from knowngood.server import releases, rollouts
from tests.server.world import PROMPT
from tests.server.world import world as new_world

POLICY = """
policy: 1
defaults:
  canary: {stages: [5%, 50%, 100%], hold: 5s, wait_at_most: 1m}
  bake: {for: 10s, holdback: 0%}
"""
FAQ = "faq"
OLD, NEW = {PROMPT: "v1.9.0", FAQ: "v6"}, {PROMPT: "v2.0.0", FAQ: "v7"}
MEMBERS = [f"{prompt}:{version}" for prompt, version in NEW.items()]


@pytest.fixture
def world(tmp_path):
    """Two prompts with a good version and a new one each, and a release of the new ones."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    with new_world(policy=str(path)) as made:
        for prompt in (PROMPT, FAQ):
            for version in (OLD[prompt], NEW[prompt]):
                body: Any = {"version": version, "text": f"You are {version}."}
                made.post(f"/api/prompts/{prompt}/versions", 201, **body)
            order: Any = {"prompt": prompt, "version": OLD[prompt], "because": "first"}
            made.post("/api/promote", **order)
        made.post("/api/releases", 201, name="spring", members=MEMBERS, because="they belong")
        yield made


def promote(world, **body):
    """Promote the release."""
    return world.post("/api/releases/promote", **{"name": "spring", "because": "go", **body})


def states(world):
    """What is remembered of both prompts."""
    return {p: world.runtime.store.states.get("production", p) for p in NEW}


def shares(world):
    """The share of each new version."""
    return [state.route.weight_bp(NEW[prompt]) for prompt, state in states(world).items()]


def serve(world, seconds, bad=(), quiet=()):
    """Every version that is served is called, a second at a time, and the engine ticks."""
    for _ in range(seconds):
        rows = []
        for prompt, state in states(world).items():
            for arm in state.route.arms:
                failing = 10 if prompt in bad and arm.version == NEW[prompt] else 0
                counts = {"ok": 20 - failing, "errors": {"prompt": failing} if failing else {}}
                if prompt not in quiet:
                    rows.append({"prompt": prompt, "version": arm.version, "ago_ms": 0, **counts})
        world.post("/api/observations", **world.batch(rows=rows))
        world.clock.ms += 1_000
        world.runtime.heart.beat()


def test_a_release_is_promoted_in_one_transaction(world):
    """Both prompts get the first stage at the same generation, and the same users get both."""
    answer = promote(world)
    assert [m["weight_bp"] for m in answer["members"]] == [500, 500]
    routes = [state.route for state in states(world).values()]
    assert len({route.generation for route in routes}) == 1
    assert len({route.salt for route in routes}) == 1


def test_what_cannot_be_promoted_whole_is_not_promoted_at_all(world):
    """One version is quarantined: nothing is changed for the other either."""
    order = {"prompt": FAQ, "version": NEW[FAQ], "because": "x", "now": True}
    world.post("/api/promote", **order)
    world.post("/api/rollback", prompt=FAQ)
    for _ in range(10):
        serve(world, 1)
    before = states(world)
    error = world.refused("/api/releases/promote", 409, name="spring", because="go")
    assert error["code"] in ("quarantined", "in_progress")
    assert states(world) == before


def test_a_release_climbs_as_one(world):
    """Stage by stage in the same generation, up to the end."""
    promote(world)
    seen = [tuple(shares(world))]
    for _ in range(30):
        serve(world, 1)
        if tuple(shares(world)) != seen[-1]:
            seen.append(tuple(shares(world)))
    assert seen == [(500, 500), (5_000, 5_000), (10_000, 10_000)]


def test_the_slower_one_holds_both(world):
    """Nobody calls the one: the other waits for it, and says so."""
    promote(world)
    serve(world, 15, quiet=(FAQ,))
    assert shares(world) == [500, 500]
    waits = world.get(f"/api/prompts/{PROMPT}/explain")["waiting_on"]
    assert any("released with faq" in wait["words"] for wait in waits)
    serve(world, 8)
    assert shares(world) != [500, 500]


def test_what_breaks_takes_the_others_back_with_it(world):
    """One prompt fails: both go back in one transaction, each to its own good version."""
    promote(world)
    serve(world, 8)
    serve(world, 12, bad=(FAQ,))
    found = states(world)
    assert shares(world) == [0, 0]
    assert {found[p].route.arms[0].version for p in found} == set(OLD.values())
    assert len({state.route.generation for state in found.values()}) == 1
    assert {found[p].standing(NEW[p]).value for p in found} == {"quarantined"}
    entries = world.get("/api/audit", prompt=PROMPT, limit=200)["entries"]
    switched = [e for e in entries if e["kind"] == "rollback.switched"]
    assert "with the release spring, for faq" in switched[0]["because"]


def test_what_goes_back_with_another_is_part_of_its_incident(world):
    """One incident, several prompts: the lead's record names the others, and theirs names it."""
    promote(world)
    serve(world, 30, bad=(PROMPT,))
    rows = world.get("/api/incidents", state="all")["incidents"]
    parts = {row["prompt"]: row["part_of"] for row in rows}
    (lead,) = [row for row in rows if row["prompt"] == PROMPT]
    assert parts == {PROMPT: None, FAQ: lead["id"]}
    (faq,) = world.get(f"/api/incidents/{lead['id']}")["affected"]
    assert (faq["prompt"], faq["how"]) == (FAQ, "part")
    assert (faq["from"], faq["to"]) == (NEW[FAQ], OLD[FAQ])
    serve(world, 90)
    states = {row["prompt"]: row["open"] for row in world.get("/api/incidents")["incidents"]}
    assert states == {PROMPT: False, FAQ: False}


def test_a_person_rolls_one_back_and_takes_the_others_along(world):
    """Unless they ask for it alone."""
    promote(world, now=True)
    answer = world.post("/api/rollback", prompt=PROMPT)
    assert answer["together_with"] == [FAQ] and shares(world) == [0, 0]


def test_one_alone(world):
    """The other prompt stays, and the answer says that nothing went along."""
    promote(world, now=True)
    assert "together_with" not in world.post("/api/rollback", prompt=PROMPT, alone=True)
    assert shares(world) == [0, 10_000]


def test_a_release_is_rolled_back_by_its_name(world):
    """All that is served of it; when nothing is, it says so."""
    order = {"name": "spring", "because": "second thoughts"}
    assert world.refused("/api/releases/rollback", 409, **order)["code"] == "not_routed"
    promote(world, now=True)
    assert world.post("/api/releases/rollback", **order)["success"]
    assert shares(world) == [0, 0]


@pytest.mark.parametrize("verb", ["pause", "skip", "abort"])
def test_an_order_is_for_all_of_it(world, verb):
    """Paused, skipped and aborted as one."""
    promote(world)
    world.post(f"/api/rollouts/{verb}", prompt=FAQ, because="because")
    rollouts = [state.rollout for state in states(world).values()]
    if verb == "pause":
        assert all(rollout.pause for rollout in rollouts)
    assert shares(world) == {"pause": [500] * 2, "skip": [5_000] * 2, "abort": [0, 0]}[verb]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"members": [f"{PROMPT}:v2.0.0", f"{FAQ}:v9"]}, "unknown_version"),
        ({"members": [f"{PROMPT}:v2.0.0", "nothing:v1"]}, "unknown_prompt"),
        ({"members": [f"{PROMPT}:v2.0.0", FAQ]}, "bad_request"),
        ({"members": [f"{PROMPT}:v2.0.0"]}, "bad_request"),
        ({"members": [f"{PROMPT}:v2.0.0", f"{PROMPT}:v1.9.0"]}, "bad_request"),
        ({"name": "Spring!"}, "bad_request"),
        ({"name": "spring", "members": [f"{PROMPT}:v1.9.0", f"{FAQ}:v6"]}, "release_conflict"),
    ],
)
def test_what_is_no_release(world, body, code):
    """A missing version, a single one, two of one prompt, a name that is taken: nothing is made."""
    order = {"name": "summer", "members": MEMBERS, **body}
    answer = world.client.post("/api/releases", json=order)
    assert answer.json()["error"]["code"] == code
    names = [each["name"] for each in world.get("/api/releases")["releases"]]
    assert names == ["spring"]


def test_the_same_release_again_changes_nothing(world):
    """In whatever order its versions are named."""
    again = {"name": "spring", "members": MEMBERS[::-1]}
    assert world.post("/api/releases", **again)["outcome"] == "unchanged"
    assert world.get("/api/releases/spring")["because"] == "they belong"
    assert "spring" in world.client.get("/api/releases/winter").json()["error"]["known"]


def test_a_dry_run_moves_nothing(world):
    """It says what would be done to each prompt."""
    before = states(world)
    did = promote(world, dry_run=True)["did"]
    assert set(did) == set(NEW) and all("5%" in " ".join(words) for words in did.values())
    assert states(world) == before


def test_a_breach_that_is_being_confirmed_is_not_climbed_over(world):
    """Whoever was ready and then breached is moved by nobody, and its own rollback goes on."""
    promote(world)
    world.post("/api/automation", state="off", prompt=FAQ, **{"for": "1h"}, because="a demo")
    serve(world, 4, quiet=(PROMPT,))
    serve(world, 12, bad=(FAQ,))
    assert type(states(world)[FAQ].phase).__name__ == "Confirming"
    serve(world, 10, bad=(FAQ,))
    assert shares(world) == [500, 500]
    world.post("/api/automation", state="on", prompt=FAQ, because="it is over")
    serve(world, 5, bad=(FAQ,))
    assert shares(world) == [0, 0]


def test_the_prompts_of_a_release_have_one_ladder(world):
    """A prompt that has a share of it already is refused: the users would not be the same."""
    order = {"prompt": FAQ, "version": NEW[FAQ], "because": "alone"}
    world.post("/api/promote", **order)
    error = world.refused("/api/releases/promote", 422, name="spring", because="go")
    assert "has a share of the traffic already" in error["message"]


def test_who_cannot_go_back_is_named(world):
    """One prompt has no other good version: the other goes back, and the answer says so."""
    promote(world, now=True)
    key = ("production", FAQ)
    before = world.runtime.store.states.get(*key)
    ledger = tuple(e for e in before.ledger if e.version != OLD[FAQ])
    data = vars(world.runtime.store.states)["_data"]
    data.states[key] = replace(before, ledger=ledger)
    answer = world.post("/api/releases/rollback", name="spring", because="complaints")
    assert answer["left_behind"] == [FAQ] and answer["together_with"] == []
    assert shares(world) == [0, 10_000]


def test_a_member_that_serves_already_is_fenced(world):
    """It is not moved; but if it is taken off while the rest is promoted, that is thought over."""
    order = {"prompt": FAQ, "version": NEW[FAQ], "because": "x", "now": True}
    world.post("/api/promote", **order)
    states_ = world.runtime.store.states
    real = states_.apply
    raced: list[bool] = []

    def race(changes, now_ms):
        if not raced and len(changes) == 2:
            raced.append(True)
            before = states_.get("production", FAQ)
            move = (MoveRoute(whole(OLD[FAQ])),)
            real([Change("production", FAQ, before.revision, move, "eve")], now_ms)
        return real(changes, now_ms)

    states_.apply = race
    promote(world, now=True)
    assert raced and shares(world) == [10_000, 10_000]
    assert all(state.entry(NEW[p]).release for p, state in states(world).items())


def test_a_release_that_comes_late_does_not_land_in_a_freeze(world, monkeypatch):
    """Its gates were open when it was asked for; the freeze of one prompt holds all of it."""
    sale = {"from": "2026-01-01T00:10Z", "until": "2026-01-02T00:00Z", "because": "the sale"}
    frozen = {**yaml.safe_load(POLICY), "prompts": {FAQ: {"freeze": [sale]}}}
    world.runtime.desk.policy = parse(frozen)
    before, real = states(world), rollouts.promotion_actions

    def late(*given):
        actions = real(*given)
        world.clock.ms += 700_000
        return actions

    monkeypatch.setattr(releases, "promotion_actions", late)
    error = world.refused("/api/releases/promote", 409, name="spring", because="go")
    assert error["code"] == "stale_state" and f"production/{FAQ} has begun" in error["message"]
    assert states(world) == before
    answer = promote(world, override=["freeze"])
    assert [m["weight_bp"] for m in answer["members"]] == [500, 500]

"""Hot, archived, pinned, purged: over the API and by the engine itself."""

from pathlib import Path

import pytest

from knowngood.core.errors import StaleState
from knowngood.engine.retain import SWEEP_AFTER_MS, SWEEP_EVERY_MS, purge
from tests.server.world import PROMPT, World
from tests.server.world import world as new_world

DAY_MS = 24 * 3_600_000
POLICY = "policy: 1\ndefaults:\n  keep: {hot: 2, archive: 30d}\n"
SOAK_OFF = "  soak: {environment: staging, for: 24h, min_calls: 100, required: never}\n"


def written(folder: Path, more: str = "") -> str:
    path = folder / "policy.yaml"
    path.write_text(POLICY + SOAK_OFF + more, encoding="utf-8")
    return str(path)


@pytest.fixture
def shop(tmp_path):
    """v1 to v4 are good and serve no more, v5 does; v6 was never served."""
    with new_world(policy=written(tmp_path)) as made:
        for n in range(1, 7):
            made.clock.ms += 1_000
            made.push(f"v{n}")
            if n < 6:
                made.promote(f"v{n}")
                if n > 1:
                    made.post("/api/vouch", prompt=PROMPT, version=f"v{n}", because="fine")
        yield made


def kept(world: World) -> dict[str, str]:
    (row,) = world.get("/api/retention", prompt=PROMPT)["prompts"]
    return {each["version"]: each["kept"] for each in row["versions"]}


def served(world: World, environment: str = "production") -> list[str]:
    """The contents that every process holds."""
    answer = world.get("/api/snapshot", environment=environment)
    return list(answer["prompts"][PROMPT]["versions"])


def pinned(world: World, version: str, because: str = "legal") -> None:
    world.post("/api/pin", prompt=PROMPT, version=version, because=because)


def test_report_says_where_and_why(shop):
    """The newest two good ones are hot, older ones archived, each with its reasons."""
    pinned(shop, "v1")
    (row,) = shop.get("/api/retention", prompt=f"{PROMPT}:v1")["prompts"]
    assert [(v["version"], v["kept"]) for v in row["versions"]] == [
        ("v6", "archived"), ("v5", "hot"), ("v4", "hot"), ("v3", "archived"), ("v2", "archived"),
        ("v1", "hot"),
    ]  # fmt: skip
    assert (row["hot_count"], row["archived_count"], row["purgeable_count"]) == (3, 3, 0)
    assert row["versions"][1]["words"] == (
        "serves 100% of production; part of the rollout in production; "
        "among the 2 newest good versions of production"
    )
    assert [each["kind"] for each in row["versions"][3]["because"]] == ["good", "recent"]
    first = row["versions"][-1]
    assert first["pin"]["because"] == "legal" and first["words"].startswith("pinned by api")
    newest = row["versions"][0]
    assert newest["free_ms"] is None and newest["used_ms"] == shop.clock.ms


def test_snapshot_holds_exactly_the_hot_set(shop):
    """What the report calls hot is what every process holds, and nothing else."""
    pinned(shop, "v1")
    shop.promote("v3", override=["in_progress"])
    assert sorted(served(shop)) == ["v1", "v3", "v5"]
    assert sorted(served(shop)) == sorted(v for v, k in kept(shop).items() if k == "hot")


def test_an_archived_version_is_a_target_again(shop):
    """The snapshot that carries the new route carries its text, and the answer says so."""
    assert served(shop) == ["v5", "v4"]
    answer = shop.post("/api/rollback", prompt=PROMPT, target_version="v2", dry_run=True)
    assert "v2 was archived" in answer["note"]
    answer = shop.post("/api/rollback", prompt=PROMPT, target_version="v2")
    assert answer["outcome"] == "switched"
    assert answer["note"] == (
        "v2 was archived: each process gets its text together with the new route, in the same poll"
    )
    snapshot = shop.get("/api/snapshot")["prompts"][PROMPT]
    assert snapshot["versions"]["v2"]["text"] == "You are v2."
    assert kept(shop)["v2"] == "hot"


def test_a_hot_target_needs_no_note(shop):
    """Every process holds it already."""
    assert "note" not in shop.post("/api/rollback", prompt=PROMPT)


def test_pin_and_unpin(shop):
    """Orders like any other: with a reason, rehearsed if asked, and in the history."""
    order = {"prompt": PROMPT, "version": "v2", "because": "legal"}
    rehearsed = shop.post("/api/pin", **order, dry_run=True)
    assert (rehearsed["outcome"], rehearsed["pinned"], rehearsed["id"]) == ("changed", False, None)
    done = shop.post("/api/pin", **order)
    assert (done["outcome"], done["pinned"]) == ("changed", True)
    line = shop.get(f"/api/audit/{done['id']}")
    assert (line["kind"], line["because"], line["detail"]) == (
        "version.pinned", "legal", {"version": "v2"},
    )  # fmt: skip
    assert shop.post("/api/pin", **order)["outcome"] == "unchanged"
    assert shop.get(f"/api/prompts/{PROMPT}/versions/v2")["pin"]["actor"] == "api (unverified)"
    undone = shop.post("/api/unpin", prompt=f"{PROMPT}:v2", because="enough")
    assert (undone["outcome"], undone["pinned"]) == ("changed", False)
    assert shop.post("/api/unpin", **order)["outcome"] == "unchanged"
    assert shop.kinds()[-2:] == ["version.pinned", "version.unpinned"]
    rows = shop.get(f"/api/prompts/{PROMPT}")["versions"]
    assert {v["version"]: (v["kept"], v["pin"]) for v in rows}["v2"] == ("archived", None)


@pytest.mark.parametrize("path", ["/api/pin", "/api/unpin"])
def test_refused_words(shop, path):
    """A version that is not there, no version, no reason."""
    error = shop.refused(path, 404, prompt=PROMPT, version="v9", because="x")
    assert error["code"] == "unknown_version" and "v1" in error["known"]
    assert "`version` is missing" in shop.refused(path, 422, prompt=PROMPT, because="x")["message"]
    assert shop.refused(path, 422, prompt=PROMPT, version="v1")["code"] == "bad_request"
    assert shop.refused(path, 422, prompt=PROMPT, version="v1", because=" ")["next"]


def test_purge_takes_what_is_free(shop):
    """A version that nobody ever served goes after its time; good ones stay, and the newest."""
    shop.clock.ms += 10 * DAY_MS
    shop.push("v7")
    shop.clock.ms += 20 * DAY_MS
    rehearsed = shop.post("/api/purge", prompt=PROMPT, dry_run=True)
    (row,) = rehearsed["prompts"]
    assert [v["version"] for v in row["purged"]] == ["v6"]
    assert [v["version"] for v in row["kept"]] == ["v7", "v5", "v4", "v3", "v2", "v1"]
    assert kept(shop)["v6"] == "purgeable"
    before = shop.kinds()
    done = shop.post("/api/purge", prompt=PROMPT, because="spring")
    assert (done["outcome"], done["purged_count"], done["kept_count"]) == ("changed", 1, 6)
    assert done["prompts"] == rehearsed["prompts"]
    assert shop.kinds() == [*before, "version.purged"]
    assert "v6" not in kept(shop)
    again = shop.post("/api/purge", because="spring")
    assert (again["outcome"], again["purged_count"], again["next_after"]) == ("unchanged", 0, None)


def test_what_was_purged_is_unknown_until_it_is_pushed_again(shop):
    """Its name never means another content; the same content brings it back."""
    shop.push("v7")
    shop.clock.ms += 40 * DAY_MS
    shop.post("/api/purge", because="spring")
    gone = shop.refused("/api/promote", 404, prompt=PROMPT, version="v6", because="x", now=True)
    assert gone["code"] == "unknown_version"
    path = f"/api/prompts/{PROMPT}/versions"
    error = shop.refused(path, 409, version="v6", text="other")
    assert error["code"] == "content_conflict" and "was purged" in error["message"]
    assert shop.push("v6", "You are v6.")["outcome"] == "new"
    shop.promote("v6")


def test_an_evaluation_keeps_a_version(shop):
    """Somebody still thinks of it; and what was found of a purged version stays."""
    shop.push("v7")
    shop.clock.ms += 29 * DAY_MS
    suite = {"prompt": PROMPT, "version": "v6", "suite": "accuracy", "passed": 3, "failed": 1}
    recorded = shop.post("/api/evaluations", 201, **suite)
    shop.clock.ms += 10 * DAY_MS
    assert kept(shop)["v6"] == "archived"
    assert shop.post("/api/purge", because="spring")["purged_count"] == 0
    shop.clock.ms += 20 * DAY_MS
    assert shop.post("/api/purge", because="spring")["purged_count"] == 1
    assert shop.get(f"/api/evaluations/{recorded['id']}")["passed"] == 3


def test_a_purge_needs_a_reason(shop):
    """A dry run needs none."""
    error = shop.refused("/api/purge", 422)
    assert error["message"] == "a reason is needed"
    assert shop.refused("/api/purge", 404, prompt="nobody", because="x")["known"] == [PROMPT]
    assert shop.post("/api/purge", dry_run=True)["outcome"] == "unchanged"


def test_reports_come_in_pages(shop):
    """Prompt by prompt, in alphabetical order."""
    for name in ("a", "b"):
        shop.post(f"/api/prompts/{name}/versions", 201, version="v1", text="x")
    page = shop.get("/api/retention", limit=2)
    assert [row["prompt"] for row in page["prompts"]] == ["a", "b"]
    assert page["next_after"] == "b"
    page = shop.get("/api/retention", after="b")
    assert [row["prompt"] for row in page["prompts"]] == [PROMPT]
    assert page["next_after"] is None
    assert len(shop.post("/api/purge", after="a", dry_run=True)["prompts"]) == 2


def test_the_engine_purges_by_itself(shop):
    """An hour after its start, then once a day, by the same rule, and the history says who."""
    shop.push("v7")
    shop.tick()
    shop.clock.ms += 40 * DAY_MS
    shop.runtime.engine.sweep.next_ms = shop.clock.ms + SWEEP_AFTER_MS
    shop.tick()
    assert "v6" in kept(shop)
    shop.clock.ms += SWEEP_AFTER_MS
    shop.tick()
    assert "v6" not in kept(shop)
    line = shop.get("/api/audit", prompt=PROMPT)["entries"][-1]
    assert (line["kind"], line["actor"]) == ("version.purged", "system")
    assert "nothing refers to it" in line["because"]
    assert shop.runtime.engine.sweep.next_ms == shop.clock.ms + SWEEP_EVERY_MS
    assert not shop.runtime.engine.failing


def test_a_fresh_engine_waits(shop):
    """Somebody who started it by mistake has an hour to look."""
    sweep = shop.runtime.engine.sweep
    sweep.next_ms = None
    shop.tick()
    assert sweep.next_ms == shop.clock.ms + SWEEP_AFTER_MS


def test_purges_only_by_hand(tmp_path):
    """With `purge: manual` the engine leaves it to people."""
    more = f"prompts:\n  {PROMPT}: {{keep: {{purge: manual}}}}\n"
    with new_world(policy=written(tmp_path, more)) as world:
        for version in ("v1", "v2"):
            world.push(version)
        world.tick()
        world.clock.ms += 40 * DAY_MS
        world.tick(3)
        assert kept(world) == {"v2": "archived", "v1": "purgeable"}
        assert world.post("/api/purge", because="spring")["purged_count"] == 1


def test_a_purge_that_loses_the_race_thinks_again(shop, monkeypatch):
    """Somebody promotes what was about to go: it stays."""
    shop.push("v7")
    shop.clock.ms += 40 * DAY_MS
    store = shop.runtime.store
    ports = type(store.retention)
    carry_out, calls = ports.purge, []

    def slow(self, order, now_ms):
        calls.append(order)
        if len(calls) == 1:
            shop.promote("v6")
        return carry_out(self, order, now_ms)

    monkeypatch.setattr(ports, "purge", slow)
    assert shop.post("/api/purge", because="spring")["purged_count"] == 0
    assert len(calls) == 1 and kept(shop)["v6"] == "hot"

    def never(self, order, now_ms):
        raise StaleState

    monkeypatch.setattr(ports, "purge", never)
    shop.push("v8")
    shop.clock.ms += 400 * DAY_MS
    policy = shop.runtime.desk.policy.for_prompt(PROMPT)
    with pytest.raises(StaleState):
        purge(store, policy, PROMPT, "x", "ann", shop.clock.ms)

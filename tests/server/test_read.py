"""What may be seen: the same words everywhere, instants for programs and for people."""

import json
import math
import re

import pytest

from knowngood.core.model import FLEET
from knowngood.engine.reconcile import new_reconciler
from knowngood.server import judged, read
from knowngood.server.desk import Desk
from tests.server.world import PROMPT, world

INSTANT = "2026-01-01T00:00:00.000Z"


def row_of(world, **query):
    (row,) = world.get("/api/status", **query)["prompts"]
    return row


# --- Prompts


def test_a_prompt_shows_its_versions_newest_first(world):
    """With author, digest, variables, and the standing in each environment."""
    world.push("v1.9.0", "Hello {{ name }} of {{ place }}", note="first")
    world.push("v2.0.0")
    world.promote("v1.9.0")
    shown = world.get(f"/api/prompts/{PROMPT}")
    first, second = shown["versions"]
    assert [first["version"], second["version"]] == ["v2.0.0", "v1.9.0"]
    assert second["variables"] == ["name", "place"]
    assert (second["author"], second["note"]) == ("api (unverified)", "first")
    assert (second["created_ms"], second["created"]) == (world.clock.ms, INSTANT)
    assert second["standing"]["production"]["standing"] == "good"
    assert first["standing"] == {}
    assert shown["environments"]["production"]["route"] == "v1.9.0 100%"


def test_a_version_shows_its_content(world):
    """What was pushed is what is shown, also under a name with a slash."""
    path = f"/api/prompts/{PROMPT}/versions"
    content = {"messages": [{"role": "system", "content": "Be {{ mood }}."}], "config": {"t": 0.5}}
    world.post(path, 201, version="feature/calm", **content)
    shown = world.get(f"{path}/feature/calm")
    assert shown["content"] == content
    assert (shown["kind"], shown["variables"]) == ("messages", ["mood"])
    assert world.get(f"{path}/{PROMPT}:feature/calm")["version"] == "feature/calm"


def test_prompts_come_in_pages(world):
    """In alphabetical order, with the name to go on after."""
    for name in ("c", "a", "b"):
        world.post(f"/api/prompts/{name}/versions", 201, version="v1", text="x")
    first = world.get("/api/prompts", limit=2)
    assert ([p["name"] for p in first["prompts"]], first["next_after"]) == (["a", "b"], "b")
    rest = world.get("/api/prompts", limit=2, after="b")
    assert ([p["name"] for p in rest["prompts"]], rest["next_after"]) == (["c"], None)
    assert rest["total"] == 3


def test_a_diff_is_text_and_data(world):
    """Line by line, key by key, and as one text."""
    path = f"/api/prompts/{PROMPT}/versions"
    world.post(path, 201, version="v1", text="a\nb", config={"model": "x"})
    world.post(path, 201, version="v2", text="a\nc", config={"model": "y"})
    shown = world.get(f"/api/prompts/{PROMPT}/diff", a="v1", b=f"{PROMPT}:v2")
    assert (shown["a"], shown["b"], shown["identical"]) == ("v1", "v2", False)
    assert "-b" in shown["unified"] and "+c" in shown["unified"]
    assert shown["config"] == [{"key": "model", "before": '"x"', "after": '"y"'}]
    assert world.get(f"/api/prompts/{PROMPT}/diff", a="v1", b="v1")["identical"]


# --- Status


def test_a_quiet_prompt_is_unsure_and_waits_for_traffic(world):
    """Idle is not healthy, and not blind."""
    world.push("v1.9.0")
    world.promote("v1.9.0")
    row = row_of(world)
    assert (row["route"], row["phase"], row["incident"]) == ("v1.9.0 100%", "steady", None)
    assert (row["verdict"], row["waiting_on"]) == ("unsure", "traffic: no calls in the window")
    assert row["generation"] == row["revision"] == 1


def test_a_busy_prompt_shows_its_figures_with_their_n(world):
    """Errors, p99 and quality of the current window, and what each rests on."""
    world.route_two()
    for _ in range(10):
        scores = {"quality": {"80": 5}}
        world.report("v2.0.0", 19, 1, latency={"500": 20}, scores=scores)
        world.tick()
    world.tick(3)
    row = row_of(world)
    (figures,) = row["versions"]
    assert (figures["n"], figures["bad"], figures["error_rate"]) == (200, 10, 0.05)
    assert figures["p99_ms"] == pytest.approx(2 ** (500.5 / 64), rel=0.01)
    assert (figures["quality"], figures["quality_n"]) == (pytest.approx(0.8), 50)
    assert row["baking"] == "13 s of 1 h"
    assert row["age_ms"] == 13_000
    assert row["census"] == "1 of 1 on generation 2"


def test_a_rollback_is_told_in_the_same_words(world):
    """The row of a prompt in trouble: verdict, phase, incident, and the breach in numbers."""
    world.route_two()
    world.live(8, "v2.0.0", ok=10, bad=10)
    row = row_of(world)
    assert row["phase"] == "verifying the rollback v2.0.0 -> v1.9.0"
    assert row["incident"]["id"] == "production/customer-support/g2.1"
    assert row["words"] == "Verifying the rollback v2.0.0 -> v1.9.0."
    assert world.kinds().count("rollback.switched") == 1


def test_those_in_trouble_come_first(world):
    """A status is read from the top."""
    for name in ("aaa", "zzz"):
        path = f"/api/prompts/{name}/versions"
        for version in ("v1", "v2"):
            world.post(path, 201, version=version, text="x")
            world.post("/api/promote", prompt=name, version=version, because="x")
    world.post("/api/rollback", prompt="zzz")
    rows = world.get("/api/status")["prompts"]
    assert [row["prompt"] for row in rows] == ["zzz", "aaa"]
    assert row_of(world, prompt="aaa")["prompt"] == "aaa"


def test_a_prompt_without_a_route_waits_for_its_first_promote(world):
    """It is remembered, because somebody vouched for it, and serves nobody."""
    world.push("v1.9.0")
    world.post("/api/vouch", prompt=PROMPT, version="v1.9.0", because="x")
    for query in ({}, {"prompt": PROMPT}):
        row = row_of(world, **query)
        assert (row["route"], row["verdict"]) == ("no route", None)
        assert "promote" in row["waiting_on"]
    assert world.get(f"/api/prompts/{PROMPT}/explain")["sees"] == []


def test_a_status_of_very_many_prompts_looks_at_some_and_says_so(world, monkeypatch):
    """It stays quick; what was not looked at is not called healthy."""
    monkeypatch.setattr(judged, "LOOKS_MAX", 2)
    for number in range(4):
        name = f"p{number}"
        world.post(f"/api/prompts/{name}/versions", 201, version="v1", text="x")
        world.post("/api/promote", prompt=name, version="v1", because="x")
    rows = [{"prompt": f"p{n}", "version": "v1", "ago_ms": 0, "ok": 5} for n in range(4)]
    world.post("/api/observations", **world.batch(rows=rows))
    world.tick(4)
    status = world.get("/api/status")
    assert (status["looked_count"], status["unread_count"]) == (2, 2)
    unread = [row for row in status["prompts"] if row["words"].startswith("Not looked at")]
    assert len(unread) == 2 and all(row["verdict"] is None for row in unread)


# --- Explain


def test_an_explanation_says_what_is_seen_decided_awaited_and_remembered(world):
    """Every finding with its numbers, and what would be done."""
    world.route_two()
    world.post("/api/automation", state="off", because="hold on", **{"for": "1h"})
    world.live(10, "v2.0.0", ok=10, bad=10)
    told = world.get(f"/api/prompts/{PROMPT}/explain")
    critical = next(f for f in told["sees"] if f["trigger"] == "error_critical")
    assert critical["verdict"] == "breach"
    assert critical["words"].startswith("errors 50.0% > 5.0% (")
    assert (critical["limit"], critical["estimate"]) == (0.05, 0.5)
    assert critical["since"] < critical["until"] and critical["window_ms"] > 0
    assert "automation is off" in told["decided"]["words"]
    assert any("automation is off" in wait["words"] for wait in told["waiting_on"])
    state = told["state"]
    assert state["phase_data"]["kind"] == "confirming"
    assert state["incident"]["id"] == "production/customer-support/g2.1"
    assert [brake["kind"] for brake in state["brakes"]] == ["automation_off"]
    assert {e["version"]: e["standing"] for e in state["ledger"]} == {
        "v1.9.0": "good",
        "v2.0.0": "candidate",
    }
    assert [limit["name"] for limit in state["alert_limits"]] == ["first_hour"]
    assert state["policy_revision"] == world.runtime.desk.policy.revision


def leaking(world):
    """A quiet version of which one call in fifteen fails: past its limit, and not proven yet."""
    for second in range(60):
        world.live(1, "v2.0.0", ok=1, bad=int(second % 14 == 13))


def test_what_is_not_proven_yet_is_waited_on_first(world):
    """In `explain` and in `status`: how much evidence there is, and how much is needed."""
    world.route_two()
    leaking(world)
    first = world.get(f"/api/prompts/{PROMPT}/explain")["waiting_on"][0]
    assert (first["kind"], first["detail"]) == ("evidence", "error_rate")
    assert 0 < first["have"] < first["need"]
    assert 1_000 < first["eta_ms"] < 3_600_000
    assert list(first) == ["kind", "words", "need", "have", "detail", "eta_ms"]
    assert re.fullmatch(
        r"more evidence on errors: E = [\d.]+ of [\d,]+, about .+ at this traffic", first["words"]
    )
    assert row_of(world)["waiting_on"] == first["words"]


def test_a_finding_shows_what_it_rests_on(world):
    """Its evidence, how much is proof, the healthy level, how soon harm would be seen."""
    world.route_two()
    leaking(world)
    sees = world.get(f"/api/prompts/{PROMPT}/explain")["sees"]
    critical = next(f for f in sees if f["trigger"] == "error_critical")
    proof = critical["proof"]
    assert (proof["alpha"], proof["limit"], proof["over"]) == (0.001, 0.05, True)
    assert proof["healthy"] == pytest.approx(0.02)
    assert (proof["bad"], proof["n"]) == (critical["bad"], critical["n"])
    times = {each["rate"]: each["after_ms"] for each in proof["time_to_detect"]}
    assert times[0.06] > times[0.2] > times[1.0] > 4_000
    assert critical["proof_words"].startswith(f"E = {math.exp(proof['log_e']):.2g} of 1,000")
    assert "healthy up to 2.0%" in critical["proof_words"]
    assert all(("proof" in f, "proof_words" in f) == (True, True) for f in sees)


def test_an_explanation_rehearses_what_comes_next(world):
    """The engine has not looked yet; the actions are those it will take."""
    world.route_two()
    for _ in range(8):  # one second of failures proves nothing, however many they are
        world.report("v2.0.0", 10, 10)
        world.clock.ms += 1_000
    world.runtime.engine.ingest.flush(world.clock.ms)
    told = world.get(f"/api/prompts/{PROMPT}/explain")
    kinds = [action["kind"] for action in told["decided"]["actions"]]
    assert "Enter" in kinds
    assert any("confirming error_critical" in a["words"] for a in told["decided"]["actions"])
    assert world.kinds().count("rollback.switched") == 0


def test_the_alert_limits_follow_the_age(world):
    """The strict ones in the first hour, the settled ones after it."""
    world.route_two()
    world.clock.ms += 3_600_000
    state = world.get(f"/api/prompts/{PROMPT}/explain")["state"]
    assert [limit["name"] for limit in state["alert_limits"]] == ["settled"]
    assert state["alert_limits"][0]["when"][0] == "errors > 2%"


# --- History, clients, policy


def test_the_history_can_be_followed(world):
    """The newest lines, and what came after the last one that was seen."""
    world.route_two()
    page = world.get("/api/audit", limit=3)
    kinds = ["route.moved", "route.moved", "rollout.started"]
    assert [e["kind"] for e in page["entries"]] == kinds
    world.post("/api/rollback", prompt=PROMPT)
    news = world.get("/api/audit", after=page["next_after"])
    assert [e["kind"] for e in news["entries"]] == ["rollback.requested", "rollback.switched"]
    assert world.get("/api/audit", after=news["next_after"])["entries"] == []
    assert world.get("/api/audit", environment="staging")["entries"] == []
    line = world.get(f"/api/audit/{news['entries'][0]['id']}")
    assert line["detail"]["findings"] and line["at"] == INSTANT


def test_the_fleets_own_history_is_asked_for_by_its_star(world):
    """Holds for all prompts are written under `*`."""
    world.post("/api/automation", state="off", because="x", **{"for": "1h"})
    assert world.kinds(FLEET) == ["automation.off"]


def test_the_census_names_who_is_behind_and_who_is_silent(world):
    """Those in need of attention first."""
    world.route_two()
    world.post("/api/observations", **world.batch("old", generation=1))
    world.post("/api/observations", **world.batch("gone", generation=2))
    world.post("/api/observations", **world.batch("left", generation=2, closing=True))
    world.tick()
    world.clock.ms += 16_000
    world.post("/api/observations", **world.batch("old", generation=1))
    world.post("/api/observations", **world.batch("new", generation=2))
    world.tick()
    census = world.get("/api/clients")
    assert census["words"] == "1 of 2 on generation 2"
    assert [(c["id"], c["standing"]) for c in census["clients"]] == [
        ("old", "behind"),
        ("gone", "silent"),
        ("new", "current"),
        ("left", "closed"),
    ]
    assert (census["behind"], census["silent"]) == (["old"], ["gone"])


def test_the_policy_in_force_is_shown_as_data_and_as_a_tree(world, tmp_path):
    """With its revision, which every decision names."""
    shown = world.get("/api/policy", prompt=PROMPT)
    assert shown["revision"] == world.runtime.desk.policy.revision
    assert shown["tree"].startswith("START")
    assert shown["policy"]["defaults"]["window"] == "5m"
    kept = world.runtime.store.policies.get(shown["revision"])
    assert kept == shown["policy"]


def test_a_policy_file_is_in_force(tmp_path):
    """What the file says is what is judged by, and what is shown."""
    path = tmp_path / "policy.yaml"
    path.write_text("prompts:\n  customer-*:\n    window: 10m\n", encoding="utf-8")
    with world(policy=str(path)) as made:
        assert made.get("/api/policy", prompt=PROMPT)["entries"] == ["customer-*"]
        assert made.get("/api/policy", prompt="other")["entries"] == []


# --- Snapshots


def test_a_snapshot_holds_what_is_served_and_where_to_go_back_to(world):
    """The routed versions and the newest good ones, never a quarantined one."""
    world.route_two()
    snapshot = world.get("/api/snapshot")
    prompt = snapshot["prompts"][PROMPT]
    assert prompt["arms"] == [["v2.0.0", 10_000]]
    assert list(prompt["versions"]) == ["v2.0.0", "v1.9.0"]
    assert prompt["versions"]["v1.9.0"]["text"] == "You are v1.9.0."
    assert (snapshot["generation"], len(snapshot["boot"])) == (2, 16)
    world.post("/api/rollback", prompt=PROMPT)
    after = world.get("/api/snapshot")["prompts"][PROMPT]
    assert list(after["versions"]) == ["v1.9.0"]


def test_a_snapshot_is_fetched_once_a_generation(world):
    """304 for who has it, and a new tag with every route."""
    world.route_two()
    first = world.client.get("/api/snapshot")
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = world.client.get("/api/snapshot", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
    world.post("/api/rollback", prompt=PROMPT)
    news = world.client.get("/api/snapshot", headers={"If-None-Match": tag})
    assert news.status_code == 200 and news.headers["etag"] != tag
    assert world.client.get("/api/snapshot?environment=staging").headers["etag"] != tag


def test_a_snapshot_keeps_as_many_good_versions_as_the_policy_says(tmp_path):
    """`keep: hot`, the newest first."""
    path = tmp_path / "policy.yaml"
    path.write_text("defaults: {keep: {hot: 2}}\n", encoding="utf-8")
    with world(policy=str(path)) as made:
        for number in range(5):
            made.push(f"v{number}")
            made.clock.ms += 1
            made.promote(f"v{number}")
            made.clock.ms += 1
            made.post("/api/vouch", prompt=PROMPT, version=f"v{number}", because="x")
        made.push("v9")
        made.promote("v9")
        versions = made.get("/api/snapshot")["prompts"][PROMPT]["versions"]
    assert list(versions) == ["v9", "v4", "v3"]


def test_the_lineage_survives_a_restart_and_differs_between_databases(tmp_path):
    """Clients compare generations within one lineage only."""
    boots = []
    for name in ("a.db", "a.db", "b.db"):
        with world(db=str(tmp_path / name)) as made:
            boots.append(made.get("/api/snapshot")["boot"])
    assert boots[0] == boots[1] != boots[2]


# --- Health


def test_a_server_is_ready_when_its_engine_ticks(world):
    """503 with what is missing, before the first tick and when ticks stop."""
    answer = world.client.get("/readyz")
    assert answer.status_code == 503 and "not ticked yet" in answer.json()["error"]["message"]
    world.tick()
    assert world.client.get("/readyz").status_code == 200
    world.clock.ms += 11_000
    answer = world.client.get("/readyz")
    assert "not ticked for 11 s" in answer.json()["error"]["message"]
    assert world.client.get("/healthz").json() == {"ok": True}


def verdicts(world):
    return {c["name"]: c["verdict"] for c in world.get("/api/doctor")["checks"]}


def test_the_doctor_finds_nothing_wrong_with_a_sound_server(world):
    """Every check says what it looked at."""
    world.route_two()
    world.tick()
    report = world.get("/api/doctor")
    assert report["ok"]
    assert {c["name"] for c in report["checks"]} == {
        "states", "contents", "outbox", "channels", "tables", "engine", "clock", "policy",
        "thresholds",
    }  # fmt: skip
    assert all(c["words"] for c in report["checks"])


def test_the_doctor_finds_what_is_broken(world, monkeypatch):
    """A dead engine, lost contents, a clock that went back, observations that cannot be read."""
    world.route_two()
    world.tick()
    world.clock.ms -= 60_000
    store = world.runtime.store
    monkeypatch.setattr(store.registry, "contents", lambda keys: [])
    monkeypatch.setattr(store.series, "touched", lambda since: 1 / 0)
    monkeypatch.setattr(store.outbox, "waiting_count", lambda: 101)
    found = verdicts(world)
    assert found["contents"] == found["clock"] == found["tables"] == "error"
    assert found["outbox"] == "warning"
    world.clock.ms += 200_000
    assert verdicts(world)["engine"] == "error"
    assert not world.get("/api/doctor")["ok"]


def test_without_a_server_the_doctor_says_that_nothing_is_judged(world):
    """The command line asks it of a file."""
    from knowngood.server.doctor import doctor

    desk = Desk(world.runtime.store, world.runtime.desk.policy)
    report = doctor(desk, world.clock.ms)
    engine = next(c for c in report["checks"] if c["name"] == "engine")
    assert (engine["verdict"], report["ok"]) == ("warning", True)


def test_everything_that_is_seen_is_plain_json(world):
    """No value needs a program of ours to be read."""
    world.route_two()
    world.live(8, "v2.0.0", ok=10, bad=10)
    desk, now_ms = world.runtime.desk, world.clock.ms
    for data in (
        judged.status(desk, "production", None, now_ms),
        judged.explain(desk, "production", PROMPT, now_ms),
        read.prompt(desk, PROMPT),
        read.audit(desk),
        read.clients(desk, "production", now_ms),
    ):
        assert json.loads(json.dumps(data, allow_nan=False))


def test_what_is_written_late_is_shown_all_the_same(world, monkeypatch):
    """A figure that was read while the store took nothing is no figure for ever."""
    world.route_two()
    world.live(4, "v2.0.0", ok=10)
    series = type(world.runtime.store.series)
    append = series.append

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(series, "append", fail)
    for _ in range(5):
        world.live(1, "v2.0.0", ok=10)
        world.get("/api/status")
    monkeypatch.setattr(series, "append", append)
    world.tick(4)
    (row,) = world.get("/api/status")["prompts"]
    assert row["versions"][0]["n"] == 90


def test_after_a_restart_nobody_is_called_silent_yet(world):
    """Before there was a server nobody could report: the status knows it as the engine does."""
    world.route_two()
    world.live(5, "v2.0.0", ok=10)
    store, policy, now_ms = world.runtime.store, world.runtime.desk.policy, world.clock.ms + 60_000
    started = new_reconciler(store, policy, now_ms)
    for desk, blind in ((Desk(store, policy), True), (Desk(store, policy, started), False)):
        (row,) = judged.status(desk, "production", None, now_ms)["prompts"]
        assert (row["verdict"] == "blind") is blind

"""An incident's record: its clocks add up, its parts are there, and people may say what it was."""

from dataclasses import replace
from typing import Any

import pytest

from knowngood.core.asking import Answer
from knowngood.core.history import AuditEntry, Delivery, Outcome
from knowngood.server.act import Ask
from knowngood.server.answers import answer
from tests.server.world import PROMPT, START_MS, World, world

ID = f"production/{PROMPT}/g2.1"
PATH = f"/api/incidents/{ID}"


def breaks(shop: World, seconds: int = 7) -> None:
    """v1.9.0 has been well for half a minute; v2.0.0 comes, and 12 % of its calls fail."""
    shop.push("v1.9.0")
    shop.push("v2.0.0", "Answer in **JSON** <b>only</b>.\n```\n| a | b |\n```")
    shop.promote("v1.9.0")
    shop.live(30, "v1.9.0", 50)
    shop.promote("v2.0.0", because="machine-readable | <i>answers</i>")
    shop.live(seconds, "v2.0.0", 44, 6)


def recovers(shop: World) -> None:
    """And after the rollback all is well again."""
    shop.live(30, "v1.9.0", 50)


@pytest.fixture
def shop():
    with world() as found:
        yield found


@pytest.fixture
def over(shop: World) -> World:
    """A critical incident, from the deploy to the proven recovery."""
    breaks(shop)
    recovers(shop)
    return shop


def says(shop: World, said: Answer) -> None:
    """Ana answers."""
    ask = Ask("Ana", "users complain")
    answer(shop.runtime.desk, ID, said, None, ask, shop.clock.ms)


def clocks(data: Any) -> dict[str, Any]:
    return {clock["name"]: clock for clock in data["clocks"]}


def adds_up(data: Any) -> None:
    """Detect, decide, act and recover follow each other; propagate is a part of recover."""
    ms = {name: clock["ms"] for name, clock in clocks(data).items()}
    assert ms["detect"] + ms["decide"] + ms["act"] + ms["recover"] == ms["total"], ms
    assert 0 <= ms["propagate"] <= ms["recover"], ms


def test_the_clocks_add_up(over):
    """From the deploy to the proof, without a gap, each against its limit."""
    data = over.get(PATH)
    adds_up(data)
    found = clocks(data)
    assert [found[name]["ms"] for name in ("detect", "decide", "act", "propagate", "recover")] == [
        6_000, 1_000, 0, 1_000, 4_000,
    ]  # fmt: skip
    assert [found[name]["kept"] for name in found] == [
        None, "within", None, "within", "within", None,
    ]  # fmt: skip
    assert (found["decide"]["limit_ms"], found["recover"]["at_most_ms"]) == (120_000, 300_000)


def test_a_record_holds_the_incident(over):
    """What it was about, what was decided on which evidence, and how it ended."""
    data = over.get(PATH)
    assert (data["id"], data["state"], data["severity"]) == (ID, "resolved", "critical")
    assert (data["version"], data["good_version"], data["fixed_by"]) == ("v2.0.0", "v1.9.0", None)
    assert [rise["severity"] for rise in data["severities"]] == ["critical"]
    decision, action = data["decision"], data["action"]
    assert (decision["how"], decision["actor"], decision["who"]) == (
        "automatic",
        "system",
        "system",
    )
    assert decision["known_good"] == ["v1.9.0"]
    assert (action["from"], action["to"], action["method"]) == ("v2.0.0", "v1.9.0", "instant")
    assert (action["generation"], action["quarantined"]) == (3, True)
    assert data["verification"]["outcome"] == "recovered"
    finding = data["evidence"]["findings"][0]
    assert (finding["trigger"], finding["n"], finding["bad"]) == ("error_critical", 250, 30)
    assert over.get(f"/api/audit/{data['evidence']['entry']}/replay")["same"] is True


def test_the_impact_is_what_the_bad_version_served(over):
    """Counted from the deploy on, with its share of all calls of that time."""
    impact = over.get(PATH)["impact"]
    assert (impact["calls"], impact["failed"]) == (7 * 50, 7 * 6)
    assert impact["failed_share"] == pytest.approx(0.12)
    assert impact["since_ms"] == START_MS + 30_000
    assert 0 < impact["served_share"] < 1


def test_the_timeline_is_the_history(over):
    """Every line of it is one of the audit log, in its order, with its hash."""
    timeline = over.get(PATH)["timeline"]
    kinds = [line["kind"] for line in timeline]
    assert kinds == [
        "route.moved", "rollout.started", "rollback.suspected", "rollback.confirmed",
        "rollback.target", "rollback.switched", "rollback.propagated", "rollback.verified",
    ]  # fmt: skip
    for line in timeline:
        entry = over.get(f"/api/audit/{line['id']}")
        assert all(entry[key] == line[key] for key in ("kind", "because", "actor", "hash", "at_ms"))


def test_the_path_through_the_policy_is_marked(over):
    """The nodes that the incident came by, and no others."""
    data = over.get(PATH)
    assert data["path"] == [
        "start", "yes", "severity/critical", "trigger/error_critical",
        "trigger/error_critical/action", "trigger/error_critical/confirmed", "rollback",
        "rollback/confirm", "rollback/choose", "rollback/switch", "rollback/verify",
        "rollback/verify/recovered", "rollback/record",
    ]  # fmt: skip
    lines = [line for line in data["tree"].splitlines() if "» " in line]
    assert len(lines) == len(data["path"])
    assert any("» confirmed → EXECUTE ROLLBACK" in line for line in lines)
    assert not any("a brake is on" in line for line in lines)


def test_the_processes_confirm_the_route(over):
    """The curve begins at nobody and ends with everybody."""
    points = over.get(PATH)["propagation"]
    assert points[0] == {"after_ms": 0, "current_count": 0, "live_count": 1}
    assert points[-1] == {"after_ms": 1_000, "current_count": 1, "live_count": 1}


def test_what_the_channels_answered_is_there(over):
    """Try by try, in the incident's thread and in that of a failed rollback; no other's."""
    told = Delivery(1, f"{ID}:told", ID, "pager", Outcome.DELIVERED, "202 <b>ok</b>", START_MS)
    failed = replace(told, message_id=2, thread=f"{ID}:rollback-failed", at_ms=START_MS + 1)
    other = replace(told, message_id=3, thread=f"production/{PROMPT}/g2.10")
    before = over.get(PATH)["pages"]
    for each in (told, failed, other):
        over.runtime.store.deliveries.add(each)
    pages = over.get(PATH)["pages"][len(before) :]
    assert [(p["message"], p["channel"], p["outcome"]) for p in pages] == [
        (1, "pager", "delivered"), (2, "pager", "delivered"),
    ]  # fmt: skip
    assert "202 &lt;b&gt;ok&lt;/b&gt;" in over.get(f"{PATH}/text")["markdown"]


def test_the_gates_are_asked_what_they_said(over):
    """The version went to everybody at once, so nothing stood between it and its users."""
    gates = {gate["name"]: gate for gate in over.get(PATH)["gates"]}
    assert list(gates) == ["soak", "evaluation", "canary", "ab"]
    assert not any(gate["asked"] for gate in gates.values())
    assert gates["soak"]["words"] == (
        "not asked: nothing of this prompt was ever served on staging"
    )
    assert gates["canary"]["words"] == "not asked: everybody got it at once"


def test_an_incident_goes_through_its_states(shop):
    """Verifying after the switch, resolved with the proof, reviewed by a person's word."""
    breaks(shop)
    data = shop.get(PATH)
    assert (data["state"], data["open"], data["closed"]) == ("verifying", True, None)
    running = clocks(data)["recover"]
    assert (running["running"], running["kept"]) == (True, None)
    recovers(shop)
    assert shop.get(PATH)["state"] == "resolved"
    shop.post(f"{PATH}/close", how="reviewed", because="gone over with everybody")
    assert shop.get(PATH)["state"] == "reviewed"


def test_a_high_incident_is_detected_taken_and_decided(shop):
    """A person acknowledges, and rolls back: the clock of the decision ends with their word."""
    breaks(shop, 0)
    shop.live(120, "v2.0.0", 485, 15)
    assert shop.get(PATH)["state"] == "detected"
    says(shop, Answer.ACK)
    assert shop.get(PATH)["state"] == "acked"
    says(shop, Answer.APPROVE)
    assert shop.get(PATH)["state"] == "verifying"
    recovers(shop)
    shop.live(30, "v1.9.0", 50)
    data = shop.get(PATH)
    adds_up(data)
    assert (data["state"], data["severity"]) == ("resolved", "high")
    assert (data["decision"]["how"], data["decision"]["who"]) == ("approved", "on-call")
    assert "trigger/error_high/approved" in data["path"]
    assert clocks(data)["decide"]["limit_ms"] == 300_000


def test_what_people_say_is_history(over):
    """Notes, updates and roles are lines of the audit log, also long after the end."""
    over.clock.ms += 3_600_000
    actor = {"X-Knowngood-Actor": "Ana"}
    over.post(f"{PATH}/notes", 201, headers=actor, text="The *vendor* had changed <nothing>.")
    over.post(f"{PATH}/notes", 201, headers=actor, text="All well.", update=True, next="30m")
    over.post(f"{PATH}/roles", 201, headers=actor, role="commander", person="Ben")
    over.post(f"{PATH}/roles", 201, headers=actor, role="commander", person="Ana")
    data = over.get(PATH)
    first, second = data["notes"]
    assert (first["text"], first["actor"]) == (
        "The *vendor* had changed <nothing>.", "Ana (unverified)",
    )  # fmt: skip
    assert (second["update"], second["next_ms"]) == (True, over.clock.ms + 1_800_000)
    assert data["roles"] == {"commander": "Ana"}
    assert [line["kind"] for line in data["timeline"]][-4:] == [
        "incident.note", "incident.note", "incident.role", "incident.role",
    ]  # fmt: skip
    assert clocks(data)["total"]["ms"] == 11_000


def test_a_false_positive_is_closed_and_its_evidence_begins_anew(shop):
    """An open incident that was none is over by a person's word, with the reason."""
    breaks(shop, 0)
    shop.live(120, "v2.0.0", 485, 15)
    done = shop.post(f"{PATH}/close", how="false_positive", because="a test of the alarm")
    assert done["recorded"] == "incident.closed"
    data = shop.get(PATH)
    assert (data["state"], data["open"]) == ("false_positive", False)
    assert shop.state().incident is None
    assert shop.state().entry("v2.0.0").fresh_ms == shop.clock.ms
    assert shop.kinds()[-1] == "incident.closed"


def test_a_duplicate_names_what_it_repeats(shop):
    """Which has to be there, and is another one."""
    breaks(shop)
    recovers(shop)
    shop.promote("v2.0.0", override=["in_progress", "quarantined"])
    shop.live(7, "v2.0.0", 44, 6)
    recovers(shop)
    other = shop.get("/api/incidents")["incidents"][0]["id"]
    assert other != ID
    for of in (ID, None, f"production/{PROMPT}/g9.9"):
        refused = shop.refused(
            f"{PATH}/close", 404 if of and of != ID else 422, how="duplicate", of=of, because="x"
        )
        assert refused["message"]
    shop.post(f"{PATH}/close", how="duplicate", of=other, because="the same deploy again")
    data = shop.get(PATH)
    assert (data["state"], data["duplicate_of"]) == ("duplicate", other)


def test_what_cannot_be_closed_is_said(shop):
    """A rollback that is being verified goes on; what is open is not reviewed."""
    breaks(shop)
    assert (
        "verified"
        in shop.refused(f"{PATH}/close", 409, how="false_positive", because="no")["message"]
    )
    assert (
        "still open" in shop.refused(f"{PATH}/close", 422, how="reviewed", because="no")["message"]
    )
    assert shop.refused(f"{PATH}/close", 422, how="great", because="no")
    assert shop.refused("/api/incidents/production/x/g1.1/notes", 404, text="no")["known"] == [ID]


def test_incidents_are_listed(over):
    """The newest first, by place and by whether they are over."""
    (row,) = over.get("/api/incidents")["incidents"]
    assert (row["id"], row["open"], row["took"]) == (ID, False, "4 s")
    assert over.get("/api/incidents", state="open")["incidents"] == []
    assert over.get("/api/incidents", prompt=PROMPT, environment="production")["incidents"] == [row]
    assert over.get("/api/incidents", environment="staging")["incidents"] == []
    assert over.get("/api/incidents", before_ms=row["opened_ms"])["incidents"] == []


def test_the_version_that_fixed_it_is_named(over):
    """The first other version that became good afterwards."""
    over.push("v2.0.1")
    over.promote("v2.0.1")
    over.post("/api/vouch", prompt=PROMPT, version="v2.0.1", because="seen for a day")
    assert over.get(PATH)["fixed_by"] == "v2.0.1"


def test_without_observations_the_record_is_all_the_same_there(over, monkeypatch):
    """What was reported is gone; what was decided stands in the history."""
    series: Any = type(over.runtime.store.series)
    monkeypatch.setattr(series, "read", lambda *_: [])
    data = over.get(PATH)
    assert data["impact"] is None
    adds_up(data)


def test_markup_in_texts_is_shown_and_never_taken_for_markup(over):
    """Reasons, notes and prompts are other people's words: the document quotes them."""
    evil = "</details><script>alert(1)</script> | ![x](http://e.example/p.png) **bold**\n# Title"
    over.post(f"{PATH}/notes", 201, text=evil)
    for path in (f"{PATH}/text", f"{PATH}/postmortem"):
        text = over.get(path)["markdown"]
        outside = _outside_fences(text)
        assert "<script" not in outside and "<i>" not in outside
        assert "![x](" not in outside and "**bold**" not in outside
        assert "\n# Title" not in text and "&lt;script&gt;" in outside
        rows = [line for line in outside.splitlines() if line.startswith("| 2026")]
        assert rows and {_cells(row) for row in rows} == {5}


def test_a_prompt_s_text_cannot_end_its_fence(over):
    """What has changed is shown as it is, in a fence that is longer than any within."""
    text = over.get(f"{PATH}/postmortem")["markdown"]
    (fence,) = [line for line in text.splitlines() if line.endswith("`diff")]
    assert fence == "````diff"
    body = text.partition("````diff\n")[2].partition("\n````\n")[0]
    assert "+```" in body and "<b>only</b>" in body
    assert "<b>only" not in _outside_fences(text)


def _outside_fences(text: str) -> str:
    found, fence = [], ""
    for line in text.splitlines():
        ticks = line[: len(line) - len(line.lstrip("`"))]
        if not fence and len(ticks) >= 3:
            fence = ticks
        elif fence and line == fence:
            fence = ""
        elif not fence:
            found.append(line)
    return "\n".join(found)


def _cells(row: str) -> int:
    return row.replace("\\|", "").count("|") - 1


def test_lines_of_other_incidents_are_not_in_the_timeline(over):
    """A second incident of the same prompt has a timeline of its own."""
    entry = AuditEntry(
        START_MS + 40_000, "production", PROMPT, "incident.note", "another", "ann", 1, 1,
        detail={"incident": f"production/{PROMPT}/g9.1"},
    )  # fmt: skip
    before = over.get(PATH)["timeline"]
    over.runtime.store.log.append([entry])
    assert over.get(PATH)["timeline"] == before

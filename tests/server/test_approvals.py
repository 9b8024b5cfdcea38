"""Two people for a promotion to production, over the API: with tokens, and in the local mode."""

from typing import Any

import pytest

from knowngood.core.asking import Purpose
from tests.server.doors import house
from tests.server.world import PROMPT

ORDER: dict[str, Any] = {"prompt": PROMPT, "version": "v2", "because": "ready"}
NOW = {**ORDER, "now": True}


@pytest.fixture
def shop():
    """v1 serves everybody; v2 was pushed."""
    with house() as made:
        for version in ("v1", "v2"):
            made.ana.post(f"/api/prompts/{PROMPT}/versions", 201, version=version, text=version)
        made.ben.post("/api/approvals", **{**ORDER, "version": "v1"})
        made.ana.post("/api/promote", **{**NOW, "version": "v1"})
        yield made


def gate(person, version="v2"):
    found = person.get(f"/api/prompts/{PROMPT}/gates", version=version)
    (approvals,) = [gate for gate in found["promotion"] if gate["name"] == "approvals"]
    return approvals["answer"], approvals["because"], found["approvals"]


def test_nobody_promotes_alone(shop):
    """Refused with who can agree; agreed to by another person it goes through."""
    error = shop.ana.refused("/api/promote", 409, **NOW)
    assert error["code"] == "gate_closed" and error["known"] == ["approvals"]
    assert "nobody has approved it; ada and ben can" in error["message"]
    shop.ben.post("/api/approvals", **ORDER)
    assert shop.ana.post("/api/promote", **NOW)["outcome"] == "changed"
    kinds = shop.vera.get("/api/audit", prompt=PROMPT)["entries"]
    said = [e for e in kinds if e["kind"] == "promotion.approved"][-1]
    assert (said["actor"], said["because"], said["detail"]["version"]) == ("ben", "ready", "v2")


def asked(shop):
    """The messages to whoever may agree."""
    waiting = shop.world.runtime.store.outbox.due(shop.world.clock.ms, 100)
    return [message for message in waiting if message.audience == "approvers"]


def test_who_could_agree_is_told_once(shop):
    """A note with the command that agrees, to the approvers by name; a page to nobody."""
    assert asked(shop) == []
    for _ in range(3):
        shop.ana.refused("/api/promote", 409, **NOW)
    (note,) = asked(shop)
    assert note.purpose is Purpose.NOTE and note.targets == ("approvers", "ada", "ben")
    assert note.subject == f"ana asks for an approval: {PROMPT}:v2 in production"
    assert note.body.startswith("ready. it needs 2 people")
    assert f"`knowngood approve {PROMPT} v2 --because ...` agrees" in note.body
    kinds = [e["kind"] for e in shop.vera.get("/api/audit", prompt=PROMPT)["entries"]]
    assert kinds.count("promotion.asked") == 1
    shop.otto.refused("/api/promote", 409, **NOW)
    shop.world.clock.ms += 24 * 3_600_000
    shop.ana.refused("/api/promote", 409, **NOW)
    assert [each.subject.split()[0] for each in asked(shop)] == ["ana", "otto", "ana"]


def test_nobody_is_told_of_what_nobody_asks_for(shop):
    """A rehearsal, and a promotion that other gates refuse as well."""
    shop.ana.refused("/api/promote", 409, dry_run=True, **NOW)
    shop.ana.post("/api/promote", environment="staging", **NOW)
    error = shop.ana.refused("/api/promote", 409, **NOW)
    assert "soak" in error["known"] and asked(shop) == []


def test_who_promotes_is_not_who_approved(shop):
    """An approver's own word does not open the gate for himself, whatever name he claims."""
    shop.ben.post("/api/approvals", **ORDER)
    error = shop.ben.refused("/api/promote", 409, **NOW)
    assert "ben, who cannot be the one to promote it as well" in error["message"]
    claimed = {"X-Knowngood-Actor": "somebody-else"}
    answer = shop.ben.ask("POST", "/api/promote", json=NOW, headers=claimed)
    assert answer.status_code == 409
    assert shop.otto.post("/api/promote", **NOW)["outcome"] == "changed"


def test_an_operator_may_not_approve(shop):
    """403 with who may."""
    error = shop.otto.refused("/api/approvals", 403, **ORDER)
    assert error["next"] == "ask somebody who has it: ada, ben"


def test_an_approval_ends_with_its_day(shop):
    """24 hours by default."""
    shop.ben.post("/api/approvals", **ORDER)
    assert gate(shop.ana)[0] == "allow"
    shop.world.clock.ms += 24 * 3_600_000
    assert gate(shop.ana)[0] == "not_yet"
    assert shop.ana.refused("/api/promote", 409, **NOW)["known"] == ["approvals"]


def test_a_rollback_ends_an_approval(shop):
    """What was found at fault is agreed to anew; and the rollback itself took one operator."""
    shop.ben.post("/api/approvals", **ORDER)
    shop.ana.post("/api/promote", **NOW)
    shop.otto.post("/api/rollback", prompt=PROMPT)
    shop.otto.post("/api/unquarantine", **ORDER)
    assert gate(shop.ana)[0] == "not_yet"
    error = shop.ana.refused("/api/promote", 409, **{**NOW, "override": ["in_progress"]})
    assert error["known"] == ["approvals"]


def test_only_an_admin_breaks_the_glass_and_on_call_is_paged(shop):
    """The one way past the second person is loud."""
    alone = {**NOW, "override": ["approvals"]}
    error = shop.ana.refused("/api/promote", 403, **alone)
    assert "only an admin" in error["message"] and error["known"] == ["admin"]
    done = shop.ada.post("/api/promote", **alone)
    assert done["outcome"] == "changed"
    kinds = [e["kind"] for e in shop.vera.get("/api/audit", prompt=PROMPT)["entries"]]
    assert "approvals.overridden" in kinds
    waiting = shop.world.runtime.store.outbox.due(shop.world.clock.ms, 100)
    (page,) = [message for message in waiting if "without a second person" in message.subject]
    assert page.audience == "on-call" and page.purpose is Purpose.PAGE
    assert "ada broke the glass: ready" in page.body


@pytest.mark.parametrize("how", ["seen", "approved", "rolled back"])
def test_the_page_of_a_broken_glass_has_an_end(shop, how):
    """It escalates until somebody has seen it, a second person agrees, or it is taken off."""
    shop.ada.post("/api/promote", **{**NOW, "override": ["approvals"]})

    def pages():
        return shop.vera.get(f"/api/prompts/{PROMPT}/explain")["state"]["pages"]

    (alarm,) = pages()
    assert alarm["thread"].startswith(f"production/{PROMPT}:unapproved:v2:r")
    if how == "seen":
        shop.ben.post("/api/answers", about=alarm["thread"], answer="ack")
    elif how == "approved":
        shop.ben.post("/api/approvals", **ORDER)
    else:
        shop.otto.post("/api/rollback", prompt=PROMPT)
    assert pages() == []
    waiting = shop.world.runtime.store.outbox.due(shop.world.clock.ms, 100)
    assert [m.thread for m in waiting if m.purpose is Purpose.RESOLVED] == [alarm["thread"]]


def test_an_admin_who_has_an_approval_breaks_nothing(shop):
    """An override that nothing needs is not told."""
    shop.ben.post("/api/approvals", **ORDER)
    shop.ada.post("/api/promote", **{**NOW, "override": ["approvals"]})
    kinds = [e["kind"] for e in shop.vera.get("/api/audit", prompt=PROMPT)["entries"]]
    assert "approvals.overridden" not in kinds


def test_gates_show_who_has_agreed_and_who_can(shop):
    """Whoever looks."""
    answer, words, data = gate(shop.vera)
    assert (answer, data["people_count"], data["who_can"]) == ("not_yet", 2, ["ada", "ben"])
    shop.ben.post("/api/approvals", **ORDER)
    answer, words, data = gate(shop.vera)
    assert answer == "allow" and words.startswith("approved by ben, for 1 d")
    assert [(each["actor"], each["because"]) for each in data["given"]] == [("ben", "ready")]
    assert data["who_can"] == ["ada"]


def test_a_rehearsed_approval_is_none(shop):
    """`dry_run` changes nothing; a stale revision is refused."""
    done = shop.ben.post("/api/approvals", dry_run=True, **ORDER)
    assert done["dry_run"] and gate(shop.ana)[0] == "not_yet"
    assert shop.ben.refused("/api/approvals", 409, revision=99, **ORDER)["code"] == "stale_state"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"version": "v2"}, 422, "`prompt` is missing"),
        ({"prompt": PROMPT}, 422, "`version` is missing"),
        ({"prompt": PROMPT, "version": "v9"}, 404, "no version"),
        ({"prompt": PROMPT, "version": "v2", "release": "r"}, 422, "as a whole"),
        ({"release": "r"}, 404, "no release"),
        ({"prompt": PROMPT, "version": "v2", "environment": "staging"}, 422, "staging"),
        ({"prompt": PROMPT, "version": "v2", "environment": "mars"}, 404, "mars"),
    ],
)
def test_what_cannot_be_approved_is_refused(shop, body, status, words):
    """Each with what is missing."""
    assert words in shop.ben.refused("/api/approvals", status, because="x", **body)["message"]


def test_a_release_needs_the_word_for_every_member(shop):
    """Approved as a whole in one transaction, or member by member; never in part."""
    shop.ana.post("/api/prompts/faq/versions", 201, version="f1", text="F.")
    members = [f"{PROMPT}:v2", "faq:f1"]
    shop.ana.post("/api/releases", 201, name="spring", members=members, because="new")
    order = {"name": "spring", "because": "go", "now": True}
    shop.ben.post("/api/approvals", **ORDER)
    error = shop.ana.refused("/api/releases/promote", 409, **order)
    assert [note.prompt for note in asked(shop)] == ["faq"]
    assert error["known"] == ["approvals"] and "faq:f1" in error["message"]
    done = shop.ben.post("/api/approvals", release="spring", because="read both")
    assert set(done["members"]) == {f"{PROMPT}:v2", "faq:f1"}
    assert shop.ana.post("/api/releases/promote", **order)["outcome"] == "changed"


# --- Where nobody can be told from anybody


def test_in_local_mode_one_person_is_enough(world):
    """And the gate says why; an approval would say nothing."""
    world.push("v1")
    found = world.get(f"/api/prompts/{PROMPT}/gates", version="v1")
    (approvals,) = [gate for gate in found["promotion"] if gate["name"] == "approvals"]
    assert approvals["answer"] == "allow"
    assert "no tokens tell two people apart" in approvals["because"]
    error = world.refused("/api/approvals", 422, prompt=PROMPT, version="v1", because="x")
    assert "nothing here proves who gives it" in error["message"]
    world.promote("v1")


def test_with_one_token_one_person_is_enough():
    """Nobody is locked out of his own server."""
    with house(("ada",)) as made:
        made.ada.post(f"/api/prompts/{PROMPT}/versions", 201, version="v2", text="x")
        assert made.ada.post("/api/promote", **NOW)["outcome"] == "changed"


def test_a_policy_may_ask_for_one_or_for_three(tmp_path):
    """`approvals: {people: N}`, who promotes included; elsewhere one is enough."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("defaults: {approvals: {people: 3, environments: [production]}}")
    with house(policy=str(policy)) as made:
        made.ana.post(f"/api/prompts/{PROMPT}/versions", 201, version="v2", text="x")
        made.ana.post("/api/promote", environment="staging", **NOW)
        made.ben.post("/api/approvals", **ORDER)
        assert made.ana.refused("/api/promote", 409, **NOW)["known"] == ["approvals"]
        made.ada.post("/api/approvals", **ORDER)
        made.ana.post("/api/promote", **NOW)


def test_where_versions_soak_a_second_person_may_be_asked_for_too(tmp_path):
    """The policy names the environments; no other gate is asked there."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("defaults: {approvals: {environments: [staging]}}")
    with house(policy=str(policy)) as made:
        made.ana.post(f"/api/prompts/{PROMPT}/versions", 201, version="v2", text="x")
        there = {**NOW, "environment": "staging"}
        assert made.ana.refused("/api/promote", 409, **there)["known"] == ["approvals"]
        made.ada.post("/api/promote", **{**there, "override": ["approvals"]})

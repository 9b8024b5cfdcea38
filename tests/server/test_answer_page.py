"""The page behind a signed link: looking changes nothing, and the form answers once."""

import re
from html import unescape

import pytest
import yaml

from knowngood.core.asking import Answer
from knowngood.core.policy import parse
from knowngood.server.links import Link, make
from knowngood.server.rolls import Rolls
from tests.server.world import PROMPT
from tests.server.world import world as new_world

TOKEN = "somebody:a-token-of-some-length"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
POLICY = """
people:
  ana: {roles: [on-call]}
"""


@pytest.fixture
def asked(tmp_path):
    """A server with tokens, where on-call is asked whether to roll back v2.0.0."""
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    settings = {"policy": str(file), "public_url": "https://kg.example.com"}
    with new_world(**settings) as made:
        made.route_two()
        made.live(60, "v2.0.0", ok=290, bad=10)
        for _ in range(120):
            if made.state().question:
                break
            made.live(1, "v2.0.0", ok=290, bad=10)
        assert made.state().question is not None, made.kinds()
        yield made


def link(world, answer: Answer = Answer.APPROVE, **changes) -> str:
    state = world.state()
    assert state.incident is not None and state.question is not None
    number = state.question.number if answer is not Answer.ACK else None
    fields = {
        "thread": state.incident.id, "answer": answer, "number": number, "who": "ana",
        "is_person": True, "expires_ms": world.clock.ms + 3_600_000, "to": ("on-call",),
    }  # fmt: skip
    said = Link(**{**fields, **changes})
    return "/answer/" + make(world.runtime.links.key, said)


def words(answer) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", answer.text))


def test_looking_changes_nothing(asked):
    """A program that fetches the link, however often, finds a form and sends none."""
    before = asked.state()
    path = link(asked)
    for _ in range(3):
        found = asked.client.get(path)
        assert found.status_code == 200 and found.headers["content-type"].startswith("text/html")
    assert asked.client.head(path).status_code in (200, 405)
    assert asked.state() == before
    assert "Roll back" in found.text and "Time left" in found.text
    assert f"{PROMPT} in production" in words(found) and '<form method="post">' in found.text


def test_the_form_answers_once(asked):
    """It rolls back, in the name that is signed; a second time it is over and says so."""
    path = link(asked)
    done = asked.client.post(path, data={"because": "v2 talks nonsense"})
    assert done.status_code == 200 and "Done: Roll back" in words(done)
    assert asked.state().route.arms[0].version == "v1.9.0"
    entries = asked.get("/api/audit", prompt=PROMPT, limit=100)["entries"]
    acts = [e for e in entries if e["actor"].startswith("ana (by link)")]
    assert acts and any("v2 talks nonsense" in e["because"] for e in acts)
    again = asked.client.post(path, data={"because": "once more"})
    assert again.status_code == 409 and "Nothing was changed" in words(again)
    assert "no longer asked" in words(asked.client.get(path))


@pytest.mark.parametrize("answer", [Answer.DECLINE, Answer.ACK])
def test_the_other_answers(asked, answer):
    """Whoever investigates or looks does not roll back."""
    done = asked.client.post(link(asked, answer), data={"because": "I look"})
    assert done.status_code == 200, done.text
    kinds = asked.kinds()
    assert "question.declined" in kinds or "page.acknowledged" in kinds, kinds
    assert "rollback.switched" not in kinds


def test_a_link_that_many_have_asks_who_it_is(asked):
    """It was sent to a channel: a name has to be given, and stands beside the audience."""
    path = link(asked, Answer.ACK, who="on-call", is_person=False)
    assert 'name="name"' in asked.client.get(path).text
    for name in ("", "  ", "x" * 101, "a\x00b"):
        refused = asked.client.post(path, data={"name": name, "because": "I look"})
        assert refused.status_code == 422 and "say who you are" in words(refused)
    asked.client.post(path, data={"name": "Cem", "because": "I look"})
    entries = asked.get("/api/audit", prompt=PROMPT, limit=100)["entries"]
    assert any(e["actor"] == "Cem (by a link to on-call)" for e in entries)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"expires_ms": 0}, 410, id="ended"),
        pytest.param({"number": 99}, 409, id="another question"),
        pytest.param({"thread": "production/customer-support/g1.1"}, 409, id="another incident"),
        pytest.param({"thread": "production/nobody/g1.1"}, 404, id="no such prompt"),
        pytest.param({"thread": "odd"}, 404, id="no incident at all"),
    ],
)
def test_links_that_answer_nothing(asked, change, status):
    """Each says why, as a page; nothing is changed."""
    before = asked.state()
    refused = asked.client.post(link(asked, **change), data={"because": "x"})
    assert refused.status_code == status, refused.text
    assert refused.headers["content-type"].startswith("text/html")
    assert "Nothing was changed" in words(refused)
    assert asked.state() == before


def policy_of(people: str):
    """The policy with other people in it."""
    return parse({"policy": 1, "people": yaml.safe_load(people)})


@pytest.mark.parametrize(
    ("people", "tokens", "change", "words_of_it"),
    [
        pytest.param("{}", (), {}, "does not know any more", id="left"),
        pytest.param("{ana: {roles: [author]}}", (), {}, "is not among them", id="other role"),
        pytest.param("{ana: {roles: [on-call]}}", (), {"held": True}, "taken back", id="revoked"),
        pytest.param(
            "{ana: {roles: [on-call]}}",
            ("operator/ana:a-secret-of-anas-own until=2026-01-01",),
            {"held": True},
            "or has ended",
            id="token ended",
        ),
        pytest.param(
            "{ana: {roles: [on-call]}}",
            ("viewer/ana:a-secret-of-anas-own",),
            {"held": True},
            "may look and not decide",
            id="looks only",
        ),
    ],
)
def test_whoever_may_not_answer_any_more(asked, people, tokens, change, words_of_it):
    """The person is looked up at the press: a link lives for a day, and people leave."""
    path, before = link(asked, **change), asked.state()
    asked.runtime.desk.policy = policy_of(people)
    asked.runtime.desk.rolls = Rolls(tokens)
    for sent in (asked.client.get(path), asked.client.post(path, data={"because": "x"})):
        assert sent.status_code == 403 and "Nothing was changed" in words(sent)
        assert words_of_it in words(sent) and "knowngood " in words(sent)
    assert asked.state() == before


@pytest.mark.parametrize(
    ("people", "tokens", "change"),
    [
        ("{ana: {roles: [author]}}", ("operator/ana:a-secret-of-anas-own",), {"held": True}),
        ("{ana: {roles: [author]}}", ("operator/ana:a-secret-of-anas-own",), {}),
        ("{ana: {roles: [author]}}", (), {"to": ("nobody", "author")}),
        ("{ana: {roles: []}}", (), {"to": ("*",)}),
    ],
)
def test_whoever_may_still_answer(asked, people, tokens, change):
    """By a token that lets them act, or because they are among those who were asked."""
    asked.runtime.desk.policy = policy_of(people)
    asked.runtime.desk.rolls = Rolls(tokens)
    done = asked.client.post(link(asked, **change), data={"because": "x"})
    assert done.status_code == 200 and "Done" in words(done)


def test_a_wrong_signature(asked):
    """Neither shows nor does anything."""
    path = link(asked)[:-2] + "AA"
    for found in (asked.client.get(path), asked.client.post(path, data={"because": "x"})):
        assert found.status_code == 403 and "not one of ours" in words(found)


def test_what_is_shown_is_text(asked):
    """A name with an element in it is a name; no script could run in any case."""
    nasty = "<script>alert(1)</script>"
    found = asked.client.get(link(asked, thread=f"production/{PROMPT}/{nasty}"))
    assert "<script>" not in found.text
    policy = found.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "script-src" not in policy
    assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
    assert found.headers["cache-control"] == "no-store"
    assert found.headers["referrer-policy"] == "same-origin"


def test_the_link_is_all_that_is_needed():
    """No token, and no matter who passes it on: whoever has it was sent it."""
    with new_world(tokens=(TOKEN,), public_url="https://kg.example.com") as made:
        bad = "/answer/" + make(b"x" * 32, Link("a/b/c", Answer.ACK, None, "ana", True, 2**60))
        headers = {"Host": "kg.example.com", "X-Forwarded-For": "203.0.113.9"}
        assert made.client.get(bad, headers=headers).status_code == 403
        assert made.client.get("/api/status", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/answer/x", "application/json", 415),
        ("/answer/x", "text/plain", 415),
        ("/answer/x", "application/x-www-form-urlencoded", 403),
        ("/api/rollback", "application/x-www-form-urlencoded", 415),
        ("/answer", "application/x-www-form-urlencoded", 415),
    ],
)
def test_forms_are_taken_there_and_nowhere_else(world, path, kind, status):
    """What a foreign page can send without asking first is taken where a signature protects."""
    sent = world.client.post(path, content=b"because=x", headers={"Content-Type": kind})
    assert sent.status_code == status


def test_no_foreign_page_sends_the_form(world):
    """Even if it knew the link, the browser says where it comes from."""
    headers = {
        "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "cross-site"
    }  # fmt: skip
    assert world.client.post("/answer/x", content=b"a=b", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"&" * 50 + b"a=b&" * 20, b"because=" + b"x" * 2_500]
)
def test_bodies_that_are_no_form_of_ours(asked, body):
    """Are refused in words."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = asked.client.post(link(asked), content=body, headers=headers)
    assert sent.status_code == 422 and "Nothing was changed" in words(sent)

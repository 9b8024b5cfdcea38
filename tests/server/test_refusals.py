"""Every mistake is met with what was wrong, what is known, and what to do."""

import json
from typing import Any

import pytest

from tests.server.world import PROMPT, error_of

JSON = {"Content-Type": "application/json"}
ORDERS = ("/api/promote", "/api/route", "/api/rollback", "/api/vouch", "/api/unquarantine")
V1 = [{"version": "v1.9.0", "weight_bp": 10_000}]


def body_of(path, **changes):
    body: dict[str, Any] = {"prompt": PROMPT, "because": "test"}
    if path == "/api/route":
        body["arms"] = V1
    elif path != "/api/rollback":
        body["version"] = "v1.9.0"
    return body | changes


@pytest.mark.parametrize("path", [*ORDERS, "/api/automation"])
def test_an_unknown_prompt_is_answered_with_the_known_ones(world, path):
    """404, and the list of prompts that exist."""
    world.route_two()
    extra = {"state": "on"} if path == "/api/automation" else {}
    body = body_of(path, prompt="costumer-support", **extra)
    if path == "/api/automation":
        body.pop("version")
    error = world.refused(path, 404, **body)
    assert error["code"] == "unknown_prompt"
    assert error["known"] == [PROMPT]


@pytest.mark.parametrize("path", [*ORDERS, "/api/automation"])
def test_an_unknown_environment_is_answered_with_the_known_ones(world, path):
    """404, and the list of environments that exist."""
    world.route_two()
    body = body_of(path, environment="prod")
    if path == "/api/automation":
        body = {"state": "on", "because": "test", "environment": "prod"}
    error = world.refused(path, 404, **body)
    assert error["code"] == "unknown_environment"
    assert error["known"] == ["production", "staging"]


@pytest.mark.parametrize("path", ORDERS)
def test_an_unknown_version_is_answered_with_the_known_ones(world, path):
    """404, and the list of the prompt's versions."""
    world.route_two()
    changes: dict[str, Any] = {"version": "v3"}
    if path == "/api/route":
        changes = {"arms": [{"version": "v3", "weight_bp": 10_000}]}
    if path == "/api/rollback":
        changes = {"target_version": "v3"}
    error = world.refused(path, 404, **body_of(path, **changes))
    assert error["code"] == "unknown_version"
    assert error["known"] == ["v1.9.0", "v2.0.0"]


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/api/status", {"environment": "prod"}, "unknown_environment"),
        ("/api/status", {"prompt": "nope"}, "unknown_prompt"),
        ("/api/clients", {"environment": "prod"}, "unknown_environment"),
        ("/api/snapshot", {"environment": "prod"}, "unknown_environment"),
        ("/api/audit", {"environment": "prod"}, "unknown_environment"),
        ("/api/audit", {"prompt": "nope"}, "unknown_prompt"),
        ("/api/audit/77", {}, "unknown_entry"),
        ("/api/audit/99999999999999999999999", {}, "unknown_entry"),
        ("/api/prompts/nope", {}, "unknown_prompt"),
        ("/api/prompts/No%00pe", {}, "unknown_prompt"),
        (f"/api/prompts/{PROMPT}/versions/v3", {}, "unknown_version"),
        (f"/api/prompts/{PROMPT}/diff", {"a": "v1.9.0", "b": "v3"}, "unknown_version"),
        (f"/api/prompts/{PROMPT}/explain", {"environment": "prod"}, "unknown_environment"),
        ("/api/prompts/nope/explain", {}, "unknown_prompt"),
    ],
)
def test_a_question_about_the_unknown_is_404(world, path, query, code):
    """Reading says what is unknown too, and what there is."""
    world.route_two()
    error = error_of(world.client.get(path, params=query), 404)
    assert error["code"] == code
    assert error["known"] or code == "unknown_entry"


@pytest.mark.parametrize(
    ("arms", "code", "word"),
    [
        ([("v1.9.0", 9000), ("v2.0.0", 500)], "bad_weights", "9500"),
        ([("v1.9.0", 9000), ("v2.0.0", 2000)], "bad_weights", "11000"),
        ([("v1.9.0", 10_500), ("v2.0.0", -500)], "bad_weights", "10500"),
        ([("v1.9.0", 5000), ("v1.9.0", 5000)], "bad_weights", "v1.9.0"),
        ([("v1.9.0", 0), ("v2.0.0", 10_000)], "bad_weights", "0 bp"),
        ([], "bad_weights", "one or two arms"),
        ([("v1.9.0", 50.5), ("v2.0.0", 49.5)], "bad_request", "arms.0.weight_bp"),
        ([("v1.9.0", "5000"), ("v2.0.0", 5000)], "bad_request", "arms.0.weight_bp"),
        ([("v1.9.0", True), ("v2.0.0", 9999)], "bad_request", "arms.0.weight_bp"),
    ],
)
def test_weights_that_make_no_route_are_refused(world, arms, code, word):
    """422, and nothing is changed."""
    world.route_two()
    listed = [{"version": version, "weight_bp": bp} for version, bp in arms]
    error = world.refused("/api/route", 422, **body_of("/api/route", arms=listed))
    assert error["code"] == code
    assert word in error["message"]
    assert world.get("/api/status")["prompts"][0]["route"] == "v2.0.0 100%"


def test_a_target_that_was_never_good_is_refused_with_the_command_that_vouches(world):
    """409 not_known_good, the good ones, and the one command."""
    world.route_two()
    world.push("v3")
    error = world.refused("/api/rollback", 409, prompt=PROMPT, target_version="v3")
    assert error["code"] == "not_known_good"
    assert error["known"] == ["v1.9.0"]
    assert error["next"].startswith(f"knowngood vouch {PROMPT} v3")


def test_a_quarantined_version_is_neither_target_nor_promoted(world):
    """409 quarantined, with the command that lifts it."""
    world.route_two()
    world.post("/api/rollback", prompt=PROMPT)
    target = {"prompt": PROMPT, "target_version": "v2.0.0"}
    for path, body in (
        ("/api/rollback", target),
        ("/api/promote", body_of("/api/promote", version="v2.0.0", override=["in_progress"])),
        ("/api/vouch", body_of("/api/vouch", version="v2.0.0")),
    ):
        error = world.refused(path, 409, **body)
        assert error["code"] == "quarantined"
        assert "unquarantine" in error["next"]


def test_a_rollback_without_a_route_says_so(world):
    """409 not_routed, with the command that routes."""
    world.push("v1.9.0")
    error = world.refused("/api/rollback", 409, prompt=PROMPT)
    assert (error["code"], "promote" in error["next"]) == ("not_routed", True)


def test_a_rollback_without_a_good_version_says_what_there_is(world):
    """409 no_target, with the ledger."""
    world.push("v1.9.0")
    world.promote("v1.9.0")
    error = world.refused("/api/rollback", 409, prompt=PROMPT)
    assert (error["code"], error["known"]) == ("no_target", ["v1.9.0 (good)"])


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"{", "not valid JSON"),
        (b"", "body"),
        (b"null", "body"),
        (b"[]", "body"),
        (b'"text"', "body"),
        (b'{"prompt": "a", "prompt"}', "not valid JSON"),
        (b"\xff\xfe\x00", "body"),
        (b"[" * 100_000, "body"),
        (b'{"prompt": "\\ud800"}', "prompt"),
        (b'{"prompt": NaN}', "prompt"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(world, content, word):
    """422 in the one shape, whatever was sent."""
    error = error_of(world.client.post("/api/rollback", content=content, headers=JSON), 422)
    assert error["code"] == "bad_request"
    assert word in error["message"]


def test_an_unknown_field_is_refused_with_what_was_meant(world):
    """A misspelt option of a rollback must not be silently ignored."""
    error = world.refused("/api/rollback", 422, prompt=PROMPT, target="v1.9.0", dryrun=True)
    assert "'target'" in error["message"]
    assert "target_version" in error["known"]
    assert error["next"] == "did you mean `target_version`?"
    nested = body_of("/api/route", arms=[{"version": "v1", "weight": 1}])
    assert world.refused("/api/route", 422, **nested)["known"] == ["version", "weight_bp"]


@pytest.mark.parametrize("because", ["", "   ", None])
@pytest.mark.parametrize("path", ["/api/promote", "/api/route", "/api/vouch", "/api/unquarantine"])
def test_an_order_needs_a_reason(world, path, because):
    """422: history is read by people who were not there."""
    world.route_two()
    error = world.refused(path, 422, **body_of(path, because=because))
    assert "because" in error["message"] + error["next"]


def test_a_missing_field_is_named(world):
    """422 names the field."""
    error = error_of(world.client.post("/api/rollback", json={}), 422)
    assert "`prompt`" in error["message"]


def test_an_override_that_does_not_exist_is_refused(world):
    """An override in vain would look like one that worked."""
    world.route_two()
    error = world.refused("/api/rollback", 422, prompt=PROMPT, override=["quarantine"])
    assert error["known"] == [
        "quarantined",
        "not_known_good",
        "in_progress",
        "freeze",
        "soak",
        "evaluation",
        "approvals",
        "target_evaluation",
    ]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"state": "off"}, "end"),
        ({"state": "off", "for": "2 weeks"}, "unit"),
        ({"state": "off", "for": "30d"}, "up to"),
        ({"state": "off", "for": "soon"}, "duration"),
        ({"state": "on", "for": "2h"}, "for"),
        ({"state": "maybe"}, "state"),
    ],
)
def test_automation_that_is_off_has_a_sane_end(world, body, word):
    """Automation that is off for good is automation forgotten."""
    error = world.refused("/api/automation", 422, because="test", **body)
    assert word in error["message"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"version": "v1"}, "bad_content"),
        ({"version": "v1", "text": "a", "messages": []}, "bad_content"),
        ({"version": "v1", "text": "{{ broken"}, "bad_content"),
        ({"version": "v:1:2", "text": "a"}, "bad_request"),
        ({"version": "", "text": "a"}, "bad_request"),
        ({"version": "v1", "messages": [{"role": "king", "content": "x"}]}, "bad_content"),
        ({"version": "v1", "text": "a", "config": {"model": 7}}, "bad_content"),
        ({"version": "v1", "text": "a\u0000b"}, "bad_content"),
        ({"version": "v1", "txt": "a"}, "bad_request"),
    ],
)
def test_a_version_that_is_none_is_refused(world, body, code):
    """422 for content and names that could not be served."""
    error = world.refused(f"/api/prompts/{PROMPT}/versions", 422, **body)
    assert error["code"] == code


def test_a_version_is_immutable(world):
    """The same content again is unchanged, other content is a conflict."""
    path = f"/api/prompts/{PROMPT}/versions"
    world.push("v1.9.0", "Hello")
    assert world.post(path, 200, version="v1.9.0", text="Hello")["outcome"] == "unchanged"
    error = world.refused(path, 409, version="v1.9.0", text="Other")
    assert (error["code"], error["known"]) == ("content_conflict", ["v1.9.0"])
    assert world.kinds().count("version.pushed") == 1


def test_a_name_that_is_none_is_refused_when_pushed(world):
    """422: such a name could never be asked for again."""
    body = {"version": "v1", "text": "a"}
    assert world.refused("/api/prompts/Customer%20Support/versions", 422, **body)["code"]


def test_what_is_not_there_is_404_and_405(world):
    """Routes and methods that do not exist answer in the same shape."""
    assert error_of(world.client.get("/api/nothing"), 404)["code"] == "not_found"
    assert error_of(world.client.get("/api/status/"), 404)["code"] == "not_found"
    error = error_of(world.client.get("/api/rollback"), 405)
    assert (error["code"], error["known"]) == ("method_not_allowed", ["POST"])
    assert error_of(world.client.delete("/api/observations"), 405)["code"] == "method_not_allowed"


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=1001", "limit=ten", "after=-1"])
def test_a_page_has_limits(world, query):
    """422 instead of the whole table."""
    assert error_of(world.client.get(f"/api/audit?{query}"), 422)["code"] == "bad_request"


def test_a_long_list_of_known_names_is_cut(world):
    """An error stays readable with a thousand prompts."""
    for number in range(60):
        path = f"/api/prompts/p{number:02}/versions"
        world.post(path, 201, version="v1", text="x")
    error = world.refused("/api/rollback", 404, prompt="nope")
    assert len(error["known"]) == 50
    assert "60 are known" in error["message"]


def test_a_fault_of_ours_is_500_without_its_insides(world, monkeypatch):
    """The client learns that it was us; the traceback is for the log."""

    def explode(*args):
        raise RuntimeError("secret inside")

    monkeypatch.setattr("knowngood.server.read.environments", explode)
    answer = world.client.get("/api/environments")
    assert error_of(answer, 500)["code"] == "internal"
    assert "secret" not in json.dumps(answer.json())
    assert answer.headers["x-content-type-options"] == "nosniff"

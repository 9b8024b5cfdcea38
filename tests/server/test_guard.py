"""Who may knock: names, tokens, origins, kinds of bodies and their sizes."""

import json

import anyio
import pytest
from starlette.testclient import TestClient

from knowngood.server.guard import Guard
from knowngood.server.tokens import NOBODY
from tests.server.world import PROMPT, error_of, world

TOKEN = "alice:a-token-of-some-length"
ROLLBACK = json.dumps({"prompt": PROMPT})
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "",
        "a@localhost",
        "localhost/x",
    ],
)
@pytest.mark.parametrize("path", ["/api/status", "/healthz", "/openapi.json"])
def test_a_foreign_host_is_refused(world, host, path):
    """A web page whose name was bent to this machine is no friend (DNS rebinding)."""
    error = error_of(world.client.get(path, headers={"Host": host}), 403)
    assert error["code"] == "forbidden"
    assert "localhost" in error["known"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:9", "[::1]:8000"])
def test_this_machine_is_known_under_its_names(world, host):
    """Whatever the port: a tunnel has its own."""
    assert world.client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP"])
def test_without_a_token_nothing_comes_through_a_proxy(world, header):
    """A proxy on this machine would open the local mode to everybody behind it."""
    refused = error_of(world.client.get("/api/status", headers={header: "203.0.113.9"}), 403)
    assert refused["code"] == "forbidden"
    assert "token" in refused["next"]


def test_more_names_can_be_allowed():
    """--allow-host is for the name of a proxy."""
    with world(allow_hosts=("prompts.example",)) as made:
        assert made.client.get("/healthz", headers={"Host": "Prompts.Example"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"Origin": "http://localhost:8000"}, 404),
        ({"Sec-Fetch-Site": "same-origin"}, 404),
        ({"Sec-Fetch-Site": "none"}, 404),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, 404),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:8000"}, 403),
        ({"Sec-Fetch-Site": ""}, 403),
    ],
)
def test_a_foreign_page_changes_nothing(world, headers, status):
    """Unsafe methods come from our own pages, or from no browser at all."""
    answer = world.client.post("/api/rollback", content=ROLLBACK, headers=JSON | headers)
    code = "forbidden" if status == 403 else "unknown_prompt"
    assert error_of(answer, status)["code"] == code
    assert world.client.get("/api/status", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", None]
)
@pytest.mark.parametrize("path", ["/api/rollback", "/api/observations"])
def test_a_body_that_is_not_declared_as_json_is_refused(world, kind, path):
    """415, with the header that is missing: what curl sends by itself is a form."""
    headers = {"Content-Type": kind} if kind else {}
    answer = world.client.post(path, content=ROLLBACK.encode(), headers=headers)
    error = error_of(answer, 415)
    assert "Content-Type: application/json" in error["next"]


@pytest.mark.parametrize("path", ["/api/rollback", "/api/observations"])
def test_a_body_that_is_too_large_is_refused(world, path):
    """413 by its announced length, and by its real one when it comes in chunks."""
    large = b" " * (1024 * 1024 + 1)
    assert error_of(world.client.post(path, content=large, headers=JSON), 413)

    def chunks():
        for _ in range(17):
            yield b" " * 65_536

    error = error_of(world.client.post(path, content=chunks(), headers=JSON), 413)
    assert error["code"] == "too_large"


def test_a_large_body_within_the_limit_arrives(world):
    """A long prompt in chunks is put together again."""
    body = json.dumps({"version": "v1", "text": "x" * 200_000}).encode()

    def chunks():
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    path = f"/api/prompts/{PROMPT}/versions"
    assert world.client.post(path, content=chunks(), headers=JSON).status_code == 201


def test_every_answer_has_the_security_headers(world):
    """Answers and refusals alike."""
    for path in ("/healthz", "/api/nothing", "/metrics"):
        headers = world.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]


# --- Tokens


@pytest.fixture
def guarded():
    with world(tokens=(TOKEN, "another-token-of-some-length")) as made:
        yield made


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer("wrong"),
        bearer(TOKEN + "x"),
        bearer(TOKEN[:-1]),
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
    ],
)
@pytest.mark.parametrize("path", ["/api/status", "/api/rollback", "/metrics", "/openapi.json"])
def test_with_tokens_nobody_gets_in_without(guarded, headers, path):
    """401 everywhere but at the probes, and the answer says what to send."""
    if path == "/api/rollback":
        answer = guarded.client.post(path, content=ROLLBACK, headers=JSON | headers)
    else:
        answer = guarded.client.get(path, headers=headers)
    error = error_of(answer, 401)
    assert "Bearer" in error["next"]
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_probes_need_no_token(guarded):
    """A supervisor has no secrets."""
    guarded.tick()
    assert guarded.client.get("/healthz").status_code == 200
    assert guarded.client.get("/readyz").status_code == 200


def test_every_token_opens(guarded):
    """Several tokens make a change of tokens possible."""
    for token in (TOKEN, "another-token-of-some-length"):
        assert guarded.client.get("/api/status", headers=bearer(token)).status_code == 200


@pytest.mark.parametrize(
    ("token", "claimed", "actor"),
    [
        (TOKEN, None, "alice"),
        (TOKEN, "alice", "alice"),
        (TOKEN, "bob", "bob via alice"),
        ("another-token-of-some-length", "bob", "bob"),
        ("another-token-of-some-length", None, "api"),
    ],
)
def test_the_history_says_whose_token_it_was(guarded, token, claimed, actor):
    """What somebody says of himself does not hide the token that was used."""
    headers = bearer(token) | ({"X-Knowngood-Actor": claimed} if claimed else {})
    body = {"version": "v1", "text": "x"}
    path = f"/api/prompts/{PROMPT}/versions"
    answer = guarded.client.post(path, json=body, headers=headers)
    assert answer.json()["author"] == actor


@pytest.mark.parametrize(
    ("claimed", "actor"),
    [
        (None, "api (unverified)"),
        ("bob", "bob (unverified)"),
        ("J%C3%BCrgen", "Jürgen (unverified)"),
    ],
)
def test_in_local_mode_nobody_is_verified(world, claimed, actor):
    """The history does not pretend to know."""
    headers = {"X-Knowngood-Actor": claimed} if claimed else None
    done = world.post(
        f"/api/prompts/{PROMPT}/versions", 201, headers=headers, version="v1", text="x"
    )
    assert done["author"] == actor


@pytest.mark.parametrize("claimed", ["x" * 101, "a%0Ab"])
def test_an_actor_is_a_printable_name(world, claimed):
    """A line break in a name could forge a line of a log."""
    headers = {"X-Knowngood-Actor": claimed}
    body = {"version": "v1", "text": "x"}
    answer = world.client.post(f"/api/prompts/{PROMPT}/versions", json=body, headers=headers)
    assert error_of(answer, 422)["code"] == "bad_request"


def test_web_sockets_are_turned_away(world):
    """There are none here."""
    from starlette.websockets import WebSocketDisconnect

    client: TestClient = world.client
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/status"):
        pass


def test_a_client_that_goes_away_leaves_nothing_behind(world):
    """Half a body is no order, and no fault of ours to be logged."""
    messages = [{"type": "http.request", "body": b"{", "more_body": True}]
    sent: list[object] = []

    async def receive():
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/rollback",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }
    guard = Guard(world.client.app, ["localhost"], lambda: NOBODY, world.clock.now_ms)
    anyio.run(guard, scope, receive, send)
    assert sent == []

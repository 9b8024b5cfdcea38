"""Signing in: a token becomes a session, which ends with its token and opens nothing but pages."""

import pytest

from knowngood.server.sessions import COOKIE, LIVES_MS, SessionEnded, Sessions
from knowngood.server.tokens import roster_of
from tests.server.doors import SECRETS
from tests.web.world import page, send, site

TOKEN = "ana:a-secret-of-anas-own"
NOW_MS = 1_767_225_600_000


@pytest.fixture
def guarded():
    with site(tokens=tuple(SECRETS.values())) as world:
        yield world


def test_a_stranger_is_shown_the_door_and_led_back(guarded):
    """Whoever comes by a link signs in and is where they wanted to be."""
    answer = guarded.client.get("/prompts/x?span=6h", follow_redirects=False)
    assert answer.status_code == 303
    where = answer.headers["location"]
    assert where == "/login?next=%2Fprompts%2Fx%3Fspan%3D6h"
    assert 'value="/prompts/x?span=6h"' in page(guarded, where)
    answer = send(guarded, "/login", {"token": TOKEN, "next": "/prompts/x?span=6h"})
    assert answer.headers["location"] == "/prompts/x?span=6h"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and TOKEN not in cookie
    assert "ana" in page(guarded, "/")


def test_a_wrong_token_is_refused_in_words(guarded):
    """And no cookie is set."""
    answer = send(guarded, "/login", {"token": "nobody's token at all"}, 401)
    assert "not known here" in answer.text and "set-cookie" not in answer.headers


def test_a_session_opens_pages_and_not_the_api(guarded):
    """What a browser sends on its own must not be enough for a program's door."""
    send(guarded, "/login", {"token": TOKEN})
    page(guarded, "/")
    assert guarded.client.get("/api/status").status_code == 401


def test_signing_out_ends_it(guarded):
    """The cookie goes."""
    send(guarded, "/login", {"token": TOKEN})
    answer = send(guarded, "/logout", {})
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert guarded.client.get("/", follow_redirects=False).status_code == 303


def test_an_order_after_the_session_ended_changes_nothing(guarded):
    """It leads to the door, not to an error."""
    answer = send(guarded, "/do/rollback", {"prompt": "x"})
    assert answer.headers["location"] == "/login?next=%2F"


def test_behind_tls_the_cookie_never_travels_without():
    """`Secure` follows from how the server is reached."""
    with site(tokens=(SECRETS["ana"],), public_url="https://knowngood.example.com") as world:
        answer = send(world, "/login", {"token": TOKEN})
        assert "; Secure" in answer.headers["set-cookie"]


def test_a_page_of_a_local_server_needs_no_door(pages):
    """Nobody is asked who they are there."""
    assert pages.client.get("/login", follow_redirects=False).headers["location"] == "/"


@pytest.mark.parametrize("spoiled", ["", "x", "a.b.c", "00.1.AAAA"])
def test_what_is_no_session_of_ours(spoiled):
    """Is said to have ended, whatever it is."""
    with pytest.raises(SessionEnded):
        Sessions(b"k" * 32).caller(spoiled, roster_of([TOKEN]), NOW_MS)


def test_a_session_ends_with_its_time_and_with_its_token():
    """And cannot be made to last longer."""
    sessions, roster = Sessions(b"k" * 32), roster_of([TOKEN])
    cookie = sessions.open(TOKEN, roster, NOW_MS)
    assert sessions.caller(cookie, roster, NOW_MS + LIVES_MS - 1).name == "ana"
    with pytest.raises(SessionEnded):
        sessions.caller(cookie, roster, NOW_MS + LIVES_MS)
    with pytest.raises(SessionEnded, match="taken away"):
        sessions.caller(cookie, roster_of(["ben:a-secret-of-bens-own"]), NOW_MS)
    digest, until, signature = cookie.split(".")
    with pytest.raises(SessionEnded):
        sessions.caller(f"{digest}.{int(until) + 1}.{signature}", roster, NOW_MS)
    with pytest.raises(SessionEnded):
        Sessions(b"q" * 32).caller(cookie, roster, NOW_MS)


def test_pages_keep_to_themselves(pages):
    """No inline script or style, nothing from elsewhere, no frame, no store."""
    answer = pages.client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "<script>" not in answer.text and "style=" not in answer.text
    assert "http" not in answer.text.replace("http://localhost", "")
    assert COOKIE not in answer.text


def test_a_stranger_learns_nothing_of_the_inside(guarded):
    """Neither environments nor roles stand on what somebody without a session gets."""
    for answer in (guarded.client.get("/assets/nope.js"),
                   guarded.client.post("/login", content=b"\xff", headers={
                       "Content-Type": "application/x-www-form-urlencoded"})):  # fmt: skip
        assert answer.status_code in (404, 422)
        assert "production" not in answer.text and "admin" not in answer.text


def test_a_mistyped_address_is_a_page_for_people_and_json_for_programs(guarded):
    """Whoever is signed in is told in the pages' own look; the API keeps its one shape."""
    assert guarded.client.get("/promts/x", follow_redirects=False).status_code == 303
    send(guarded, "/login", {"token": TOKEN})
    assert "there is no such page" in page(guarded, "/promts/x", 404)
    answer = guarded.client.get("/api/nope", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"
    assert guarded.client.get("/session").status_code == 204


def test_a_proxy_with_a_password_of_its_own_is_no_token(guarded):
    """Its header does not push the session aside."""
    send(guarded, "/login", {"token": TOKEN})
    answer = guarded.client.get("/", headers={"Authorization": "Basic YTpi"})
    assert answer.status_code == 200

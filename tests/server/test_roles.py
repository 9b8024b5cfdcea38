"""Who may do what: the table is whole, every refusal says who may, and nobody gets past it."""

import re

import pytest

from knowngood.server.app import create_app
from knowngood.server.limits import Limits
from knowngood.server.roles import TABLE, Door, Need, Role, enough_for, may, need_of
from knowngood.server.settings import Settings
from knowngood.web import install
from tests.server.doors import SECRETS, bearer, house
from tests.server.world import PROMPT, error_of

ROLES = {name: spec.partition("/")[0] for name, spec in SECRETS.items()}
LADDER = ("viewer", "operator", "approver", "admin")


@pytest.fixture(scope="module")
def routes():
    app = create_app(Settings(db="memory:"), ticking=False, pages=install)
    nobodys = ("GET", "/{path:path}")  # what is in no table: a page that says so
    return set(walk(app.routes)) - {nobodys}


def walk(routes):
    """(method, path) of every route, also of those that came with a router."""
    for route in routes:
        inner = getattr(route, "original_router", route)
        if inner is not route or not hasattr(route, "methods"):
            yield from walk(inner.routes)
        else:
            yield from ((method, route.path) for method in route.methods if method != "HEAD")


def test_every_route_says_who_may(routes):
    """A route that is not in the table does not get in; nor does a line without a route."""
    assert routes == set(TABLE)


def test_the_table_is_read_as_the_application_reads_its_paths(routes):
    """Also where a path has something to fill in, and where two patterns would fit."""
    for method, path in routes:
        filled = re.sub(r"\{[^}]*:path\}", "a/b", path)
        filled = re.sub(r"\{[^}]*\}", "some-thing", filled)
        assert need_of(method, filled) is TABLE[method, path], path
    assert need_of("HEAD", "/api/status") is TABLE["GET", "/api/status"]


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("POST", "/api/rollback", "operator"),
        ("POST", "/api/releases/rollback", "operator"),
        ("POST", "/api/vouch", "operator"),
        ("POST", "/api/unquarantine", "operator"),
        ("POST", "/api/automation", "operator"),
        ("POST", "/api/promote", "operator"),
        ("POST", "/api/route", "admin"),
        ("POST", "/api/environments", "admin"),
        ("POST", "/api/purge", "admin"),
        ("GET", "/api/status", "viewer"),
        ("GET", "/api/nothing", "viewer"),
        ("POST", "/api/nothing", "admin"),
        ("DELETE", "/api/status", "admin"),
    ],
)
def test_the_asymmetry(method, path, role):
    """One operator rolls back; what goes around the gates or cannot be undone takes an admin."""
    assert need_of(method, path).role == role


def test_a_rollback_is_never_slowed_down():
    """Whatever else a token has done in the last minute."""
    for path in ("/api/rollback", "/api/releases/rollback", "/api/rollouts/abort"):
        assert TABLE["POST", path].hurried


def test_each_role_may_what_the_ones_before_it_may():
    """But the one of programs, which may report and fetch and nothing else."""
    for need in TABLE.values():
        enough = [role for role in LADDER if may(Role(role), need)]
        assert enough == list(LADDER[LADDER.index(need.role) :])
    programs = {key for key, need in TABLE.items() if may(Role.SDK, need) and need.door != "open"}
    assert {("POST", "/api/observations"), ("GET", "/api/snapshot")} <= programs
    assert all(need_of(*key).programs for key in programs)
    assert enough_for(Need(Role.APPROVER)) == (Role.APPROVER, Role.ADMIN)


@pytest.fixture(scope="module")
def full_house():
    with house() as made:
        made.ana.post(f"/api/prompts/{PROMPT}/versions", 201, version="v1", text="One.")
        yield made


@pytest.mark.parametrize("name", list(SECRETS))
def test_nobody_gets_past_the_table(full_house, routes, name):
    """Every role at every route: 403 where the table says so, never elsewhere, and never a 5xx."""
    person = getattr(full_house, name)
    for method, path in sorted(routes):
        if path == "/openapi.json" or TABLE[method, path].door in (Door.OPEN, Door.SIGNED):
            continue
        url = re.sub(r"\{[^}]*\}", "1", path)
        answer = person.ask(method, url, json={} if method == "POST" else None)
        allowed = may(Role(ROLES[name]), TABLE[method, path])
        assert answer.status_code < 500, (method, url, answer.text)
        assert (answer.status_code != 403) == allowed, (method, url, answer.text)


def test_a_refusal_says_what_is_needed_and_who_has_it(full_house):
    """At night the next question is whom to wake."""
    error = full_house.vera.refused("/api/rollback", 403, prompt=PROMPT)
    assert error["message"] == (
        "this needs the role operator, and the token of vera has the role viewer"
    )
    assert error["known"] == ["operator", "approver", "admin"]
    assert error["next"] == "ask somebody who has it: ada, ana, ben, otto"
    assert "sdk" in full_house.robot.refused("/api/vouch", 403)["message"]


def test_where_nobody_has_the_role_the_refusal_says_so():
    """And where to give it."""
    with house(("ana",)) as made:
        assert "--token-file" in made.ana.refused("/api/purge", 403)["next"]


def test_a_program_reports_and_fetches():
    """With its own token, which could not roll back if it leaked."""
    with house(("robot", "ana")) as made:
        made.robot.get("/api/snapshot")
        made.robot.post("/api/observations", **made.world.batch(rows=[]))
        assert made.robot.refused("/api/rollback", 403, prompt=PROMPT)["code"] == "forbidden"
        assert made.robot.get("/api/nothing", 404)


# --- How often


def test_a_token_that_writes_too_often_is_slowed_down():
    """429 with the time to wait; others are not held up, and no rollback ever is."""
    with house(("ana", "otto")) as made:
        order = {"prompt": PROMPT, "version": "v1", "because": "again"}
        for _ in range(120):
            made.ana.refused("/api/vouch", 404, **order)
        answer = made.ana.ask("POST", "/api/vouch", json=order)
        assert error_of(answer, 429)["code"] == "too_many"
        assert int(answer.headers["retry-after"]) >= 1
        made.ana.refused("/api/rollback", 404, prompt=PROMPT)
        made.otto.refused("/api/vouch", 404, **order)
        made.ana.get("/api/status")
        made.world.clock.ms += 1_000 * int(answer.headers["retry-after"])
        made.ana.refused("/api/vouch", 404, **order)


def test_a_bucket_fills_again():
    """As many at once as it holds, then one at a time."""
    limits = Limits(burst_count=3, every_ms=100)
    assert [limits.take("a", 0) for _ in range(5)] == [None, None, None, 100, 100]
    assert limits.take("b", 0) is None
    assert [limits.take("a", 100), limits.take("a", 100)] == [None, 100]
    assert [limits.take("a", 10_000) for _ in range(4)] == [None, None, None, 100]


def test_a_name_of_another_role_is_no_claim(full_house):
    """The role before a sent token says nothing: the server's own list does."""
    sent = SECRETS["vera"].replace("viewer/", "admin/")
    answer = full_house.world.client.post("/api/purge", json={"because": "x"}, headers=bearer(sent))
    assert error_of(answer, 403)

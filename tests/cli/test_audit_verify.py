"""`knowngood audit verify`: history that somebody changed in the database is found out."""

import json
import re
from dataclasses import replace

import pytest

from knowngood.server import read
from knowngood.store.sqlite import open_sqlite
from tests.store.tamper import tamper

BOT = "support-bot"


@pytest.fixture
def shop(world):
    """A short history in kg.db."""
    for version in ("v1", "v2"):
        world.file(f"{version}.txt", f"I am {version}")
        assert world.run("push", BOT, version, f"{version}.txt").exit_code == 0
        found = world.run("promote", BOT, version, "--now", "--because", "go")
        assert found.exit_code == 0, found.stderr
    return world


def verified(world, *options: str):
    """What the server says, which is what the file says without a server."""
    said = world.run("audit", "verify", *options)
    offline = world.run("audit", "verify", *options, "--db", "kg.db")
    assert (offline.exit_code, offline.stdout) == (said.exit_code, said.stdout)
    return said


def test_an_untouched_history_is_whole(shop):
    """The number of lines and the head are said, and the head is the newest line's hash."""
    said = verified(shop)
    (head,) = re.findall(r"^5 lines, chain whole, head ([0-9a-f]{64})$", said.stdout, re.MULTILINE)
    assert said.exit_code == 0
    newest = json.loads(shop.run("audit", "--limit", "1", "--json").stdout)["entries"][0]
    assert newest["hash"] == head
    data = json.loads(verified(shop, "--json", "--expect", head).stdout)
    assert (data["lines"], data["head"], data["expected_id"]) == (5, head, newest["id"])


def test_the_head_is_kept_elsewhere_and_found_again(shop):
    """Number, time and hash of the newest line, on one line; the same without a server."""
    said = shop.run("audit", "head")
    assert said.exit_code == 0 and shop.run("audit", "head", "--db", "kg.db").stdout == said.stdout
    number, at, kept = said.stdout.split()
    newest = json.loads(shop.run("audit", "--limit", "1", "--json").stdout)["entries"][0]
    assert (int(number), kept) == (newest["id"], newest["hash"])
    data = json.loads(shop.run("audit", "head", "--json").stdout)
    assert data == {"id": newest["id"], "at": at, "hash": kept}
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", at)
    assert shop.run("rollback", BOT, "--because", "back").exit_code == 0
    assert verified(shop, "--expect", kept).exit_code == 0
    assert shop.run("audit", "head", "--expect", kept).exit_code == 2


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE audit SET body = replace(body, 'go', 'no') WHERE id = 2", 2),
        ("UPDATE audit SET at_ms = at_ms + 1 WHERE id = 3", 3),
        ("DELETE FROM audit WHERE id = 2", 3),
        ("DELETE FROM audit WHERE id = 1", 2),
        (
            "INSERT INTO audit SELECT 100, at_ms, environment, prompt, kind, body, hash "
            "FROM audit WHERE id = 2",
            100,
        ),
        ("UPDATE audit SET hash = '' WHERE id = 5", 5),
    ],
)
def test_a_changed_a_removed_and_an_inserted_line_are_found(shop, statement, broken):
    """The line where the chain breaks is named, and the exit says so too."""
    tamper("kg.db", statement)
    said = verified(shop)
    assert said.exit_code == 1
    assert said.stdout.startswith("BROKEN after ")
    assert f"line {broken} " in said.stdout


def test_a_head_that_was_kept_elsewhere_shows_a_history_made_anew(shop):
    """The chain alone does not show that its end was cut off; a head from before does."""
    head = json.loads(verified(shop, "--json").stdout)["head"]
    shop.run("vouch", BOT, "v2", "--because", "fine")
    said = verified(shop, "--expect", head)
    assert said.exit_code == 0
    assert "line 5 has the hash that was kept elsewhere" in said.stdout
    tamper("kg.db", "DELETE FROM audit WHERE id >= 5")
    assert verified(shop).exit_code == 0
    said = verified(shop, "--expect", head)
    assert said.exit_code == 1
    assert f"no line has the hash {head}" in said.stdout


def test_a_long_history_is_followed_in_parts(shop, monkeypatch):
    """The command asks until it has come to the newest line, wherever an answer ends."""
    whole = json.loads(verified(shop, "--json").stdout)
    monkeypatch.setattr(read, "VERIFIED_PAGE", 1)
    for limit in (1, 2, 3, 4):
        found, asked = 0, {"after": 0, "before": ""}
        while asked["after"] is not None:
            part = shop.api.get("/api/audit/verify", params={**asked, "limit": limit}).json()
            found += part["lines"]
            asked = {"after": part["next_after"], "before": part["head"]}
        assert (found, asked["before"]) == (whole["lines"], whole["head"])


def test_what_is_no_hash_is_refused(shop):
    """So that a slip of the hand is not taken for a forged history."""
    said = shop.run("audit", "verify", "--expect", "abc")
    assert said.exit_code != 0
    assert "no hash" in said.stderr
    assert "goes with" in shop.run("audit", BOT, "--expect", "abc").stderr


def test_two_servers_share_a_chain(shop):
    """Whoever writes next goes on from the newest line."""
    with open_sqlite("kg.db") as other:
        other.log.append([replace(other.log.get(1), prompt="other")])
    shop.run("vouch", BOT, "v2", "--because", "fine")
    assert "7 lines, chain whole" in verified(shop).stdout

"""Tokens: what may be written down, what is recognised, and that no secret is ever quoted."""

import json
import re
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from knowngood.cli.app import app
from knowngood.core.errors import Unauthorized
from knowngood.server.roles import Caller, Role
from knowngood.server.settings import settings_from
from knowngood.server.tokens import (
    BadToken,
    line_for,
    make,
    parse_token,
    read_file,
    roster_of,
)
from tests.server.world import error_of
from tests.server.world import world as new_world

SECRET = "a-secret-of-some-length"
NOON_2026 = 1_767_268_800_000  # 2026-01-01T12:00:00Z
RANDOM = bytes(range(32))


def run(*arguments):
    """The command line, as a person types it."""
    return CliRunner().invoke(app, list(arguments))


def who(line, sent, now_ms=NOON_2026):
    return roster_of([line]).recognise(sent, now_ms)


@pytest.mark.parametrize(
    ("line", "sent", "caller"),
    [
        (SECRET, SECRET, Caller("", Role.ADMIN)),
        (f"ann:{SECRET}", f"ann:{SECRET}", Caller("ann", Role.ADMIN)),
        (f"operator/ann:{SECRET}", f"operator/ann:{SECRET}", Caller("ann", Role.OPERATOR)),
        (f"operator/ann:{SECRET}", f"ann:{SECRET}", Caller("ann", Role.OPERATOR)),
        (f"operator/ann:{SECRET}", f"admin/ann:{SECRET}", Caller("ann", Role.OPERATOR)),
        (f"sdk/{SECRET}", SECRET, Caller("", Role.SDK)),
        (f"viewer/ann:{SECRET} until=2026-01-02", f"ann:{SECRET}", Caller("ann", Role.VIEWER)),
        ("a/slash/in/a/secret/text", "a/slash/in/a/secret/text", Caller("", Role.ADMIN)),
    ],
)
def test_a_token_is_recognised_as_it_is_written(line, sent, caller):
    """Name included; the role is the server's to say, whatever is sent before the token."""
    assert who(line, sent) == caller


@pytest.mark.parametrize("role", [role.value for role in Role])
def test_a_made_token_opens_by_its_digest_alone(role):
    """The line in the file holds nothing that opens; the token says its name and role itself."""
    token = make("ann", role, RANDOM)
    line = line_for(token, "2026-02-01")
    assert token.split("_")[3] not in line
    assert who(line, token) == who(token, token) == Caller("ann", Role(role))
    assert re.fullmatch(rf"kg_{role}_ann_[0-9A-Za-z]{{43}}_[0-9a-f]{{8}}", token)


def test_a_typing_error_in_a_made_token_is_told_from_a_strangers():
    """The checksum says that it is not whole; a whole one that is not known is only unknown."""
    token = make("ann", "operator", RANDOM)
    stranger = make("ann", "operator", bytes(32))
    for sent, words in ((token[:-1], "not whole"), (token.replace("_ann", "_amn"), "not whole"),
                        (stranger, "not known here")):  # fmt: skip
        with pytest.raises(Unauthorized, match=words):
            who(line_for(token), sent)


def test_a_token_ends_when_its_day_begins():
    """In UTC, and whoever holds it is told so."""
    line = f"ann:{SECRET} until=2026-01-02"
    assert who(line, f"ann:{SECRET}", NOON_2026 + 43_199_999).name == "ann"
    with pytest.raises(Unauthorized, match="ended on 2026-01-02"):
        who(line, f"ann:{SECRET}", NOON_2026 + 43_200_000)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("short", "at least 16"),
        ("operator/ann:short", "at least 16"),
        (f"oper/ann:{SECRET}", "no role 'oper'"),
        (f"ann:{SECRET} until=tomorrow", "not a day"),
        (f"ann:{SECRET} for=ever", "blank"),
        (f"ann:{SECRET} until=2026-01-01 x", "blank"),
        ("ann:" + "ü" * 20, "header"),
        ("x" * 2_000, "header"),
        ("ann:sha256:abc", "at least 16"),
        (make("ann", "operator", RANDOM)[:-1] + "x", None),
        (make("ann", "viewer", RANDOM)[:-8] + "00000000", "checksum"),
        ("admin/" + make("ann", "viewer", RANDOM), "made for a viewer"),
    ],
)
def test_what_is_no_token_is_refused_and_not_quoted(line, words):
    """At the start of the server, with what is wrong, and without the secret."""
    if words is None:  # no checksum at its end: a plain secret like any other
        assert parse_token(line).caller == Caller("", Role.ADMIN)
        return
    with pytest.raises(BadToken) as caught:
        parse_token(line)
    assert words in caught.value.message
    assert SECRET not in str(caught.value) and RANDOM.hex() not in str(caught.value)


@given(st.binary(min_size=32, max_size=32), st.sampled_from([r.value for r in Role]))
def test_any_random_bytes_make_a_token(random, role):
    """Always of one length, and always read back."""
    token = make("a.b-c@d", role, random)
    assert parse_token(line_for(token)).digest == parse_token(token).digest
    assert len(token) == len("kg__a.b-c@d___") + len(role) + 43 + 8 - 1


# --- Files


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "tokens"

    def write(text, mode=0o600):
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    return write


def test_a_file_holds_one_token_a_line(token_file):
    """Comments and blank lines mean nothing; a # within a secret is part of it."""
    path = token_file(f"# people\n\noperator/ann:{SECRET}  # until May\nben:a#secret-of-length\n")
    assert read_file(path) == [f"operator/ann:{SECRET}", "ben:a#secret-of-length"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
def test_a_file_that_others_may_read_or_write_is_refused(token_file, mode):
    """Whoever can write it makes himself an admin."""
    with pytest.raises(BadToken) as caught:
        read_file(token_file(f"ann:{SECRET}", mode))
    assert "chmod 600" in caught.value.next_step


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "holds no token"), ("# nobody\n", "holds no token"), ("\nann:x\n", "line 2")],
)
def test_a_file_that_lets_nobody_in_is_refused(token_file, text, words):
    """Rather at the start than when somebody needs it."""
    with pytest.raises(BadToken, match=words):
        read_file(token_file(text))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path, token_file):
    """With the reason."""
    with pytest.raises(BadToken, match="No such file"):
        read_file(tmp_path / "none")
    path = token_file("x")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadToken, match="UTF-8"):
        read_file(path)


def test_two_people_do_not_share_a_token():
    """The history could not tell them apart."""
    with pytest.raises(BadToken, match="same token"):
        roster_of([f"viewer/{SECRET}", f"admin/{SECRET}"])


def test_beside_a_file_the_variable_is_not_read(token_file):
    """It is the token of whoever starts the server, and no order to let it in."""
    path = token_file(f"ann:{SECRET}")
    told = settings_from({"token_file": str(path)}, {"KNOWNGOOD_TOKEN": "x" * 20})
    assert [token.caller.name for token in told.roster.tokens] == ["ann"]
    assert not told.is_local
    both = settings_from({"token_file": str(path), "tokens": [f"ben:{SECRET}"]}, {})
    assert [token.caller.name for token in both.roster.tokens] == ["ben", "ann"]


def test_a_server_takes_its_tokens_from_a_file(token_file):
    """And nothing else opens."""
    token = make("ann", "viewer", RANDOM)
    path = token_file(line_for(token))
    with new_world(token_file=str(path)) as made:
        headers = {"Authorization": f"Bearer {token}"}
        assert made.client.get("/api/status", headers=headers).status_code == 200
        assert error_of(made.client.get("/api/status"), 401)


# --- The command line


def test_make_prints_a_token_and_its_line(token_file):
    """Together they open a server; the file that holds the line need not be kept secret."""
    done = json.loads(run("token", "make", "ann", "--role", "operator", "--json").stdout)
    path = token_file(done["line"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with new_world(token_file=str(path)) as made:
        headers = {"Authorization": f"Bearer {done['token']}"}
        assert made.client.get("/api/status", headers=headers).status_code == 200
    listed = run("token", "list", str(path)).stdout
    assert "ann" in listed and "operator" in listed and done["token"] not in listed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ann", "--role", "king"), "no role 'king'"),
        (("ann_b", "--role", "viewer"), "cannot name a token"),
        (("ann", "--role", "viewer", "--until", "soon"), "not a day"),
    ],
)
def test_make_refuses_what_no_server_would_take(arguments, words):
    """With what is known."""
    done = run("token", "make", *arguments)
    assert done.exit_code == 1 and words in done.stderr

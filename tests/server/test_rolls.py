"""The token file of a running server: who is let in and who is not, as soon as it is written."""

import os

import pytest

from knowngood.server import rolls
from knowngood.server.rolls import Rolls
from knowngood.server.tokens import BadToken, read_file
from tests.server.world import world as new_world

ADA, BEN = "admin/ada:a-secret-of-adas-own", "operator/ben:a-secret-of-bens-own"


def written(path, *lines):
    """The file as an editor leaves it: only its owner may read it."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def file(tmp_path):
    return written(tmp_path / "tokens", ADA, BEN)


@pytest.fixture
def served(file):
    """A server that reads the file, and how it answers each person's order and question."""
    with new_world(token_file=str(file)) as made:

        def status(token, path="/api/status", order=None):
            headers = {"Authorization": f"Bearer {token}"}
            method = "POST" if order else "GET"
            return made.client.request(method, path, headers=headers, json=order).status_code

        yield status


def test_a_token_that_is_taken_back_opens_nothing_any_more(file, served):
    """From the next request on, without a restart; the others come in as before."""
    assert served(BEN) == served(ADA) == 200
    written(file, ADA)
    assert served(BEN) == 401 and served(ADA) == 200
    written(file, ADA, f"{BEN} until=2026-01-01")
    assert served(BEN) == 401
    written(file, ADA, BEN)
    assert served(BEN) == 200


def test_a_role_that_is_lowered_is_lowered_at_once(file, served):
    """Ben may look on, and order nothing."""
    order = {"prompt": "nobody", "because": "x"}
    assert served(BEN, "/api/rollback", order) == 404
    written(file, ADA, BEN.replace("operator", "viewer"))
    assert served(BEN, "/api/rollback", order) == 403 and served(BEN) == 200


def test_another_file_in_its_place_is_read(file, served, tmp_path):
    """As editors and configuration tools write it: by a rename."""
    new = written(tmp_path / "new", ADA, "viewer/eve:a-secret-of-eves-own")
    os.utime(new, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    new.rename(file)
    assert served("viewer/eve:a-secret-of-eves-own") == 200 and served(BEN) == 401


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda file: file.write_text(f"{ADA}\nshort\n"), id="a wrong line"),
        pytest.param(lambda file: file.write_text(""), id="half written"),
        pytest.param(lambda file: file.chmod(0o644), id="others may read it"),
        pytest.param(lambda file: file.unlink(), id="gone"),
    ],
)
def test_a_file_that_cannot_be_used_locks_nobody_out(file, harm):
    """The one before holds, which the doctor says; once it is mended, it is in force."""
    with new_world(token_file=str(file)) as made:
        made.client.headers["Authorization"] = f"Bearer {ADA}"
        harm(file)
        told = made.get("/api/doctor")
        (line,) = [check for check in told["checks"] if check["name"] == "tokens"]
        assert not told["ok"] and line["verdict"] == "error" and str(file) in line["detail"][0]
        assert "short" not in line["detail"][0]
        written(file, ADA)
        assert made.get("/api/doctor")["ok"] is not None
        assert "tokens" not in [c["name"] for c in made.get("/api/doctor")["checks"]]


def test_the_file_is_read_when_it_has_changed_and_not_before(file, monkeypatch):
    """A look at it for each request, and no more."""
    held = Rolls((), str(file))
    read: list[str] = []

    def counted(path):
        read.append(str(path))
        return read_file(path)

    monkeypatch.setattr(rolls, "read_file", counted)
    for _ in range(5):
        held.now()
    assert read == []
    written(file, ADA)
    for _ in range(5):
        assert len(held.now().tokens) == 1
    assert read == [str(file)]


def test_a_server_does_not_start_with_a_bad_file(tmp_path):
    """There is none before it that could hold."""
    with pytest.raises(BadToken):
        Rolls((), str(tmp_path / "nowhere"))

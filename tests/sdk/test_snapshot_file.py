"""Laws of the snapshot on disk: whole or not at all, private, checked, never in the way."""

import json
import stat

import pytest

from knowngood.sdk.snapshot import BadSnapshot, default_file, load, save
from knowngood.wire import encode_snapshot
from tests.sdk.server import snapshot

BODY = json.dumps(encode_snapshot(snapshot(7))).encode()


def test_what_is_saved_is_loaded(tmp_path):
    """The file holds the server's own words."""
    path = tmp_path / "new" / "folder" / "kept"
    save(path, BODY)
    assert load(path, "production") == snapshot(7)


def test_a_file_is_its_owners_only(tmp_path):
    """Prompts are nobody else's business on a shared machine, whatever the umask."""
    path = tmp_path / "folder" / "kept"
    save(path, BODY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0


def test_a_save_replaces_at_once_and_leaves_nothing_behind(tmp_path, monkeypatch):
    """A crash in the middle of a save leaves the last good file."""
    path = tmp_path / "kept"
    save(path, BODY)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(path, b"{}")
    assert load(path, "production") == snapshot(7)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_every_truncation_is_noticed(tmp_path):
    """A file that ends too early is refused wherever it ends."""
    path = tmp_path / "kept"
    save(path, BODY)
    whole = path.read_bytes()
    for length in [*range(120), *range(120, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(BadSnapshot):
            load(path, "production")


def test_every_flipped_bit_is_noticed(tmp_path):
    """The checksum covers everything that is served."""
    path = tmp_path / "kept"
    save(path, BODY)
    whole = path.read_bytes()
    for at in range(0, len(whole), 23):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(BadSnapshot):
            load(path, "production")


def test_no_file_is_no_snapshot(tmp_path):
    """The first start is an ordinary one; a folder in its place is not."""
    assert load(tmp_path / "nothing", "production") is None
    with pytest.raises(BadSnapshot, match="cannot be read"):
        load(tmp_path, "production")


def test_each_server_and_environment_has_its_own_file(monkeypatch, tmp_path):
    """Two environments on one machine do not overwrite each other."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files = {
        default_file(url, environment)
        for url in ("http://a", "http://b")
        for environment in ("production", "staging")
    }
    assert len(files) == 4
    assert all(path is not None and path.is_relative_to(tmp_path) for path in files)


def test_a_user_without_a_home_has_no_file(monkeypatch):
    """In a bare container the client works without keeping anything."""

    def homeless() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr("pathlib.Path.home", homeless)
    assert default_file("http://a", "production") is None


def test_a_process_starts_without_a_server(server, stepped, step, tmp_path):
    """The last snapshot is served after a restart, for as long as the server is gone."""
    path = tmp_path / "kept"
    server.snapshot = snapshot(7, candidate_bp=9_999)
    first = stepped(snapshot_file=path)
    step(first)
    server.stop()
    second = stepped(snapshot_file=path)
    assert second.get("bot", unit="u").version == "v2"
    step(second, 3)
    assert second.wait_ready(0)
    assert second.get("bot", unit="u").generation == 7
    assert second.stats().snapshot_age_s is None
    server.start()


def test_a_snapshot_from_disk_is_not_older_than_what_comes(server, stepped, step, tmp_path):
    """Generations do not go backwards across a restart either."""
    path = tmp_path / "kept"
    save(path, BODY)
    server.snapshot = snapshot(3)
    client = stepped(snapshot_file=path)
    step(client, 2)
    assert client.stats().generation == 7


@pytest.mark.parametrize("content", [b"", b"garbage", b"knowngood-snapshot 1 ", b"{"])
def test_a_corrupt_file_is_counted_and_written_anew(server, stepped, step, tmp_path, content):
    """A broken file costs one start without memory, not the start."""
    path = tmp_path / "kept"
    path.write_bytes(content)
    client = stepped(snapshot_file=path)
    assert client.get("bot").reason == "no snapshot yet"
    assert client.stats().refused == {"snapshot file refused": 1}
    step(client)
    assert load(path, "production") == server.snapshot
    client.flush()
    assert server.batches[0].refused == {"snapshot file refused": 1}


def test_a_file_that_cannot_be_written_is_no_obstacle(server, stepped, step, tmp_path):
    """A read-only disk costs the memory, not the service."""
    (tmp_path / "file").write_text("")
    client = stepped(snapshot_file=tmp_path / "file" / "kept")
    step(client)
    assert client.get("bot").version == "v1"
    assert client.stats().refused["snapshot file cannot be written"] == 1
    assert "cannot be written" in client.stats().last_error

"""The script that draws charts: made once, kept where nobody else can change it."""

import gzip
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from knowngood.server import bundle, renderer

SCRIPT = b"window.vegaEmbed = 1;" + b" " * bundle.LEAST_BYTES


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache directory of their own, and no script that was made before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "temp"))
    monkeypatch.setattr(bundle, "_made", [])
    return tmp_path / "cache" / "knowngood"


def make(times: list[float]) -> Any:
    def made(limit_s: float) -> bytes:
        times.append(limit_s)
        return SCRIPT

    return made


def test_it_is_made_once(cache):
    """A second server takes what the first has kept, letter by letter."""
    times: list[float] = []
    first = bundle._load(make(times))
    assert bundle._load(make(times)) == first and len(times) == 1
    plain, packed, digest = first
    assert plain == SCRIPT == gzip.decompress(packed)
    assert len(digest) == bundle.HASH_DIGITS
    assert [path.name.startswith("vega-") for path in cache.iterdir()] == [True]


@pytest.mark.parametrize("found", [b"", b"no gzip", gzip.compress(b"short", mtime=0), "half"])
def test_what_is_broken_is_made_anew(cache, found):
    """A file that was cut off or written over is replaced."""
    bundle._load(make([]))
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:-9] if found == "half" else found)
    times: list[float] = []
    assert bundle._load(make(times))[0] == SCRIPT and len(times) == 1
    assert gzip.decompress(path.read_bytes()) == SCRIPT


def test_a_folder_of_others_is_not_believed(cache):
    """Who could write there could have every operator's browser run their script."""
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    path = bundle._path()
    assert path is not None and path.parent.parent.name == "temp"
    path.parent.rmdir()
    path.parent.symlink_to(cache, target_is_directory=True)
    assert bundle._path() is None
    assert bundle._load(make([]))[0] == SCRIPT


def test_it_is_served_where_nothing_can_be_kept(cache, monkeypatch):
    """No folder, or a full disk: the next start takes seconds again, and that is all."""
    monkeypatch.setattr(tempfile, "mkstemp", fails)
    assert bundle._load(make([]))[0] == SCRIPT
    cache.rmdir()
    cache.write_text("a file")
    (cache.parent.parent / "temp").write_text("a file")
    assert bundle._path() is None
    assert bundle._load(make([]))[0] == SCRIPT


def fails(**_: Any) -> Any:
    raise OSError("no space left on device")


def test_a_failure_is_told_and_tried_again(cache, monkeypatch):
    """What could not be made is made by whoever asks next; beginning early never raises."""

    def refuses(limit_s: float) -> bytes:
        raise renderer.RendererFailed("gone")

    monkeypatch.setattr(bundle, "_load", lambda: refuses(0))
    bundle.warm().join()
    with pytest.raises(renderer.RendererFailed):
        bundle.bundle()
    monkeypatch.setattr(bundle, "_load", lambda: (SCRIPT, b"", "hash"))
    assert bundle.bundle() == bundle.bundle() == (SCRIPT, b"", "hash")


def test_a_renderer_that_hangs_or_breaks(monkeypatch):
    """Time is limited, and what it said is passed on."""
    monkeypatch.setattr(renderer, "BUNDLE", "import sys; sys.exit('no such font')")
    with pytest.raises(renderer.RendererFailed, match="no such font"):
        renderer.javascript(10.0)

    def hangs(*args: Any, timeout: float, **named: Any) -> Any:
        raise subprocess.TimeoutExpired("python", timeout)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(renderer.RendererFailed, match="timed out after 1"):
        renderer.javascript(1.0)


@pytest.mark.slow
def test_the_renderer_draws_an_image():
    """In a process of its own, which holds up nobody."""
    spec = {"data": {"values": [{"a": 1}]}, "mark": "point", "encoding": {"x": {"field": "a"}}}
    assert renderer.png(json.loads(json.dumps(spec)), 60.0).startswith(b"\x89PNG")


@pytest.mark.skipif(os.name == "nt", reason="folders of a user are the user's there")
def test_our_own_folder_is_ours(cache):
    """It is made for its owner alone."""
    path = bundle._path()
    assert path is not None and path.parent == cache
    assert path.parent.stat().st_mode & 0o077 == 0

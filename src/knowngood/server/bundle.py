"""The script that draws charts in a browser, as it is served: made once, kept on disk.

Making it takes seconds. What is kept is named after the renderer's version, and believed only in a
folder that nobody else can write to: browsers of operators run it.
"""

import gzip
import os
import stat
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from threading import Lock, Thread

import structlog

from knowngood.server.renderer import RendererFailed, javascript

LIMIT_S = 60.0  # it takes two on an idle machine
HASH_DIGITS = 16
LEAST_BYTES = 100_000  # what is shorter is no bundle
FOLDER = "knowngood"

log = structlog.get_logger("knowngood.bundle")

Bundle = tuple[bytes, bytes, str]

_lock = Lock()
_made: list[Bundle] = []


def bundle() -> Bundle:
    """(the script, the same gzipped, a hash for its address); the first call may take seconds.

    Raises RendererFailed.
    """
    if not _made:
        with _lock:  # whoever comes meanwhile waits for the same one
            if not _made:
                _made.append(_load())
    return _made[0]


def made() -> Bundle | None:
    """The same where it was made already, at once."""
    return _made[0] if _made else None


def mark() -> str:
    """What tells this script from another one in an address, known before it is made."""
    return version("vl-convert-python")


def warm() -> Thread:
    """Begin to make it, so that the first page need not wait. A failure is told when it is used."""

    def work() -> None:
        with suppress(RendererFailed):
            bundle()

    thread = Thread(target=work, daemon=True, name="knowngood-bundle")
    thread.start()
    return thread


def _load(make: Callable[[float], bytes] = javascript) -> Bundle:
    path = _path()
    packed = _kept(path) if path is not None else None
    if packed is None:
        # Without a time in it: the same script is the same file.
        packed = gzip.compress(make(LIMIT_S), mtime=0)
        if path is not None:
            _keep(path, packed)
    plain = gzip.decompress(packed)
    return plain, packed, sha256(plain).hexdigest()[:HASH_DIGITS]


def _kept(path: Path) -> bytes | None:
    """What is in the file, if it is whole."""
    try:
        packed = path.read_bytes()
        return packed if len(gzip.decompress(packed)) >= LEAST_BYTES else None
    except (OSError, EOFError, zlib.error):  # gzip.BadGzipFile is an OSError
        return None


def _keep(path: Path, packed: bytes) -> None:
    """Write it whole or not at all; without it the next start takes seconds again."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(packed)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        log.warning("the script that draws charts is not kept", path=str(path), error=str(error))


def _path() -> Path | None:
    """Where it is kept; None where no folder of our own can be had."""
    name = f"vega-{mark()}.js.gz"
    return next((folder / name for folder in _folders() if _is_ours(folder)), None)


def _folders() -> list[Path]:
    """The user's cache, else a folder of the user's in the one for temporary files."""
    found = [Path(tempfile.gettempdir()) / f"{FOLDER}-{_user_id()}"]
    with suppress(RuntimeError):  # nobody's home
        cache = os.environ.get("XDG_CACHE_HOME", "")
        home = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
        found.insert(0, home / FOLDER)
    return found


def _is_ours(folder: Path) -> bool:
    """Whether the folder is there, or could be made, and only we can write into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = folder.lstat()  # a link to somewhere else is not ours
    except OSError:
        return False
    if not stat.S_ISDIR(seen.st_mode) or not os.access(folder, os.W_OK):
        return False
    if os.name == "nt":  # folders of a user are the user's there
        return True
    return seen.st_uid == _user_id() and not seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _user_id() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0

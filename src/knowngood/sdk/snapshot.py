"""The routes and contents that a process serves from: in memory, and on disk for the next start."""

import contextlib
import hashlib
import json
import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path

from knowngood.core.model import WHOLE_BP, Message
from knowngood.core.render import CompiledContent
from knowngood.core.routing import RANDOM, SPLIT, STATIC, bucket
from knowngood.sdk.compared import ComparedArm
from knowngood.sdk.prompt import Prompt, Served
from knowngood.sdk.recorder import Recorder
from knowngood.wire import BadRequest, PromptSnapshot, Snapshot, decode_snapshot

# A thousand prompts with ten full-size versions each would be 2.5 GB; real ones are a few MB. What
# is larger than this is not taken into an application's memory.
SNAPSHOT_BYTES_MAX = 64 * 1024 * 1024
_MAGIC = b"knowngood-snapshot 1 "
_DIGEST_CHARS = 64

Texts = tuple[str | None, tuple[Message, ...] | None]  # what a content compiles from


class BadSnapshot(Exception):
    """A snapshot that is not served, and why."""


class Entry:
    """One prompt's route, ready to be served; never changed once built."""

    __slots__ = ("candidate", "candidate_bp", "control", "only", "salt")

    def __init__(self, control: Served, candidate: Served | None, bp: int, salt: str) -> None:
        self.control = control
        self.candidate = candidate
        self.candidate_bp = bp
        self.salt = salt
        # What nearly every `get` returns: it is built once.
        self.only = Prompt(control, None, STATIC) if candidate is None else None

    def choose(self, unit: str | None) -> Prompt:
        """The prompt for a unit; without one each call draws its own bucket."""
        candidate = self.candidate
        if candidate is None:
            return Prompt(self.control, unit, STATIC)
        if unit is None:
            # Not a secret: it spreads load.
            drawn = int(random.random() * WHOLE_BP)  # noqa: S311
            return Prompt(candidate if drawn < self.candidate_bp else self.control, None, RANDOM)
        owns = bucket(self.salt, unit) < self.candidate_bp
        return Prompt(candidate if owns else self.control, unit, SPLIT)


class Catalog:
    """A snapshot and everything built from it; replaced as a whole by one assignment."""

    __slots__ = ("compiled", "entries", "snapshot")

    def __init__(self, snapshot: Snapshot, recorder: Recorder, before: "Catalog | None") -> None:
        self.snapshot = snapshot
        # Most versions survive from one snapshot to the next and need not be compiled again.
        known = before.compiled if before else {}
        self.compiled: dict[Texts, CompiledContent] = {}
        self.entries: dict[str, Entry] = {}
        for name, prompt in snapshot.prompts.items():
            arms = [
                self._serve(name, prompt, arm.version, recorder, known) for arm in prompt.route.arms
            ]
            candidate = prompt.route.candidate
            if candidate and (compared := prompt.compared):
                bp, salt = candidate.weight_bp, prompt.route.salt
                for served, low, high in ((arms[0], bp, WHOLE_BP), (arms[1], 0, bp)):
                    served.arm = ComparedArm(compared.generation, salt, low, high, compared.scores)
            self.entries[name] = Entry(
                arms[0],
                arms[1] if candidate else None,
                candidate.weight_bp if candidate else 0,
                prompt.route.salt,
            )

    def _serve(
        self,
        name: str,
        prompt: PromptSnapshot,
        version: str,
        recorder: Recorder,
        known: Mapping[Texts, CompiledContent],
    ) -> Served:
        held, generation = prompt.versions[version], self.snapshot.generation
        texts = held.content.text, held.content.messages
        served = Served(
            name, version, held.content, generation, recorder, held.digest, known.get(texts)
        )
        if served.compiled:
            self.compiled[texts] = served.compiled
        return served


def parse_snapshot(body: bytes, environment: str) -> Snapshot:
    """The snapshot in a server's answer. Raises BadSnapshot if it is none for `environment`."""
    try:
        snapshot = decode_snapshot(json.loads(body))
    except BadRequest as error:
        raise BadSnapshot(f"malformed snapshot: {error.message}") from error
    except (ValueError, RecursionError) as error:
        raise BadSnapshot(f"snapshot is not JSON: {error}") from error
    if snapshot.environment != environment:
        raise BadSnapshot(f"snapshot is of environment {snapshot.environment}, not {environment}")
    return snapshot


def default_file(url: str, environment: str) -> Path | None:
    """Where the snapshot of this server and environment is kept: in the user's cache folder."""
    key = hashlib.sha256(f"{url}\0{environment}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    try:
        return _cache_folder() / "knowngood" / f"{key}.snapshot"
    except (RuntimeError, OSError):
        return None  # a user without a home, as in many containers


def _cache_folder() -> Path:
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path.home() / ".cache"


def save(path: Path, body: bytes) -> None:
    """Keep a server's answer: whole or not at all, readable by its owner only. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    checksum = hashlib.sha256(body).hexdigest().encode()
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    handle = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + checksum + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def load(path: Path, environment: str) -> Snapshot | None:
    """The snapshot in a file; None when there is no file.

    Takes files of `save`, whose checksum must hold, and a plain answer of the server's snapshot
    address. Raises BadSnapshot for anything else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(SNAPSHOT_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadSnapshot(f"snapshot file cannot be read: {error.strerror}") from error
    if len(data) > SNAPSHOT_BYTES_MAX:
        raise BadSnapshot("snapshot file is too large")
    if data.startswith(b"{"):
        return parse_snapshot(data, environment)
    header = len(_MAGIC) + _DIGEST_CHARS + 1
    if not data.startswith(_MAGIC) or len(data) < header:
        raise BadSnapshot("snapshot file is corrupt: it has no header")
    body = data[header:]
    if hashlib.sha256(body).hexdigest().encode() != data[len(_MAGIC) : header - 1]:
        raise BadSnapshot("snapshot file is corrupt: its checksum does not match")
    return parse_snapshot(body, environment)

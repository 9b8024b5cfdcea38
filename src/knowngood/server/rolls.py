"""Who holds a token now: the token file is read again as soon as it has changed.

A token is taken back at night by whoever can edit a file, and from the next request on it opens
nothing. A file that cannot be used any more locks nobody out: the last one that could be stays in
force, which the log and the doctor say.
"""

from collections.abc import Iterable
from pathlib import Path
from threading import Lock

import structlog

from knowngood.server.tokens import BadToken, Roster, read_file, roster_of

log = structlog.get_logger("knowngood.server")


class Rolls:
    """The holders of tokens: `given` for good, and those of a file as it stands. Thread-safe."""

    def __init__(self, given: Iterable[str] = (), file: str | None = None) -> None:
        """Raises BadToken."""
        self._given = tuple(given)
        self._file = Path(file) if file is not None else None
        self._lock = Lock()
        self._seen = self._stamp()
        self._roster = self._read()
        self.trouble = ""  # why the file as it stands is not in force

    def now(self) -> Roster:
        """Everybody who holds a token at this moment."""
        if self._file is None:
            return self._roster
        stamp = self._stamp()
        if stamp != self._seen:
            with self._lock:
                if stamp != self._seen:
                    self._renew()
                    self._seen = stamp  # taken before: a change meanwhile is another one
        return self._roster

    def _renew(self) -> None:
        before = {token.digest for token in self._roster.tokens}
        try:
            self._roster = self._read()
        except BadToken as error:
            self.trouble = error.message
            log.error("token file not in force", error=error.message, instead="the one before")
            return
        self.trouble = ""
        after = {token.digest for token in self._roster.tokens}
        log.info("token file read", new=len(after - before), taken_back=len(before - after))

    def _read(self) -> Roster:
        return roster_of((*self._given, *(read_file(self._file) if self._file else [])))

    def _stamp(self) -> tuple[int, ...]:
        """What changes with the file: its content, its mode, or another one in its place."""
        try:
            found = self._file.stat() if self._file is not None else None
        except OSError as error:
            return (error.errno or -1,)
        if found is None:
            return ()
        return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)

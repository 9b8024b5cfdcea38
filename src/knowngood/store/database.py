"""A database as the ports need it: reading and writing transactions, and errors for people."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError, TimeoutError

from knowngood.core.errors import StoreUnavailable

WRITING = "knowngood_writing"  # the execution option that marks a writing transaction
LOCK_WAIT_MS = 10_000  # a healthy write takes milliseconds; an operator waits ten seconds, not more


@dataclass(frozen=True, slots=True)
class Database:
    """One database with its differences.

    `insert` is the dialect's INSERT. `alone` waits, inside a writing transaction, until no other
    transaction holds the same name. `turn` is held during each write of this process. `explain`
    turns a database's error into words.
    """

    engine: Engine
    insert: Callable[[Table], Any]
    alone: Callable[[Connection, str], None]
    turn: AbstractContextManager[Any]
    explain: Callable[[Exception], str]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads and never waits for a writer."""
        with self._words(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that commits at the end, or undoes everything if an error leaves it."""
        writer = self.engine.execution_options(**{WRITING: True})
        with self.turn, self._words(), writer.begin() as connection:
            yield connection

    @contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError, DatabaseError, TimeoutError) as error:
            # The subclasses of DatabaseError (integrity, programming, data) are our own mistakes.
            if type(error) in (OperationalError, InterfaceError, DatabaseError, TimeoutError):
                raise StoreUnavailable(self.explain(error)) from error
            raise


def to_text(data: Any) -> str:
    """JSON for a text column: ASCII only, so that every database takes every string."""
    return json.dumps(data, separators=(",", ":"))

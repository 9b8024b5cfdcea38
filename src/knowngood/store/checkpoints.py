"""Where the folds over observations stood, in SQL, the same on both databases.

They are kept in the database of the observations. A power cut may take its last moment, and then it
takes the newest commits first: no fold is left that has read buckets which are gone.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select

from knowngood.core.codec import plain
from knowngood.ports import VersionKey
from knowngood.store.database import Database, to_text
from knowngood.store.tables import checkpoints

KEY = ("environment", "prompt", "version")


class SqlCheckpoints:
    """The checkpoints in SQL.

    A state is kept as the text that Python's JSON makes of it, compressed to about a quarter: the
    shortest digits that give the same float again, and `Infinity` or `-Infinity`.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def save(self, rows: Mapping[VersionKey, tuple[int, Mapping[str, Any]]]) -> None:
        """See ports.Checkpoints."""
        values = [
            {**_named(key), "until_ms": until_ms, "body": _packed(state)}
            for key, (until_ms, state) in rows.items()
        ]
        if not values:
            return
        new = self._db.insert(checkpoints)
        statement = new.on_conflict_do_update(
            index_elements=KEY,
            set_={"until_ms": new.excluded.until_ms, "body": new.excluded.body},
            where=checkpoints.c.until_ms <= new.excluded.until_ms,
        )
        with self._db.writing() as connection:
            # Two that lock the same rows in different orders would wait for each other for ever.
            self._db.alone(connection, "checkpoints")
            connection.execute(statement, values)

    def load(self, key: VersionKey) -> tuple[int, Mapping[str, Any]] | None:
        """See ports.Checkpoints."""
        query = select(checkpoints.c.until_ms, checkpoints.c.body).filter_by(**_named(key))
        with self._db.reading() as connection:
            row = connection.execute(query).one_or_none()
        return (row.until_ms, _unpacked(row.body)) if row else None

    def forget(self, before_ms: int) -> int:
        """See ports.Checkpoints."""
        with self._db.writing() as connection:
            self._db.alone(connection, "checkpoints")
            old = delete(checkpoints).where(checkpoints.c.until_ms < before_ms)
            return connection.execute(old).rowcount


def _packed(state: Mapping[str, Any]) -> bytes:
    return zlib.compress(to_text(plain(state)).encode(), level=1)  # each minute: speed counts


def _unpacked(body: bytes) -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads(zlib.decompress(body))
    return data


def _named(key: VersionKey) -> dict[str, str]:
    return dict(zip(KEY, key, strict=True))

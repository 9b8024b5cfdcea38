"""Observations, late scores and clients in SQL, the same on both databases."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, delete, func, select, tuple_

from knowngood.core.model import ClientSeen
from knowngood.core.rollup import (
    CLIENTS_KEPT_MS,
    HOURS_KEPT_MS,
    SCORES_KEPT_MS,
    Step,
    coarser,
    merged,
    steps,
)
from knowngood.core.window import Bucket, from_row, to_row
from knowngood.ports import NO_UNITS, UnitKey, VersionKey
from knowngood.store.database import Database, to_text
from knowngood.store.tables import clients, scores, series
from knowngood.store.units import add_units

CHUNK_COUNT = 500  # names in one query
# One batch is one transaction: some 50 ms during which nothing can be appended.
BATCH_COUNT = 2_000
# One compaction takes a portion, a quarter of a second of each kind of work, and leaves the rest to
# the next: the engine judges in between.
BATCHES_MAX = 5

KEY = (series.c.environment, series.c.prompt, series.c.version)


class SqlSeries:
    """The observations in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def append(
        self,
        rows: Sequence[tuple[VersionKey, Bucket]],
        heard: Sequence[ClientSeen],
        scored: Mapping[tuple[str, str], tuple[int, int]],
        units: Mapping[UnitKey, tuple[int, int]] = NO_UNITS,
    ) -> None:
        """See ports.Series."""
        new = [_row(key, bucket) for key, bucket in rows]
        if not (new or heard or scored or units):
            return
        with self._db.writing() as connection:
            if new:
                connection.execute(series.insert(), new)
            # Both sorted: two writers that lock the same rows in the same order cannot deadlock.
            if heard:
                self._hear(connection, sorted(heard, key=lambda client: client.id))
            if scored:
                self._score(connection, sorted(scored.items()))
            if units:
                add_units(self._db, connection, units)

    def _hear(self, connection: Connection, heard: Sequence[ClientSeen]) -> None:
        new = self._db.insert(clients)
        names = [column.name for column in clients.columns]
        statement = new.on_conflict_do_update(
            index_elements=["id"],
            set_={name: new.excluded[name] for name in names if name != "id"},
            # A late message of the same process must not undo a later one.
            where=(clients.c.boot != new.excluded.boot) | (clients.c.seq <= new.excluded.seq),
        )
        rows = [
            {**{name: getattr(client, name) for name in names}, "ended": json.dumps(client.ended)}
            for client in heard
        ]
        connection.execute(statement, rows)

    def _score(
        self, connection: Connection, scored: Sequence[tuple[tuple[str, str], tuple[int, int]]]
    ) -> None:
        new = self._db.insert(scores)
        statement = new.on_conflict_do_update(
            index_elements=["call", "name"],
            set_={"bin": new.excluded.bin, "at_ms": new.excluded.at_ms},
            where=scores.c.at_ms <= new.excluded.at_ms,
        )
        rows = [
            {"call": call, "name": name, "bin": bin_, "at_ms": at_ms}
            for (call, name), (bin_, at_ms) in scored
        ]
        connection.execute(statement, rows)

    def read(self, key: VersionKey, since_ms: int, until_ms: int) -> list[Bucket]:
        """See ports.Series."""
        query = select(series.c.at_ms, series.c.width_ms, series.c.body).where(
            *(column == name for column, name in zip(KEY, key, strict=True)),
            series.c.at_ms >= since_ms,
            series.c.at_ms < until_ms,
        )
        with self._db.reading() as connection:
            rows = connection.execute(query).all()
        return merged(
            Bucket(at_ms, from_row(json.loads(body)), width_ms) for at_ms, width_ms, body in rows
        )

    def touched(self, since_ms: int) -> list[tuple[VersionKey, int]]:
        """See ports.Series."""
        newest = func.max(series.c.at_ms)
        query = select(*KEY, newest).where(series.c.at_ms >= since_ms).group_by(*KEY)
        with self._db.reading() as connection:
            rows = connection.execute(query).all()
        return sorted(((row[0], row[1], row[2]), row[3]) for row in rows)

    def scores(self, calls: Iterable[str]) -> dict[tuple[str, str], int]:
        """See ports.Series."""
        wanted = list(dict.fromkeys(calls))
        query = select(scores.c.call, scores.c.name, scores.c.bin)
        with self._db.reading() as connection:
            return {
                (row.call, row.name): row.bin
                for first in range(0, len(wanted), CHUNK_COUNT)
                for row in connection.execute(
                    query.where(scores.c.call.in_(wanted[first : first + CHUNK_COUNT]))
                )
            }

    def compact(self, now_ms: int) -> int:
        """See ports.Series."""
        gone = sum(self._roll_up(step) for step in steps(now_ms))
        gone += self._drop(series, series.c.at_ms < now_ms - HOURS_KEPT_MS)
        gone += self._drop(scores, scores.c.at_ms < now_ms - SCORES_KEPT_MS)
        gone += self._drop(clients, clients.c.seen_ms < now_ms - CLIENTS_KEPT_MS)
        return gone

    def _roll_up(self, step: Step) -> int:
        gone = 0
        for _ in range(BATCHES_MAX):
            with self._db.writing() as connection:
                # Two that add up the same rows would count them twice.
                self._db.alone(connection, "compaction")
                found, left = _roll_up_batch(connection, step)
            gone += found - left
            if found < BATCH_COUNT:
                break
        return gone

    def _drop(self, table: Table, old: ColumnElement[bool]) -> int:
        key = list(table.primary_key.columns)
        batch = select(*key).where(old).limit(BATCH_COUNT)
        name = key[0] if len(key) == 1 else tuple_(*key)
        gone = 0
        for _ in range(BATCHES_MAX):
            with self._db.writing() as connection:
                found = connection.execute(delete(table).where(name.in_(batch))).rowcount
            gone += found
            if found < BATCH_COUNT:
                break
        return gone


def _roll_up_batch(connection: Connection, step: Step) -> tuple[int, int]:
    """Replace a batch of narrow rows by wide ones: (rows taken away, rows put in their place).

    A wide bucket that two batches share is written as two rows, which reading adds up.
    """
    rows = connection.execute(
        select(series)
        .where(series.c.width_ms < step.width_ms, series.c.at_ms < step.before_ms)
        .order_by(series.c.width_ms, series.c.at_ms)
        .limit(BATCH_COUNT)
    ).all()
    groups: dict[VersionKey, list[Bucket]] = {}
    for row in rows:
        bucket = Bucket(row.at_ms, from_row(json.loads(row.body)), row.width_ms)
        groups.setdefault((row.environment, row.prompt, row.version), []).append(bucket)
    wide = [
        _row(key, bucket)
        for key, buckets in groups.items()
        for bucket in coarser(buckets, step.width_ms)
    ]
    ids = [row.id for row in rows]
    for first in range(0, len(ids), CHUNK_COUNT):
        connection.execute(delete(series).where(series.c.id.in_(ids[first : first + CHUNK_COUNT])))
    if wide:
        connection.execute(series.insert(), wide)
    return len(rows), len(wide)


def _row(key: VersionKey, bucket: Bucket) -> dict[str, Any]:
    environment, prompt, version = key
    return {
        "environment": environment,
        "prompt": prompt,
        "version": version,
        "at_ms": bucket.at_ms,
        "width_ms": bucket.width_ms,
        "body": to_text(to_row(bucket.window)),
    }


class SqlClients:
    """The processes that were heard of, in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def clients(self, environment: str, since_ms: int) -> list[ClientSeen]:
        """See ports.Clients."""
        query = select(clients).where(
            clients.c.environment == environment, clients.c.seen_ms >= since_ms
        )
        with self._db.reading() as connection:
            found = [_client(row) for row in connection.execute(query)]
        return sorted(found, key=lambda client: client.id)

    def client(self, client_id: str) -> ClientSeen | None:
        """See ports.Clients."""
        query = select(clients).where(clients.c.id == client_id)
        with self._db.reading() as connection:
            row = connection.execute(query).one_or_none()
        return _client(row) if row else None


def _client(row: Row[Any]) -> ClientSeen:
    return ClientSeen(**{**row._mapping, "ended": tuple(json.loads(row.ended))})

"""SQLite: opening a file, and everything in which it differs from PostgreSQL.

Two files: `knowngood.db` holds what must never be lost, `knowngood-observations.db` what comes in
by the second. Each has one writer at a time, and readers that never wait for it (write-ahead log).
"""

import os
import sqlite3
import time
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.pool import QueuePool

from knowngood.core.errors import StoreUnavailable
from knowngood.ports import Checkpoints, Clients, Series, Units
from knowngood.store.absent import (
    AbsentCheckpoints,
    AbsentClients,
    AbsentSeries,
    AbsentUnits,
)
from knowngood.store.checkpoints import SqlCheckpoints
from knowngood.store.control import SqlLog, SqlOutbox, SqlPolicies, SqlRegistry, SqlStates
from knowngood.store.database import LOCK_WAIT_MS, WRITING, Database
from knowngood.store.deliveries import SqlDeliveries
from knowngood.store.evaluations import SqlEvaluations
from knowngood.store.migrate import ensure
from knowngood.store.observations import SqlClients, SqlSeries
from knowngood.store.opened import OpenStore, Timekeeper
from knowngood.store.outside import SqlOutside
from knowngood.store.releases import SqlReleases
from knowngood.store.retention import SqlRetention
from knowngood.store.runs import SqlRuns
from knowngood.store.tables import CONTROL_SCHEMA, OBSERVATIONS_SCHEMA, Schema
from knowngood.store.units import SqlUnits

# A connection per thread of the server's pool (40), and a few for the engine's own.
CONNECTIONS_MAX = 48
RETRY_S = 0.02


def open_sqlite(path: str | Path, *, observations_needed: bool = True) -> OpenStore:
    """Open or create the store in the file `path` and the one for observations beside it.

    Migrates both to the newest tables. Raises StoreUnavailable when a file is locked, damaged, not
    ours, in no folder, or written by a newer knowngood. If observations are not needed, theirs may
    be: then whatever is asked of `series`, `clients`, `checkpoints` and `units` raises it.
    """
    path = Path(path)
    control = _open(path, CONTROL_SCHEMA, synchronous="FULL")
    series: Series
    clients: Clients
    checkpoints: Checkpoints
    units: Units
    try:
        observations = _open(observations_path(path), OBSERVATIONS_SCHEMA, synchronous="NORMAL")
        series, clients = SqlSeries(observations), SqlClients(observations)
        checkpoints, units = SqlCheckpoints(observations), SqlUnits(observations)
        engines = [control.engine, observations.engine]
    except StoreUnavailable as error:
        if observations_needed:
            control.engine.dispose()
            raise
        series, clients = AbsentSeries(error), AbsentClients(error)
        checkpoints, units = AbsentCheckpoints(error), AbsentUnits(error)
        engines = [control.engine]
    except BaseException:
        control.engine.dispose()
        raise

    def close() -> None:
        for engine in engines:
            engine.dispose()

    timekeeper = Timekeeper()
    return OpenStore(
        registry=SqlRegistry(control),
        states=SqlStates(control, timekeeper),
        log=SqlLog(control),
        outbox=SqlOutbox(control),
        series=series,
        clients=clients,
        policies=SqlPolicies(control),
        checkpoints=checkpoints,
        evaluations=SqlEvaluations(control),
        releases=SqlReleases(control),
        retention=SqlRetention(control),
        runs=SqlRuns(control),
        units=units,
        outside=SqlOutside(control),
        deliveries=SqlDeliveries(control),
        close=close,
        timekeeper=timekeeper,
    )


def observations_path(path: Path) -> Path:
    """The file for observations that belongs to a control database."""
    return path.with_name(f"{path.stem}-observations{path.suffix}")


def _open(path: Path, schema: Schema, synchronous: str) -> Database:
    _create(path)
    _use_write_ahead_log(path)
    engine = _engine(path, synchronous)
    database = Database(
        engine=engine,
        insert=insert,
        alone=_is_alone,
        turn=Lock(),
        explain=lambda error: _explain(path, error),
    )
    try:
        _refuse_foreign(database, path, schema)
        ensure(database, schema)
    except BaseException:
        engine.dispose()
        raise
    return database


def _create(path: Path) -> None:
    """An empty file that only its owner may read; SQLite gives its log files the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnavailable(
            f"cannot open {path}: {error.strerror}",
            next_step="" if path.parent.exists() else f"mkdir -p {path.parent}",
        ) from error


def _use_write_ahead_log(path: Path) -> None:
    """Switch the file to its write-ahead log, once; it remembers.

    While another process does the same, SQLite answers "locked" at once instead of waiting.
    """
    deadline = time.monotonic() + LOCK_WAIT_MS / 1000
    connection = sqlite3.connect(path, timeout=LOCK_WAIT_MS / 1000)
    try:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if time.monotonic() > deadline or "locked" not in str(error):
                    raise
            time.sleep(RETRY_S)
    except sqlite3.DatabaseError as error:
        raise StoreUnavailable(_explain(path, error)) from error
    finally:
        connection.close()


def _engine(path: Path, synchronous: str) -> Engine:
    engine = create_engine(
        # Not a URL text: a path may hold question marks.
        "sqlite://",
        creator=lambda: sqlite3.connect(
            path,
            timeout=LOCK_WAIT_MS / 1000,
            check_same_thread=False,
            # Python's own transactions begin late and never around DDL: 300 of 400 concurrent
            # updates were lost. None leaves BEGIN to us.
            isolation_level=None,
        ),
        poolclass=QueuePool,
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.execute(f"PRAGMA synchronous={synchronous}")

    @event.listens_for(engine, "begin")
    def began(connection: Connection) -> None:
        # A writer takes the lock before it reads: what it read is then still true when it writes.
        writes = connection.get_execution_options().get(WRITING, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _is_alone(connection: Connection, name: str) -> None:
    """A writing transaction on SQLite is the only one already."""


def _refuse_foreign(database: Database, path: Path, schema: Schema) -> None:
    """Raises StoreUnavailable for somebody else's database: we would mix our tables into it."""
    with database.reading() as connection:
        tables = inspect(connection).get_table_names()
    if tables and schema.version_table not in tables:
        raise StoreUnavailable(
            f"{path} is a database of another program, not of knowngood's {schema.name} tables"
        )


def _explain(path: Path, error: Exception) -> str:
    reason = str(getattr(error, "orig", None) or error)
    if "locked" in reason:
        return f"{path} stayed locked by another process for {LOCK_WAIT_MS // 1000} s"
    if "not a database" in reason or "malformed" in reason:
        return f"{path} is damaged or no SQLite database ({reason}); restore it from a backup"
    return f"cannot use {path}: {reason}"

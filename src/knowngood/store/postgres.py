"""PostgreSQL: opening a database, and everything in which it differs from SQLite.

READ COMMITTED with row locks: each statement sees what is committed when it begins, so after a
lock was waited for, the next read sees what the holder wrote.
"""

from contextlib import nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from knowngood.core.errors import StoreUnavailable
from knowngood.store.checkpoints import SqlCheckpoints
from knowngood.store.control import SqlLog, SqlOutbox, SqlPolicies, SqlRegistry, SqlStates
from knowngood.store.database import LOCK_WAIT_MS, Database
from knowngood.store.deliveries import SqlDeliveries
from knowngood.store.evaluations import SqlEvaluations
from knowngood.store.migrate import ensure
from knowngood.store.observations import SqlClients, SqlSeries
from knowngood.store.opened import OpenStore, Timekeeper
from knowngood.store.outside import SqlOutside
from knowngood.store.releases import SqlReleases
from knowngood.store.retention import SqlRetention
from knowngood.store.runs import SqlRuns
from knowngood.store.tables import CONTROL_SCHEMA, OBSERVATIONS_SCHEMA
from knowngood.store.units import SqlUnits

# Servers allow 100 connections by default; two of our servers and other programs must fit.
CONNECTIONS_MAX = 24
CONNECT_TIMEOUT_S = 10

# Advisory locks are numbers. The first keeps ours apart from other programs'.
LOCK_FAMILY = 0x6B676F64
LOCKS = {
    "migration": 1,
    "log": 2,
    "compaction": 3,
    "checkpoints": 4,
    "retention": 5,
    "units": 6,
    "deliveries": 7,
    "runs": 8,
    "outside": 9,
}


def open_postgres(url: str) -> OpenStore:
    """Open the store in the database at `url` (`postgresql://user@host/name`), tables up to date.

    Raises StoreUnavailable when the server cannot be reached or refuses us, when the driver is not
    installed, or when a newer knowngood wrote the database.
    """
    engine = _engine(_parse(url))
    database = Database(
        engine=engine,
        insert=insert,
        alone=_wait_for_lock,
        turn=nullcontext(),
        explain=lambda error: _explain(engine.url, error),
    )
    try:
        ensure(database, CONTROL_SCHEMA)
        ensure(database, OBSERVATIONS_SCHEMA)
    except BaseException:
        engine.dispose()
        raise
    timekeeper = Timekeeper()
    return OpenStore(
        registry=SqlRegistry(database),
        states=SqlStates(database, timekeeper),
        log=SqlLog(database),
        outbox=SqlOutbox(database),
        series=SqlSeries(database),
        clients=SqlClients(database),
        policies=SqlPolicies(database),
        checkpoints=SqlCheckpoints(database),
        evaluations=SqlEvaluations(database),
        releases=SqlReleases(database),
        retention=SqlRetention(database),
        runs=SqlRuns(database),
        units=SqlUnits(database),
        outside=SqlOutside(database),
        deliveries=SqlDeliveries(database),
        close=engine.dispose,
        timekeeper=timekeeper,
    )


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Without the text: it may hold a password.
        raise StoreUnavailable(
            "the database's address is not a URL such as postgresql://user@host/name"
        ) from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise StoreUnavailable(f"{parsed.drivername} is not a PostgreSQL address")
    return parsed.set(drivername="postgresql+psycopg")


def _engine(url: URL) -> Engine:
    try:
        engine = create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_size=CONNECTIONS_MAX,
            max_overflow=0,
            pool_pre_ping=True,  # a restart of the server costs one round trip, not an error
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": "knowngood",
            },
        )
    except ModuleNotFoundError as error:
        raise StoreUnavailable(
            "the PostgreSQL driver is not installed",
            next_step="pip install 'knowngood[postgres]'",
        ) from error

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.execute(f"SET lock_timeout = {LOCK_WAIT_MS}")
        connection.commit()

    return engine


def _wait_for_lock(connection: Connection, name: str) -> None:
    """Held until the end of the transaction."""
    connection.execute(select(func.pg_advisory_xact_lock(LOCK_FAMILY, LOCKS[name])))


def _explain(url: URL, error: Exception) -> str:
    place = url.set(drivername="postgresql").render_as_string(hide_password=True)
    reason = str(getattr(error, "orig", None) or error).strip()
    return f"cannot use {place}: {reason}"

"""Pins and purges in SQL, the same on both databases."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from knowngood.core.codec import from_data
from knowngood.core.commit import commit
from knowngood.core.errors import UnknownVersion
from knowngood.core.purge import UNPINNED, Head, Purge, pin_line, settle
from knowngood.core.release import Release
from knowngood.core.retention import Pin, refuse_pin, released_in
from knowngood.store.control import (
    generations_of,
    last_line,
    states_in,
    write_history,
    write_states,
)
from knowngood.store.database import Database, to_text
from knowngood.store.tables import environments, pins, purged, releases, versions


class SqlRetention:
    """What a person keeps, and what goes, in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def pins(self, prompt: str | None = None) -> list[Pin]:
        """See ports.Retention."""
        with self._db.reading() as connection:
            return _pins(connection, prompt)

    def pin(self, pin: Pin, policy_revision: str) -> bool:
        """See ports.Retention."""
        with self._writing_alone() as connection:
            there = _pins(connection, pin.prompt)
            if any(each.version == pin.version for each in there):
                return False
            known = [head.version for head in _heads(connection, pin.prompt)]
            if pin.version not in known:
                raise UnknownVersion(f"{pin.prompt} has no version {pin.version!r}", known=known)
            refuse_pin(pin, there)
            connection.execute(pins.insert(), _row(pin))
            write_history(self._db, connection, [pin_line(pin, policy_revision)])
        return True

    def unpin(self, pin: Pin, policy_revision: str) -> bool:
        """See ports.Retention."""
        name = (pins.c.prompt == pin.prompt) & (pins.c.version == pin.version)
        with self._writing_alone() as connection:
            if not connection.execute(delete(pins).where(name)).rowcount:
                return False
            write_history(self._db, connection, [pin_line(pin, policy_revision, UNPINNED)])
        return True

    def purge(self, order: Purge, now_ms: int) -> list[str]:
        """See ports.Retention."""
        with self._writing_alone() as connection:
            known = connection.execute(select(environments.c.name)).scalars().all()
            # Locks every environment, and none is added meanwhile: no state of the prompt changes.
            generations = generations_of(connection, known)
            found = states_in(connection, [(name, order.prompt) for name in known])
            states = [found[key] for key in sorted(found)]
            there = _heads(connection, order.prompt)
            pinned = _pins(connection, order.prompt)
            released = released_in(_releases(connection), order.prompt)
            done = settle(order, states, pinned, released, there, now_ms)
            if done.changes:
                struck = commit(
                    done.changes,
                    found,
                    {
                        change.environment: generations[change.environment]
                        for change in done.changes
                    },
                    lambda environment, prompt: last_line(connection, environment, prompt),
                    now_ms,
                    now_ms,
                )
                write_states(self._db, connection, struck)
            for version, digest in done.digests.items():
                name = (versions.c.prompt == order.prompt) & (versions.c.version == version)
                connection.execute(delete(versions).where(name))
                row = {"version": version, "digest": digest, "purged_ms": now_ms}
                connection.execute(purged.insert(), {"prompt": order.prompt, **row})
            if done.lines:
                write_history(self._db, connection, done.lines)
        return list(done.digests)

    @contextmanager
    def _writing_alone(self) -> Iterator[Connection]:
        """A writing transaction beside which nobody pins, purges or adds an environment."""
        with self._db.writing() as connection:
            self._db.alone(connection, "retention")
            yield connection


def _pins(connection: Connection, prompt: str | None) -> list[Pin]:
    query = select(pins) if prompt is None else select(pins).where(pins.c.prompt == prompt)
    # Sorted here: a database may sort by the rules of some language.
    found = [_pin(row) for row in connection.execute(query)]
    return sorted(found, key=lambda pin: (pin.prompt, pin.version))


def _releases(connection: Connection) -> list[Release]:
    bodies = connection.execute(select(releases.c.body)).scalars()
    return [from_data(Release, json.loads(body)) for body in bodies]


def _heads(connection: Connection, prompt: str) -> list[Head]:
    """The prompt's versions without their contents, oldest first."""
    columns = versions.c.version, versions.c.digest, versions.c.created_ms
    query = select(*columns).where(versions.c.prompt == prompt)
    rows = connection.execute(query.order_by(versions.c.created_ms, versions.c.id))
    return [Head(row.version, row.digest, row.created_ms) for row in rows]


def _row(pin: Pin) -> dict[str, Any]:
    return {
        "prompt": pin.prompt,
        "version": pin.version,
        "because": to_text(pin.because),
        "actor": to_text(pin.actor),
        "at_ms": pin.at_ms,
    }


def _pin(row: Row[Any]) -> Pin:
    because, actor = json.loads(row.because), json.loads(row.actor)
    return Pin(row.prompt, row.version, because, actor, row.at_ms)

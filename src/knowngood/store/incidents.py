"""Incidents in SQL, the same on both databases."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from knowngood.core.codec import from_data, to_data
from knowngood.core.incident import IDS_KNOWN, Filed, Filing, filed, unknown
from knowngood.store.database import Database, to_text
from knowngood.store.tables import incidents


class SqlIncidents:
    """The filed incidents in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, incident_id: str) -> Filed:
        """See ports.Incidents."""
        # What no database takes in a name is the name of nothing.
        if incident_id.isascii() and incident_id.isprintable():
            query = select(incidents.c.body).where(incidents.c.id == incident_id)
            with self._db.reading() as connection:
                body = connection.execute(query).scalar_one_or_none()
            if body is not None:
                return _filed(body)
        raise unknown(incident_id, [each.id for each in self.find(limit=IDS_KNOWN)])

    def find(
        self,
        environment: str | None = None,
        prompt: str | None = None,
        *,
        is_open: bool | None = None,
        before_ms: int | None = None,
        limit: int = 100,
    ) -> list[Filed]:
        """See ports.Incidents."""
        query = select(incidents.c.body)
        if environment is not None:
            query = query.where(incidents.c.environment == environment)
        if prompt is not None:
            query = query.where(incidents.c.prompt == prompt)
        if is_open is not None:
            over = incidents.c.closed_ms.is_not(None)
            query = query.where(~over if is_open else over)
        if before_ms is not None:
            query = query.where(incidents.c.opened_ms < before_ms)
        newest = query.order_by(incidents.c.opened_ms.desc(), incidents.c.id).limit(max(0, limit))
        with self._db.reading() as connection:
            return [_filed(body) for body in connection.execute(newest).scalars()]

    def parts(self, incident_id: str) -> list[Filed]:
        """See ports.Incidents."""
        query = select(incidents.c.body).where(incidents.c.part_of == incident_id)
        with self._db.reading() as connection:
            bodies = connection.execute(query.order_by(incidents.c.opened_ms, incidents.c.id))
            return [_filed(body) for body in bodies.scalars()]


def file_incidents(database: Database, connection: Connection, news: Iterable[Filing]) -> None:
    """File what happened to incidents, in the writing transaction of the states' change."""
    new = database.insert(incidents)
    columns = ("part_of", "closed_ms", "severity", "body")
    statement = new.on_conflict_do_update(
        index_elements=["id"], set_={name: new.excluded[name] for name in columns}
    )
    for filing in news:
        query = select(incidents.c.body).where(incidents.c.id == filing.incident.id)
        body = connection.execute(query).scalar_one_or_none()
        there = _filed(body) if body is not None else None
        connection.execute(statement, _row(filed(there, filing)))


def _row(each: Filed) -> dict[str, Any]:
    return {
        "id": each.id,
        "environment": each.environment,
        "prompt": each.prompt,
        "part_of": each.incident.part_of,
        "opened_ms": each.incident.opened_ms,
        "closed_ms": each.closed_ms,
        "severity": each.incident.severity.value,
        "body": to_text(to_data(each)),
    }


def _filed(body: str) -> Filed:
    return from_data(Filed, json.loads(body))

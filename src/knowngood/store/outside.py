"""What other systems say, in SQL, the same on both databases."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, and_, case, delete, exists, or_, select, update

from knowngood.core.codec import from_data, to_data
from knowngood.core.outside import (
    SILENT_MS,
    AlertStatus,
    OutsideAlert,
    history_line,
    remember,
)
from knowngood.store.control import write_history
from knowngood.store.database import Database, to_text
from knowngood.store.tables import inbound_evidence as evidence
from knowngood.store.tables import inbound_taken as taken


class SqlOutside:
    """Other systems' alerts in SQL. Keys are kept as JSON: databases refuse some characters."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def record(self, alerts: Sequence[OutsideAlert], policy_revision: str) -> list[OutsideAlert]:
        """See ports.OutsideAlerts."""
        found = []
        with self._db.writing() as connection:
            self._db.alone(connection, "outside")  # what was read is still true when it is written
            for alert in alerts:
                before = _one(connection, alert.source, alert.key)
                kept, is_news = remember(before, alert)
                row_id = _write(connection, kept, before)
                if is_news:
                    found.append(replace(kept, id=row_id))
            lines = [history_line(alert, policy_revision) for alert in found]
            told = [line for line in lines if line is not None]
            if told:
                write_history(self._db, connection, told)
        return found

    def of(
        self, environment: str, prompt: str, since_ms: int, limit: int = 100
    ) -> list[OutsideAlert]:
        """See ports.OutsideAlerts."""
        ended_ms = case((evidence.c.ended_ms > evidence.c.at_ms, evidence.c.ended_ms),
                        else_=evidence.c.at_ms)  # fmt: skip
        firing = evidence.c.status == AlertStatus.FIRING.value
        shown = or_(
            and_(firing, evidence.c.seen_ms >= since_ms - SILENT_MS),
            and_(~firing, or_(evidence.c.ended_ms.is_(None), ended_ms >= since_ms)),
        )
        of_prompt = (evidence.c.environment == environment) & (evidence.c.prompt == prompt)
        query = (
            select(evidence)
            .where(of_prompt & shown)
            .order_by(evidence.c.began_ms.desc(), evidence.c.id.desc())
            .limit(max(0, limit))
        )
        with self._db.reading() as connection:
            return [_alert(row) for row in connection.execute(query)]

    def has_taken(self, source: str, key: str) -> bool:
        """See ports.OutsideAlerts."""
        name = (taken.c.source == source) & (taken.c.key == to_text(key))
        with self._db.reading() as connection:
            return bool(connection.execute(select(exists().where(name))).scalar())

    def take_once(self, source: str, key: str, now_ms: int) -> bool:
        """See ports.OutsideAlerts."""
        row = {"source": source, "key": to_text(key), "at_ms": now_ms}
        new = self._db.insert(taken).on_conflict_do_nothing(index_elements=["source", "key"])
        with self._db.writing() as connection:
            options = {"preserve_rowcount": True}
            return connection.execute(new, row, execution_options=options).rowcount == 1

    def forget(self, before_ms: int, taken_before_ms: int) -> int:
        """See ports.OutsideAlerts."""
        old, gone = evidence.c.seen_ms < before_ms, taken.c.at_ms < taken_before_ms
        with self._db.reading() as connection:  # most often there is nothing, and nothing written
            if not connection.execute(
                select(or_(exists().where(old), exists().where(gone)))
            ).scalar():
                return 0
        with self._db.writing() as connection:
            return (
                connection.execute(delete(evidence).where(old)).rowcount
                + connection.execute(delete(taken).where(gone)).rowcount
            )


def _one(connection: Connection, source: str, key: str) -> OutsideAlert | None:
    name = (evidence.c.source == source) & (evidence.c.key == to_text(key))
    row = connection.execute(select(evidence).where(name)).one_or_none()
    return _alert(row) if row is not None else None


def _write(connection: Connection, kept: OutsideAlert, before: OutsideAlert | None) -> int:
    """Write the alert; the number of its row."""
    row = _row(kept)
    if before is not None:
        connection.execute(update(evidence).where(evidence.c.id == before.id), row)
        return before.id
    added = connection.execute(evidence.insert().returning(evidence.c.id), row)
    return int(added.scalar_one())


def _row(alert: OutsideAlert) -> dict[str, Any]:
    return {
        "source": alert.source,
        "key": to_text(alert.key),
        "status": alert.status.value,
        "environment": alert.environment,
        "prompt": alert.prompt,
        "began_ms": alert.began_ms,
        "ended_ms": alert.ended_ms,
        "at_ms": alert.at_ms,
        "seen_ms": alert.seen_ms,
        "digest": alert.digest,
        "body": to_text(to_data(replace(alert, id=0))),
    }


def _alert(row: Row[Any]) -> OutsideAlert:
    return replace(from_data(OutsideAlert, json.loads(row.body)), id=row.id)

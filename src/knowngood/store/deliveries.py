"""The delivery log in SQL, the same on both databases."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, exists, select

from knowngood.core.history import Delivery, Outcome
from knowngood.store.control import CHUNK_COUNT
from knowngood.store.database import Database, to_text
from knowngood.store.tables import deliveries


class SqlDeliveries:
    """The delivery log in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, delivery: Delivery) -> None:
        """See ports.Deliveries."""
        last_word = exists().where(
            deliveries.c.message_id == delivery.message_id,
            deliveries.c.channel == delivery.channel,
            deliveries.c.outcome != Outcome.RETRY.value,
        )
        with self._db.writing() as connection:
            # Two servers may have asked the same channel: only one of them has the last word.
            self._db.alone(connection, "deliveries")
            if delivery.message_id and connection.execute(select(last_word)).scalar():
                return
            connection.execute(deliveries.insert(), [_row(delivery)])

    def of(self, message_ids: Iterable[int]) -> dict[int, list[Delivery]]:
        """See ports.Deliveries."""
        wanted = list(dict.fromkeys(message_ids))
        found: dict[int, list[Delivery]] = {number: [] for number in wanted}
        if not wanted:
            return found
        with self._db.reading() as connection:
            for first in range(0, len(wanted), CHUNK_COUNT):
                named = deliveries.c.message_id.in_(wanted[first : first + CHUNK_COUNT])
                for row in connection.execute(
                    select(deliveries).where(named).order_by(deliveries.c.id)
                ):
                    found[row.message_id].append(_delivery(row))
        return found

    def receipts(self, thread: str) -> dict[str, str]:
        """See ports.Deliveries."""
        if not thread:
            return {}
        given = (deliveries.c.thread == thread) & deliveries.c.receipt.is_not(None)
        query = select(deliveries.c.channel, deliveries.c.receipt).where(given)
        with self._db.reading() as connection:
            rows = connection.execute(query.order_by(deliveries.c.id)).all()
        return {row.channel: json.loads(row.receipt) for row in rows}

    def recent(self, limit: int, thread: str | None = None) -> list[Delivery]:
        """See ports.Deliveries."""
        query = select(deliveries)
        if thread is not None:
            query = query.where(deliveries.c.thread == thread)
        with self._db.reading() as connection:
            rows = connection.execute(
                query.order_by(deliveries.c.id.desc()).limit(max(0, limit))
            ).all()
        return [_delivery(row) for row in rows]


def _row(delivery: Delivery) -> dict[str, Any]:
    return {
        "message_id": delivery.message_id,
        "channel": delivery.channel,
        "thread": delivery.thread,
        "outcome": delivery.outcome.value,
        "at_ms": delivery.at_ms,
        "receipt": to_text(delivery.receipt) if delivery.receipt else None,
        "body": to_text(
            {"key": delivery.key, "answer": delivery.answer, "next_ms": delivery.next_ms}
        ),
    }


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        message_id=row.message_id,
        thread=row.thread,
        channel=row.channel,
        outcome=Outcome(row.outcome),
        at_ms=row.at_ms,
        receipt=json.loads(row.receipt) if row.receipt else "",
        **json.loads(row.body),
    )

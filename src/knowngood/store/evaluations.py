"""Evaluations in SQL, the same on both databases.

The examples are kept apart from the rest, compressed: a list of evaluations does not need them, and
five thousand of them are half a megabyte of text.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select

from knowngood.core.codec import from_data, to_data
from knowngood.core.errors import UnknownEvaluation
from knowngood.core.evaluation import Evaluation, Example, Tally, history_line
from knowngood.store.control import write_history
from knowngood.store.database import Database, to_text
from knowngood.store.tables import evaluations

HEAD = [column for column in evaluations.c if column.name != "examples"]
BODY = ("digest", "tally", "actor", "because", "source")


class SqlEvaluations:
    """The evaluations in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def record(self, evaluation: Evaluation, policy_revision: str) -> Evaluation:
        """See ports.Evaluations."""
        with self._db.writing() as connection:
            added = connection.execute(evaluations.insert(), _to_row(evaluation))
            assert added.inserted_primary_key is not None
            kept = replace(evaluation, id=added.inserted_primary_key[0])
            write_history(self._db, connection, [history_line(kept, policy_revision)])
        return kept

    def of(
        self,
        prompt: str,
        version: str | None = None,
        suite: str | None = None,
        limit: int = 100,
    ) -> list[Evaluation]:
        """See ports.Evaluations."""
        query = select(*HEAD).where(evaluations.c.prompt == prompt)
        if version is not None:
            query = query.where(evaluations.c.version == version)
        if suite is not None:
            query = query.where(evaluations.c.suite == suite)
        newest_first = query.order_by(evaluations.c.id.desc()).limit(max(0, limit))
        with self._db.reading() as connection:
            return [_from_row(row) for row in connection.execute(newest_first)]

    def get(self, evaluation_id: int) -> Evaluation:
        """See ports.Evaluations."""
        query = select(evaluations).where(evaluations.c.id == evaluation_id)
        with self._db.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UnknownEvaluation(f"there is no evaluation {evaluation_id}")
        return replace(_from_row(row), examples=_unpacked(row.examples))


def _to_row(evaluation: Evaluation) -> dict[str, Any]:
    data = to_data(evaluation)
    return {
        "prompt": evaluation.prompt,
        "version": evaluation.version,
        "suite": evaluation.suite,
        "recorded_ms": evaluation.recorded_ms,
        "body": to_text({name: data[name] for name in BODY if name in data}),
        "examples": _packed(evaluation.examples),
    }


def _from_row(row: Row[Any]) -> Evaluation:
    body = json.loads(row.body)
    return Evaluation(
        id=row.id,
        prompt=row.prompt,
        version=row.version,
        suite=row.suite,
        recorded_ms=row.recorded_ms,
        tally=from_data(Tally, body.pop("tally")),
        **body,
    )


def _packed(examples: Sequence[Example]) -> bytes:
    rows = [[e.id, e.passed, e.score, e.error] for e in examples]
    return zlib.compress(to_text(rows).encode())


def _unpacked(packed: bytes) -> tuple[Example, ...]:
    return tuple(Example(*row) for row in json.loads(zlib.decompress(packed)))

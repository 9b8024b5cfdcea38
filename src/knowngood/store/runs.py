"""Runs of runbooks in SQL, the same on both databases."""

import json
from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import select, update

from knowngood.core.codec import from_data, to_data
from knowngood.core.errors import StaleState, UnknownRun
from knowngood.core.history import AuditEntry
from knowngood.core.runbook_run import Run
from knowngood.store.control import write_history
from knowngood.store.database import Database, to_text
from knowngood.store.tables import runbook_runs

NAMES_KNOWN = 20  # that a refusal names


class SqlRuns:
    """The runs in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def save(self, run: Run, entries: Iterable[AuditEntry] = ()) -> Run:
        """See ports.Runs."""
        kept = replace(run, revision=run.revision + 1)
        row = {"revision": kept.revision, "body": to_text(to_data(kept))}
        with self._db.writing() as connection:
            self._db.alone(connection, "runs")
            if run.revision:
                seen = (runbook_runs.c.id == run.id) & (runbook_runs.c.revision == run.revision)
                done = connection.execute(update(runbook_runs).where(seen).values(**row)).rowcount
            else:
                there = select(runbook_runs.c.id).where(runbook_runs.c.id == run.id)
                done = connection.execute(there).scalar() is None
                if done:
                    named = {"id": run.id, "incident": run.incident, **row}
                    connection.execute(runbook_runs.insert(), [named])
            if not done:
                raise StaleState(f"{run.id} has gone on meanwhile", next_step="look again")
            if lines := list(entries):
                write_history(self._db, connection, lines)
        return kept

    def get(self, run_id: str) -> Run:
        """See ports.Runs."""
        query = select(runbook_runs.c.body).where(runbook_runs.c.id == run_id)
        with self._db.reading() as connection:
            body = connection.execute(query).scalar()
        if body is None:
            known = [run.id for run in self.of(limit=NAMES_KNOWN)]
            raise UnknownRun(f"there is no run {run_id!r}", known=known)
        return from_data(Run, json.loads(body))

    def of(self, incident: str | None = None, limit: int = 100) -> list[Run]:
        """See ports.Runs."""
        query = select(runbook_runs.c.body).order_by(runbook_runs.c.seq.desc())
        if incident is not None:
            query = query.where(runbook_runs.c.incident == incident)
        with self._db.reading() as connection:
            bodies = connection.execute(query.limit(max(0, limit))).scalars().all()
        return [from_data(Run, json.loads(body)) for body in bodies]

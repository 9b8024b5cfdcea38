"""Runs of runbooks in memory."""

from collections.abc import Iterable
from dataclasses import replace

from knowngood.core.errors import StaleState, UnknownRun
from knowngood.core.history import AuditEntry
from knowngood.core.runbook_run import Run
from knowngood.store.memory_data import Data

NAMES_KNOWN = 20  # that a refusal names


class MemoryRuns:
    """Runs, in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def save(self, run: Run, entries: Iterable[AuditEntry] = ()) -> Run:
        """See ports.Runs."""
        kept = replace(run, revision=run.revision + 1)
        with self._data.lock:
            there = self._data.runs.get(run.id)
            if (there.revision if there else 0) != run.revision:
                raise StaleState(f"{run.id} has gone on meanwhile", next_step="look again")
            self._data.write_history(entries)
            self._data.runs[run.id] = kept
        return kept

    def get(self, run_id: str) -> Run:
        """See ports.Runs."""
        with self._data.lock:
            found = self._data.runs.get(run_id)
        if found is None:
            known = [run.id for run in self.of(limit=NAMES_KNOWN)]
            raise UnknownRun(f"there is no run {run_id!r}", known=known)
        return found

    def of(self, incident: str | None = None, limit: int = 100) -> list[Run]:
        """See ports.Runs."""
        with self._data.lock:
            found = [r for r in self._data.runs.values() if incident in (None, r.incident)]
        return list(reversed(found))[: max(0, limit)]

"""Incidents, in memory."""

from collections.abc import Iterable

from knowngood.core.incident import Filed, Filing, filed, unknown
from knowngood.store.memory_data import Data


class MemoryIncidents:
    """The filed incidents in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def get(self, incident_id: str) -> Filed:
        """See ports.Incidents."""
        with self._data.lock:
            found = self._data.incidents.get(incident_id)
        if found is None:
            raise unknown(incident_id, [each.id for each in self.find()])
        return found

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
        with self._data.lock:
            found = [
                each
                for each in self._data.incidents.values()
                if environment in (None, each.environment)
                and prompt in (None, each.prompt)
                and is_open in (None, each.closed_ms is None)
                and (before_ms is None or each.incident.opened_ms < before_ms)
            ]
        found.sort(key=lambda each: (-each.incident.opened_ms, each.id))
        return found[: max(0, limit)]

    def parts(self, incident_id: str) -> list[Filed]:
        """See ports.Incidents."""
        with self._data.lock:
            found = [e for e in self._data.incidents.values() if e.incident.part_of == incident_id]
        return sorted(found, key=lambda each: (each.incident.opened_ms, each.id))


def file_incidents(data: Data, news: Iterable[Filing]) -> None:
    """File what happened to incidents; the caller holds the lock."""
    for filing in news:
        there = data.incidents.get(filing.incident.id)
        data.incidents[filing.incident.id] = filed(there, filing)

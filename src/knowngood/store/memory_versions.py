"""What is said of versions, in memory: evaluations, releases, and what is kept of them."""

from dataclasses import replace

from knowngood.core.errors import (
    UnknownEvaluation,
    UnknownRelease,
)
from knowngood.core.evaluation import Evaluation, history_line
from knowngood.core.purge import (
    refuse_purged,
)
from knowngood.core.release import Release, is_same
from knowngood.store.memory_data import Data


class MemoryEvaluations:
    """What suites have found of versions, in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def record(self, evaluation: Evaluation, policy_revision: str) -> Evaluation:
        """See ports.Evaluations."""
        with self._data.lock:
            kept = replace(evaluation, id=len(self._data.evaluations) + 1)
            self._data.write_history([history_line(kept, policy_revision)])
            self._data.evaluations.append(kept)
        return kept

    def of(
        self,
        prompt: str,
        version: str | None = None,
        suite: str | None = None,
        limit: int = 100,
    ) -> list[Evaluation]:
        """See ports.Evaluations."""
        with self._data.lock:
            found = [
                each.head()
                for each in reversed(self._data.evaluations)
                if each.prompt == prompt
                and version in (None, each.version)
                and suite in (None, each.suite)
            ]
        return found[: max(0, limit)]

    def get(self, evaluation_id: int) -> Evaluation:
        """See ports.Evaluations."""
        with self._data.lock:
            if not 1 <= evaluation_id <= len(self._data.evaluations):
                raise UnknownEvaluation(f"there is no evaluation {evaluation_id}")
            return self._data.evaluations[evaluation_id - 1]


class MemoryReleases:
    """Releases, in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def put(self, release: Release) -> bool:
        """See ports.Releases."""
        with self._data.lock:
            there = self._data.releases.get(release.name)
            if there is not None:
                return not is_same(there, release)
            refuse_purged(release.names() & self._data.purged.keys())
            self._data.releases[release.name] = release
        return True

    def get(self, name: str) -> Release:
        """See ports.Releases."""
        with self._data.lock:
            found = self._data.releases.get(name)
        if found is None:
            known = [release.name for release in self.all(20)]
            raise UnknownRelease(f"there is no release {name!r}", known=known)
        return found

    def all(self, limit: int = 100) -> list[Release]:
        """See ports.Releases."""
        with self._data.lock:
            return list(reversed(self._data.releases.values()))[: max(0, limit)]

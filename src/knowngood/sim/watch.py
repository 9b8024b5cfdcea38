"""The shared store with witnesses: checkers see every apply, every refusal and every bucket."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from knowngood.core.errors import StaleState
from knowngood.core.model import Change, ClientSeen, State
from knowngood.core.window import Bucket
from knowngood.ports import Series, States, Store, VersionKey


@dataclass(frozen=True, slots=True)
class Applied:
    """A transaction that was carried out. `now_ms` is the time its author gave."""

    changes: tuple[Change, ...]
    before: tuple[State, ...]
    after: tuple[State, ...]
    generation_before: int
    generation_after: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A transaction that was refused as stale, and whether it left anything behind."""

    changes: tuple[Change, ...]
    untouched: bool


class Witness(Protocol):
    """Who is told of everything that is written."""

    def applied(self, event: Applied) -> None:
        """A transaction was carried out."""

    def refused(self, event: Refused) -> None:
        """A transaction was refused."""

    def stored(self, key: VersionKey, bucket: Bucket) -> None:
        """A bucket was written."""

    def heard(self, client_id: str, boot: str, seq: int) -> None:
        """A client's flushes up to `seq` are in the store."""


def watched(store: Store, witness: Witness) -> Store:
    """The store, with a witness of what is written to it."""
    return Store(
        registry=store.registry,
        states=WatchedStates(store, witness),
        log=store.log,
        outbox=store.outbox,
        series=WatchedSeries(store.series, witness),
        clients=store.clients,
        policies=store.policies,
    )


@dataclass(slots=True)
class WatchedStates:
    """The control states; the witness sees what each apply did."""

    store: Store
    witness: Witness

    @property
    def _inner(self) -> States:
        return self.store.states

    def get(self, environment: str, prompt: str) -> State:
        """See ports.States."""
        return self._inner.get(environment, prompt)

    def all(self, environment: str | None = None) -> list[State]:
        """See ports.States."""
        return self._inner.all(environment)

    def apply(self, changes: Sequence[Change], now_ms: int) -> list[State]:
        """See ports.States."""
        environment = changes[0].environment
        before, generation, lines = self._picture(changes)
        try:
            after = self._inner.apply(changes, now_ms)
        except StaleState:
            untouched = (before, generation, lines) == self._picture(changes)
            self.witness.refused(Refused(tuple(changes), untouched))
            raise
        self.witness.applied(
            Applied(
                tuple(changes),
                before,
                tuple(after),
                generation,
                self._inner.generation(environment),
                now_ms,
            )
        )
        return after

    def _picture(self, changes: Sequence[Change]) -> tuple[tuple[State, ...], int, int]:
        states = tuple(self._inner.get(c.environment, c.prompt) for c in changes)
        last = self.store.log.read(limit=1)
        generation = self._inner.generation(changes[0].environment)
        return states, generation, last[0].id if last else 0

    def generation(self, environment: str) -> int:
        """See ports.States."""
        return self._inner.generation(environment)

    def environments(self, add: str | None = None) -> list[str]:
        """See ports.States."""
        return self._inner.environments(add)


@dataclass(slots=True)
class WatchedSeries:
    """The observations; the witness sees each bucket that is written."""

    inner: Series
    witness: Witness

    def append(
        self,
        rows: Sequence[tuple[VersionKey, Bucket]],
        heard: Sequence[ClientSeen],
        scored: Mapping[tuple[str, str], tuple[int, int]],
    ) -> None:
        """See ports.Series."""
        self.inner.append(rows, heard, scored)
        for key, bucket in rows:
            self.witness.stored(key, bucket)
        for client in heard:
            self.witness.heard(client.id, client.boot, client.seq)

    def read(self, key: VersionKey, since_ms: int, until_ms: int) -> list[Bucket]:
        """See ports.Series."""
        return self.inner.read(key, since_ms, until_ms)

    def touched(self, since_ms: int) -> list[tuple[VersionKey, int]]:
        """See ports.Series."""
        return self.inner.touched(since_ms)

    def scores(self, calls: Iterable[str]) -> dict[tuple[str, str], int]:
        """See ports.Series."""
        return self.inner.scores(calls)

    def compact(self, now_ms: int) -> int:
        """See ports.Series."""
        return self.inner.compact(now_ms)

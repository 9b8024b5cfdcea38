"""The shared store with witnesses: checkers see every apply, every refusal and every bucket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from knowngood.core.errors import StaleState
from knowngood.core.history import Outgoing
from knowngood.core.model import (
    Action,
    Change,
    ClientSeen,
    Record,
    State,
    Strike,
)
from knowngood.core.purge import Purge
from knowngood.core.retention import Pin
from knowngood.core.window import Bucket
from knowngood.ports import NO_UNITS, Outbox, Series, Store, UnitKey, VersionKey
from knowngood.sim.passing import PassingOutbox, PassingRetention, PassingSeries, PassingStates


@dataclass(frozen=True, slots=True)
class Applied:
    """A transaction that was carried out.

    `now_ms` is the time that its author gave, `clock_ms` what its author's clock really said then.
    """

    changes: tuple[Change, ...]
    before: tuple[State, ...]
    after: tuple[State, ...]
    generation_before: int
    generation_after: int
    now_ms: int
    clock_ms: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A transaction that was refused as stale, and whether it left anything behind."""

    changes: tuple[Change, ...]
    untouched: bool


@dataclass(frozen=True, slots=True)
class Purged:
    """A purge that was carried out: its order, what went, and all that was there before it."""

    order: Purge
    gone: tuple[str, ...]
    before: tuple[State, ...]
    pins: tuple[Pin, ...]
    there: tuple[str, ...]  # the prompt's versions, oldest first
    now_ms: int


class Witness(Protocol):
    """Who is told of everything that is written."""

    @property
    def clock_ms(self) -> int:
        """The time on the clock of who writes."""

    def applied(self, event: Applied) -> None:
        """A transaction was carried out."""

    def refused(self, event: Refused) -> None:
        """A transaction was refused."""

    def stored(self, key: VersionKey, bucket: Bucket) -> None:
        """A bucket was written."""

    def summed(self, units: Mapping[UnitKey, tuple[int, int]]) -> None:
        """What single units have shown was added up."""

    def heard(self, client_id: str, boot: str, seq: int) -> None:
        """A client's flushes up to `seq` are in the store."""

    def purged(self, event: Purged) -> None:
        """Versions were purged."""

    def settled(self, key: str, sent: bool, words: str) -> None:
        """A message is done with: sent with a receipt, or given up for a reason."""


def watched(store: Store, witness: Witness) -> Store:
    """The store, with a witness of what is written to it."""
    return Store(
        registry=store.registry,
        states=WatchedStates(store, witness),
        log=store.log,
        outbox=WatchedOutbox(store.outbox, witness),
        series=WatchedSeries(store.series, witness),
        clients=store.clients,
        policies=store.policies,
        checkpoints=store.checkpoints,
        evaluations=store.evaluations,
        releases=store.releases,
        retention=WatchedRetention(store, witness),
        units=store.units,
        runs=store.runs,
        outside=store.outside,
        deliveries=store.deliveries,
    )


class WatchedStates(PassingStates):
    """The control states; the witness sees what each apply did."""

    def __init__(self, store: Store, witness: Witness) -> None:
        """Seen by `witness`."""
        super().__init__(store.states)
        self.store = store
        self.witness = witness

    def apply(self, changes: Sequence[Change], now_ms: int) -> list[State]:
        """See ports.States."""
        environment = changes[0].environment
        before, generation, lines = self._picture(changes)
        try:
            after = self.inner.apply(changes, now_ms)
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
                self.inner.generation(environment),
                now_ms,
                self.witness.clock_ms,
            )
        )
        return after

    def _picture(self, changes: Sequence[Change]) -> tuple[tuple[State, ...], int, int]:
        states = tuple(self.inner.get(c.environment, c.prompt) for c in changes)
        last = self.store.log.read(limit=1)
        generation = self.inner.generation(changes[0].environment)
        return states, generation, last[0].id if last else 0


class WatchedSeries(PassingSeries):
    """The observations; the witness sees each bucket that is written."""

    def __init__(self, inner: Series, witness: Witness) -> None:
        """Seen by `witness`."""
        super().__init__(inner)
        self.witness = witness

    def append(
        self,
        rows: Sequence[tuple[VersionKey, Bucket]],
        heard: Sequence[ClientSeen],
        scored: Mapping[tuple[str, str], tuple[int, int]],
        units: Mapping[UnitKey, tuple[int, int]] = NO_UNITS,
    ) -> None:
        """See ports.Series."""
        self.inner.append(rows, heard, scored, units)
        for key, bucket in rows:
            self.witness.stored(key, bucket)
        if units:
            self.witness.summed(units)
        for client in heard:
            self.witness.heard(client.id, client.boot, client.seq)


class WatchedRetention(PassingRetention):
    """The purges; the witness sees what went, and each line of a ledger that went with it."""

    def __init__(self, store: Store, witness: Witness) -> None:
        """Seen by `witness`."""
        super().__init__(store.retention)
        self.store = store
        self.witness = witness

    def purge(self, order: Purge, now_ms: int) -> list[str]:
        """See ports.Retention."""
        before, pins = self._states(order.prompt), tuple(self.inner.pins(order.prompt))
        there = tuple(v.version for v in self.store.registry.versions(order.prompt))
        last = self.store.log.read(limit=1)
        gone = self.inner.purge(order, now_ms)
        if gone:
            self.witness.purged(Purged(order, tuple(gone), before, pins, there, now_ms))
        self._struck(before, order, last[0].id if last else 0, now_ms)
        return gone

    def _states(self, prompt: str) -> tuple[State, ...]:
        return tuple(state for state in self.store.states.all() if state.prompt == prompt)

    def _struck(self, before: tuple[State, ...], order: Purge, line_id: int, now_ms: int) -> None:
        """A purge strikes what went from the ledgers, as an apply of its own would."""
        pairs = zip(before, self._states(order.prompt), strict=True)
        changed = [(old, new) for old, new in pairs if old != new]
        if not changed:
            return
        environment = changed[0][0].environment
        generation = self.store.states.generation(environment)
        self.witness.applied(
            Applied(
                tuple(self._change(old, new, order, line_id) for old, new in changed),
                tuple(old for old, _ in changed),
                tuple(new for _, new in changed),
                generation,
                generation,
                now_ms,
                self.witness.clock_ms,
            )
        )

    def _change(self, before: State, after: State, order: Purge, line_id: int) -> Change:
        here = (before.environment, before.prompt)
        lines = self.store.log.read(*here, after_id=line_id)
        left = {entry.version for entry in after.ledger}
        struck = [Strike(e.version) for e in before.ledger if e.version not in left]
        told = [Record(line.kind, line.because, line.detail) for line in lines]
        actions: tuple[Action, ...] = (*struck, *told)
        return Change(*here, before.revision, actions, order.actor, order.policy_revision)


class WatchedOutbox(PassingOutbox):
    """The messages; the witness sees what becomes of each."""

    def __init__(self, inner: Outbox, witness: Witness) -> None:
        """Seen by `witness`."""
        super().__init__(inner)
        self.witness = witness
        self.keys: dict[int, str] = {}

    def due(self, now_ms: int, limit: int) -> list[Outgoing]:
        """See ports.Outbox."""
        due = self.inner.due(now_ms, limit)
        self.keys.update((message.id, message.key) for message in due)
        return due

    def sent(self, message_id: int, receipt: str, now_ms: int) -> None:
        """See ports.Outbox."""
        self.inner.sent(message_id, receipt, now_ms)
        self.witness.settled(self.keys[message_id], True, receipt)

    def gave_up(self, message_id: int, error: str, now_ms: int) -> None:
        """See ports.Outbox."""
        self.inner.gave_up(message_id, error, now_ms)
        self.witness.settled(self.keys[message_id], False, error)

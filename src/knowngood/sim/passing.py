"""Ports that pass everything on, for wrappers that change one method of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from knowngood.core.history import Delivery, Outgoing
from knowngood.core.model import (
    Change,
    ClientSeen,
    State,
)
from knowngood.core.purge import Purge
from knowngood.core.retention import Pin
from knowngood.core.window import Bucket
from knowngood.ports import (
    NO_UNITS,
    Checkpoints,
    Deliveries,
    Outbox,
    Retention,
    Series,
    States,
    UnitKey,
    VersionKey,
)


class PassingStates:
    """The control states of another store. See ports.States."""

    def __init__(self, inner: States) -> None:
        """Pass on to `inner`."""
        self.inner = inner

    def get(self, environment: str, prompt: str) -> State:
        """Pass on."""
        return self.inner.get(environment, prompt)

    def all(self, environment: str | None = None) -> list[State]:
        """Pass on."""
        return self.inner.all(environment)

    def apply(self, changes: Sequence[Change], now_ms: int) -> list[State]:
        """Pass on."""
        return self.inner.apply(changes, now_ms)

    def generation(self, environment: str) -> int:
        """Pass on."""
        return self.inner.generation(environment)

    def environments(self, add: str | None = None) -> list[str]:
        """Pass on."""
        return self.inner.environments(add)


class PassingSeries:
    """The observations of another store. See ports.Series."""

    def __init__(self, inner: Series) -> None:
        """Pass on to `inner`."""
        self.inner = inner

    def append(
        self,
        rows: Sequence[tuple[VersionKey, Bucket]],
        heard: Sequence[ClientSeen],
        scored: Mapping[tuple[str, str], tuple[int, int]],
        units: Mapping[UnitKey, tuple[int, int]] = NO_UNITS,
    ) -> None:
        """Pass on."""
        self.inner.append(rows, heard, scored, units)

    def read(self, key: VersionKey, since_ms: int, until_ms: int) -> list[Bucket]:
        """Pass on."""
        return self.inner.read(key, since_ms, until_ms)

    def touched(self, since_ms: int) -> list[tuple[VersionKey, int]]:
        """Pass on."""
        return self.inner.touched(since_ms)

    def scores(self, calls: Iterable[str]) -> dict[tuple[str, str], int]:
        """Pass on."""
        return self.inner.scores(calls)

    def compact(self, now_ms: int) -> int:
        """Pass on."""
        return self.inner.compact(now_ms)


class PassingCheckpoints:
    """The folds' checkpoints of another store. See ports.Checkpoints."""

    def __init__(self, inner: Checkpoints) -> None:
        """Pass on to `inner`."""
        self.inner = inner

    def save(self, rows: Mapping[VersionKey, tuple[int, Mapping[str, Any]]]) -> None:
        """Pass on."""
        self.inner.save(rows)

    def load(self, key: VersionKey) -> tuple[int, Mapping[str, Any]] | None:
        """Pass on."""
        return self.inner.load(key)

    def forget(self, before_ms: int) -> int:
        """Pass on."""
        return self.inner.forget(before_ms)


class PassingOutbox:
    """The outbox of another store. See ports.Outbox."""

    def __init__(self, inner: Outbox) -> None:
        """Pass on to `inner`."""
        self.inner = inner

    def due(self, now_ms: int, limit: int) -> list[Outgoing]:
        """Pass on."""
        return self.inner.due(now_ms, limit)

    def sent(self, message_id: int, receipt: str, now_ms: int) -> None:
        """Pass on."""
        self.inner.sent(message_id, receipt, now_ms)

    def retry(self, message_id: int, next_try_ms: int, error: str) -> None:
        """Pass on."""
        self.inner.retry(message_id, next_try_ms, error)

    def gave_up(self, message_id: int, error: str, now_ms: int) -> None:
        """Pass on."""
        self.inner.gave_up(message_id, error, now_ms)

    def waiting_count(self) -> int:
        """Pass on."""
        return self.inner.waiting_count()


class PassingRetention:
    """The pins and purges of another store. See ports.Retention."""

    def __init__(self, inner: Retention) -> None:
        """Pass on to `inner`."""
        self.inner = inner

    def pins(self, prompt: str | None = None) -> list[Pin]:
        """Pass on."""
        return self.inner.pins(prompt)

    def pin(self, pin: Pin, policy_revision: str) -> bool:
        """Pass on."""
        return self.inner.pin(pin, policy_revision)

    def unpin(self, pin: Pin, policy_revision: str) -> bool:
        """Pass on."""
        return self.inner.unpin(pin, policy_revision)

    def purge(self, order: Purge, now_ms: int) -> list[str]:
        """Pass on."""
        return self.inner.purge(order, now_ms)


class PassingDeliveries:
    """The delivery log of another store. See ports.Deliveries."""

    def __init__(self, inner: Deliveries) -> None:
        """Pass on to `inner`."""
        self.inner = inner

    def add(self, delivery: Delivery) -> None:
        """Pass on."""
        self.inner.add(delivery)

    def of(self, message_ids: Iterable[int]) -> dict[int, list[Delivery]]:
        """Pass on."""
        return self.inner.of(message_ids)

    def receipts(self, thread: str) -> dict[str, str]:
        """Pass on."""
        return self.inner.receipts(thread)

    def recent(self, limit: int, thread: str | None = None) -> list[Delivery]:
        """Pass on."""
        return self.inner.recent(limit, thread)

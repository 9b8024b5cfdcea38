"""Observations that cannot be opened: everything asked of them raises the reason.

A rollback needs the control database and nothing else; with this it also gets nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from knowngood.core.errors import StoreUnavailable
from knowngood.core.model import ClientSeen
from knowngood.core.window import Bucket
from knowngood.ports import NO_UNITS, UnitArm, UnitKey, VersionKey


class AbsentSeries:
    """A series that is not there."""

    def __init__(self, reason: StoreUnavailable) -> None:
        self._reason = reason

    def append(
        self,
        rows: Sequence[tuple[VersionKey, Bucket]],
        heard: Sequence[ClientSeen],
        scored: Mapping[tuple[str, str], tuple[int, int]],
        units: Mapping[UnitKey, tuple[int, int]] = NO_UNITS,
    ) -> NoReturn:
        """See ports.Series."""
        raise self._reason

    def read(self, key: VersionKey, since_ms: int, until_ms: int) -> NoReturn:
        """See ports.Series."""
        raise self._reason

    def touched(self, since_ms: int) -> NoReturn:
        """See ports.Series."""
        raise self._reason

    def scores(self, calls: Iterable[str]) -> NoReturn:
        """See ports.Series."""
        raise self._reason

    def compact(self, now_ms: int) -> NoReturn:
        """See ports.Series."""
        raise self._reason


class AbsentUnits:
    """Sums of units that are not there."""

    def __init__(self, reason: StoreUnavailable) -> None:
        self._reason = reason

    def tally(self, arm: UnitArm) -> NoReturn:
        """See ports.Units."""
        raise self._reason

    def arms(self) -> NoReturn:
        """See ports.Units."""
        raise self._reason

    def forget(self, arm: UnitArm) -> NoReturn:
        """See ports.Units."""
        raise self._reason


class AbsentClients:
    """A census that is not there."""

    def __init__(self, reason: StoreUnavailable) -> None:
        self._reason = reason

    def clients(self, environment: str, since_ms: int) -> NoReturn:
        """See ports.Clients."""
        raise self._reason

    def client(self, client_id: str) -> NoReturn:
        """See ports.Clients."""
        raise self._reason


class AbsentCheckpoints:
    """Checkpoints that are not there."""

    def __init__(self, reason: StoreUnavailable) -> None:
        self._reason = reason

    def save(self, rows: Mapping[VersionKey, tuple[int, Mapping[str, Any]]]) -> NoReturn:
        """See ports.Checkpoints."""
        raise self._reason

    def load(self, key: VersionKey) -> NoReturn:
        """See ports.Checkpoints."""
        raise self._reason

    def forget(self, before_ms: int) -> NoReturn:
        """See ports.Checkpoints."""
        raise self._reason

"""A store that somebody opened and has to close."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from knowngood.ports import Store


@dataclass(slots=True)
class Timekeeper:
    """What time it is when a transaction writes; without a clock, the time of its decision."""

    now_ms: Callable[[], int] | None = None

    def at_ms(self, decided_ms: int) -> int:
        """The time now, never before the decision."""
        return decided_ms if self.now_ms is None else max(decided_ms, self.now_ms())


@dataclass(frozen=True, slots=True)
class OpenStore(Store):
    """A store with its `close`, also as a context manager. Closing twice is harmless.

    Whoever gives its `timekeeper` a clock has changes refused that come too late.
    """

    close: Callable[[], None]
    timekeeper: Timekeeper = field(default_factory=Timekeeper)

    def __enter__(self) -> "OpenStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

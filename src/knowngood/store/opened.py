"""A store that somebody opened and has to close."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from knowngood.ports import Store


@dataclass(frozen=True, slots=True)
class OpenStore(Store):
    """A store with its `close`, also as a context manager. Closing twice is harmless."""

    close: Callable[[], None]

    def __enter__(self) -> "OpenStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

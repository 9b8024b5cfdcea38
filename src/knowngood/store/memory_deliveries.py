"""The delivery log in memory."""

from collections.abc import Iterable
from dataclasses import replace

from knowngood.core.history import Delivery, Outcome
from knowngood.store.memory_data import Data


class MemoryDeliveries:
    """The delivery log in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def add(self, delivery: Delivery) -> None:
        """See ports.Deliveries."""
        data = self._data
        with data.lock:
            tries = data.tries.setdefault(delivery.message_id, [])
            ended = any(
                t.channel == delivery.channel and t.outcome is not Outcome.RETRY for t in tries
            )
            if delivery.message_id and ended:
                return
            kept = replace(delivery, id=len(data.deliveries) + 1)
            data.deliveries.append(kept)
            tries.append(kept)

    def of(self, message_ids: Iterable[int]) -> dict[int, list[Delivery]]:
        """See ports.Deliveries."""
        with self._data.lock:
            return {number: list(self._data.tries.get(number, ())) for number in message_ids}

    def receipts(self, thread: str) -> dict[str, str]:
        """See ports.Deliveries."""
        with self._data.lock:
            return {
                each.channel: each.receipt
                for each in self._data.deliveries
                if thread and each.thread == thread and each.receipt
            }

    def recent(self, limit: int, thread: str | None = None) -> list[Delivery]:
        """See ports.Deliveries."""
        with self._data.lock:
            newest = reversed(self._data.deliveries)
            found = [each for each in newest if thread in (None, each.thread)]
        return found[: max(0, limit)]

"""How often one token may write: a bucket for each, in this process, on the server's own clock."""

from collections.abc import Hashable
from dataclasses import dataclass, field

# Nobody works by hand at this pace, and a deployment of hundreds of prompts takes minutes instead
# of seconds. A program that loops is stopped before it fills the history.
BURST_COUNT = 120
EVERY_MS = 500  # one more each half second
BUCKETS_MAX = 10_000  # as many tokens as a file holds; beyond it the fullest are forgotten


@dataclass(slots=True)
class Limits:
    """One bucket of tokens for each key. For one thread: the event loop's."""

    burst_count: int = BURST_COUNT
    every_ms: int = EVERY_MS
    # By key: when its bucket will be full again. Full ones need no memory.
    _full_ms: dict[Hashable, int] = field(default_factory=dict)

    def take(self, key: Hashable, now_ms: int) -> int | None:
        """Take one; None, or after how many ms there will be one to take."""
        full_ms = max(self._full_ms.get(key, now_ms), now_ms)
        next_ms = full_ms + self.every_ms
        over_ms = next_ms - now_ms - self.burst_count * self.every_ms
        if over_ms > 0:
            return over_ms
        if len(self._full_ms) >= BUCKETS_MAX:
            self._full_ms = {k: ms for k, ms in self._full_ms.items() if ms > now_ms}
            if len(self._full_ms) >= BUCKETS_MAX:
                del self._full_ms[min(self._full_ms, key=lambda k: self._full_ms[k])]
        self._full_ms[key] = next_ms
        return None

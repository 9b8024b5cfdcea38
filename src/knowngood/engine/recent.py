"""The newest closed buckets of each version, kept in memory so that a tick reads only what is new.

A cache over `Series` and nothing else: dropping it at any time changes no decision.
"""

from collections import deque
from dataclasses import dataclass, field

from knowngood.core.model import Evidence
from knowngood.core.window import EMPTY, Bucket, Window, merge, total
from knowngood.ports import Series, VersionKey

# More versions than this at once would be more than one server's memory is meant for.
MAX_CACHED = 50_000


@dataclass(slots=True)
class _Line:
    since_ms: int  # the buckets reach back to here
    lifetime_since_ms: int | None
    read_until_ms: int
    buckets: deque[Bucket] = field(default_factory=deque)
    lifetime: Window = EMPTY

    def lives(self, bucket: Bucket) -> bool:
        """Whether the bucket counts in the lifetime's sum."""
        return self.lifetime_since_ms is not None and bucket.at_ms >= self.lifetime_since_ms


class Recent:
    """A read-through cache of versions' recent buckets."""

    def __init__(self, series: Series) -> None:
        """An empty cache over `series`."""
        self._series = series
        self._lines: dict[VersionKey, _Line] = {}

    def evidence(
        self, key: VersionKey, since_ms: int, lifetime_since_ms: int | None, until_ms: int
    ) -> Evidence:
        """The version's closed buckets from `since_ms`, and its sum from `lifetime_since_ms`.

        Buckets that begin at `until_ms` or later are not final and left out. Without a
        `lifetime_since_ms` the sum is not kept.
        """
        line = self._lines.get(key)
        if (
            line is None
            or line.since_ms > since_ms
            or line.lifetime_since_ms != lifetime_since_ms
            or line.read_until_ms > until_ms
        ):
            line = self._load(key, since_ms, lifetime_since_ms, until_ms)
        self._extend(key, line, until_ms)
        while line.buckets and line.buckets[0].at_ms < since_ms:
            line.buckets.popleft()
            line.since_ms = since_ms
        return Evidence(tuple(line.buckets), line.lifetime)

    def drop_idle(self, before_ms: int) -> None:
        """Forget versions whose newest bucket is older than `before_ms`."""
        idle = [
            key
            for key, line in self._lines.items()
            if not line.buckets or line.buckets[-1].at_ms < before_ms
        ]
        for key in idle:
            del self._lines[key]

    def _load(
        self, key: VersionKey, since_ms: int, lifetime_since_ms: int | None, until_ms: int
    ) -> _Line:
        first_ms = since_ms if lifetime_since_ms is None else min(lifetime_since_ms, since_ms)
        older = self._series.read(key, first_ms, until_ms)
        line = _Line(since_ms, lifetime_since_ms, until_ms)
        line.lifetime = total(b.window for b in older if line.lives(b))
        line.buckets.extend(b for b in older if b.at_ms >= since_ms)
        if len(self._lines) >= MAX_CACHED:
            self._lines.clear()
        self._lines[key] = line
        return line

    def _extend(self, key: VersionKey, line: _Line, until_ms: int) -> None:
        if until_ms <= line.read_until_ms:
            return
        fresh = self._series.read(key, line.read_until_ms, until_ms)
        line.read_until_ms = until_ms
        line.buckets.extend(fresh)
        for bucket in fresh:
            if line.lives(bucket):
                line.lifetime = merge(line.lifetime, bucket.window)

"""What the memory store remembers: one set of dictionaries behind one lock."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any

from knowngood.core.codec import plain
from knowngood.core.errors import (
    UnknownEnvironment,
)
from knowngood.core.evaluation import Evaluation
from knowngood.core.history import AuditEntry, Delivery, Outgoing
from knowngood.core.model import (
    ClientSeen,
    State,
    Version,
)
from knowngood.core.outside import OutsideAlert
from knowngood.core.release import Release
from knowngood.core.retention import Pin
from knowngood.core.rollup import HOURS_KEPT_MS, coarser, steps
from knowngood.core.runbook_run import Run
from knowngood.core.window import Bucket, merge
from knowngood.ports import UnitArm, VersionKey


@dataclass(slots=True)
class Timeline:
    """One version's buckets by their beginning, and the beginnings in order."""

    buckets: dict[int, Bucket] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)

    def add(self, bucket: Bucket) -> None:
        there = self.buckets.get(bucket.at_ms)
        if there is None:
            insort(self.order, bucket.at_ms)
            self.buckets[bucket.at_ms] = bucket
        else:
            width_ms = max(there.width_ms, bucket.width_ms)
            window = merge(there.window, bucket.window)
            self.buckets[bucket.at_ms] = Bucket(bucket.at_ms, window, width_ms)

    def between(self, since_ms: int, until_ms: int) -> list[Bucket]:
        first, last = bisect_left(self.order, since_ms), bisect_left(self.order, until_ms)
        return [self.buckets[at_ms] for at_ms in self.order[first:last]]

    def compact(self, now_ms: int) -> None:
        for step in steps(now_ms):
            old = [b for b in self._before(step.before_ms) if b.width_ms < step.width_ms]
            for bucket in old:
                del self.buckets[bucket.at_ms]
            self.order = sorted(self.buckets)
            for bucket in coarser(old, step.width_ms):
                self.add(bucket)
        for bucket in self._before(now_ms - HOURS_KEPT_MS):
            del self.buckets[bucket.at_ms]
        self.order = sorted(self.buckets)

    def _before(self, until_ms: int) -> list[Bucket]:
        return [self.buckets[at_ms] for at_ms in self.order[: bisect_left(self.order, until_ms)]]


@dataclass(slots=True)
class Data:
    """Everything that is kept, and the lock that every port takes."""

    lock: RLock = field(default_factory=RLock)
    versions: dict[str, dict[str, Version]] = field(default_factory=dict)
    states: dict[tuple[str, str], State] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=lambda: {"production": 0, "staging": 0})
    log: list[AuditEntry] = field(default_factory=list)
    queued: set[str] = field(default_factory=set)
    waiting: dict[int, Outgoing] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    tries: dict[int, list[Delivery]] = field(default_factory=dict)  # by message
    series: dict[VersionKey, Timeline] = field(default_factory=dict)
    clients: dict[str, ClientSeen] = field(default_factory=dict)
    scores: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    policies: dict[str, Any] = field(default_factory=dict)
    checkpoints: dict[VersionKey, tuple[int, Any]] = field(default_factory=dict)
    evaluations: list[Evaluation] = field(default_factory=list)
    releases: dict[str, Release] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    pins: dict[tuple[str, str], Pin] = field(default_factory=dict)
    purged: dict[tuple[str, str], str] = field(default_factory=dict)  # digests
    outside: dict[tuple[str, str], OutsideAlert] = field(default_factory=dict)
    taken: dict[tuple[str, str], int] = field(default_factory=dict)  # when, in ms
    units: dict[UnitArm, dict[tuple[int, str], tuple[int, int]]] = field(default_factory=dict)

    def generation(self, environment: str) -> int:
        try:
            return self.generations[environment]
        except KeyError:
            raise UnknownEnvironment(
                f"there is no environment {environment!r}", known=sorted(self.generations)
            ) from None

    def write_history(self, entries: Iterable[AuditEntry]) -> None:
        for entry in entries:
            self.log.append(replace(entry, id=len(self.log) + 1, detail=plain(entry.detail)))

"""How observations grow coarser with age, and when they go. Every store uses it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from knowngood.core.window import Bucket, total

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# A live judgement looks back minutes; an hour of seconds on either side of an incident is enough.
SECONDS_KEPT_MS = 2 * HOUR_MS
# Baselines and backtests look back days, in minutes.
MINUTES_KEPT_MS = 30 * DAY_MS
# 13 months of at most 30.5 days: this month can be compared with the same month a year ago.
HOURS_KEPT_MS = 396 * DAY_MS
# A score counts once per call for a day; a process that was silent for a day is gone.
SCORES_KEPT_MS = DAY_MS
CLIENTS_KEPT_MS = DAY_MS


@dataclass(frozen=True, slots=True)
class Step:
    """Buckets narrower than `width_ms` that begin before `before_ms` become ones of that width."""

    width_ms: int
    before_ms: int


def steps(now_ms: int) -> tuple[Step, ...]:
    """The steps of a compaction, in order; only whole coarse buckets are past the border."""
    return (
        Step(MINUTE_MS, _floor(now_ms - SECONDS_KEPT_MS, MINUTE_MS)),
        Step(HOUR_MS, _floor(now_ms - MINUTES_KEPT_MS, HOUR_MS)),
    )


def coarser(buckets: Iterable[Bucket], width_ms: int) -> list[Bucket]:
    """The buckets added up to buckets of `width_ms`, each beginning at its start, in order."""
    return merged(replace(b, at_ms=_floor(b.at_ms, width_ms), width_ms=width_ms) for b in buckets)


def merged(buckets: Iterable[Bucket]) -> list[Bucket]:
    """One bucket for each beginning, oldest first, as wide as the widest that begins there."""
    groups: dict[int, list[Bucket]] = {}
    for bucket in buckets:
        groups.setdefault(bucket.at_ms, []).append(bucket)
    return [
        group[0]
        if len(group) == 1
        else Bucket(at_ms, total(b.window for b in group), max(b.width_ms for b in group))
        for at_ms, group in sorted(groups.items())
    ]


def _floor(at_ms: int, width_ms: int) -> int:
    return at_ms - at_ms % width_ms

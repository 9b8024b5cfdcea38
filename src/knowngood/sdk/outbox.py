"""From calls to batches: folds what the recorder holds into 1 s windows and keeps them until sent.

A flush has a sequence number of its own and is repeated under it until the server answers, so that
a lost answer never doubles the evidence. Only the worker, or who holds its lock, uses an outbox.
"""

import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from knowngood.core.model import WHOLE_BP
from knowngood.core.window import EXCLUDED_KINDS, Window, latency_bucket, score_bin
from knowngood.sdk.call import OK, Call
from knowngood.sdk.compared import ComparedArm
from knowngood.sdk.recorder import Recorder
from knowngood.wire import (
    NAMES_PER_ROW_MAX,
    SUMS_PER_FLUSH_MAX,
    Batch,
    LateScore,
    Row,
    UnitGroup,
    UnitSum,
)

BUCKET_S = 1.0
# One flush: 500 rows are some 150 KB, within the server's body limit of 1 MiB with room to spare.
ROWS_PER_FLUSH_MAX = 500
LATE_SCORES_PER_FLUSH_MAX = 2_000
# While the server is away: 10 versions for 200 s, some 2 MB. Older news is of little use to anybody
# who has to decide now, so the oldest go first.
ROWS_HELD_MAX = 2_000
ROW_AGE_MAX_S = 300.0
LATE_SCORES_HELD_MAX = 10_000
# Units that wait to be sent while arms are compared: some 300 B each, so 15 MB. A minute of ours is
# far fewer different ones; beyond this, new ones are left out until the server answers again.
UNITS_HELD_MAX = 50_000
# The server counts a process as live that was heard within 15 s; three tries fit.
IDLE_FLUSH_S = 5.0
UNITS_LOST = "unit sums not sent"
_SEEN_FOR_S = 2 * BUCKET_S  # a call may be folded this much after its bucket ended


@dataclass(slots=True)
class _Bucket:
    """One version's second while it is being summed."""

    ok: int = 0
    excluded: int = 0
    repeat: int = 0
    units: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    latency: dict[int, int] = field(default_factory=dict)
    first_token: dict[int, int] = field(default_factory=dict)
    scores: dict[str, dict[int, int]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def window(self) -> Window:
        return Window(
            ok=self.ok,
            errors=self.errors,
            excluded=self.excluded,
            repeat=self.repeat,
            units=self.units,
            latency=self.latency,
            first_token=self.first_token,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_nano_usd=self.cost_nano_usd,
            scores=self.scores,
            counters=self.counters,
        )


@dataclass(slots=True)
class _Seen:
    """The units of one version's second; outlives its sums, which may leave before it is over."""

    units: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Unit:
    """One unit of a compared arm while it is being summed."""

    calls: int = 0
    errors: int = 0
    scores: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Held:
    """A row that waits to be sent; `at_s` is where its second begins, on the monotonic clock."""

    prompt: str
    version: str
    at_s: float
    window: Window


@dataclass(frozen=True, slots=True)
class _Flush:
    """A flush under way: what the server may or may not have got already."""

    seq: int
    rows: tuple[_Held, ...]
    late_scores: tuple[LateScore, ...]
    dropped: int
    refused: Mapping[str, int]
    closing: bool
    made_s: float
    units: tuple[UnitGroup, ...]


_Key = tuple[str, str, int]  # prompt, version, number of the second
_ArmKey = tuple[str, str, int]  # prompt, version, generation of the route


class Outbox:
    """What a process still has to say. Bounded: what finds no room is dropped and counted.

    `boot` tells this life of the process from others; it is drawn unless a simulation names it.
    """

    def __init__(self, recorder: Recorder, client_id: str, boot: str = "") -> None:
        self._recorder = recorder
        self.client_id = client_id
        self.boot = boot or os.urandom(8).hex()
        self._buckets: dict[_Key, _Bucket] = {}
        self._seen: dict[_Key, _Seen] = {}
        self._rows: deque[_Held] = deque()
        self._late: deque[LateScore] = deque()
        self._units: dict[_ArmKey, dict[int, _Unit]] = {}
        self._seq = 0
        self._flush: _Flush | None = None
        self._told_dropped = 0
        self._told_refused: dict[str, int] = {}
        self._told_generation: int | None = None
        self._told_at_s: float | None = None

    @property
    def empty(self) -> bool:
        """Whether everything that was folded or refused has been sent and answered."""
        return not (self._flush or self.has_backlog or self._news())

    @property
    def has_backlog(self) -> bool:
        """Whether calls, scores or units wait that found no room in the last flush."""
        return bool(self._rows or self._late or self._units)

    @property
    def introduced(self) -> bool:
        """Whether the server has ever answered a flush."""
        return self._told_at_s is not None

    def fold(self, now_s: float, everything: bool = False) -> None:
        """Sum the recorder's calls; hold the seconds that are over, or all of them."""
        calls = self._recorder.calls
        for _ in range(len(calls)):
            self._add(calls.popleft())
        late = self._recorder.late_scores
        for _ in range(len(late)):
            self._late.append(late.popleft())
        for key in [k for k in self._buckets if everything or (k[2] + 1) * BUCKET_S <= now_s]:
            prompt, version, second = key
            window = self._buckets.pop(key).window()
            self._rows.append(_Held(prompt, version, second * BUCKET_S, window))
        for key in [k for k in self._seen if (k[2] + 1) * BUCKET_S + _SEEN_FOR_S <= now_s]:
            del self._seen[key]
        self._make_room(now_s)

    def next_batch(self, now_s: float, generation: int, closing: bool = False) -> Batch | None:
        """The flush to send now, or None when there is nothing to say yet.

        A flush that was not answered is the same again, with its rows' age measured anew and the
        generation of this moment; otherwise what is held, or a sign of life when `generation` has
        changed or the last flush is 5 s ago. With `closing` the last one of all says goodbye.
        """
        if self._flush is None:
            if self.empty and not closing and not self._sign_of_life(now_s, generation):
                return None
            self._flush = self._next_flush(now_s, closing)
        flush = self._flush
        rows = tuple(
            Row(h.prompt, h.version, max(0, round((now_s - h.at_s) * 1000)), h.window)
            for h in flush.rows
        )
        return Batch(
            client_id=self.client_id,
            boot=self.boot,
            seq=flush.seq,
            environment=self._recorder.environment,
            generation=generation,
            rows=rows,
            late_scores=flush.late_scores,
            dropped=flush.dropped,
            refused=flush.refused,
            closing=flush.closing,
            units=flush.units,
        )

    def answered(self, batch: Batch, now_s: float) -> None:
        """The server has the batch; what was held for it is let go."""
        self._flush = None
        self._told_generation = batch.generation
        self._told_at_s = now_s

    def rejected(self, now_s: float) -> None:
        """The server will never take the batch: its calls count as dropped."""
        self._told_at_s = now_s
        self._give_up()

    def _give_up(self) -> None:
        flush, self._flush = self._flush, None
        if flush is None:
            return
        # Its own counts were not heard either: they are told again with the next flush.
        self._told_dropped -= flush.dropped
        for reason, count in flush.refused.items():
            self._told_refused[reason] -= count
        self._drop_rows(flush.rows)
        if flush.units:
            self._recorder.refuse(UNITS_LOST, sum(len(group.sums) for group in flush.units))
        if flush.late_scores:
            self._recorder.drop(len(flush.late_scores))

    def _next_flush(self, now_s: float, closing: bool) -> _Flush:
        rows = [self._rows.popleft() for _ in range(min(len(self._rows), ROWS_PER_FLUSH_MAX))]
        late = [
            self._late.popleft() for _ in range(min(len(self._late), LATE_SCORES_PER_FLUSH_MAX))
        ]
        dropped, refused = self._recorder.dropped_count, self._recorder.refused_counts()
        self._seq += 1
        flush = _Flush(
            seq=self._seq,
            rows=tuple(rows),
            late_scores=tuple(late),
            dropped=dropped - self._told_dropped,
            refused={
                reason: more
                for reason, count in refused.items()
                if (more := count - self._told_refused.get(reason, 0))
            },
            units=tuple(self._next_units()),
            closing=closing and not self.has_backlog,
            made_s=now_s,
        )
        self._told_dropped, self._told_refused = dropped, refused
        return flush

    def _next_units(self) -> Iterator[UnitGroup]:
        """Of every compared arm what fits into one flush, the units seen first first."""
        room = SUMS_PER_FLUSH_MAX
        for key in list(self._units):
            waiting, taken = self._units[key], []
            for unit in list(waiting):
                sums = waiting[unit]
                if (room := room - 1 - len(sums.scores)) < 0:
                    break
                del waiting[unit]
                taken.append(UnitSum(unit, sums.calls, sums.errors, sums.scores))
            if not waiting:
                del self._units[key]
            if taken:
                yield UnitGroup(*key, tuple(taken))
            if room < 0:
                return

    def _news(self) -> bool:
        return (
            self._recorder.dropped_count != self._told_dropped
            or self._recorder.refused_counts() != self._told_refused
        )

    def _sign_of_life(self, now_s: float, generation: int) -> bool:
        return (
            self._told_at_s is None
            or generation != self._told_generation
            or now_s - self._told_at_s >= IDLE_FLUSH_S
        )

    def _make_room(self, now_s: float) -> None:
        if self._flush and now_s - self._flush.made_s > ROW_AGE_MAX_S:
            self._give_up()  # the server would take news this old for news of now
        dropped = []
        while self._rows and (
            len(self._rows) > ROWS_HELD_MAX or now_s - self._rows[0].at_s > ROW_AGE_MAX_S
        ):
            dropped.append(self._rows.popleft())
        self._drop_rows(dropped)
        too_many = max(0, len(self._late) - LATE_SCORES_HELD_MAX)
        for _ in range(too_many):
            self._late.popleft()
        if too_many:
            self._recorder.drop(too_many)

    def _drop_rows(self, rows: list[_Held] | tuple[_Held, ...]) -> None:
        windows = [row.window for row in rows]
        count = sum(w.call_count + w.excluded + w.repeat for w in windows)
        if count:
            self._recorder.drop(count)

    def _add(self, call: Call) -> None:
        served, end_s, unit = call.served, call.end_s, call.unit
        key = (served.name, served.version, int(end_s // BUCKET_S))
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket()
        outcome = call.outcome
        if outcome in EXCLUDED_KINDS:
            bucket.excluded += 1
            return
        repeated = unit is not None and self._see(key, bucket, unit, outcome != OK)
        if outcome == OK:
            bucket.ok += 1
        elif repeated:
            bucket.repeat += 1
        else:
            bucket.errors[outcome] = bucket.errors.get(outcome, 0) + 1
        self._measure(bucket, call, outcome)
        arm = served.arm
        if arm is not None and unit is not None:
            self._sum_unit(arm, unit, call, outcome != OK)

    def _sum_unit(self, arm: ComparedArm, unit: str, call: Call, failed: bool) -> None:
        """Add the call to its unit, if the unit was assigned to this arm."""
        found = arm.hash_of(unit)
        if found is None:
            return
        served = call.served
        units = self._units.setdefault((served.name, served.version, arm.generation), {})
        sums = units.get(found)
        if sums is None:
            if sum(map(len, self._units.values())) >= UNITS_HELD_MAX:
                self._recorder.refuse(UNITS_LOST)
                return
            sums = units[found] = _Unit()
        sums.calls += 1
        sums.errors += failed
        for name, score in call.scores_in_sum.items():
            declared = (self._recorder.scores or {}).get(name)
            if name in arm.scores and declared and declared.min <= score <= declared.max:
                share = (score - declared.min) / (declared.max - declared.min)
                count, total = sums.scores.get(name, (0, 0))
                sums.scores[name] = count + 1, total + round(share * WHOLE_BP)

    def _see(self, key: _Key, bucket: _Bucket, unit: str, failed: bool) -> bool:
        """Count the unit once a second; whether it failed before in this second."""
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen()
        if unit not in seen.units:
            seen.units.add(unit)
            bucket.units += 1
        if not failed:
            return False
        before = unit in seen.failed
        seen.failed.add(unit)
        return before

    def _measure(self, bucket: _Bucket, call: Call, outcome: str) -> None:
        # A failure that comes back at once says nothing of how long an answer takes.
        if outcome in (OK, "timeout"):
            _count(bucket.latency, latency_bucket(call.latency_ms))
        first_token_ms = call.first_token_ms
        if first_token_ms is not None:
            _count(bucket.first_token, latency_bucket(first_token_ms))
        bucket.input_tokens += call.input_tokens
        bucket.output_tokens += call.output_tokens
        bucket.cost_nano_usd += call.cost_nano_usd
        for name, score in call.scores_in_sum.items():
            declared = (self._recorder.scores or {}).get(name)
            if declared and declared.min <= score <= declared.max:
                bins = bucket.scores.setdefault(name, {})
                _count(bins, score_bin(score, declared.min, declared.max))
            else:
                self._recorder.refuse("undeclared score")  # its range changed under way
        for name, count in call.counters.items():
            if name in bucket.counters or len(bucket.counters) < NAMES_PER_ROW_MAX:
                bucket.counters[name] = bucket.counters.get(name, 0) + count
            else:
                self._recorder.refuse("too many counters")


def _count(bins: dict[int, int], index: int) -> None:
    bins[index] = bins.get(index, 0) + 1

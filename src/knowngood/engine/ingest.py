"""Observations on their way in: deduplicated, put into one-second buckets, written once a tick.

A batch is folded into memory and answered; the tick writes what has come, together with the
clients' sequence numbers, in one transaction. A crash loses at most one tick of observations and
never counts one twice.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from knowngood import wire
from knowngood.core.errors import BadRequest, KnowngoodError, StoreUnavailable, UnknownEnvironment
from knowngood.core.model import WHOLE_BP, ClientSeen, ScoreRange
from knowngood.core.unit_sums import CALLS
from knowngood.core.window import BUCKET_MS, SCORE_BINS, Bucket, Window, score_bin, total
from knowngood.ports import Store, UnitArm, UnitKey, VersionKey

# Reports are flushed each second and take a moment on the way: a bucket is final two seconds after
# its end, and what comes later counts in the bucket that is still open.
WATERMARK_MS = 2_000
NEXT_FLUSH_MS = 1_000
# A server that cannot write for minutes must not eat all memory: some 4 KB each, so 400 MB, which
# is a quarter of an hour of a hundred versions.
MAX_PENDING_BUCKETS = 100_000
# The same for late scores: some 500 B each, ten of the largest batches between two ticks.
MAX_PENDING_SCORES = 100_000
# The same for sums of units: some 300 B each, so 60 MB, twenty of the largest reports.
MAX_PENDING_UNITS = 200_000
# Clients name reasons of their own; ours are a dozen. Beyond this they are counted as "other".
MAX_REASONS = 100
# Late scores are read again when a write ended meanwhile; three times in a row the store is ill.
READS_MAX = 3
# What is compared is read again for each newer generation, of which one prompt has no more between
# two ticks, not even of an engine that is held for minutes. More of them are made up.
MAX_COMPARED_ANEW = 8
BOOTS_KEPT = 4  # the network repeats a flush within seconds; no process begins anew that often
MAX_CLIENTS = 100_000  # ten times the size at which one server is outgrown (promises.md, 6.7)


def closed_until_ms(now_ms: int) -> int:
    """The end of the last bucket that is final at `now_ms`."""
    return (now_ms - WATERMARK_MS) // BUCKET_MS * BUCKET_MS


@dataclass(frozen=True, slots=True)
class _LateScore:
    """A late score that can be counted, and the unit that it is of, if its arm is compared."""

    call: str
    name: str
    key: VersionKey
    bin_: int
    unit: tuple[UnitArm, int] | None


@dataclass(frozen=True, slots=True)
class _Compared:
    """The arms of a prompt that are compared, as of a generation of its route."""

    generation: int
    arms: frozenset[UnitArm]


class Ingest:
    """The server's intake. Thread-safe: batches come from requests, `flush` from the tick."""

    def __init__(self, store: Store, scores: Callable[[], Mapping[str, ScoreRange]]) -> None:
        """`scores` gives the declared score ranges of the policy in force."""
        self._store = store
        self._scores = scores
        self._lock = threading.Lock()
        self._pending: dict[tuple[VersionKey, int], list[Window]] = {}
        self._heard: dict[str, ClientSeen] = {}
        self._unsaved: set[str] = set()
        self._late: dict[tuple[str, str], tuple[int, int]] = {}
        self._writing: dict[tuple[str, str], tuple[int, int]] = {}  # late scores on their way
        self._written_count = 0
        self._units: dict[UnitKey, tuple[int, int]] = {}
        self._compared: dict[tuple[str, str], _Compared] = {}
        self._compared_anew: dict[tuple[str, str], set[int]] = {}  # asked for since the last tick
        self._known: dict[str, frozenset[str]] = {}
        self._reread: set[str] = set()  # prompts whose unknown version was looked up this tick
        self._names: frozenset[str] | None = None  # the registry's prompts, read once a tick
        self._generations: dict[str, int] = {}
        self._closed_ms = 0
        self.ignored_counts: dict[str, int] = {}
        self.accepted_count = 0

    def take(self, batch: wire.Batch, refused: Mapping[str, int], now_ms: int) -> wire.Receipt:
        """Take one batch in; `refused` counts what decoding left out, by reason.

        A batch that was seen before, or comes out of order, changes nothing: dropping loses
        evidence, repeating would invent it. Raises UnknownEnvironment, or StoreUnavailable, after
        which the client may send it again.
        """
        generation = self._generation(batch.environment)
        ignored = dict(refused)
        known = {row.prompt: self._versions(row.prompt, row.version) for row in batch.rows}
        late = self._late_windows(batch, ignored)
        units = self._unit_sums(batch)
        last = self._heard.get(batch.client_id) or self._store.clients.client(batch.client_id)
        for _ in range(READS_MAX):
            # The store is asked outside the lock, so that nobody else waits for it, and before
            # anything is taken: if it refuses, the client sends the batch again.
            written = self._written_count
            before = self._store.series.scores({each.call for each in late}) if late else {}
            with self._lock:
                if late and written != self._written_count:
                    continue  # what was being written may be in the store by now
                accepted = 0
                before_it = self._heard.get(batch.client_id, last)
                if self._is_repeat(batch, before_it):
                    _count(ignored, "duplicate or out of order")
                    self._hear_again(batch, now_ms)
                else:
                    self._hear(batch, before_it, now_ms)
                    accepted = self._take_rows(batch, known, ignored, now_ms)
                    accepted += self._take_late(late, before, ignored, now_ms)
                    self._add_units(units, ignored)
                self._count_all(batch, ignored, accepted)
            return wire.Receipt(ignored, generation, NEXT_FLUSH_MS, accepted)
        raise StoreUnavailable("the store takes longer to read scores than a tick to write them")

    def is_ready_for(self, batch: wire.Batch) -> bool:
        """Whether all that `take` needs is in memory, so that it will not wait for the store."""
        return (
            batch.environment in self._generations
            and batch.client_id in self._heard
            and not batch.late_scores
            and all(row.version in self._known.get(row.prompt, ()) for row in batch.rows)
            and all(
                self._knows(batch.environment, group.prompt, group.generation)
                for group in batch.units
            )
        )

    def _count_all(self, batch: wire.Batch, ignored: Mapping[str, int], accepted: int) -> None:
        self.accepted_count += accepted
        for reason, count in (*ignored.items(), *batch.refused.items()):
            new = reason not in self.ignored_counts
            full = new and len(self.ignored_counts) >= MAX_REASONS
            _count(self.ignored_counts, "other" if full else reason, count)
        if batch.dropped:
            _count(self.ignored_counts, "dropped by the client", batch.dropped)

    def flush(self, now_ms: int) -> int:
        """Write everything that came in and close the buckets; where the open ones begin, in ms.

        If the store refuses, nothing is lost: the next flush writes it all.
        """
        with self._lock:
            pending, self._pending = self._pending, {}
            unsaved, self._unsaved = self._unsaved, set()
            late, self._late = self._late, {}
            units, self._units = self._units, {}
            self._writing = late
            self._closed_ms = max(self._closed_ms, closed_until_ms(now_ms))
            heard = [self._heard[name] for name in unsaved if name in self._heard]
        rows = [(key, Bucket(at_ms, _sum(windows))) for (key, at_ms), windows in pending.items()]
        if rows or heard or late or units:
            try:
                self._store.series.append(rows, heard, late, units)
            except Exception:
                if not self._was_written(heard):
                    self._put_back(rows, unsaved, late, units)
                raise
            finally:
                with self._lock:
                    self._writing = {}
                    self._written_count += 1
        return self._closed_ms

    def refresh(self) -> None:
        """Once a tick: read generations and comparisons afresh; look up unknown versions again."""
        self._reread.clear()
        self._names = None
        self._generations.clear()
        self._compared.clear()
        self._compared_anew.clear()

    def _was_written(self, heard: list[ClientSeen]) -> bool:
        """Whether a write that failed arrived all the same, and only its answer was lost.

        Rows and sequence numbers are one transaction, so one client's line tells of all.
        """
        try:
            return bool(heard) and self._store.clients.client(heard[0].id) == heard[0]
        except Exception:
            return False  # a store that does not even answer has most likely not written either

    def _put_back(
        self,
        rows: list[tuple[VersionKey, Bucket]],
        unsaved: set[str],
        late: dict[tuple[str, str], tuple[int, int]],
        units: dict[UnitKey, tuple[int, int]],
    ) -> None:
        """Keep what could not be written, added up: one window for each version and second."""
        with self._lock:
            for key, bucket in rows:
                if len(self._pending) >= MAX_PENDING_BUCKETS:
                    _count(self.ignored_counts, "store unavailable for too long")
                    continue
                self._pending.setdefault((key, bucket.at_ms), []).append(bucket.window)
            self._unsaved |= unsaved
            self._late = {**late, **self._late}
            self._add_units(units, self.ignored_counts)

    def _is_repeat(self, batch: wire.Batch, last: ClientSeen | None) -> bool:
        """Seen before, or older than what was seen: an earlier life of the process as well."""
        if last is None or last.boot == batch.boot:
            return last is not None and batch.seq <= last.seq
        return batch.boot in last.ended

    def _hear(self, batch: wire.Batch, before: ClientSeen | None, now_ms: int) -> None:
        # Put in anew each time, so that the first one is always who was silent for longest.
        kept = self._heard.pop(batch.client_id, None)
        if kept is None and len(self._heard) >= MAX_CLIENTS:
            oldest = next(iter(self._heard))
            del self._heard[oldest]
            self._unsaved.discard(oldest)
        ended = before.ended if before else ()
        if before is not None and before.boot != batch.boot:
            ended = (*ended, before.boot)[-BOOTS_KEPT:]
        self._heard[batch.client_id] = ClientSeen(
            id=batch.client_id,
            environment=batch.environment,
            boot=batch.boot,
            seq=batch.seq,
            generation=batch.generation,
            seen_ms=now_ms,
            closed=batch.closing,
            ended=ended,
        )
        self._unsaved.add(batch.client_id)

    def _hear_again(self, batch: wire.Batch, now_ms: int) -> None:
        """A process that repeats itself because no answer reaches it is alive all the same."""
        last = self._heard.get(batch.client_id)
        if last is not None and last.boot == batch.boot and last.seq == batch.seq:
            self._heard[batch.client_id] = replace(
                last, seen_ms=now_ms, generation=batch.generation
            )
            self._unsaved.add(batch.client_id)

    def _take_rows(
        self,
        batch: wire.Batch,
        known: Mapping[str, frozenset[str]],
        ignored: dict[str, int],
        now_ms: int,
    ) -> int:
        accepted = 0
        for row in batch.rows:
            versions = known[row.prompt]
            if row.version not in versions:
                _count(ignored, "unknown version" if versions else "unknown prompt")
                continue
            window = self._declared_scores(row.window, ignored)
            self._add((batch.environment, row.prompt, row.version), row.ago_ms, window, now_ms)
            accepted += 1
        return accepted

    def _add(self, key: VersionKey, ago_ms: int, window: Window, now_ms: int) -> None:
        # What was measured before the watermark counts now: a closed bucket never changes.
        open_ms = max(self._closed_ms, closed_until_ms(now_ms))
        at_ms = (now_ms - max(0, ago_ms)) // BUCKET_MS * BUCKET_MS
        if at_ms < open_ms:
            at_ms = max(open_ms, now_ms // BUCKET_MS * BUCKET_MS)
            window = _marked_late(window)
        self._pending.setdefault((key, at_ms), []).append(window)

    def _declared_scores(self, window: Window, ignored: dict[str, int]) -> Window:
        if not window.scores:
            return window
        declared = self._scores()
        kept = {name: bins for name, bins in window.scores.items() if name in declared}
        if len(kept) < len(window.scores):
            _count(ignored, "unknown score", len(window.scores) - len(kept))
        return replace(window, scores=kept)

    def _late_windows(self, batch: wire.Batch, ignored: dict[str, int]) -> list[_LateScore]:
        """The late scores that can be counted; bad ones are counted as ignored and left out."""
        taken: list[_LateScore] = []
        declared = self._scores()
        for late in batch.late_scores:
            scale = declared.get(late.name)
            if scale is None:
                _count(ignored, "unknown score")
                continue
            try:
                call = wire.parse_call_id(late.call)
                index = score_bin(late.value, scale.min, scale.max)
            except BadRequest:
                _count(ignored, "not a call id")
                continue
            except ValueError:
                _count(ignored, "score outside its range")
                continue
            versions = self._versions(call.prompt, call.version)
            if call.version not in versions:
                _count(ignored, "unknown version" if versions else "unknown prompt")
            elif not self._is_environment(call.environment):
                _count(ignored, "unknown environment")
            else:
                key = (call.environment, call.prompt, call.version)
                unit = self._unit_of(key, call)
                taken.append(_LateScore(late.call, late.name, key, index, unit))
        return taken

    def _take_late(
        self,
        late: list[_LateScore],
        before: Mapping[tuple[str, str], int],
        ignored: dict[str, int],
        now_ms: int,
    ) -> int:
        """Count each label once per call and name: a later value takes the earlier one's place."""
        accepted = 0
        for each in late:
            call, name, index = each.call, each.name, each.bin_
            if len(self._late) >= MAX_PENDING_SCORES:
                _count(ignored, "store unavailable for too long")
                continue
            fresh = self._late.get((call, name)) or self._writing.get((call, name))
            old = fresh[0] if fresh else before.get((call, name))
            bins = {index: 1}
            if old is not None:
                bins = {} if old == index else {index: 1, old: -1}
            if bins:
                self._add(each.key, 0, Window(scores={name: bins}), now_ms)
                if each.unit is not None:
                    by_percent = (index - (old or 0)) * (WHOLE_BP // SCORE_BINS)
                    more = (int(old is None), by_percent)
                    self._add_units({(*each.unit, name): more}, ignored)
            else:
                _count(ignored, "score repeated")
            self._late[(call, name)] = (index, now_ms)
            accepted += 1
        return accepted

    def _unit_sums(self, batch: wire.Batch) -> dict[UnitKey, tuple[int, int]]:
        """The sums of units that belong to a comparison under way; others were on their way."""
        found: dict[UnitKey, tuple[int, int]] = {}
        for group in batch.units:
            arm = ((batch.environment, group.prompt, group.version), group.generation)
            if arm not in self._arms(batch.environment, group.prompt, group.generation):
                continue
            for each in group.sums:
                found[arm, each.unit, CALLS] = each.call_count, each.error_count
                for name, sums in each.scores.items():
                    found[arm, each.unit, name] = sums
        return found

    def _unit_of(self, key: VersionKey, call: wire.CallId) -> tuple[UnitArm, int] | None:
        """The unit that a call's id names, while its arm is compared."""
        named = wire.unit_of(call.random_part)
        if named is None or (key, named[0]) not in self._arms(*key[:2], named[0]):
            return None
        return (key, named[0]), named[1]

    def _add_units(self, units: Mapping[UnitKey, tuple[int, int]], ignored: dict[str, int]) -> None:
        for key, more in units.items():
            before = self._units.get(key)
            if before is None and len(self._units) >= MAX_PENDING_UNITS:
                _count(ignored, "store unavailable for too long")
                continue
            had = before or (0, 0)
            self._units[key] = had[0] + more[0], had[1] + more[1]

    def _arms(self, environment: str, prompt: str, generation: int) -> frozenset[UnitArm]:
        """The arms that are compared now; read once a tick, and again for each newer generation.

        Without that a label of a stage that has just begun would be left out of its unit, and a
        correction of it would be taken from what was never added.
        """
        key = (environment, prompt)
        known = self._compared.get(key)  # the tick may take it away meanwhile
        if known is not None and self._knows(environment, prompt, generation):
            return known.arms
        if known is not None:
            self._compared_anew.setdefault(key, set()).add(generation)
        state = self._store.states.get(environment, prompt)
        route, rollout = state.route, state.rollout
        arms = route.arms if route and rollout and rollout.is_compared else ()
        newest = route.generation if route else 0
        found = frozenset(((environment, prompt, arm.version), newest) for arm in arms)
        self._compared[key] = _Compared(newest, found)
        return found

    def _knows(self, environment: str, prompt: str, generation: int) -> bool:
        """Whether what is compared is known as of this generation, or was asked for already."""
        key = (environment, prompt)
        known, asked = self._compared.get(key), self._compared_anew.get(key, ())
        if known is None:
            return False
        is_new = known.generation >= generation
        return is_new or generation in asked or len(asked) >= MAX_COMPARED_ANEW

    def _versions(self, prompt: str, wanted: str) -> frozenset[str]:
        """The prompt's versions; the registry is asked again for an unknown one, once a tick.

        A name that is no prompt's costs nothing, so that nobody can keep the store busy with them.
        """
        known = self._known.get(prompt)
        if known is not None and wanted in known:
            return known
        names = self._names  # the tick may take it away meanwhile
        if names is None:
            names = self._names = frozenset(self._store.registry.prompts())
        if prompt not in self._reread and prompt in names:
            try:
                known = frozenset(v.version for v in self._store.registry.versions(prompt))
                self._known[prompt] = known
            except KnowngoodError:
                known = None
            self._reread.add(prompt)  # not if the store failed: then nobody was told anything
        return known or frozenset()

    def _is_environment(self, name: str) -> bool:
        """A judge may score calls of any environment; it has to be one that exists."""
        try:
            self._generation(name)
        except UnknownEnvironment:
            return False
        return True

    def _generation(self, environment: str) -> int:
        generation = self._generations.get(environment)  # the tick may take it away meanwhile
        if generation is None:
            generation = self._store.states.generation(environment)
            self._generations[environment] = generation
        return generation


def _marked_late(window: Window) -> Window:
    return replace(window, late_ok=window.ok)


def _sum(windows: list[Window]) -> Window:
    return windows[0] if len(windows) == 1 else total(windows)


def _count(counts: dict[str, int], reason: str, more: int = 1) -> None:
    counts[reason] = counts.get(reason, 0) + more

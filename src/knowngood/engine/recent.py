"""The newest closed buckets of each version and its detectors, so that a tick reads what is new.

A cache over `Series` and `Checkpoints` and nothing else: dropping it at any time changes no
decision.
"""

from collections import deque
from dataclasses import dataclass, field

from knowngood.core.errors import KnowngoodError
from knowngood.core.look import evidence_since_ms, plan_for, routed_since_ms, split_at
from knowngood.core.model import Evidence, State
from knowngood.core.rules import PromptPolicy
from knowngood.core.track import Plan, Track
from knowngood.core.watch import Watch, watches
from knowngood.core.window import EMPTY, Bucket
from knowngood.ports import Checkpoints, Series, VersionKey

# More versions than this at once would be more than one server's memory is meant for.
MAX_CACHED = 50_000
MAX_POLICIES = 10_000
SAVE_EVERY_MS = 60_000
SAVES_MAX = 25  # in one tick: some 100 ms; what is left stays due
# Detectors that were never saved begin this far back at most: nobody waits for a year to be read.
REACH_MS = 24 * 3_600_000


@dataclass(slots=True)
class _Line:
    since_ms: int  # the buckets reach back to here
    read_until_ms: int
    buckets: deque[Bucket] = field(default_factory=deque)
    track: Track | None = None
    plan: Plan | None = None
    saved_ms: int = 0


class Recent:
    """A read-through cache of versions' recent buckets and detectors."""

    def __init__(self, series: Series, checkpoints: Checkpoints) -> None:
        """An empty cache over these."""
        self._series, self._checkpoints = series, checkpoints
        self._lines: dict[VersionKey, _Line] = {}
        self._watches: dict[int, tuple[PromptPolicy, tuple[Watch, ...]]] = {}

    def evidence(
        self, state: State, policy: PromptPolicy, since_ms: int, until_ms: int
    ) -> dict[str, Evidence]:
        """Of each version on the route: closed buckets from `since_ms`, and its detectors.

        Buckets that begin at `until_ms` or later are not final and left out.
        """
        assert state.route is not None
        versions = [arm.version for arm in state.route.arms]
        lines = {v: self._line(_key(state, v), since_ms, until_ms) for v in versions}
        found: dict[str, Evidence] = {}
        for version, line in lines.items():
            track = self._track(state, version, policy, line, until_ms)
            reading = track.read(policy.window_ms, until_ms)
            while line.buckets and line.buckets[0].at_ms < since_ms:
                line.buckets.popleft()
                line.since_ms = since_ms
            found[version] = Evidence(tuple(line.buckets), track.lifetime, reading)
        return found

    # --- Buckets

    def _line(self, key: VersionKey, since_ms: int, until_ms: int) -> _Line:
        line = self._lines.get(key)
        if line is None or line.since_ms > since_ms or line.read_until_ms > until_ms:
            if len(self._lines) >= MAX_CACHED:
                self._lines.clear()
            again = _Line(since_ms, since_ms)
            if line is not None and line.track and line.track.until_ms <= until_ms:
                again.track, again.plan, again.saved_ms = line.track, line.plan, line.saved_ms
            line = self._lines[key] = again
        if until_ms > line.read_until_ms:
            line.buckets.extend(self._series.read(key, line.read_until_ms, until_ms))
            line.read_until_ms = until_ms
        return line

    def _between(self, key: VersionKey, since_ms: int, until_ms: int) -> list[Bucket]:
        """The closed buckets of a stretch, from memory if they are there."""
        line = self._lines.get(key)
        if line is None or line.since_ms > since_ms or line.read_until_ms < until_ms:
            return self._series.read(key, since_ms, until_ms)
        fresh: list[Bucket] = []
        for bucket in reversed(line.buckets):
            if bucket.at_ms < since_ms:
                break
            if bucket.at_ms < until_ms:
                fresh.append(bucket)
        return fresh[::-1]

    # --- Detectors

    def _track(
        self, state: State, version: str, policy: PromptPolicy, line: _Line, until_ms: int
    ) -> Track:
        begins_ms = evidence_since_ms(state, version)
        plan = plan_for(state, version, policy, self._watches_of(policy))
        track = line.track
        if track is None or track.since_ms != begins_ms:
            track = self._open(state, version, plan, until_ms, track)
            line.plan = plan
            line.track, line.saved_ms = track, track.until_ms
        elif line.plan != plan:
            track.plan(plan)
            line.plan = plan
        self._fold(state, version, plan.other, track, until_ms)
        return track

    def _open(
        self, state: State, version: str, plan: Plan, until_ms: int, before: Track | None
    ) -> Track:
        """The detectors where they were saved last, or new ones."""
        begins_ms, routed_ms = evidence_since_ms(state, version), routed_since_ms(state, version)
        before = before or self._saved(_key(state, version), plan, until_ms)
        if before is not None and before.since_ms == begins_ms:
            return before
        track = _new(begins_ms, plan, until_ms)
        if routed_ms >= begins_ms:
            return track
        if before is None or not routed_ms <= before.since_ms < begins_ms:
            # Nobody kept what it did before its alarm ended: a stage is proven by all of its calls.
            before = _new(routed_ms, plan, until_ms)
            self._fold(state, version, plan.other, before, min(begins_ms, until_ms))
        track.inherit(before)
        return track

    def _saved(self, key: VersionKey, plan: Plan, until_ms: int) -> Track | None:
        kept = self._checkpoints.load(key)
        if kept is None or kept[0] > until_ms:
            return None
        try:
            return Track.load(kept[1], plan)
        except (KeyError, TypeError, ValueError, KnowngoodError):
            return None  # another version of knowngood wrote it: what is in the store is read anew

    def _fold(self, state: State, version: str, other: str, track: Track, until_ms: int) -> None:
        """Add what is new, tick by tick, the calls of the `other` arm with the version's own."""
        begins_ms = track.until_ms
        if begins_ms >= until_ms:
            return
        own = {b.at_ms: b for b in self._between(_key(state, version), begins_ms, until_ms)}
        theirs: dict[int, Bucket] = {}
        if other:
            key = _key(state, other)
            theirs = {b.at_ms: b for b in self._between(key, begins_ms, until_ms)}
        for at_ms in sorted(own.keys() | theirs.keys()):
            mine, beside = own.get(at_ms), theirs.get(at_ms)
            width_ms = max(b.width_ms for b in (mine, beside) if b)
            track.add(
                at_ms,
                width_ms,
                mine.window if mine else EMPTY,
                beside.window if beside else EMPTY,
                split_at(state, at_ms, version),
            )

    def _watches_of(self, policy: PromptPolicy) -> tuple[Watch, ...]:
        # By identity: a policy is resolved once, and comparing it would cost more than the fold.
        kept = self._watches.get(id(policy))
        if kept is None or kept[0] is not policy:
            if len(self._watches) >= MAX_POLICIES:
                self._watches.clear()
            kept = self._watches[id(policy)] = (policy, watches(policy))
        return kept[1]

    # --- Keeping and forgetting

    def save(self, idle_before_ms: int = 0) -> None:
        """Keep the detectors that went on for a minute, and those that fell idle before that."""
        due: dict[VersionKey, Track] = {}
        for key, line in self._lines.items():
            if line.track is None or len(due) >= SAVES_MAX:
                continue
            gone_ms = line.track.until_ms - line.saved_ms
            idle = line.track.until_ms < idle_before_ms
            if gone_ms >= SAVE_EVERY_MS or (gone_ms > 0 and idle):
                due[key] = line.track
        if not due:
            return
        self._checkpoints.save({key: (track.until_ms, track.save()) for key, track in due.items()})
        for key, track in due.items():
            self._lines[key].saved_ms = track.until_ms

    def drop_idle(self, before_ms: int) -> None:
        """Forget versions whose newest bucket is older than `before_ms`."""
        idle = [
            key
            for key, line in self._lines.items()
            if not line.buckets or line.buckets[-1].at_ms < before_ms
        ]
        for key in idle:
            del self._lines[key]


def _new(begins_ms: int, plan: Plan, until_ms: int) -> Track:
    track = Track(begins_ms)
    track.until_ms = max(begins_ms, until_ms - REACH_MS)
    track.plan(plan)
    return track


def _key(state: State, version: str) -> VersionKey:
    return state.environment, state.prompt, version

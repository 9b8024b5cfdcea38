"""The detectors of one version: a fold over its buckets, and nothing else.

The same buckets in the same order give the same state, to the last bit, in whatever portions they
come; a state that was saved goes on as if it had never been put away.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from knowngood.core.codec import from_data, to_data
from knowngood.core.counts import CALLS, Count, base_count
from knowngood.core.levels import Level, latency_levels, rate_level, relative_count
from knowngood.core.measure import QUANTILES
from knowngood.core.model import WHOLE_BP, ScoreRange
from knowngood.core.reading import RateSign, Reading
from knowngood.core.rules import BaselineRule
from knowngood.core.scoring import CONTROL, Bets
from knowngood.core.stats import (
    RELATIVE_RISKS,
    LogWeights,
    at_most,
    cap_of,
    log_evidence,
    mass_of,
    observe,
    rate_factors,
    relative_factors,
    renew,
    start,
)
from knowngood.core.watch import Watch, is_rate, is_score
from knowngood.core.window import EMPTY, Window, from_row, merge, to_row

FORMAT = 1  # of what `save` gives
GATE_MS = (15_000, 60_000)  # besides the trigger's own window
# For what is called too rarely for its own window.
LONG_GATE_MS = (300_000, 3_600_000, 86_400_000)
# Over which a version is found to be well when the windows above hold too few calls for it. Each is
# at most twice the one before, so that what was bad once does not speak against it for long.
CALM_MS = tuple(60_000 * minutes for minutes in (5, 10, 20, 40, 60, 120, 240, 480, 960, 1_440))
GATE_REQUESTS = 20  # a rate of fewer is judged over a longer window, at last over all there is
GATE_BAD = 3
# How likely a rate at the limit may show what a short window shows. A version at 3 % passes 5 % in
# some quarter of a minute all day long; one that breaks shows far more than 5 % there.
GATE_CHANCE = 0.001
MINUTE_MS = 60_000
# How exactly a window's edge is kept: (windows up to, edges at multiples of), in ms.
EDGES_MS = ((300_000, 1_000), (3_600_000, MINUTE_MS), (86_400_000, 900_000))
MARKS_MAX = 800  # thinned out from here on; about 450 stay
SHARE_MS = 600_000  # over which the realised share of the candidate is taken
SHARE_PRIOR = 100  # calls: how much the router's split weighs against what was seen
MARGIN, LATENCY_MARGIN = 1.25, 1.5  # how much worse than the control is not worse
RELATIVE_ALPHA = 0.05
REPLACED = "replaced "  # before the key of a comparison with what a gradual rollback replaces
BASES = (CALLS, "latency", "first_token")


class Line:
    """One e-process over a share, under way."""

    __slots__ = ("cap", "factors", "level", "name", "over_since_ms", "weights")

    def __init__(
        self, level: Level, weights: LogWeights = (), over_since_ms: int | None = None
    ) -> None:
        """The process of a level: new, or going on with these weights."""
        self.level, self.over_since_ms = level, over_since_ms
        self.name = _name(level.count)
        self.factors = rate_factors(level.limit, level.healthy)
        self.cap = cap_of(level.alpha)
        self.weights = weights or start(len(self.factors.bad))


class Relative:
    """The e-process of candidate against control on one count."""

    __slots__ = ("count", "margin", "weights")

    def __init__(self, count: Count, margin: float, weights: LogWeights) -> None:
        """The process of a count, with these weights."""
        self.count, self.margin, self.weights = count, margin, weights


@dataclass(frozen=True, slots=True)
class Split:
    """The router's share of the candidate, in basis points, and since when it is so."""

    share_bp: int
    since_ms: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is watched of a version, and against what.

    `day` is the frozen baseline, `source` where it comes from, and `control` the other version on
    the route, if this one is on trial against it. `beside` is the version that this one takes the
    traffic from in a gradual rollback: the two are compared, and it is no baseline, being ill.
    """

    watches: tuple[Watch, ...]
    rule: BaselineRule
    scores: Mapping[str, ScoreRange]
    control: str = ""
    day: Window | None = None
    source: str = ""
    beside: str = ""

    @property
    def other(self) -> str:
        """The version that this one is compared with, if there is one."""
        return self.control or self.beside


class Track:
    """Where the detectors of a version stand; mutable, and changed by `plan` and `add` alone."""

    def __init__(self, since_ms: int) -> None:
        """Detectors of a version whose evidence begins at `since_ms`, having seen nothing."""
        self.since_ms = self.until_ms = since_ms
        self.lifetime, self.theirs = EMPTY, EMPTY
        self.totals: dict[str, int] = {CALLS: 0}
        self.counts: dict[str, Count] = {}
        self.floors: dict[str, int] = {}  # how much of its base had come before a count began
        self.mark_ms: list[int] = []
        self.marks: list[tuple[int, ...]] = []
        self.lines: dict[str, tuple[Line, ...]] = {}
        self.pending: dict[str, Watch] = {}
        self.inseparable: tuple[str, ...] = ()
        self.relatives: dict[str, Relative] = {}
        self.bets = Bets()
        self.planned: Plan | None = None
        self.places: dict[str, int] = {}  # where a total stands in the marks
        self.windows: dict[str, int] = {}

    # --- What is watched

    def plan(self, plan: Plan) -> None:
        """Watch this from now on; what was watched before goes on as it is."""
        before, self.planned = self.planned, plan
        if before is not None and (before.control, before.other) != (plan.control, plan.other):
            self.theirs = EMPTY
            self.relatives.clear()
            self.bets.forget_control()
        rates = {watch.key: watch for watch in plan.watches if not is_score(watch.metric)}
        self.windows = {key: watch.window_ms for key, watch in rates.items()}
        self.lines = {key: lines for key, lines in self.lines.items() if key in rates}
        self.inseparable = tuple(key for key in self.inseparable if key in rates)
        begun = {*self.lines, *self.inseparable}
        self.pending = {key: w for key, w in rates.items() if key not in begun}
        self._start(plan.day)
        scores = [watch for watch in plan.watches if is_score(watch.metric)]
        self.bets.plan(scores, plan.day, plan.source, plan.rule, plan.scores)

    def _start(self, day: Window | None) -> None:
        """Begin what has its baseline; a relative latency may have to wait for the control's."""
        assert self.planned is not None
        for key, watch in list(self.pending.items()):
            levels = _levels(watch, day, self.planned.rule)
            if levels is None:
                continue
            del self.pending[key]
            if not levels:
                self.inseparable = (*self.inseparable, key)
                continue
            self.lines[key] = tuple(Line(level) for level in levels)
            for line in self.lines[key]:
                self._count(line.level.count)
        if self.planned.other:
            self._count_theirs()
            for watch in self.planned.watches:
                self._start_relative(watch, day)

    def _count(self, count: Count) -> None:
        name = _name(count)
        self.counts.setdefault(name, count)
        self.totals.setdefault(name, 0)
        self.totals.setdefault(count.base, 0)
        self.floors.setdefault(name, self.totals[count.base])

    def _count_theirs(self) -> None:
        assert self.planned is not None
        self.totals.setdefault(_calls_of(self.planned.other), 0)

    def _start_relative(self, watch: Watch, day: Window | None) -> None:
        key = relative_key(watch.metric, watch.kinds)
        if key in self.relatives or is_score(watch.metric):
            return
        if count := relative_count(watch, day):
            margin = MARGIN if is_rate(watch.metric) else LATENCY_MARGIN
            self.relatives[key] = Relative(count, margin, start(len(RELATIVE_RISKS)))

    def inherit(self, before: "Track") -> None:
        """Go on from the detectors before an alarm ended: only their evidence begins anew.

        What the version did since its deploy, and the control beside it, was seen all the same.
        """
        self.lifetime, self.theirs = before.lifetime, before.theirs
        self.bets.theirs = before.bets.theirs
        self.until_ms = max(self.until_ms, before.until_ms)  # no call is summed up twice

    # --- One tick

    def add(
        self, at_ms: int, width_ms: int, own: Window, theirs: Window, split: Split | None
    ) -> None:
        """Fold the bucket that begins at `at_ms`: the version's own calls and its control's."""
        share = self._share(at_ms, split) if split and self.relatives else 0.5
        bad = {name: count.bad(own) for name, count in self.counts.items()}
        n = {base: base_count(base, own) for base in BASES if base in self.totals}
        idle, fresh = mass_of(at_ms - self.until_ms), mass_of(width_ms)
        for lines in self.lines.values():
            for line in lines:
                hits = bad[line.name]
                misses = n[line.level.count.base] - hits
                weights = observe(renew(line.weights, idle), line.factors, hits, misses, line.cap)
                line.weights = renew(weights, fresh)
        for relative in self.relatives.values():
            _compare(relative, own, theirs, share)
            relative.weights = renew(relative.weights, idle + fresh)
        assert self.planned is not None
        self.bets.add(own, theirs if self.planned.control else EMPTY)
        self._sum_up(own, theirs, {**n, **bad})
        self.until_ms = at_ms + width_ms
        self.mark_ms.append(self.until_ms)
        self.marks.append(tuple(self.totals.values()))
        if len(self.marks) > MARKS_MAX:
            self._thin()
        self._watch_gates()

    def _sum_up(self, own: Window, theirs: Window, counted: Mapping[str, int]) -> None:
        assert self.planned is not None
        for name, count in counted.items():
            self.totals[name] += count
        if own.counters:  # anybody may report any name; what nobody watches is not kept
            watched = {name for c in self.counts.values() if c.of == "counter" for name in c.names}
            own = replace(own, counters={k: n for k, n in own.counters.items() if k in watched})
        self.lifetime = merge(self.lifetime, own)
        if not self.planned.other or theirs is EMPTY:
            return
        self.totals[_calls_of(self.planned.other)] += theirs.call_count
        if not self.planned.control:
            return
        self.theirs = merge(self.theirs, theirs)
        enough = self.theirs.call_count >= self.planned.rule.min_requests
        if self.pending and enough and CONTROL in self.planned.rule.sources:
            self._start(self.theirs)

    def _share(self, at_ms: int, split: Split) -> float:
        """The candidate's realised share of the calls before this tick, near the router's.

        Sticky routing need not give each arm its share; a share that only the past decides keeps
        the test valid (detectors.md, 3.2).
        """
        assert self.planned is not None
        # Edges at whole minutes are kept for as long as this looks back.
        routed_ms = -(-split.since_ms // MINUTE_MS) * MINUTE_MS
        since_ms = max(routed_ms, (at_ms - SHARE_MS) // MINUTE_MS * MINUTE_MS)
        before = self._before(since_ms)
        own = self._from(before, CALLS)
        theirs = self._from(before, _calls_of(self.planned.other))
        routed = SHARE_PRIOR * split.share_bp / WHOLE_BP
        share = (own + routed) / (own + theirs + SHARE_PRIOR)
        if self.planned.control:
            return share
        # A target gets its share only as the route arrives. Until then it had fewer calls than it
        # will have, which must not make its failures look like too many: a rollback would stop.
        return max(share, split.share_bp / WHOLE_BP)

    def _watch_gates(self) -> None:
        """Since when each plain threshold on a share of calls is passed, without a pause."""
        for key, lines in self.lines.items():
            for line in lines:
                if line.level.count.base != CALLS:
                    continue
                if not self._gate(line, self.windows[key], self.until_ms)[0]:
                    line.over_since_ms = None
                elif line.over_since_ms is None:
                    line.over_since_ms = self.until_ms

    # --- Running totals, from which every window's sums are differences

    def _from(self, before: tuple[int, ...], name: str) -> int:
        """How much a total has grown; what was not counted yet back then was 0."""
        place = self.places.get(name)
        if place is None:
            place = self.places[name] = list(self.totals).index(name)
        return self.totals[name] - (before[place] if place < len(before) else 0)

    def _before(self, edge_ms: int) -> tuple[int, ...]:
        """The totals as they were at `edge_ms`."""
        place = bisect_right(self.mark_ms, edge_ms)
        return self.marks[place - 1] if place else ()

    def _since(self, span_ms: int, now_ms: int) -> tuple[int, ...]:
        """The totals at the beginning of the window of `span_ms` that ends now."""
        grain_ms = next((g for top, g in EDGES_MS if span_ms <= top), EDGES_MS[-1][1])
        return self._before((now_ms - span_ms) // grain_ms * grain_ms)

    def _thin(self) -> None:
        """Keep just the marks that a window's edge can fall on, so that thinning changes no sum."""
        kept: list[int] = []
        for place, at_ms in enumerate(self.mark_ms[:-1]):  # it stands until the next one
            age_ms = self.until_ms - self.mark_ms[place + 1]
            grain_ms = next((g for top, g in EDGES_MS if age_ms <= top + g), None)
            if grain_ms is None:
                kept = [place]  # what lies before all windows is one sum
            elif -(-at_ms // grain_ms) != -(-self.mark_ms[place + 1] // grain_ms):
                kept.append(place)  # the last one at or before an edge
        kept.append(len(self.mark_ms) - 1)
        self.mark_ms = [self.mark_ms[place] for place in kept]
        self.marks = [self.marks[place] for place in kept]

    # --- What it shows

    def read(self, window_ms: int, now_ms: int) -> Reading:
        """The detectors as of `now_ms`, the end of the closed buckets."""
        calls = self._from(self._since(window_ms, now_ms), CALLS)
        seconds = max(1.0, min(window_ms, now_ms - self.since_ms) / 1000)
        naming = REPLACED if self.planned is not None and not self.planned.control else ""
        return Reading(
            rates={
                key: tuple(self._sign(line, self.windows[key], now_ms) for line in lines)
                for key, lines in self.lines.items()
            },
            scores=self.bets.signs(),
            relative={
                f"{naming}{key}": log_evidence(r.weights) for key, r in self.relatives.items()
            },
            waiting=tuple(self.pending),
            inseparable=self.inseparable,
            calls_per_s=calls / seconds,
            since_ms=self.since_ms,
        )

    def _sign(self, line: Line, window_ms: int, now_ms: int) -> RateSign:
        over, n, bad, span_ms = self._gate(line, window_ms, now_ms)
        level = line.level
        calm = (0, 0) if over else self._calm(line, n, now_ms)
        return RateSign(
            n=n,
            bad=bad,
            window_ms=span_ms,
            over=over,
            limit=level.limit,
            healthy=level.healthy,
            alpha=level.alpha,
            log_e=log_evidence(line.weights),
            over_since_ms=line.over_since_ms if over else None,
            separable=level.separable,
            above=level.count.above,
            threshold=level.gate,
            calm_n=calm[0],
            calm_bad=calm[1],
        )

    def _calm(self, line: Line, n: int, now_ms: int) -> tuple[int, int]:
        """(n, bad) of the newest calls that are enough to find a version well, or of all there are.

        A thin canary never has them in one window, however long it is well; (0, 0) where `n`, the
        calls of the gate's window, are enough.
        """
        least = clear_calls(line.level)
        if n >= least:
            return 0, 0
        for span_ms in (*CALM_MS, 0):
            before = self._since(span_ms, now_ms) if span_ms else ()
            n = self._calls(line, before)
            if n >= least:
                break
        return n, self._from(before, line.name)

    def _gate(self, line: Line, window_ms: int, now_ms: int) -> tuple[bool, int, int, int]:
        """Whether the plain threshold is passed, and in which window: (over, n, bad, span).

        The worst of the short windows that hold enough calls; where none does the smallest longer
        one, at last all since the beginning, if anything failed of late (detectors.md, 3.2: a gate
        can only remove alarms).
        """
        limit = line.level.gate
        held: list[tuple[int, int, int]] = []
        for span_ms in (*(g for g in GATE_MS if g < window_ms), window_ms):
            before = self._since(span_ms, now_ms)
            n = self._calls(line, before)
            if n >= GATE_REQUESTS:
                held.append((n, self._from(before, line.name), span_ms))
        if not held:
            rare = self._long_gate(line, window_ms, now_ms)
            # What failed and has not failed again in the trigger's own window is over.
            still = self._from(self._since(window_ms, now_ms), line.name) > 0
            return still and _is_over(rare[0], rare[1], limit, sure=False), *rare
        over = [f for f in held if _is_over(f[0], f[1], limit, sure=f[2] < window_ms)]
        if over:
            return True, *max(over, key=lambda f: f[1] / f[0])
        return False, *held[-1]

    def _long_gate(self, line: Line, window_ms: int, now_ms: int) -> tuple[int, int, int]:
        for span_ms in (*(g for g in LONG_GATE_MS if g > window_ms), 0):
            before = self._since(span_ms, now_ms) if span_ms else ()
            n = self._calls(line, before)
            if n >= GATE_REQUESTS:
                break
        return n, self._from(before, line.name), span_ms

    def _calls(self, line: Line, before: tuple[int, ...]) -> int:
        """Calls since `before` of which the bad ones were counted: a count may begin late."""
        base = line.level.count.base
        return min(self._from(before, base), self.totals[base] - self.floors[line.name])

    # --- Putting away

    def save(self) -> dict[str, Any]:
        """The state as JSON data, from which `load` goes on to the last bit."""
        return {
            "format": FORMAT,
            "since_ms": self.since_ms,
            "until_ms": self.until_ms,
            "control": self.planned.control if self.planned else "",
            "beside": self.planned.beside if self.planned else "",
            "lifetime": to_row(self.lifetime),
            "theirs": to_row(self.theirs),
            "totals": [[name, total] for name, total in self.totals.items()],
            "mark_ms": list(self.mark_ms),
            "marks": [list(mark) for mark in self.marks],
            "counts": {name: to_data(count) for name, count in self.counts.items()},
            "floors": dict(self.floors),
            "lines": {
                key: [
                    {
                        "level": to_data(line.level),
                        "weights": list(line.weights),
                        "over_since_ms": line.over_since_ms,
                    }
                    for line in lines
                ]
                for key, lines in self.lines.items()
            },
            "inseparable": list(self.inseparable),
            "relatives": {
                key: {"count": to_data(r.count), "margin": r.margin, "weights": list(r.weights)}
                for key, r in self.relatives.items()
            },
            "scores": self.bets.save(),
        }

    @classmethod
    def load(cls, data: Mapping[str, Any], plan: Plan) -> "Track":
        """The track that `save` gave, which `plan` is then asked to go on with.

        Raises ValueError for a format that is not known.
        """
        if data.get("format") != FORMAT:
            raise ValueError(f"detectors saved in format {data.get('format')!r}")
        track = cls(data["since_ms"])
        track.until_ms = data["until_ms"]
        track.lifetime, track.theirs = from_row(data["lifetime"]), from_row(data["theirs"])
        track.totals, track.mark_ms = dict(map(tuple, data["totals"])), list(data["mark_ms"])
        track.marks = [tuple(mark) for mark in data["marks"]]
        track.counts = {name: from_data(Count, c) for name, c in data["counts"].items()}
        track.floors = {name: data.get("floors", {}).get(name, 0) for name in track.counts}
        track.lines = {
            key: tuple(
                Line(from_data(Level, at["level"]), tuple(at["weights"]), at["over_since_ms"])
                for at in lines
            )
            for key, lines in data["lines"].items()
        }
        track.inseparable = tuple(data["inseparable"])
        track.relatives = {
            key: Relative(from_data(Count, r["count"]), r["margin"], tuple(r["weights"]))
            for key, r in data["relatives"].items()
        }
        track.bets.load(data["scores"], [w for w in plan.watches if is_score(w.metric)])
        beside = data.get("beside", "")
        track.planned = replace(plan, control=data["control"], beside=beside)
        track.plan(plan)
        return track


def _is_over(n: int, bad: int, limit: float, sure: bool) -> bool:
    """Whether the plain threshold is passed, and in a short window not by chance."""
    if bad < GATE_BAD or bad <= limit * n:
        return False
    return not sure or 1 - at_most(bad - 1, n, limit) <= GATE_CHANCE


def clear_calls(level: Level) -> int:
    """How many calls it takes to find a version well: of slow ones, as many as one is a share of.

    Fewer than a hundred calls cannot show that no more than 1 % of them are slow.
    """
    if level.count.base == CALLS:
        return GATE_REQUESTS
    return max(GATE_REQUESTS, round(1 / level.limit))


def relative_key(metric: str, kinds: tuple[str, ...]) -> str:
    """Names the comparison of the arms that a metric's watches share."""
    return " ".join((metric, *kinds))


def replaced_key(metric: str, kinds: tuple[str, ...]) -> str:
    """Names the comparison of a gradual rollback's target with what it replaces."""
    return REPLACED + relative_key(metric, kinds)


def _levels(watch: Watch, day: Window | None, rule: BaselineRule) -> tuple[Level, ...] | None:
    if watch.metric in QUANTILES:
        return latency_levels(watch, day)
    level = rate_level(watch, day, rule.min_requests)
    return None if level is None else (level,)


def _compare(relative: Relative, own: Window, theirs: Window, share: float) -> None:
    bad, good = relative.count.bad(own), relative.count.bad(theirs)
    if bad or good:
        factors = relative_factors(share, relative.margin)
        cap = cap_of(RELATIVE_ALPHA)
        relative.weights = observe(relative.weights, factors, bad, good, cap)


def _name(count: Count) -> str:
    return " ".join((count.of, *count.names, str(count.above)))


def _calls_of(version: str) -> str:
    return f"calls of {version}"

"""The product's decision on error rates, for many simulated days at once.

It says what `core.track`, `core.detect`, `core.steps.attribution` and `core.steps.confirm` say of
the same counts, in arrays with one column for each day; tests/core/test_twin.py holds it to them.
Evidence is kept as it is and not as a logarithm: fresh weight keeps it above 1e-7, and it is right
up to e^700, far above any alarm. Gates and decisions are worked out just where evidence is enough.

Left out, since nothing else fails here: brakes other than attribution, detectors on the control,
the renewal of evidence after an incident that closed by itself.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from knowngood.core.decide import ACTIVE_RECHECK_MS
from knowngood.core.detect import LAG_MS
from knowngood.core.levels import HEADROOM, HEALTHY_MAX, HEALTHY_MIN, RATE_MAX, UNKNOWN_HEALTHY
from knowngood.core.look import LOOKBACK_MS, WORSE_EVIDENCE
from knowngood.core.stats import (
    RELATIVE_RISKS,
    WEIGHT_AT_START,
    Z95,
    alternatives,
    cap_of,
    mass_of,
)
from knowngood.core.steps.attribution import (
    BEFORE_MS,
    FAILING_CALLS,
    HEALTHY_CALLS,
    PROOF,
    SHARE_OF_RATE,
    VETO_PATIENCE_MS,
)
from knowngood.core.steps.watchdog import (
    AGAIN_INSEPARABLE_MS,
    AGAIN_MS,
    EVIDENCE,
    LIMIT_MS,
)
from knowngood.core.track import (
    EDGES_MS,
    GATE_BAD,
    GATE_CHANCE,
    GATE_MS,
    GATE_REQUESTS,
    LONG_GATE_MS,
    MARGIN,
    MINUTE_MS,
    RELATIVE_ALPHA,
    SHARE_MS,
    SHARE_PRIOR,
)

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SECOND_MS = 1_000
LAG_S = LAG_MS // SECOND_MS
WINDOW_S = 300
MASS = mass_of(SECOND_MS)  # fresh weight of a second, over all alternatives
CHUNK = 512  # ticks that are worked out together
HOUR_S, DAY_S = 3_600, 86_400
DEFAULT_LIMITS = ((0.05, 0.001), (0.02, 0.01), (0.005, 0.01))  # of the default policy, with levels
SPARSE = 0.2  # below this mean, calls are strewn instead of drawn for each second


# --- What happened


@dataclass(frozen=True)
class Days:
    """Calls and failures by second and day, `theirs` those of the control (None: there is none).

    `share` is the router's share of the candidate, `begin_s` the second since the epoch at which
    the version came.
    """

    n: Ints
    bad: Ints
    their_n: Ints | None = None
    their_bad: Ints | None = None
    share: float = 1.0
    begin_s: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(seconds, days)."""
        seconds, days = self.n.shape
        return seconds, days

    def busy(self) -> Bools:
        """The seconds in which anything was reported."""
        busy: Bools = self.n > 0
        return busy if self.their_n is None else busy | (self.their_n > 0)


@dataclass(frozen=True)
class Phase:
    """From when on which shares of the calls fail: the version's own, and its control's."""

    from_s: int
    own: float
    theirs: float = 0.0


def traffic(
    rng: np.random.Generator,
    shape: tuple[int, int],
    rate: float,
    phases: tuple[Phase, ...],
    share: float = 1.0,
    late_s: Ints | None = None,
    begin_s: int = 0,
) -> Days:
    """Days of `rate` calls a second in all, of which the candidate gets its share.

    Every phase but the first comes `late_s` later, in each day by its own amount.
    """
    late = np.zeros(shape[1], dtype=np.int64) if late_s is None else late_s

    def arm(of_all: float, failing: list[float]) -> tuple[Ints, Ints]:
        n, bad = np.zeros((2, *shape), dtype=np.int16)
        for phase, p in zip(phases, failing, strict=True):
            stretch = (shape[0] - phase.from_s, shape[1])
            fails = _poisson(rng, rate * of_all * p, stretch)
            calls = fails + _poisson(rng, rate * of_all * (1 - p), stretch)
            waits = int(late.max()) if phase.from_s else 0
            begun = np.arange(waits)[:, None] >= late
            for whole, part in ((n, calls), (bad, fails)):
                before = whole[phase.from_s : phase.from_s + waits]
                part[:waits] = np.where(begun, part[:waits], before)
                whole[phase.from_s :] = part
        return n, bad

    n, bad = arm(share, [p.own for p in phases])
    if share == 1:
        return Days(n, bad, begin_s=begin_s)
    their_n, their_bad = arm(1 - share, [p.theirs for p in phases])
    return Days(n, bad, their_n, their_bad, share, begin_s)


def _poisson(rng: np.random.Generator, mean: float, shape: tuple[int, int]) -> Ints:
    if mean >= SPARSE:
        return rng.poisson(mean, shape).astype(np.int16)
    found = np.zeros(shape[0] * shape[1], dtype=np.int16)
    np.add.at(found, rng.integers(0, found.size, rng.poisson(mean * found.size)), 1)
    return found.reshape(shape)


@dataclass(frozen=True)
class Level:
    """A detector of a share in every day: the harmful rate, the healthy one, and the level.

    `gate` is the plain threshold, the policy's own; a harmful rate that cannot be told from health
    is above it.
    """

    limit: Floats
    healthy: Floats
    alpha: float
    gate: float


def level(
    limit: float, alpha: float, calls: Ints, failures: Ints, min_requests: int = 1000
) -> Level:
    """The level of a limit on errors for these baselines, one for each day (levels.rate_level)."""
    n = np.maximum(calls, 1)
    p, z2 = failures / n, Z95 * Z95
    upper = (p + z2 / (2 * n) + Z95 * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    upper = np.minimum(1.0, upper)
    apart = upper < HEALTHY_MAX * limit
    harmful = np.minimum(RATE_MAX, np.where(apart, limit, np.maximum(limit, 2 * upper)))
    healthy = np.clip(HEADROOM * upper, HEALTHY_MIN * harmful, HEALTHY_MAX * harmful)
    known = calls >= min_requests
    return Level(
        np.where(known, harmful, limit),
        np.where(known, healthy, UNKNOWN_HEALTHY * limit),
        alpha,
        gate=limit,
    )


def default_levels(
    rng: np.random.Generator, rate: float, healthy: float, days: int
) -> tuple[Level, Level, Level]:
    """The default policy's rollback, question and first alert, after another day of traffic each.

    The version before had all `rate` calls a second of it, and failed as a healthy one does.
    """
    calls = rng.poisson(rate * DAY_S, days)
    failures = rng.binomial(calls, healthy)
    first, second, third = (level(limit, a, calls, failures) for limit, a in DEFAULT_LIMITS)
    return first, second, third


def flat_level(limit: float, healthy: float, alpha: float, days: int) -> Level:
    """The same level in every day."""
    return Level(np.full(days, limit), np.full(days, healthy), alpha, gate=limit)


# --- Evidence


@dataclass(frozen=True)
class Ticks:
    """The busy seconds of each day, in order; a day that has fewer than another ends in `none`."""

    at: NDArray[np.int32]  # (ticks, days)
    count: Ints  # of each day


def ticks_of(busy: Bools) -> Ticks:
    """The busy seconds of each day."""
    count = busy.sum(axis=0)
    at = np.full((int(count.max(initial=0)), busy.shape[1]), busy.shape[0], dtype=np.int32)
    day, second = np.nonzero(busy.T)
    first = np.cumsum(count) - count
    at[np.arange(len(day)) - np.repeat(first, count), day] = second
    return Ticks(at, count)


def evidence(days: Days, line: Level, ticks: Ticks, cap: float | None = None) -> Iterator[Floats]:
    """E after each tick, in portions of (ticks, days); after a day's last tick it means nothing."""
    cap = cap_of(line.alpha) if cap is None else cap
    bad_of, good_of, count = _factors(line)
    share = np.where(np.arange(len(bad_of))[:, None] < count, 1 / count, 0.0)
    weights, mass = WEIGHT_AT_START * share, MASS * share
    until = np.zeros((1, days.shape[1]), dtype=np.int32)
    for begin in range(0, len(ticks.at), CHUNK):
        at = ticks.at[begin : begin + CHUNK]
        idle = (at - np.concatenate([until, at[:-1] + 1])).astype(np.float64)
        until = at[-1:] + 1
        bad, good = _at(days.bad, at), _at(days.n, at)
        good -= bad
        rise = bad[:, None, :] * bad_of
        rise += good[:, None, :] * good_of
        np.exp(np.minimum(rise, cap, out=rise), out=rise)
        fold(weights, mass, rise, idle)
        with np.errstate(over="ignore"):
            yield rise.sum(axis=1)


def _at(counts: Ints, at: Ints) -> Floats:
    """The counts of these seconds; 0 beyond the end."""
    inside = np.minimum(at, len(counts) - 1)
    found = np.take_along_axis(counts, inside, axis=0).astype(np.float64)
    return np.where(at < len(counts), found, 0.0)


def _factors(line: Level) -> tuple[Floats, Floats, Ints]:
    """(nats of a bad call, of a good one, how many alternatives): (alternatives, days)."""
    rates = [alternatives(float(limit)) for limit in line.limit]
    count = np.array([len(found) for found in rates])
    bad, good = np.zeros((2, int(count.max()), len(rates)))
    for day, found in enumerate(rates):
        p, q = np.array(found), line.healthy[day]
        bad[: len(found), day] = np.log(p / q)
        good[: len(found), day] = np.log((1 - p) / (1 - q))
    return bad, good, count


def fold(weights: Floats, mass: Floats, rise: Floats, idle: Floats) -> None:
    """Turn the rises of some ticks into the weights after them, and `weights` into the last."""
    paused = np.asarray(idle.any(axis=1))
    with np.errstate(over="ignore"):  # evidence without end is evidence
        for tick in range(len(rise)):
            if paused[tick]:
                weights += idle[tick] * mass
            weights *= rise[tick]
            weights += mass
            rise[tick] = weights


def relative_evidence(days: Days) -> tuple[Ticks, Floats]:
    """The ticks with a failure in either arm, and E after each of them (ticks, days)."""
    assert days.their_n is not None and days.their_bad is not None
    ticks = ticks_of((days.bad > 0) | (days.their_bad > 0))
    at = ticks.at
    inside = np.minimum(at, len(days.n) - 1)
    before = np.take_along_axis(_ended(days.busy()), inside, axis=0)
    previous = np.concatenate([np.zeros_like(at[:1]), at[:-1] + 1])
    # What flows in while nothing fails counts before the tick, what since the last call after it.
    early, late = np.maximum(before - previous, 0), at + 1 - np.maximum(before, previous)
    share = _share(days, inside)
    bad, theirs = _at(days.bad, at), _at(days.their_bad, at)
    cap, count = cap_of(RELATIVE_ALPHA), len(RELATIVE_RISKS)
    weights = np.full((count, days.shape[1]), WEIGHT_AT_START / count)
    found = np.empty(at.shape)
    with np.errstate(over="ignore"):
        for tick in range(len(at)):
            weights += early[tick] * (MASS / count)
            weights *= _rises(share[tick], bad[tick], theirs[tick], cap)
            weights += late[tick] * (MASS / count)
            found[tick] = weights.sum(axis=0)
    return ticks, found


def _rises(share: Floats, bad: Floats, theirs: Floats, cap: float) -> Floats:
    risks = np.array(RELATIVE_RISKS)[:, None]
    null = share * MARGIN / (share * MARGIN + 1 - share)
    theta = share * risks / (share * risks + 1 - share)
    told = bad * np.log(theta / null) + theirs * np.log((1 - theta) / (1 - null))
    rises: Floats = np.exp(np.minimum(told, cap))
    return rises


def _ended(busy: Bools) -> Ints:
    """The end of the last busy second before each second."""
    ends = np.where(busy, np.arange(1, len(busy) + 1, dtype=np.int32)[:, None], 0)
    ends = np.maximum.accumulate(ends, axis=0)
    return np.concatenate([np.zeros_like(ends[:1]), ends[:-1]])


def _share(days: Days, at: Ints) -> Floats:
    """The candidate's realised share of the calls before these seconds (track.Track._share)."""
    assert days.their_n is not None
    minute, begin = MINUTE_MS // SECOND_MS, days.begin_s
    routed = -(-begin // minute) * minute
    edge = np.maximum(routed, (at + begin - SHARE_MS // SECOND_MS) // minute * minute) - begin
    edge = np.minimum(edge, at)

    def between(counts: Ints) -> Ints:
        sums = _sums(counts)
        return np.take_along_axis(sums, at, axis=0) - np.take_along_axis(sums, edge, axis=0)

    own, theirs = between(days.n), between(days.their_n)
    return (own + SHARE_PRIOR * days.share) / (own + theirs + SHARE_PRIOR)


def _sums(counts: Ints) -> Ints:
    """Running totals along the seconds, from 0 on."""
    sums = np.zeros((len(counts) + 1, *counts.shape[1:]), dtype=np.int32)
    np.cumsum(counts, axis=0, out=sums[1:])
    return sums


# --- One day, where its evidence is enough


@dataclass(frozen=True)
class Day:
    """One day as running totals; instants are seconds since its beginning, ends of closed ones."""

    n: Ints
    bad: Ints
    their_n: Ints | None
    their_bad: Ints | None
    share: float
    begin_s: int
    busy: Bools

    @property
    def seconds(self) -> int:
        """How long it is."""
        return len(self.busy)

    def looks(self, at: Ints) -> Bools:
        """Whether a prompt that is steady is looked at: on reports, and each five seconds."""
        ended = np.maximum.accumulate(np.where(self.busy, np.arange(1, self.seconds + 1), 0))[
            at - 1
        ]
        looks: Bools = (ended > 0) & ((at - ended) % (ACTIVE_RECHECK_MS // SECOND_MS) == 0)
        return looks

    def is_used(self, at: Ints) -> Bools:
        """Whether the version was called within the window."""
        used: Bools = self.n[at] > self.n[np.maximum(at - WINDOW_S, 0)]
        return used

    def gate(self, limit: float, at: Ints) -> tuple[Bools, Floats]:
        """Whether the plain threshold is passed, and the rate that speaks (track.Track._gate)."""
        held = np.zeros(len(at), dtype=bool)
        over, worst, shown = held.copy(), np.zeros(len(at)), np.zeros(len(at))
        for span_s in (*(ms // SECOND_MS for ms in GATE_MS), WINDOW_S):
            n, bad = self._within(span_s, at)
            enough = n >= GATE_REQUESTS
            passed = enough & (bad >= GATE_BAD) & (bad > limit * n)
            if span_s < WINDOW_S:
                chance = stats.binom.sf(bad[passed] - 1, n[passed], limit)
                passed[passed] = chance <= GATE_CHANCE
            rate = bad / np.maximum(n, 1)
            shown = np.where(enough, rate, shown)
            worst = np.where(passed, np.maximum(worst, rate), worst)
            held |= enough
            over |= passed
        still = self._within(WINDOW_S, at)[1] > 0
        longer = (ms // SECOND_MS for ms in LONG_GATE_MS)
        for span_s in (*(s for s in longer if s > WINDOW_S), 0):
            n, bad = self._within(span_s, at) if span_s else (self.n[at], self.bad[at])
            enough = ~held & ((n >= GATE_REQUESTS) | (span_s == 0))
            passed = enough & still & (bad >= GATE_BAD) & (bad > limit * n)
            rate = bad / np.maximum(n, 1)
            shown = np.where(enough, rate, shown)
            worst = np.where(passed, rate, worst)
            held |= enough
            over |= passed
        return over, np.where(over, worst, shown)

    def _within(self, span_s: int, at: Ints) -> tuple[Ints, Ints]:
        grains = (g // SECOND_MS for top, g in EDGES_MS if span_s * SECOND_MS <= top)
        grain = next(grains, EDGES_MS[-1][1] // SECOND_MS)
        edge = (at + self.begin_s - span_s) // grain * grain - self.begin_s
        edge = np.maximum(edge, 0)
        return self.n[at] - self.n[edge], self.bad[at] - self.bad[edge]

    def spread(self, at: Ints, found: Floats) -> Floats:
        """Values after some ticks as values at the end of every second, 0 before the first."""
        first = int(at[0]) if len(at) else self.seconds
        lasting = np.diff(np.append(at, self.seconds))
        return np.concatenate([np.zeros(first + 1), np.repeat(found, lasting)])


def day_of(days: Days, day: int) -> Day:
    """One of the days."""
    theirs = days.their_n is not None and days.their_bad is not None
    busy = days.n[:, day] > 0
    if days.their_n is not None:
        busy = busy | (days.their_n[:, day] > 0)
    return Day(
        n=_sums(days.n[:, day]),
        bad=_sums(days.bad[:, day]),
        their_n=_sums(days.their_n[:, day]) if theirs and days.their_n is not None else None,
        their_bad=_sums(days.their_bad[:, day]) if days.their_bad is not None else None,
        share=days.share,
        begin_s=days.begin_s,
        busy=busy,
    )


# --- What is decided


@dataclass(frozen=True)
class Verdicts:
    """What happened in each day, in seconds after its beginning; infinity for never.

    `held_s` is a rollback held as an upstream outage, `worse_s` the page that the candidate does
    worse than its control, and `watchdogs` how many pages told of a threshold passed without proof.
    """

    rollback_s: Floats
    ask_s: Floats
    worse_s: Floats
    held_s: Floats
    alert_s: Floats
    watchdog_s: Floats
    watchdogs: Ints

    @property
    def page_s(self) -> Floats:
        """The first page to on-call that is not the word of a rollback."""
        first: Floats = np.minimum.reduce([self.ask_s, self.worse_s, self.held_s, self.watchdog_s])
        return first


def judge(
    days: Days,
    rollback: Level,
    ask: Level,
    alert: Level | None = None,
    cap: float | None = None,
) -> Verdicts:
    """The decision on each day; `alert` is the first hour's, and `cap` an experiment's."""
    ticks = ticks_of(days.busy())
    proven = _proven(days, rollback, ticks, (EVIDENCE, 1 / rollback.alpha), cap)
    asked = _proven(days, ask, ticks, (1 / ask.alpha,), cap)
    relative = relative_evidence(days) if days.their_n is not None else None
    found = _nothing(days.shape[1])
    if alert is not None:
        found.alert_s[:] = _alerts(days, alert, cap)
    apart = rollback.limit <= rollback.gate
    needed = proven.any(axis=0) | asked.any(axis=0) | ~apart
    if relative is not None:
        inside = np.arange(len(relative[1]))[:, None] < relative[0].count
        needed |= np.any((relative[1] >= WORSE_EVIDENCE) & inside, axis=0)
    for d in np.nonzero(needed)[0].tolist():
        day, at = day_of(days, d), ticks.at[: ticks.count[d], d]
        compared = beside(day, relative, d) if relative else None
        sure = day.spread(at, proven[: len(at), d].astype(np.float64))
        found.rollback_s[d], found.held_s[d] = _rollback(day, rollback.gate, sure >= 2, compared)
        enough = day.spread(at, asked[: len(at), d].astype(np.float64)) >= 1
        found.ask_s[d] = _first_breach(day, ask.gate, enough)
        if compared is not None:
            found.worse_s[d] = _first_breach(day, ask.gate, compared >= WORSE_EVIDENCE)
        told_s = min(f[d] for f in (found.rollback_s, found.held_s, found.ask_s, found.worse_s))
        found.watchdogs[d], found.watchdog_s[d] = _watchdogs(
            day, rollback.gate, sure, told_s, bool(apart[d])
        )
    return found


def _nothing(count: int) -> Verdicts:
    def never() -> Floats:
        return np.full(count, math.inf)

    counts = np.zeros(count, dtype=np.int64)
    return Verdicts(never(), never(), never(), never(), never(), never(), counts)


def _proven(
    days: Days, line: Level, ticks: Ticks, needs: tuple[float, ...], cap: float | None
) -> NDArray[np.uint8]:
    """How many of these amounts of evidence are there after each tick."""
    found = np.zeros(ticks.at.shape, dtype=np.uint8)
    begin = 0
    for part in evidence(days, line, ticks, cap):
        for need in needs:
            found[begin : begin + len(part)] += part >= need
        begin += len(part)
    found[np.arange(len(found))[:, None] >= ticks.count] = 0
    return found


def _alerts(days: Days, line: Level, cap: float | None) -> Floats:
    """The first hour's alert: looks are made for as long as the version is that young."""
    young_s = HOUR_S - LAG_S
    cut = Days(days.n[:young_s], days.bad[:young_s], begin_s=days.begin_s)
    ticks = ticks_of(cut.busy())
    proven = _proven(cut, line, ticks, (1 / line.alpha,), cap)
    found = np.full(days.shape[1], math.inf)
    for d in np.nonzero(proven.any(axis=0))[0].tolist():
        day, at = day_of(cut, d), ticks.at[: ticks.count[d], d]
        enough = day.spread(at, proven[: len(at), d].astype(np.float64)) >= 1
        found[d] = _first_breach(day, line.gate, enough)
    return found


def beside(day: Day, relative: tuple[Ticks, Floats], d: int) -> Floats:
    """E of candidate against control at the end of every second of a day."""
    ticks, found = relative
    count = ticks.count[d]
    at = ticks.at[:count, d]
    # Weight goes on flowing in with every busy second in which nothing fails.
    ended = np.maximum.accumulate(np.where(day.busy, np.arange(1, day.seconds + 1), 0))
    ended = np.concatenate([[0], ended])
    since = day.spread(at, (at + 1).astype(np.float64))
    begun = np.where(day.spread(at, np.ones(count)) > 0, 0.0, WEIGHT_AT_START)
    return day.spread(at, found[:count, d]) + begun + MASS * np.maximum(ended - since, 0)


def _breaches(day: Day, limit: float, enough: Bools) -> Bools:
    """Whether there is a breach at the end of each second."""
    breach = np.zeros(day.seconds + 1, dtype=bool)
    at = np.nonzero(enough)[0]
    if len(at):
        breach[at] = day.gate(limit, at)[0] & day.is_used(at)
    return breach


def _first_breach(day: Day, limit: float, enough: Bools) -> float:
    """When the first breach is seen."""
    at = np.nonzero(_breaches(day, limit, enough))[0]
    at = at[day.looks(at)]
    return float(at[0]) + LAG_S if len(at) else math.inf


def _rollback(
    day: Day, limit: float, enough: Bools, compared: Floats | None
) -> tuple[float, float]:
    """When the breach is confirmed and the version to blame; when it was first held for upstream.

    A breach is looked at again every second until it is over; then the next one begins anew.
    """
    breach = _breaches(day, limit, enough)
    at = np.nonzero(breach)[0]
    starts = at[day.looks(at)]
    quiet = np.append(np.nonzero(~breach)[0], day.seconds + 1)
    over_at, held_s = 0, math.inf
    for start in starts:
        if start < over_at:
            continue
        over_at = int(quiet[np.searchsorted(quiet, start)])
        seen = np.arange(start + 1, over_at)
        if compared is None:
            if len(seen):
                return float(seen[0]) + LAG_S, held_s
            continue
        mine, upstream = _blame(day, int(start), seen, compared[seen])
        if upstream.any():
            held_s = min(held_s, float(seen[upstream.argmax()]) + LAG_S)
        if mine.any():
            return float(seen[mine.argmax()]) + LAG_S, held_s
    return math.inf, held_s


def _blame(day: Day, start: int, at: Ints, beside: Floats) -> tuple[Bools, Bools]:
    """Whether it is the version's fault, and whether upstream's (attribution.attribute)."""
    assert day.their_n is not None and day.their_bad is not None
    since = np.maximum(start + LAG_S - BEFORE_MS // SECOND_MS, at - LOOKBACK_MS // SECOND_MS)
    since = np.clip(since, 0, at)
    own_n, own_bad = day.n[at] - day.n[since], day.bad[at] - day.bad[since]
    n, bad = day.their_n[at] - day.their_n[since], day.their_bad[at] - day.their_bad[since]
    share = SHARE_OF_RATE * own_bad / np.maximum(own_n, 1)
    fails = (bad >= FAILING_CALLS) & (bad >= share * n)
    healthy = (n >= HEALTHY_CALLS) & (bad < share * n)
    if 1 - day.share >= 0.5:
        mine = beside >= PROOF
    else:
        patient = at - start >= VETO_PATIENCE_MS // SECOND_MS
        mine = ~fails & (healthy | patient)
    return mine, fails & ~mine


def passed_since(day: Day, limit: float, at: Ints) -> Floats:
    """Since when the threshold is passed without a pause, at these ends of seconds; else infinity.

    Each busy second has its say, so that one that is well for a moment begins anew.
    """
    ends = np.nonzero(day.busy)[0] + 1
    if not len(ends):
        return np.full(len(at), math.inf)
    passed = np.concatenate([day.gate(limit, ends)[0], [False]])
    first = np.maximum.accumulate(np.where(passed[:-1], 0, np.arange(1, len(ends) + 1)))
    last = np.searchsorted(ends, at, side="right") - 1
    since = np.append(ends, 0)[first[last]].astype(np.float64)
    over = (last >= 0) & passed[last] & day.gate(limit, at)[0]
    return np.where(over, since, math.inf)


def _watchdogs(
    day: Day, limit: float, sure: Floats, told_s: float, apart: bool
) -> tuple[int, float]:
    """Pages of a threshold passed for its whole limit without proof: how many, and the first.

    One an hour, and none once an incident has told people; where the limit is not `apart` from
    health they need no evidence, and there is one a day (steps.watchdog).
    """
    again_ms = AGAIN_MS if apart else AGAIN_INSEPARABLE_MS
    at = np.nonzero((sure >= apart) & (sure < 2))[0]
    at = at[at + LAG_S < told_s]
    at = at[day.looks(at)] if len(at) else at
    due = at[at - passed_since(day, limit, at) >= LIMIT_MS // SECOND_MS] if len(at) else at
    pages, first_s, free_s = 0, math.inf, 0
    for second in due.tolist():
        if second >= free_s:
            pages, free_s = pages + 1, second + again_ms // SECOND_MS
            first_s = min(first_s, second + LAG_S)
    return pages, first_s

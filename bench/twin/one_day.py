"""One day, where its evidence is enough: the plain threshold, and when it is looked at."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from bench.twin.arrays import SECOND_MS, WINDOW_S, Bools, Floats, Ints, sums_of
from bench.twin.days import Days
from knowngood.core.decide import ACTIVE_RECHECK_MS
from knowngood.core.track import (
    EDGES_MS,
    GATE_BAD,
    GATE_CHANCE,
    GATE_MS,
    GATE_REQUESTS,
    LONG_GATE_MS,
)


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
        n=sums_of(days.n[:, day]),
        bad=sums_of(days.bad[:, day]),
        their_n=sums_of(days.their_n[:, day]) if theirs and days.their_n is not None else None,
        their_bad=sums_of(days.their_bad[:, day]) if days.their_bad is not None else None,
        share=days.share,
        begin_s=days.begin_s,
        busy=busy,
    )


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

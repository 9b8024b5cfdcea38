"""Evidence that a candidate fails more often than its control."""

import numpy as np

from bench.twin.arrays import SECOND_MS, Bools, Floats, Ints, sums_of
from bench.twin.days import Days
from bench.twin.one_day import Day
from bench.twin.ticks import MASS, Ticks, counts_at, ticks_of
from knowngood.core.stats import RELATIVE_RISKS, WEIGHT_AT_START, cap_of
from knowngood.core.track import MARGIN, MINUTE_MS, RELATIVE_ALPHA, SHARE_MS, SHARE_PRIOR


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
    bad, theirs = counts_at(days.bad, at), counts_at(days.their_bad, at)
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
        sums = sums_of(counts)
        return np.take_along_axis(sums, at, axis=0) - np.take_along_axis(sums, edge, axis=0)

    own, theirs = between(days.n), between(days.their_n)
    return (own + SHARE_PRIOR * days.share) / (own + theirs + SHARE_PRIOR)


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

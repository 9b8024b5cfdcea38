"""Evidence that a version fails more often than its level allows."""

from collections.abc import Iterator

import numpy as np

from bench.twin.arrays import Floats, Ints
from bench.twin.days import Days
from bench.twin.levels import Level
from bench.twin.ticks import MASS, Ticks, counts_at, fold
from knowngood.core.stats import WEIGHT_AT_START, alternatives, cap_of

CHUNK = 512  # ticks that are worked out together


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
        bad, good = counts_at(days.bad, at), counts_at(days.n, at)
        good -= bad
        rise = bad[:, None, :] * bad_of
        rise += good[:, None, :] * good_of
        np.exp(np.minimum(rise, cap, out=rise), out=rise)
        fold(weights, mass, rise, idle)
        with np.errstate(over="ignore"):
            yield rise.sum(axis=1)


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

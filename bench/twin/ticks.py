"""The busy seconds of each day, and how weights are carried on from one to the next."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.twin.arrays import SECOND_MS, Bools, Floats, Ints
from knowngood.core.stats import mass_of

MASS = mass_of(SECOND_MS)  # fresh weight of a second, over all alternatives


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


def counts_at(counts: Ints, at: Ints) -> Floats:
    """The counts of these seconds; 0 beyond the end."""
    inside = np.minimum(at, len(counts) - 1)
    found = np.take_along_axis(counts, inside, axis=0).astype(np.float64)
    return np.where(at < len(counts), found, 0.0)


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

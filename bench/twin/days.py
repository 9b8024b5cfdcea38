"""What happened: simulated calls and failures, by second and day."""

from dataclasses import dataclass

import numpy as np

from bench.twin.arrays import Bools, Ints

SPARSE = 0.2  # below this mean, calls are strewn instead of drawn for each second


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

"""What is decided on each day."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.twin.absolute import evidence
from bench.twin.arrays import HOUR_S, LAG_S, Floats, Ints
from bench.twin.breaches import first_breach, rolled_back, watchdog_pages
from bench.twin.days import Days
from bench.twin.levels import Level
from bench.twin.one_day import day_of
from bench.twin.relative import beside, relative_evidence
from bench.twin.ticks import Ticks, ticks_of
from knowngood.core.look import WORSE_EVIDENCE
from knowngood.core.steps.watchdog import EVIDENCE


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
        found.rollback_s[d], found.held_s[d] = rolled_back(day, rollback.gate, sure >= 2, compared)
        enough = day.spread(at, asked[: len(at), d].astype(np.float64)) >= 1
        found.ask_s[d] = first_breach(day, ask.gate, enough)
        if compared is not None:
            found.worse_s[d] = first_breach(day, ask.gate, compared >= WORSE_EVIDENCE)
        told_s = min(f[d] for f in (found.rollback_s, found.held_s, found.ask_s, found.worse_s))
        found.watchdogs[d], found.watchdog_s[d] = watchdog_pages(
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
        found[d] = first_breach(day, line.gate, enough)
    return found

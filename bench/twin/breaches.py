"""What a day's breaches lead to: a page, a rollback, or the watchdog's word."""

import math

import numpy as np

from bench.twin.arrays import LAG_S, SECOND_MS, Bools, Floats, Ints
from bench.twin.one_day import Day, passed_since
from knowngood.core.look import LOOKBACK_MS
from knowngood.core.steps.attribution import (
    BEFORE_MS,
    FAILING_CALLS,
    HEALTHY_CALLS,
    PROOF,
    SHARE_OF_RATE,
    VETO_PATIENCE_MS,
)
from knowngood.core.steps.watchdog import AGAIN_INSEPARABLE_MS, AGAIN_MS, LIMIT_MS


def first_breach(day: Day, limit: float, enough: Bools) -> float:
    """When the first breach is seen."""
    at = np.nonzero(_breaches(day, limit, enough))[0]
    at = at[day.looks(at)]
    return float(at[0]) + LAG_S if len(at) else math.inf


def rolled_back(
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


def _breaches(day: Day, limit: float, enough: Bools) -> Bools:
    """Whether there is a breach at the end of each second."""
    breach = np.zeros(day.seconds + 1, dtype=bool)
    at = np.nonzero(enough)[0]
    if len(at):
        breach[at] = day.gate(limit, at)[0] & day.is_used(at)
    return breach


def watchdog_pages(
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

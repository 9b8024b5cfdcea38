"""False alarms and delays of this product beside simpler rules, on simulated days.

Four rules look at the same days. The article's: errors / requests > 5 % in the last five minutes,
no minimum, looked at every 30 s. Minimum 100: the same, if the window holds 100 requests. Bare p:
all calls since the deploy against the healthy rate (known to it), binomial, p < .05, every 30 s.
The product: its whole decision, with the two seconds until a bucket is final and its second look.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from bench import experiment
from bench.common import machine
from bench.laboratory import PEER_S, TARGET_S, decided_s, false_alarms, rules
from bench.twin import (
    DAY_S,
    HOUR_S,
    WINDOW_S,
    Bools,
    Days,
    Floats,
    Ints,
    Phase,
    default_levels,
    judge,
    traffic,
)

LOOK_S = 30
LIMIT, MIN_REQUESTS, LEVEL = 0.05, 100, 0.05
BATCH = 100  # days that are simulated together
DEPLOY_S = 1_800_000_437  # no whole minute
HEALTHY = 0.005
RATES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0)
HEALTHS = (0.005, 0.01)
DELAY_RATES = (0.1, 1.0, 10.0)
ERRORS = (0.03, 0.06, 0.2, 1.0)
SPLITS = ((1.0, "100 %"), (0.25, "canary 25 %"), (0.95, "bake 95 %"))
SIX_HOURS_S = 6 * HOUR_S
OUTAGE_S = (1_800, 5_400)
MONTH_DAYS = 30
SEEDS = 300


@dataclass(frozen=True)
class Case:
    """One kind of day: `rate` calls a second in all, `share` of them the new version's."""

    rate: float
    phases: tuple[Phase, ...]
    seconds: int
    share: float = 1.0
    healthy: float = HEALTHY
    from_s: int = 0  # delays count from here
    late_s: int = 0  # up to so much later, in each day


@dataclass(frozen=True)
class Found:
    """When each rule rolled back for the first time (infinity: never), and what else was said."""

    article: Floats
    least: Floats
    bare: Floats
    product: Floats
    page: Floats
    alert: Floats
    watchdogs: Ints


# --- The simpler rules


def looked(days: Days, healthy: float) -> tuple[Floats, Floats, Floats]:
    """When the article's rule, the one with a minimum, and the bare p-value first rolled back."""
    at = np.arange(LOOK_S, days.shape[0] + 1, LOOK_S)
    n, bad = _sums(days.n, at), _sums(days.bad, at)
    back = WINDOW_S // LOOK_S
    in_window = [
        sums - np.concatenate([np.zeros_like(sums[:back]), sums[:-back]]) for sums in (n, bad)
    ]
    over = in_window[1] > LIMIT * in_window[0]
    unlikely = bad >= _critical(healthy, int(n.max(initial=0)) // 1000)[n]
    rules_s = (over, over & (in_window[0] >= MIN_REQUESTS), unlikely)
    article, least, bare = (_first(rule, at) for rule in rules_s)
    return article, least, bare


def _sums(counts: Ints, at: Ints) -> Ints:
    """Running totals at some instants."""
    found: Ints = np.cumsum(counts, axis=0, dtype=np.int32)[at - 1]
    return found


def _first(rule: Bools, at: Ints) -> Floats:
    return np.where(rule.any(axis=0), at[rule.argmax(axis=0)], np.inf)


@cache
def _critical(healthy: float, thousands: int) -> Ints:
    """How many failures of n calls have a chance below the level, for every n up to that."""
    n = np.arange((thousands + 1) * 1000)
    found: Ints = (stats.binom.ppf(1 - LEVEL, n, healthy) + 1).astype(np.int64)
    found[0] = 1
    return found


# --- One kind of day


def batch(case: Case, seed: int) -> Found:
    """What all rules do with some days of a kind."""
    rng = np.random.default_rng([seed, round(case.rate * 1000), round(case.share * 100)])
    late = rng.integers(0, case.late_s + 1, BATCH)
    shape = (case.seconds, BATCH)
    days = traffic(rng, shape, case.rate, case.phases, case.share, late, DEPLOY_S)
    told = judge(days, *default_levels(rng, case.rate, case.healthy, BATCH))
    begun_s = case.from_s + late
    article, least, bare = (found - begun_s for found in looked(days, case.healthy))
    product, page = told.rollback_s - begun_s, told.page_s - begun_s
    return Found(article, least, bare, product, page, told.alert_s - begun_s, told.watchdogs)


Run = Callable[[Case], Found]


def runner(days: int, pool: ProcessPoolExecutor) -> Run:
    """Simulates so many days of a case, on all cores."""

    def run(case: Case) -> Found:
        seeds = range(-(-days // BATCH))
        parts = list(pool.map(batch, [case] * len(seeds), seeds))
        names = [field.name for field in fields(Found)]
        return Found(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    return run


# --- Tables


def table(title: str, head: Sequence[str], rows: list[list[str]]) -> None:
    """Print aligned columns."""
    widths = [max(len(row[i]) for row in [list(head), *rows]) for i in range(len(head))]
    print(f"\n{title}\n")
    for row in (list(head), ["-" * width for width in widths], *rows):
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def percent(found: Floats) -> str:
    """In how many of a hundred days it happened."""
    share = 100 * float(np.mean(np.isfinite(found)))
    return f"{share:.3g}"


def delay(found: Floats) -> str:
    """Median / 95th percentile of the days that had no false alarm before."""
    kept = found[found > 0]
    if len(kept) < len(found) / 2:
        return "false before"
    return " / ".join(span(float(np.quantile(kept, q, method="inverted_cdf"))) for q in (0.5, 0.95))


def span(seconds: float) -> str:
    """A span of time in a few letters."""
    if not np.isfinite(seconds):
        return "never"
    if seconds < 200:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < HOUR_S else f"{seconds / HOUR_S:.1f} h"


def false_alarm_table(run: Run, days: int) -> None:
    """A healthy version for a day, at every rate."""
    rows = []
    for rate in RATES:
        for healthy in HEALTHS:
            found = run(Case(rate, (Phase(0, healthy),), DAY_S, healthy=healthy))
            told = (found.article, found.least, found.bare, found.product, found.page, found.alert)
            a_month = MONTH_DAYS * found.watchdogs.sum() / len(found.watchdogs)
            rows.append([f"{rate:g}", f"{healthy:.1%}", *map(percent, told), f"{a_month:.2g}"])
    table(
        f"P(false alarm within 24 h) in %, {days:,} days a line; the last: watchdog pages a month",
        [
            "calls/s",
            "healthy",
            "article",
            "min 100",
            "p < .05",
            "product",
            "page",
            "alert",
            "watchdog",
        ],
        rows,
    )


def horizon_s(rate: float, error: float) -> int:
    """For how long a broken version is watched; `never` means longer."""
    return SIX_HOURS_S if error < 0.2 or rate < 1 else HOUR_S


def delay_tables(run: Run, days: int) -> None:
    """Broken from the deploy, and after six healthy hours, at each split."""
    head = ["errors", "calls/s", "article", "min 100", "p < .05", "product", "product's page"]
    for begin_s, when in ((0, "from the deploy"), (SIX_HOURS_S, "after six healthy hours")):
        for share, name in SPLITS:
            rows = []
            for error in ERRORS:
                for rate in DELAY_RATES:
                    found = run(broken(rate, error, share, begin_s))
                    page = np.minimum(found.page, found.product)
                    told = (found.article, found.least, found.bare, found.product, page)
                    rows.append([f"{error:.0%}", f"{rate:g}", *map(delay, told)])
            title = f"Delay, median / p95, {when}, {name} of all calls/s, {days:,} times a line"
            table(title, head, rows)


def broken(rate: float, error: float, share: float, begin_s: int) -> Case:
    """A version that fails from `begin_s` on, beside a healthy control if it has not all calls."""
    after = Phase(begin_s, error, HEALTHY)
    phases = (Phase(0, HEALTHY, HEALTHY), after) if begin_s else (after,)
    seconds = begin_s + horizon_s(rate, error)
    return Case(rate, phases, seconds, share, from_s=begin_s, late_s=59 if begin_s else 0)


def outage_table(run: Run, days: int) -> None:
    """Both arms fail alike for an hour."""
    rows = []
    for share, name in SPLITS[1:]:
        for failing in (0.1, 0.2, 0.5, 1.0):
            for rate in (1.0, 10.0):
                well = (HEALTHY, HEALTHY)
                begin_s, end_s = OUTAGE_S
                phases = (Phase(0, *well), Phase(begin_s, failing, failing), Phase(end_s, *well))
                found = run(Case(rate, phases, 7_200, share, from_s=begin_s, late_s=59))
                told = (found.article, found.least, found.bare, found.product, found.page)
                rows.append([name, f"{failing:.0%}", f"{rate:g}", *map(percent, told)])
    table(
        f"A shared outage of an hour: P(rollback) in %, {days:,} times a line",
        ["split", "errors", "calls/s", "article", "min 100", "p < .05", "product", "page"],
        rows,
    )


def laboratory_table(days: int) -> None:
    """LaunchDarkly's laboratory: a judge's mean falls from .72 to .22, half a call a second."""
    rows = []
    for drop in ("10%", "20%"):
        by = rules(drop)
        found = np.array([decided_s(seed, by) for seed in range(SEEDS)])
        alarms = sum(
            false_alarms(np.random.default_rng(seed), BATCH, by) for seed in range(days // BATCH)
        )
        rows.append([f"quality drop > {drop}", delay(found), f"{alarms} of {days:,} days"])
    table(
        f"LaunchDarkly's laboratory (its figure: {PEER_S} s; target: {TARGET_S} s), {SEEDS} runs",
        ["policy", "rollback", "false, both versions alike"],
        rows,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--days",
        type=int,
        default=2_000,
        help="simulated days a line (2000); delays take a quarter",
    )
    parser.add_argument("--quick", action="store_true", help="200 days a line")
    given = parser.parse_args(argv)
    days = 200 if given.quick else given.days
    began = time.monotonic()
    # A median needs fewer days than what hardly ever happens.
    fewer = max(BATCH, days // 4)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, {days:,} simulated days a line")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        false_alarm_table(runner(days, pool), days)
        outage_table(runner(fewer, pool), fewer)
        delay_tables(runner(fewer, pool), fewer)
        for each in experiment.tables(pool):
            table(*each)
    laboratory_table(fewer)
    print("\nnever: not within six hours. false before: most of the healthy days were rolled back.")
    print(f"The run took {(time.monotonic() - began) / 60:.0f} minutes.")


if __name__ == "__main__":
    main()

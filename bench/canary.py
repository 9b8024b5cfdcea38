"""What a canary saves: an hour of real traffic, a regression that only shows under load.

    python -m bench.canary

The calls of a recorded hour are re-routed through the engine, on the default policy: once up its
ladder, once to everybody at once. Both roll back by themselves. The candidate's backend holds a
part of what the whole traffic needs and refuses the rest, so its failures grow with its load. A
seed says where in the hour a run begins and which calls go to the candidate.
"""

import argparse
import contextlib
import io
import os
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from bench import make_trace
from bench.common import machine
from knowngood.core.policy import parse
from knowngood.core.steps.rollouts import AT_ONCE
from knowngood.sim.reroute import Backend, Outcome, reroute
from knowngood.sim.trace import Call, read_trace

SEEDS = 20
HOUR_MS = 3_600_000
WARM_UP_MS = 600_000
# The recorded hour is repeated until the story ends; where traffic is thin the first stages take
# their time.
HOURS_MAX = 6
HEALTHY = 0.003
PROMPT = "support-bot"


@dataclass(frozen=True)
class Case:
    """`traffic` recorded hours on top of each other, and a backend for `capacity` of that load."""

    traffic: int
    capacity: float


CASES = (Case(10, 0.03), Case(10, 0.15), Case(1, 0.15), Case(10, 0.60))


@dataclass(frozen=True)
class Pair:
    """One seed's two promotions."""

    canary: Outcome
    at_once: Outcome

    @property
    def saved(self) -> int:
        """How many failures the canary saved; below zero if it cost some."""
        return self.at_once.failed_count - self.canary.failed_count


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--data", type=Path, default=make_trace.DATA)
    options = parser.parse_args(arguments)
    began_s = time.monotonic()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, {options.seeds} seeds\n")
    print("| calls/s | room for | promoted | requests that failed | stopped at | after |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        for line in table(case, pairs(case, options.seeds, options.data), options.data):
            print(line, flush=True)
    print(f"\n{time.monotonic() - began_s:.0f} s")


def pairs(case: Case, seeds: int, data: Path = make_trace.DATA) -> list[Pair]:
    """Each seed's pair, in processes of their own."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(pair, case, seed, data) for seed in range(seeds)]
        return [job.result() for job in jobs]


def pair(case: Case, seed: int, data: Path = make_trace.DATA) -> Pair:
    """Both promotions of one seed, on the same calls."""
    policy = parse({})
    ladders = policy.for_prompt(PROMPT).canary, AT_ONCE
    capacity = case.capacity * case.traffic * usual_load(data)
    canary, at_once = (
        reroute(
            calls(case.traffic, seed, data),
            policy,
            ladder,
            Backend(capacity, HEALTHY),
            random.Random(seed),
            WARM_UP_MS,
        )
        for ladder in ladders
    )
    return Pair(canary, at_once)


def calls(traffic: int, seed: int, data: Path) -> Iterator[Call]:
    """The hour from the seed's second on, again and again."""
    stacked = hour(traffic, data)
    from_ms = random.Random(f"begin {seed}").randrange(HOUR_MS)
    first = next((i for i, call in enumerate(stacked) if call.at_ms >= from_ms), 0)
    for round_no in range(HOURS_MAX):
        shift_ms = (round_no + 1) * HOUR_MS
        for at, call in enumerate(stacked[first:] + stacked[:first]):
            wrapped = HOUR_MS if at >= len(stacked) - first else 0
            yield call._replace(at_ms=call.at_ms + shift_ms + wrapped)


@cache
def hour(traffic: int, data: Path) -> list[Call]:
    """The recorded hour, `traffic` times on top of itself at even distances."""
    recorded = read(data)
    began_ms = recorded[0].at_ms
    stacked = [
        call._replace(at_ms=(call.at_ms - began_ms + copy * HOUR_MS // traffic) % HOUR_MS)
        for copy in range(traffic)
        for call in recorded
    ]
    return sorted(stacked)


@cache
def read(data: Path) -> list[Call]:
    """The recorded calls, none of which failed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{PROMPT}.csv"
        with contextlib.redirect_stdout(io.StringIO()):
            make_trace.main([str(file), "--data", str(data), "--base-fail", "0"])
        return read_trace(file).calls


def usual_load(data: Path) -> float:
    """How many calls are under way at once in the recorded hour, on average."""
    return sum(call.latency_ms or 0 for call in read(data)) / HOUR_MS


def table(case: Case, found: Sequence[Pair], data: Path) -> list[str]:
    """The lines of one case."""
    saved = spread([pair.saved for pair in found])
    what = f"{case.traffic * len(read(data)) * 1000 / HOUR_MS:.1f} | "
    what += f"{100 * case.capacity:.0f} % of the load"
    return [
        f"| {what} | canary | {cells([pair.canary for pair in found])} |",
        f"| | | all at once | {cells([pair.at_once for pair in found])} |",
        f"| | | **saved** | **{saved}** | | |",
    ]


def cells(outcomes: Sequence[Outcome]) -> str:
    """Failures, where it was stopped, and when."""
    failed = spread([outcome.failed_count for outcome in outcomes])
    places = Counter(where(outcome) for outcome in outcomes)
    stopped = ", ".join(
        place if n == len(outcomes) else f"{place} ({n})" for place, n in places.most_common()
    )
    times = [(o.harm_ms or 0) // 1000 for o in outcomes if o.harm_ms is not None]
    return f"{failed} | {stopped} | {spread(times) if times else ''} s"


def where(outcome: Outcome) -> str:
    """The candidate's share when it was taken off; or at which it still waits for a person."""
    if outcome.stopped_bp is not None:
        return f"{outcome.stopped_bp / 100:g} %"
    return f"held at {outcome.stretches[-1].share_bp / 100:g} %"


def spread(values: Sequence[int]) -> str:
    """The median, the least and the most."""
    return f"{statistics.median(values):,.0f} ({min(values):,} to {max(values):,})"


if __name__ == "__main__":
    main()

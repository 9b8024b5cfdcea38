"""`python -m knowngood.sim`: many seeds, one seed told again, or the hunt for planted bugs."""

import argparse
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from knowngood.sim.flavours import Flavour
from knowngood.sim.hunt import Caught, hunt
from knowngood.sim.mutants import MUTANTS
from knowngood.sim.plan import DEFAULT_SECONDS
from knowngood.sim.world import seeded_world

PROGRESS_EVERY = 100
HUNT_SEEDS, HUNT_SECONDS = 100, 400
FAILURES_MAX = 20  # more of them tell nothing new


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one seed ended."""

    seed: int
    trace_hash: str
    failures: tuple[str, ...]


def play(seed: int, seconds: int, flavour: Flavour = Flavour.ALL) -> Outcome:
    """Live one world through; an exception of the simulator is a failure too."""
    world = seeded_world(seed, seconds, flavour)
    try:
        failures = tuple(f"{f.checker}: {f.message}" for f in world.run())
    except Exception:
        failures = (traceback.format_exc(),)
    return Outcome(seed, world.trace_hash, failures)


def tell(seed: int, seconds: int, with_trace: bool, flavour: Flavour) -> bool:
    """Play one seed and print it; whether all was well."""
    world = seeded_world(seed, seconds, flavour)
    failures = world.run()
    if with_trace or failures:
        print("\n".join(world.trace))
    plan = world.plan
    calm = f"safety to {plan.calm_ms / 1000:g} s, then liveness"
    print(f"seed {seed}: {plan.seconds} s ({calm}), {plan.engine_count} engines, faults:")
    print(f"  {', '.join(sorted(plan.faults)) or 'none'}")
    print(f"hash {world.trace_hash}")
    for failure in failures:
        print(f"FAILED at {failure.at_ms / 1000:.3f}: {failure.checker}: {failure.message}")
    return not failures


def outcomes(seeds: Iterable[int], seconds: int, jobs: int, flavour: Flavour) -> Iterator[Outcome]:
    """The outcomes of many seeds, in order."""
    if jobs <= 1:
        yield from (play(seed, seconds, flavour) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_play, ((seed, seconds, flavour) for seed in seeds), chunksize=4)


def _play(job: tuple[int, int, Flavour]) -> Outcome:
    return play(*job)


def sweep(start: int, count: int, seconds: int, jobs: int, flavour: Flavour = Flavour.ALL) -> bool:
    """Play many seeds and print what failed, each with the command that tells it again."""
    failed = done = 0
    longer = "" if seconds == DEFAULT_SECONDS else f" --seconds {seconds}"
    longer += "" if flavour is Flavour.ALL else f" --flavour {flavour}"
    for outcome in outcomes(range(start, start + count), seconds, jobs, flavour):
        done += 1
        if outcome.failures:
            failed += 1
            print(f"seed {outcome.seed} FAILED: {outcome.failures[0]}")
            print(f"  python -m knowngood.sim --seed {outcome.seed}{longer} --trace", flush=True)
        if done % PROGRESS_EVERY == 0:
            print(f"{done} of {count} seeds, {failed} failed", flush=True)
        if failed >= FAILURES_MAX:
            print(f"stopped after {failed} failures")
            break
    print(f"{done} seeds of {seconds} s: {failed or 'none'} failed")
    return not failed


def hunt_all(seeds: int, jobs: int) -> bool:
    """Hunt every planted bug and print which law catches it after how many worlds."""
    escaped = 0
    print(f"{'mutant':<28} {'law':<12} {'worlds':>6}  where")
    with ProcessPoolExecutor(max(1, jobs)) as pool:
        hunts = pool.map(_hunt, [(mutant.name, seeds) for mutant in MUTANTS])
        for mutant, caught in zip(MUTANTS, hunts, strict=True):
            if caught is None:
                escaped += 1
                print(f"{mutant.name:<28} got away from {seeds} worlds of {HUNT_SECONDS} s")
                continue
            where = "its story" if caught.seed is None else f"seed {caught.seed}"
            print(f"{mutant.name:<28} {caught.law:<12} {caught.count:>6}  {where}", flush=True)
    print(f"{len(MUTANTS)} planted bugs: {escaped or 'none'} got away")
    return not escaped


def _hunt(job: tuple[str, int]) -> Caught | None:
    name, seeds = job
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    return hunt(mutant, seeds, seconds=HUNT_SECONDS)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when every checker was content."""
    parser = argparse.ArgumentParser(prog="python -m knowngood.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=4_000, help="how many seeds (4000)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="only this one, and tell its story if it fails")
    parser.add_argument("--trace", action="store_true", help="tell the story of --seed anyway")
    parser.add_argument(
        "--seconds", type=int, default=DEFAULT_SECONDS, help="a world's length in simulated seconds"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--flavour",
        type=Flavour,
        choices=list(Flavour),
        default=Flavour.ALL,
        help="how much goes on in a world (all)",
    )
    parser.add_argument("--mutants", action="store_true", help="hunt the planted bugs instead")
    given = parser.parse_args(arguments)
    if given.mutants:
        return 0 if hunt_all(HUNT_SEEDS, given.jobs) else 1
    if given.seed is not None:
        return 0 if tell(given.seed, given.seconds, given.trace, given.flavour) else 1
    return 0 if sweep(given.start, given.seeds, given.seconds, given.jobs, given.flavour) else 1


if __name__ == "__main__":
    sys.exit(main())

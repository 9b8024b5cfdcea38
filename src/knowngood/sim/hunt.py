"""The hunt for planted bugs: which law catches each, and how many worlds that takes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from knowngood.sim.flavours import Flavour, flavoured_plan
from knowngood.sim.mutants import Mutant
from knowngood.sim.world import Failure, seeded_world


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The product with this bug in it."""
    patches = mutant.patches()
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in patches]
    try:
        for owner, name, changed in patches:
            setattr(owner, name, changed)
        yield
    finally:
        for owner, name, real in before:
            setattr(owner, name, real)


@dataclass(frozen=True, slots=True)
class Caught:
    """Which law caught a mutant, in which seed (None: in its story), after how many worlds."""

    mutant: str
    law: str
    message: str
    seed: int | None
    count: int


def hunt(mutant: Mutant, seeds: int, start: int = 0, seconds: int = 400) -> Caught | None:
    """Play its story, or else seeds, with the bug planted until a law catches it.

    None when it got away. What fails without the bug as well proves nothing and is passed over, as
    are worlds without the bug's activity; a bug that has none is hunted where the least goes on.
    """
    if mutant.story is not None:
        worlds: list[tuple[int | None, Callable[[], list[Failure]]]] = [
            (None, partial(_tell, mutant))
        ]
    else:
        found = _seeds(mutant.activity, range(start, start + seeds), seconds)
        flavour = Flavour.ALL if mutant.activity else Flavour.ROLLOUTS
        worlds = [(seed, partial(_play, seed, seconds, flavour)) for seed in found]
    for count, (seed, play) in enumerate(worlds, 1):
        with planted(mutant):
            failures = play()
        if failures and not play():
            return Caught(mutant.name, failures[0].checker, failures[0].message, seed, count)
    return None


def _seeds(activity: str | None, seeds: range, seconds: int) -> Iterator[int]:
    """The seeds whose worlds have the activity."""
    for seed in seeds:
        if activity is None or activity in flavoured_plan(seed, seconds).activities:
            yield seed


def _play(seed: int, seconds: int, flavour: Flavour) -> list[Failure]:
    return seeded_world(seed, seconds, flavour).run()


def _tell(mutant: Mutant) -> list[Failure]:
    """Only the laws count: what the story itself expects is for its own test."""
    assert mutant.story is not None
    return mutant.story().play()

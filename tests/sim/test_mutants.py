"""Planted bugs: each is caught by a checker, so each checker and each line has its reason."""

import pytest

from knowngood.sim.mutants import MUTANTS, Mutant, hunt, planted
from knowngood.sim.world import seeded_world

SECONDS = 400
SEEDS_MAX = 300  # the rarest needs 227 today


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught(mutant: Mutant):
    """Some law catches the planted bug, in a seed where it holds without it."""
    caught = hunt(mutant, SEEDS_MAX, seconds=SECONDS)
    assert caught, f"{mutant.name} got away"
    print(f"{caught.mutant}: {caught.law}, seed {caught.seed}, after {caught.seeds}")


def test_a_mutant_leaves_nothing_behind():
    """After the hunt the product is as it was."""
    before = seeded_world(5, 100)
    before.run()
    for mutant in MUTANTS:
        with planted(mutant):
            pass
    after = seeded_world(5, 100)
    after.run()
    assert before.trace_hash == after.trace_hash

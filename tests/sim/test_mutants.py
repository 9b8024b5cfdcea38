"""Planted bugs: each is caught by a law, so each law and each line has its reason."""

import pytest

from knowngood.sim.checkers import PROMISES
from knowngood.sim.hunt import hunt, planted
from knowngood.sim.mutants import MUTANTS, Mutant
from knowngood.sim.world import seeded_world

SECONDS = 400
SEEDS_MAX = 100  # the rarest needs 21 today; what is rarer has a story

# The seed that shows it, where the first few do not: tried first, so that not all before it are
# played each time. When the simulator's dice change it shows another, and the hunt finds that.
SEEN = {"pages_not_deduped": 67, "quarantine_ignored": 18, "staging_pages": 11}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught(mutant: Mutant):
    """Some law catches the planted bug, in a world where it holds without it."""
    seen = SEEN.get(mutant.name)
    caught = None if seen is None else hunt(mutant, 1, seen, SECONDS)
    caught = caught or hunt(mutant, SEEDS_MAX, seconds=SECONDS)
    assert caught, f"{mutant.name} got away"
    assert caught.law in {law.__name__ for laws in PROMISES.values() for law in laws}


@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if m.story is not None], ids=lambda mutant: mutant.name
)
def test_stories_hold_without_their_mutant(mutant: Mutant):
    """What a story expects is so while no bug is planted."""
    assert mutant.story is not None
    mutant.story().run()


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

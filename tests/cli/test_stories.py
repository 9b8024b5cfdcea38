"""Stories on the command line, each a script with what it prints."""

import pytest

from tests.cli.world import GOLDEN


@pytest.mark.parametrize("story", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_story(world, story):
    """The command line prints what the story says it prints."""
    world.replay(story)

"""The page on questions is true: its commands are typed, one after the other, against a server."""

import re
import shlex

import pytest

from tests.cli.world import World
from tests.docs.pages import DOCS, blocks, matches

PAGE = DOCS / "how-to" / "answer-a-question.md"


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A prompt whose second version fails a little: bad enough to ask, too little to act."""
    world = World(tmp_path, monkeypatch)
    world.server_starts()
    for version in ("v1.9.0", "v2.0.0"):
        world.file(f"{version}.txt", version)
        world.run("push", "support-bot", version, f"{version}.txt")
        world.run("promote", "support-bot", version, "--now", "--because", "a deploy")
        world.wait("2")
    world.calls("support-bot:v2.0.0", "ok=776", "provider=24", "for", "40", "s")
    yield world
    world.server_stops()


def test_the_question_is_answered_as_the_page_says(world):
    """Taken, investigated, approved; and refused to the second who approves."""
    typed = 0
    for block in blocks(PAGE):
        for command, output in block.commands():
            result = world.run(*shlex.split(command)[1:])
            printed = result.stdout + result.stderr
            if block.word == "refused":
                start = re.escape(output.strip().removesuffix("..."))
                assert result.exit_code == 1 and re.match(start, printed), printed
            else:
                assert matches(output, printed), f"$ {command}\n{printed}"
            typed += 1
    assert typed == 5


def test_the_policy_says_what_the_page_says():
    """Every key that the table of silence names is a key of the policy."""
    text = PAGE.read_text(encoding="utf-8")
    policy = (DOCS / "how-to" / "write-a-policy.md").read_text(encoding="utf-8")
    for key in ("ack_timeout", "escalation", "repeat", "on_exhausted", "limit", "on_timeout"):
        assert f"`{key}" in text and key in policy, key

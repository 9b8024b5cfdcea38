"""The page on releases is true: its commands, typed in order, print what it shows."""

import shlex

from tests.cli.world import World
from tests.docs.pages import DOCS, blocks, matches

PAGE = DOCS / "how-to" / "release-several-prompts.md"


def test_the_release_goes_as_the_page_says(tmp_path, monkeypatch):
    """Named, promoted, and taken back as one."""
    world = World(tmp_path, monkeypatch)
    world.server_starts()
    for prompt in ("support-bot", "faq"):
        for version in ("v1", "v2"):
            world.file(f"{prompt}-{version}.txt", f"{prompt} {version}")
            world.run("push", prompt, version, f"{prompt}-{version}.txt")
        assert world.run("promote", prompt, "v1", "--because", "first").exit_code == 0
    typed = 0
    for block in blocks(PAGE):
        for command, output in block.commands():
            result = world.run(*shlex.split(command)[1:])
            printed = result.stdout + result.stderr
            assert matches(output, printed), f"$ {command}\n{printed}"
            typed += 1
    world.server_stops()
    assert typed == 4

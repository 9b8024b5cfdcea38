"""The page on what is kept is true: every command prints what is shown, every default is so."""

import shlex
from pathlib import Path

import pytest

from knowngood.core.evolve import SPELLS_MAX
from knowngood.core.policy import parse
from knowngood.core.retention import PINS_MAX, Kept
from knowngood.engine.retain import SWEEP_AFTER_MS, SWEEP_EVERY_MS
from tests.cli.world import World
from tests.docs.pages import DOCS, blocks, matches

PAGE = DOCS / "how-to" / "keep-and-purge-versions.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = {block.word: block.text for block in blocks(PAGE) if block.word}
SHOWN = [pair for b in blocks(PAGE) if b.language == "console" for pair in b.commands()]
DAY_MS = 24 * 3_600_000


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Half a year and more after v3 became good and v4 to v6 were forgotten."""
    world = World(tmp_path, monkeypatch)
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")
    world.server_starts("policy.yaml")
    for version in ("v1", "v2", "v3", "v4", "v5", "v6"):
        world.file(f"{version}.txt", version)
        assert world.run("push", "support-bot", version, f"{version}.txt").exit_code == 0
    for version in ("v1", "v2", "v3"):
        world.wait("1")
        orders = [["--now", "--because", "go", "--override", "in_progress"], ["--because", "fine"]]
        for verb, options in zip(("promote", "vouch"), orders, strict=True):
            done = world.run(verb, "support-bot", version, *options)
            assert done.exit_code == 0 or (verb, version) == ("vouch", "v1"), done.output
    world.calls("support-bot:v3", "ok=2000", "for", "4", "s")
    world.clock.ms += 200 * DAY_MS
    world.wait("3")
    yield world
    world.server_stops()


def test_the_page_s_commands_print_what_is_shown(world):
    """Typed one after the other, in the order of the page."""
    assert list(FILES) == ["policy.yaml"] and len(SHOWN) == 8
    for command, output in SHOWN:
        result = world.run(*shlex.split(command)[1:])
        printed = (result.stdout + result.stderr).replace(" (unverified)", "")
        assert matches(output, printed), f"$ {command}\n{printed}"


def test_the_page_names_every_place_and_default():
    """Hot, archived, purgeable; and what holds when the policy says nothing."""
    assert all(f"| `{kept.value}` | " in TEXT for kept in Kept)
    policy = parse({}).for_prompt("x")
    assert f"every process holds | `{policy.keep_hot_count}` |" in TEXT
    assert f"evaluated | `{policy.archive_ms // DAY_MS}d` |" in TEXT
    assert policy.purges_itself and "only you do | `auto` |" in TEXT
    assert not parse({"defaults": {"keep": {"purge": "manual"}}}).for_prompt("x").purges_itself
    assert (SWEEP_AFTER_MS, SWEEP_EVERY_MS) == (3_600_000, DAY_MS)
    assert f"A prompt can have {PINS_MAX}." in TEXT
    assert f"of the last {SPELLS_MAX} that are over" in TEXT

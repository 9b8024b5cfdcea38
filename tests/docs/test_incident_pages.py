"""The pages on incidents are true: every command prints what is shown, every state has its line."""

import shlex
from pathlib import Path

import pytest

from knowngood.core.incident_record import (
    DEPLOY_MS,
    HOUR_MS,
    PROPAGATE_GOAL_MS,
    PROPAGATE_MAX_MS,
    Progress,
)
from tests.cli.world import World
from tests.docs.pages import DOCS, blocks, matches

PAGES = [DOCS / "how-to" / name for name in ("read-an-incident.md", "write-a-post-mortem.md")]
READING = PAGES[0].read_text(encoding="utf-8")
BOT = "support-bot"
CLOCKS = ("detect", "decide", "act", "propagate", "recover", "total")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """v2.0.0 was promoted to everybody, failed, and was rolled back."""
    world = World(tmp_path, monkeypatch)
    world.server_starts()
    for version in ("v1.9.0", "v2.0.0"):
        world.file(f"{version}.txt", f"You are {version}")
        world.run("push", BOT, version, f"{version}.txt")
    world.run("promote", BOT, "v1.9.0", "--because", "the version that has always worked")
    world.calls(f"{BOT}:v1.9.0", "ok=3000", "for", "30", "s")
    because = "the answers shall be machine-readable"
    world.run("promote", BOT, "v2.0.0", "--now", "--because", because)
    world.calls(f"{BOT}:v2.0.0", "ok=880", "prompt=120", "for", "10", "s")
    world.calls(f"{BOT}:v1.9.0", "ok=2000", "for", "20", "s")
    yield world
    world.server_stops()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_s_commands_print_what_is_shown(world, page):
    """Typed one after the other, in the order of the page."""
    shown = [pair for b in blocks(page) if b.language == "console" for pair in b.commands()]
    assert shown
    for command, output in shown:
        result = world.run(*shlex.split(command)[1:])
        printed = (result.stdout + result.stderr).replace(" (unverified)", "")
        if command.startswith(
            "knowngood audit "
        ):  # the head differs with every detail of the history
            output = output.replace("...", printed.rpartition(" ")[2].strip())
        assert matches(output, printed), f"$ {command}\n{printed}"
    if page is PAGES[1]:
        assert Path("report.md").read_text(encoding="utf-8").startswith("# Post-mortem")


def test_every_clock_and_every_state_has_its_line():
    """And the limits are those of the code."""
    for name in CLOCKS:
        assert f"| `{name}` | " in READING
    for state in Progress:
        assert f"`{state.value}`" in READING
    assert DEPLOY_MS == 24 * HOUR_MS and "no deploy within 24 h" in READING
    assert (PROPAGATE_GOAL_MS, PROPAGATE_MAX_MS) == (60_000, 300_000)
    assert "| 1 min, and 5 min at most |" in READING

"""The page on rollouts is true: each command prints what is shown; its figures are in force."""

import re
import shlex
from collections.abc import Callable

import pytest

from knowngood.core.approvals import NO_VOTERS
from knowngood.core.explain import duration
from knowngood.core.gate import Gate
from knowngood.core.model import State
from knowngood.core.policy import parse
from knowngood.core.promotion import Soaked, promotion_gates
from knowngood.core.stats import safe_calls
from knowngood.core.steps import stage
from tests.cli.world import World
from tests.docs.pages import DOCS, blocks, matches

PAGE = DOCS / "how-to" / "roll-out-a-version.md"
TEXT = PAGE.read_text(encoding="utf-8")
DEFAULT = parse({}).for_prompt("any")
POLICY = (
    "prompts: {checkout: {freeze: ["
    '{from: "2025-12-24", until: "2026-01-02T00:01Z", because: the sale}]}}'
)


def stored(world: World, prompt: str) -> None:
    """Three versions, of which the first is served in production."""
    for version in ("v1.9.0", "v2.0.0", "v3.0.0"):
        world.file(f"{version}.txt", version)
        assert world.run("push", prompt, version, f"{version}.txt").exit_code == 0
    words = ["promote", prompt, "v1.9.0", "--override", "freeze", "--because", "first"]
    assert world.run(*words).exit_code == 0


# What happens in the world before a block's commands are typed.
BEFORE: dict[str, Callable[[World], None]] = {
    "start": lambda world: stored(world, "support-bot"),
    "waiting": lambda world: world.calls("support-bot:v2.0.0", "ok=40", "for", "20", "s"),
    "timed": lambda world: stored(world, "night-report"),
    "soak": lambda world: stored(world, "faq"),
    "soaking": lambda world: world.calls("faq:v2.0.0@staging", "ok=8"),
    "frozen": lambda world: stored(world, "checkout"),
}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A server under a policy with a change freeze."""
    world = World(tmp_path, monkeypatch)
    world.file("policy.yaml", POLICY)
    world.server_starts("policy.yaml")
    yield world
    world.server_stops()


def test_the_page_s_commands_print_what_is_shown(world):
    """Typed one after the other, in the order of the page."""
    shown = [block for block in blocks(PAGE) if block.language == "console"]
    assert set(BEFORE) <= {block.word for block in shown}
    for block in shown:
        BEFORE.get(block.word, lambda _: None)(world)
        for command, output in block.commands():
            result = world.run(*shlex.split(command)[1:])
            printed = result.stdout + result.stderr
            assert matches(output, printed), f"$ {command}\n{printed}"
            assert result.exit_code == output.startswith("knowngood: ")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    table = re.search(rf"^\| {heading} \|.*\n\|[- |]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert table, heading
    return [[c.strip() for c in line.strip("|").split("|")] for line in table[1].splitlines()]


def named(section: str) -> list[str]:
    """The gates that the table of this part of the page names, in order."""
    part = TEXT[TEXT.index(f"## {section}") :]
    return re.findall(r"^\| `(\w+)` \|", part[: part.index("\n## ", 1)], re.MULTILINE)


def test_the_gates_of_a_stage_are_those_that_the_page_names():
    """In the order in which they are shown; a timed ladder has all but the two that prove."""
    shown = next(b for b in blocks(PAGE) if b.word == "waiting").text
    asked = re.findall(r"^  (?:✓ allow|\? not yet) +(\w+) ", shown, re.MULTILINE)
    assert named("What it waits for") == asked
    timed = next(b for b in blocks(PAGE) if b.word == "timed").text
    assert asked[-2:] == ["errors", "metrics"] and "errors" not in timed


def test_the_gates_of_a_promotion_are_those_that_the_page_names():
    """All of them, in the order in which they are shown."""
    gates: tuple[Gate, ...] = promotion_gates(
        State("production", "any"), "v1", DEFAULT, Soaked(), (), NO_VOTERS, 0
    )
    assert named("What a promotion needs") == [gate.name for gate in gates]


def test_the_figures_are_those_in_force():
    """The default ladder, the proof, the holdback, the bake and the soak."""
    ladder, bake, soak = DEFAULT.canary, DEFAULT.bake, DEFAULT.soak
    assert ladder.stages_bp == (100, 500, 2_500, 10_000) and "1, 5, 25, 100 %" in TEXT
    assert (duration(ladder.wait_ms), bake.holdback_bp, duration(bake.for_ms)) == (
        "6 h",
        500,
        "1 h",
    )
    assert (soak.environment, soak.for_ms, soak.min_calls) == ("staging", 24 * 3_600_000, 100)
    assert soak.required == "used" and stage.UNSAFE_RATE == 0.05
    assert [safe_calls(bad, stage.UNSAFE_RATE) for bad in range(3)] == [70, 124, 168]
    for per_s, *cells in rows("calls a second, of the whole prompt"):
        for share, cell in zip((0.01, 0.05, 0.25), cells, strict=True):
            assert cell == duration(round(70 / (float(per_s) * share)) * 1000)


def test_every_verb_about_a_rollout_is_on_the_page(world):
    """Each exists, and none is left out."""
    verbs = [row[0].strip("`") for row in rows("verb")]
    assert verbs == ["pause", "resume", "replan", "skip", "abort"]
    for verb in verbs:
        assert world.run(verb, "--help").exit_code == 0

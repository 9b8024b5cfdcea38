"""The page on tests of policies is true: its files run and print what is shown."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from knowngood.cli.app import app
from knowngood.core.policy import parse
from knowngood.sim import story
from knowngood.sim.series import Rounder
from tests.docs.pages import DOCS, blocks, matches

PAGE = DOCS / "how-to" / "test-a-policy.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = {block.word: block.text for block in blocks(PAGE) if block.language == "yaml"}
SHOWN = [pair for block in blocks(PAGE) if block.language == "console" for pair in block.commands()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files of the page."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("command", "output"), SHOWN)
def test_the_page_s_tests_run_and_print_what_is_shown(folder, command, output):
    """Whoever copies the files gets the same answer."""
    words = command.split()[1:]
    result = CliRunner().invoke(app, words, prog_name="knowngood")
    assert matches(output, result.stdout), result.output
    assert result.exit_code == ("FAILED" in output)


def test_there_is_one_of_each():
    """A policy, tests that hold, and one that does not."""
    assert list(FILES) == ["limits.yaml", "limits.test.yaml", "hasty.test.yaml"]
    assert len(SHOWN) == 2


def test_the_page_names_everything_that_can_be_written():
    """Every key, series, event, expectation and action."""
    writer = story._Writer(parse({"counters": ["x"], "scores": {"y": {"min": 0, "max": 1}}}))
    series = [name.replace(".x", ".<name>").replace(".y", ".<name>") for name in writer._units()]
    known = [*story.TEST, *story.EVENT, *series, *writer._checks(["v1"], "x"), *story.ACTIONS]
    known += [story.NONE, story.NOBODY, story.OPEN, *story.PHASES, "version"]
    assert not [name for name in known if name not in TEXT]


def test_the_page_s_figure_of_a_share_is_right():
    """0.3 % of 20 calls a second: the ninth second, and then every 16 or 17."""
    rounder = Rounder()
    failed = [second for second in range(1, 200) if rounder.take(Fraction(6, 100), 20)]
    assert failed[0] == 9
    assert {later - earlier for earlier, later in pairwise(failed)} == {16, 17}
    assert "one call fails in the ninth second" in TEXT
    assert "every 16 or 17 seconds" in TEXT

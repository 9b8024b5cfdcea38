"""The page on evaluations is true: its suite runs, and every command prints what is shown."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from knowngood.adapters.catalog import RESULT_READERS
from knowngood.cli.suites import EXIT_CODES, KEYS, TIMEOUT
from tests.cli.world import World
from tests.docs.pages import DOCS, blocks, matches

PAGE = DOCS / "how-to" / "evaluate-a-version.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = {block.word: block.text for block in blocks(PAGE) if block.word}
SHOWN = [pair for b in blocks(PAGE) if b.language == "console" for pair in b.commands()]

# An application whose model knows what its prompt says, and nothing of broken cups.
ASSISTANT = """
def ask(prompt, question):
    if question == "broken cup":
        return "I do not know."
    return "within 14 days" if question != "late parcel" or "parcels" in prompt else "Sorry."
"""
CASES = [
    "wrong size", "second thoughts", "late parcel", "broken cup", "gift", "sale", "shoes", "book",
]  # fmt: skip
ROW = {"success": True, "score": 1, "failureReason": 0, "testCase": {"assert": []}}
ROWS = [
    {**ROW, "vars": {"question": "May I return it?"}},
    {**ROW, "vars": {"question": "Who are you?"}},
    {**ROW, "vars": {"question": "Where is my parcel?"}, "success": False, "score": 0,
     "failureReason": 2},
]  # fmt: skip
JUNIT = (
    '<testsuites><testsuite><testcase name="a"/><testcase name="b"><skipped/></testcase>'
    "</testsuite></testsuites>"
)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """The page's files, two versions, an application, and what other tools wrote."""
    world = World(tmp_path, monkeypatch)
    world.server_starts()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take seconds to load
    written = {
        **FILES,
        "assistant.py": ASSISTANT,
        "cases.json": json.dumps(dict.fromkeys(CASES, "within 14 days")),
        "results.json": json.dumps({"results": {"version": 3, "results": ROWS, "stats": {}}}),
        "junit.xml": JUNIT,
        "v1.9.0.txt": "Refunds within 14 days.",
        "v2.0.0.txt": "Refunds within 14 days. Late parcels are refunded too.",
    }
    for name, text in written.items():
        Path(name).write_text(text, encoding="utf-8")
    for version in ("v1.9.0", "v2.0.0"):
        assert world.run("push", "support-bot", version, f"{version}.txt").exit_code == 0
    yield world
    world.server_stops()


def test_the_page_s_commands_print_what_is_shown(world):
    """Typed one after the other, in the order of the page."""
    assert list(FILES) == ["knowngood-suites.yaml", "test_refunds.py", "scores.json"]
    assert len(SHOWN) == 8
    for command, output in SHOWN:
        result = world.run(*shlex.split(command)[1:])
        printed = result.stdout + result.stderr
        assert matches(output, printed), f"$ {command}\n{printed}"
        assert result.exit_code == ("deny" in output)


def test_the_page_names_every_key_form_and_default():
    """What may be written in a file of suites, and what holds when it is not."""
    keys = re.findall(r"^\| `(\w+)` \| .* \| .* \|$", TEXT, re.MULTILINE)
    assert set(KEYS) <= set(keys)
    assert {form for form in RESULT_READERS if f"| `{form}` " in TEXT} == set(RESULT_READERS)
    assert f"| `{TIMEOUT}` |" in TEXT
    assert EXIT_CODES == {"junit": (0, 1), "promptfoo": (0, 100), "scores": (0,)}
    assert "pytest's 1 or promptfoo's 100" in TEXT


def test_the_page_quotes_what_is_said():
    """What the table of refusals quotes is what the program says."""
    table = TEXT[TEXT.index("| it says |") :]
    quoted = [re.findall("`([^`]+)`", row.split("|")[1])[0] for row in table.splitlines()[2:]]
    source = "".join(p.read_text() for p in (DOCS.parent / "src").rglob("*.py"))
    assert len(quoted) == 7
    assert not [words for words in quoted if words not in source]

"""The pages on tokens and on what is received are true."""

import re

import pytest
import yaml
from typer.testing import CliRunner

from knowngood.cli.app import app
from knowngood.core.approvals import Voters, approvals_gate
from knowngood.core.model import State
from knowngood.core.people import ApprovalRule
from knowngood.core.policy import parse
from knowngood.server.limits import BURST_COUNT, EVERY_MS
from knowngood.server.roles import LADDER, Role
from knowngood.server.tokens import parse_token, read_file
from tests.docs.pages import DOCS

TOKENS = (DOCS / "how-to" / "give-people-tokens.md").read_text(encoding="utf-8")
RECEIVE = (DOCS / "how-to" / "receive-alerts.md").read_text(encoding="utf-8")
POLICIES = [t for t in re.findall(r"```yaml\n(.*?)```", RECEIVE, re.DOTALL) if "policy: 1" in t]


def table(text, head):
    rows = text[text.index(f"| {head} |") :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize("text", POLICIES)
def test_every_policy_can_be_copied(text):
    """It is valid, and says something."""
    policy = parse(yaml.safe_load(text))
    assert policy.inbound or policy.channels


def test_the_roles_are_those_of_the_table():
    """All of them, from the least to the most."""
    named = [row[0].strip("`") for row in table(TOKENS, "role")]
    assert named == [Role.SDK, *LADDER]


def test_making_a_token_prints_what_the_page_shows(tmp_path):
    """And its line is one that a server takes."""
    shown = re.search(r"\$ knowngood (token make .*)\n((?:.*\n)*?)```", TOKENS)
    assert shown
    done = CliRunner().invoke(app, shown[1].split())
    assert [line.split("...")[0] for line in shown[2].splitlines()] == [
        line[: len(page.split("...")[0])]
        for line, page in zip(done.stdout.splitlines(), shown[2].splitlines(), strict=True)
    ]
    file = tmp_path / "tokens"
    file.write_text(done.stdout.splitlines()[-1].strip() + " until=2027-01-01\n")
    file.chmod(0o600)
    (line,) = read_file(file)
    assert parse_token(line).until_ms is not None


def test_the_limit_is_the_one_that_the_page_says():
    """As many at once, and as many each second."""
    assert f"{BURST_COUNT} orders at once" in TOKENS
    assert EVERY_MS == 500 and "two more each second" in TOKENS


def test_the_refusal_for_want_of_a_second_person_is_the_one_shown():
    """Word by word."""
    voters = Voters("ana", ("ana", "ben"), ("ben",))
    gate = approvals_gate(State("production", "faq"), "v2.0.0", ApprovalRule(), voters, 0)
    assert f"approvals: {gate.because}" in TOKENS


def test_what_is_refused_is_said_in_these_words():
    """What the page quotes is what the program says."""
    source = "".join(p.read_text() for p in (DOCS.parent / "src").rglob("*.py"))
    quoted = [words for row in table(RECEIVE, "it says") for words in re.findall("`(.+?)`", row[0])]
    assert len(quoted) == 7
    for words in quoted:
        assert words.lower() in source.lower(), words

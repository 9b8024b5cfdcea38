"""`knowngood backtest`: two policies side by side, told to a person and to programs."""

import csv
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from knowngood.cli.app import app

NERVOUS = """
defaults:
  triggers:
    error_critical: {when: error_rate > 0.1%, evidence: none, min_requests: 50}
    error_high: null
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Two traces and a policy that rolls back for next to nothing."""
    monkeypatch.chdir(tmp_path)
    Path("nervous.yaml").write_text(NERVOUS, encoding="utf-8")
    good = [(n / 10, "v1", n % 500 != 499) for n in range(6_000)]
    bad = [(600 + n / 10, "v2", False) for n in range(1_000)]
    for name, rows in (("good week.csv", good), ("bad.csv", good + bad)):
        with Path(name).open("w", newline="") as file:
            times = ((1_700_000_000 + at_s, version, ok) for at_s, version, ok in rows)
            csv.writer(file).writerows([("ts", "version", "ok"), *times])


def run(*words):
    return CliRunner().invoke(app, ["backtest", *words], prog_name="knowngood")


def test_two_policies_stand_side_by_side():
    """Counts, false alarms, rates with their limits, and each thing that fired."""
    result = run("bad.csv", "good week.csv", "--policy", "nervous.yaml", "--against", "default")
    assert (result.exit_code, result.stderr) == (0, "")
    said = result.stdout
    assert said.startswith("2 traces, 13,000 calls\n")
    assert re.search(r"^ +nervous.yaml +default$", said, re.MULTILINE)
    assert re.search(r"^rollbacks +\d+ \([1-9]\d* false\) +1 \(0 false\)$", said, re.MULTILINE)
    assert re.search(r"^healthy hours +0.3 +0.3$", said, re.MULTILINE)
    assert re.search(r"^false rollbacks a week +[\d,]+, at most [\d,]+ +0, at most", said, re.M)
    assert "less than a week" in said
    line = r"^\d+ +bad +v2 +rollback +error_critical +after \d+ s +after \d+ s +errors 100"
    assert re.search(line, said, re.MULTILINE)
    assert re.search(r"^\d+ +good-week +v1 +rollback, without a target .* FALSE +–", said, re.M)
    assert "calls of v2 would have gone to its rollback target" in said


def test_one_policy_alone():
    """Without --against there is one column; without anything to say, a sentence."""
    said = run("good week.csv").stdout
    assert re.search(r"^rollbacks +0$", said, re.MULTILINE)
    assert "Nothing would have fired." in said


def test_json_is_one_object():
    """With the keys of the page on backtests."""
    words = ("bad.csv", "--policy", "default", "--against", "nervous.yaml", "--json")
    data = json.loads(run(*words).stdout)
    assert [each["policy"] for each in data["policies"]] == ["default", "nervous.yaml"]
    assert data["traces"][0]["file"] == "bad.csv"
    assert data["policies"][0]["rollbacks"]["count"] == 1


def test_a_healthy_stretch_is_what_its_owner_says():
    """Then the rollback was wrong, and the table says so."""
    result = run("bad.csv", "--healthy", "1700000500..", "--healthy", "..1700000100")
    assert "healthy (as declared):" in result.stdout
    assert re.search(r"^rollbacks +1 \(1 false\)$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["bad.csv", "--healthy", "yesterday"], "'yesterday' is no stretch of time"),
        (["bad.csv", "--healthy", "2031-01-01.."], "no call lies in a healthy stretch"),
        (["missing.csv"], "missing.csv cannot be read"),
        (["bad.csv", "--policy", "missing.yaml"], "cannot read the policy missing.yaml"),
    ],
)
def test_what_cannot_be_done_is_refused(words, reason):
    """Exit code 1, as with a replay."""
    result = run(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert reason in result.stderr


def test_a_trace_is_needed():
    """Exit code 2, as for every wrong usage."""
    assert run().exit_code == 2

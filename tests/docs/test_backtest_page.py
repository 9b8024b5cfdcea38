"""The page on backtests is true: its commands run, its keys come out, its figures are right."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from knowngood.cli.app import app
from knowngood.core.rate_bound import WEEK_MS, most_per_week, per_week
from knowngood.server import dryrun
from tests.docs.pages import DOCS

PAGE = DOCS / "how-to" / "backtest-a-policy.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ knowngood (backtest [^|\n]*)", TEXT, re.MULTILINE)
FIGURES = re.findall(r"^\| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", TEXT, re.MULTILINE)
POLICY = "policy: 1\ndefaults: {window: 10m}\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command among traces of a minute in March and policies of these names."""
    monkeypatch.chdir(tmp_path)
    for name in ("new.yaml", "old.yaml"):
        Path(name).write_text(POLICY, encoding="utf-8")
    times = [f"2026-03-02T09:{n // 60:02}:{n % 60:02}Z" for n in range(120)]
    rows = [(at, "v1" if n < 60 else "v2", n < 60) for n, at in enumerate(times)]
    for name in ("calls.csv", "normal-week.csv", "bad-week.csv"):
        with Path(name).open("w", newline="") as file:
            csv.writer(file).writerows([("ts", "version", "ok"), *rows])

    def run_command(command: str) -> str:
        done = CliRunner().invoke(app, shlex.split(command), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run_command


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page_run(run, command):
    """What the page shows can be typed."""
    assert re.search(r"\b(120|240)\b", run(command))


def test_the_page_names_every_key(run):
    """Whatever comes out is on the page."""
    data = json.loads(run("backtest calls.csv --json"))
    (policy,) = data["policies"]
    (trace,) = data["traces"]
    known = [*data, *trace, *policy, *policy["rollbacks"], *policy["fired"][0]]
    assert not [name for name in known if f"`{name}`" not in TEXT]


@pytest.mark.parametrize(("count", "hours", "week", "most"), FIGURES)
def test_figures_of_the_page_are_right(count, hours, week, most):
    """What an hour, a day and a week without a false alarm are worth."""
    span_ms = int(hours) * WEEK_MS // 168
    assert per_week(int(count), span_ms) == pytest.approx(float(week), rel=0.05)
    assert most_per_week(int(count), span_ms) == pytest.approx(float(most), rel=0.05)


def test_the_advice_is_by_the_report_s_own_figures():
    """Three weeks without a wrong one, nearly five with one, a day, three windows."""
    limit = dryrun.WRONG_PER_WEEK_MAX
    assert most_per_week(0, WEEK_MS) / limit == pytest.approx(3, abs=0.05)
    assert 4.5 < most_per_week(1, WEEK_MS) / limit < 5
    assert dryrun.HINDSIGHT_MS == WEEK_MS // 7
    assert dryrun.HARM_WINDOWS == 3
    assert len(FIGURES) == 4

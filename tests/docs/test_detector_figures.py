"""The page of the detectors' figures: what was printed, and what is said of it."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PRINTED = (DOCS / "bench-detect.txt").read_text(encoding="utf-8")
PAGE = (DOCS / "explanation" / "detector-figures.md").read_text(encoding="utf-8")


def table(title: str) -> list[list[str]]:
    """The rows of the table whose title begins like this, cells in order."""
    lines = PRINTED[PRINTED.index(title) :].split("\n\n")[1].splitlines()
    return [re.split(r"\s{2,}", line.strip()) for line in lines[2:]]


def test_the_page_shows_what_was_printed():
    """To the letter."""
    assert PRINTED.rstrip() in PAGE


def test_no_healthy_version_was_rolled_back():
    """Not in one of the days of the first table."""
    rows = table("P(false alarm within 24 h)")
    assert {row[5] for row in rows} == {"0"}
    (said,) = re.findall(r"24 h\) in %, ([\d,]+) days a line", PRINTED)
    days = int(said.replace(",", ""))
    assert f"{len(rows) * days:,} days of the first table" in PAGE


def test_a_shared_outage_is_not_blamed_on_a_quarter():
    """With a control of three quarters never; with one of 5 % it is said how often."""
    rows = table("A shared outage of an hour")
    quarter = [row for row in rows if row[0].startswith("canary")]
    assert {row[6] for row in quarter} == {"0"} and len(quarter) == 8
    bake = {(row[1], row[2]): float(row[6]) for row in rows if row[0].startswith("bake")}
    ten, whole = (sorted(bake[error, rate] for rate in ("1", "10")) for error in ("10%", "100%"))
    assert f"in {ten[0]:.0f} to {ten[1]:.0f} of 100 cases" in PAGE
    assert f"in {whole[0]:.0f} to {whole[1]:.0f}" in PAGE


def test_the_laboratory_meets_its_target():
    """Half of the runs are decided within 155 s, and nothing is rolled back for nothing."""
    for _, rollback, _false in table("LaunchDarkly's laboratory")[:1]:
        assert int(rollback.split(" s")[0]) <= 155
    assert all(row[2].startswith("0 of") for row in table("LaunchDarkly's laboratory"))

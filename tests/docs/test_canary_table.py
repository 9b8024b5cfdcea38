"""What a canary saves, on the page of benchmarks: its direction and rough size, on few seeds."""

import os
import re
from statistics import median

import pytest

from bench.canary import CASES, SEEDS, Case, pair
from bench.make_trace import DATA
from tests.docs.pages import DOCS

TEXT = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
FLAT = " ".join(TEXT.split())
# The third case has a tenth of the traffic, so its first stage takes most of an hour.
QUICK = (CASES[0], CASES[1])
FEW = 1


@pytest.fixture(scope="module", autouse=True)
def data_is_there():
    """The real data is not part of the repository; it has to be there when CI says so."""
    if not DATA.is_dir() and os.environ.get("CI") != "true":
        pytest.skip(f"the real data is not there: no folder shared/data in {DATA.parents[1]}")


def rows() -> dict[Case, dict[str, list[str]]]:
    """The cells of the table by case, and by how it was promoted."""
    table = re.search(r"^\| calls/s \|.*\n\|[- |]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert table
    lines = [[cell.strip(" *") for cell in row.split("|")[3:-1]] for row in table[1].splitlines()]
    parts = [lines[at : at + 3] for at in range(0, len(lines), 3)]
    return {
        case: {words[0]: words[1:] for words in part}
        for case, part in zip(CASES, parts, strict=True)
    }


def spread(cell: str) -> tuple[float, float, float]:
    """`27 (19 to 43)` as numbers."""
    found = re.fullmatch(r"(-?[\d,]+) \((-?[\d,]+) to (-?[\d,]+)\)", cell)
    assert found, cell
    middle, least, most = (float(text.replace(",", "")) for text in found.groups())
    return middle, least, most


def test_the_table_has_every_case():
    """With the seeds of the measurement, and what it says of each case adds up."""
    assert f"{SEEDS} seeds" in FLAT
    for part in rows().values():
        canary, at_once, saved = (
            spread(part[name][0]) for name in ("canary", "all at once", "saved")
        )
        assert saved[0] == pytest.approx(at_once[0] - canary[0], abs=0.2 * at_once[0])


@pytest.mark.slow
@pytest.mark.parametrize("case", QUICK, ids=lambda case: f"room for {case.capacity:.0%}")
def test_a_canary_saves_about_as_much_as_the_page_says(case):
    """The failures of both, where it was stopped, and who has fewer."""
    part = rows()[case]
    pairs = [pair(case, seed) for seed in range(1_000, 1_000 + FEW)]
    for name, outcomes in (
        ("canary", [each.canary for each in pairs]),
        ("all at once", [each.at_once for each in pairs]),
    ):
        middle, least, most = spread(part[name][0])
        failed = median(outcome.failed_count for outcome in outcomes)
        assert 0.5 * least <= failed <= 2 * most
        assert {f"{o.stopped_bp / 100:g} %" for o in outcomes if o.stopped_bp} <= set(
            re.findall(r"[\d.]+ %", part[name][1])
        )
        assert middle <= most
    assert median(each.saved for each in pairs) > 0.5 * spread(part["saved"][0])[1] > 0

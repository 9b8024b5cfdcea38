"""The page on the A/B gate is true: its tables are what the simulations and the core give."""

import re

import numpy as np
import pytest

from bench.experiment import (
    GATE_RUNS,
    RARE,
    RARE_SIZE,
    SIZES,
    TRUTHS,
    USERS,
    Truth,
    clustered,
    gate_run,
    looked,
    rare,
    share,
)
from knowngood.core.compare import ANYTIME_ONE_SIDED_FACTOR, ANYTIME_TWO_SIDED_FACTOR
from knowngood.core.experiment import SAMPLE_RATIO_ALPHA, ExperimentState
from knowngood.core.experiment_metric import ERROR_RATIO, SLOW_LIMIT, SLOW_RATIO
from knowngood.core.plan import SAFE_LIMIT, Spread, Today, stage_need
from knowngood.core.rules import ExperimentRule
from tests.docs.pages import DOCS

PAGE = DOCS / "explanation" / "ab-gate.md"
TEXT = PAGE.read_text(encoding="utf-8")
FLAT = " ".join(TEXT.split())
UNIT_MS = {"s": 1_000, "min": 60_000, "day": 86_400_000, "days": 86_400_000}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    table = re.search(rf"^\| {heading} \|.*\n\|[- |]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert table, heading
    return [[c.strip() for c in line.strip("|").split("|")] for line in table[1].splitlines()]


def part(cell: str) -> float:
    """A share such as `23.7 %`."""
    return float(cell.removesuffix(" %")) / 100


def number(cell: str) -> float:
    """A count such as `7,100`, or never."""
    return np.inf if cell == "never" else float(cell.replace(",", ""))


def near(value: float) -> object:
    """Within what 1,000 runs of another seed may differ by."""
    return pytest.approx(value, abs=3 * np.sqrt(max(0.01, value * (1 - value)) / 1_000))


def test_every_answer_is_on_the_page():
    """The five states, in their words."""
    assert [row[0] for row in rows("answer")] == [state.value for state in ExperimentState]


def test_constants_of_the_page_are_in_force():
    """The figures in the text are those of the core."""
    rule = ExperimentRule()
    assert f"p below {SAMPLE_RATIO_ALPHA:g}" in FLAT
    assert f"A full day and {rule.min_units_count} units" in FLAT
    assert rule.min_time_ms == UNIT_MS["day"]
    assert f"{ANYTIME_TWO_SIDED_FACTOR} times the units of a single look" in FLAT
    assert f"and {ANYTIME_ONE_SIDED_FACTOR} times to show" in FLAT
    assert (ERROR_RATIO, SLOW_RATIO, SLOW_LIMIT, SAFE_LIMIT) == (2, 1.5, 0.01, 0.05)
    assert "more than *twice* the control's failures" in FLAT
    assert "more than one and a half times as many" in FLAT


@pytest.mark.parametrize(("size", "single", "often", "sequence"), rows("requests per arm"))
def test_looking_all_the_time(size, single, often, sequence):
    """How often equal arms are called different."""
    assert number(size) in SIZES
    found = looked(0.0, int(number(size)), runs=1_000, seed=21)
    assert share(found.single) == near(part(single))
    assert share(found.often) == near(part(often))
    assert share(found.sequence) == near(part(sequence))


@pytest.mark.parametrize(("lift", "single", "sequence", "stop"), rows("true lift"))
def test_power(lift, single, sequence, stop):
    """How often a real lift is seen, and by when."""
    found = looked(float(lift.removesuffix(" points")) / 100, 10_000, runs=1_000, seed=22)
    assert share(found.single) == near(part(single))
    assert share(found.sequence) == near(part(sequence))
    assert np.median(found.sequence) == pytest.approx(number(stop), rel=0.15)


def test_users_who_come_back():
    """By calls and by users, in fewer runs than the page's."""
    said = re.search(r"in ([\d.]+ %) of the runs, counting users in ([\d.]+ %)", FLAT)
    assert said and f"arms of {USERS:,} users" in FLAT
    by_calls, by_users = clustered(runs=60, seed=23)
    assert by_calls == pytest.approx(part(said[1]), abs=0.15)
    assert by_users == pytest.approx(part(said[2]), abs=0.04)


def test_rare_failures():
    """What is shown of rare failures, and by when; the last two are at the margin."""
    assert f"{RARE_SIZE:,} units per arm" in FLAT
    for (candidate, control), (names, shown, median) in zip(
        RARE, rows("candidate, control"), strict=True
    ):
        assert names == f"{100 * candidate:g} %, {100 * control:g} %"
        found, _ = rare(candidate, control, runs=400, seed=24)
        assert share(found) == pytest.approx(part(shown), abs=0.07)
        middle = np.quantile(found, 0.5, method="inverted_cdf")
        assert middle == number(median) or middle == pytest.approx(number(median), rel=0.15)


TOLD = {row[0]: row[1:] for row in rows("in truth")}


@pytest.mark.slow
@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: truth.name)
def test_the_whole_gate(truth: Truth):
    """Each line of the table, in fewer runs than the page's."""
    assert f"{GATE_RUNS} runs a line" in FLAT
    shown = dict(zip(("pass", "fail", "invalid", "insufficient"), TOLD[truth.name], strict=False))
    runs = [gate_run(truth, seed) for seed in range(1_000, 1_024)]
    for state, cell in shown.items():
        seen = sum(found.state == state for found, _ in runs) / len(runs)
        assert seen == pytest.approx(part(cell), abs=0.25)
    stop = number(TOLD[truth.name][4])
    assert np.median([n for _, n in runs]) == pytest.approx(stop, rel=0.3)


def test_every_truth_is_on_the_page():
    """The table leaves out no line of the measurement."""
    assert list(TOLD) == [truth.name for truth in TRUTHS]


@pytest.mark.parametrize(("name", "likely", "sure", "gate"), rows("share"))
def test_how_long_it_takes(name, likely, sure, gate):
    """The times of the plan."""
    today = Today(10, 200_000, 0.005, 0.006, {"quality": Spread(0.8, 0.2)})
    need = stage_need(round(100 * float(name.removesuffix(" %"))), today, ExperimentRule())
    for cell, ms in ((likely, need.likely_ms), (sure, need.sure_ms), (gate, need.gate_ms)):
        value, unit = cell.split()
        assert ms == pytest.approx(float(value) * UNIT_MS[unit], rel=0.04)

"""The page on how it decides is true: its figures, its examples, and what it says it cannot see."""

import random
import re
from collections import deque
from importlib import import_module
from math import isclose

import pytest

from knowngood.core.detect import REAL_MOVE_SIGMAS, Frame, detect
from knowngood.core.explain import finding_words, wait_words
from knowngood.core.measure import MIN_ERRORS, MIN_REQUESTS, proves_below
from knowngood.core.model import Verdict
from knowngood.core.policy import parse
from knowngood.core.steps import recovery, verify
from knowngood.core.steps.brakes import STALE_MS
from knowngood.core.window import Window
from tests.docs.pages import DOCS

TEXT = (DOCS / "explanation" / "how-it-decides.md").read_text(encoding="utf-8")
POLICY = parse({}).for_prompt("any")
WINDOW_S = POLICY.window_ms // 1000
MINUTE_MS = 60_000


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    table = re.search(rf"^\| {heading} \|.*\n\|[- |]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert table, heading
    return [[c.strip() for c in line.strip("|").split("|")] for line in table[1].splitlines()]


def found(bad: int, n: int, blind: bool = False):
    """What the critical trigger says of so many failures of so many calls."""
    window = Window(ok=n - bad, errors={"provider": bad})
    trigger = next(t for t in POLICY.triggers if t.name == "error_critical")
    return detect(trigger, Frame("v2", 0, POLICY.window_ms, window, blind=blind), POLICY)


def test_the_four_examples_are_what_it_says():
    """Each verdict of the table, in the words that `explain` prints."""
    examples = [found(35, 312), found(1, 312), found(1, 16), found(0, 20, blind=True)]
    table = rows("verdict")
    assert [row[0] for row in table] == [f.verdict for f in examples] == list(Verdict)
    for row, finding in zip(table, examples, strict=True):
        assert f"`{finding_words(finding)}`" in row[2]
    assert f"`{wait_words(examples[2].waiting_on[0])}`" in table[2][2]


def test_figures_are_those_in_force():
    """A figure that changes in the code changes on the page."""
    table = rows("figure")
    assert len(table) == 10
    for _, value, constant in table:
        module, _, name = constant.strip("`").rpartition(".")
        real = getattr(import_module(f"knowngood.{module}"), name)
        assert float(value) == (real / 1000 if name.endswith("_MS") else real), constant


def test_limits_in_the_text_are_those_of_the_default_policy():
    """The bake, the brakes, the proof of recovery, the baseline and the alerts by age."""
    flap, rule = POLICY.flap, POLICY.verify
    assert (flap.cooldown_ms, flap.per_prompt_hour_count) == (10 * MINUTE_MS, 2)
    assert (flap.fleet_hour_count, STALE_MS, POLICY.bake.for_ms) == (10, 24 * 3_600_000, 3_600_000)
    assert (rule.error_rate_below, rule.goal_ms, rule.deadline_ms) == (0.01, 60_000, 300_000)
    assert proves_below(0, 59, 0.05) and not proves_below(0, 58, 0.05)
    assert isclose(recovery.QUALITY_BACK, 1 - 0.93) and isclose(recovery.LATENCY_BACK, 1.5 - 1)
    assert (verify.RETRY_MS, verify.STRAGGLER_MS) == (15 * MINUTE_MS, MINUTE_MS)
    assert verify.RETRY_MS * verify.MAX_ATTEMPTS == 24 * 3_600_000
    assert (POLICY.baseline.min_requests, POLICY.baseline.min_labels) == (1000, 50)
    ages = [(rule.min_age_ms, rule.max_age_ms) for rule in POLICY.alerts]
    assert ages == [(0, 60 * MINUTE_MS), (60 * MINUTE_MS, None)]
    limits = [[f"{100 * when.limit:g} %" for when in rule.when] for rule in POLICY.alerts]
    assert [[cell.strip("> +−") for cell in row[1:]] for row in rows("age")] == limits


def test_labels_for_a_drop_are_computed():
    """The table says when a drop is as far from nothing as it has to be, equal on both sides."""
    for mean, spread, *needed in rows("mean of the score"):
        for drop, labels in zip((0.20, 0.10, 0.05), needed, strict=True):
            move = float(mean) * drop
            need = REAL_MOVE_SIGMAS**2 * 2 * float(spread) ** 2 / move**2
            assert abs(int(labels.replace(",", "")) - need) <= 1


def has_false_alarm(rate: float, failing: float, dice: random.Random) -> bool:
    """Whether a healthy prompt is found at fault once in a day."""
    seen: deque[tuple[float, bool]] = deque()
    at_s, bad = 0.0, 0
    while (at_s := at_s + dice.expovariate(rate)) < 86_400:
        fails = dice.random() < failing
        seen.append((at_s, fails))
        bad += fails
        while seen[0][0] < at_s - WINDOW_S:
            bad -= seen.popleft()[1]
        n = len(seen)
        if fails and n >= MIN_REQUESTS and bad >= MIN_ERRORS and bad > 0.05 * n:
            return True
    return False


WORDS = {
    "practically never": (0.0, 0.03),
    "below 1 in 10": (0.0, 0.1),
    "below 1 in 20": (0.0, 0.05),
    "1 in 4": (0.12, 0.40),
    "1 in 3": (0.20, 0.50),
    "2 in 3": (0.50, 0.82),
    "9 in 10": (0.78, 1.0),
    "practically sure": (0.95, 1.0),
}


@pytest.mark.slow
def test_false_alarms_are_as_often_as_said():
    """The page does not flatter: days of each line are simulated, fewer of the busy ones."""
    dice = random.Random(7)
    for rate, *cells in rows("calls a second"):
        for failing, words in zip((0.005, 0.01), cells, strict=True):
            low, high = WORDS[words]
            count = min(60, round(12 / float(rate)))
            days = sum(has_false_alarm(float(rate), failing, dice) for _ in range(count))
            assert low <= days / count <= high, (rate, failing, days / count)

"""The page on how it decides is true: its figures, its examples, and what it says it cannot see."""

import random
import re
from collections import deque
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from math import isclose

import numpy as np
import pytest

from bench.twin import HOUR_S, Phase, Verdicts, default_levels, judge, traffic
from knowngood.core.detect import Frame, detect, is_proof, time_to_detect
from knowngood.core.explain import duration, finding_words, wait_words
from knowngood.core.levels import HEADROOM, LADDER_FROM
from knowngood.core.look import (
    CASCADE_CHANGED_MS,
    CASCADE_EVIDENCE,
    CASCADE_WITHIN_MS,
    WORSE_EVIDENCE,
)
from knowngood.core.measure import MIN_LATENCIES
from knowngood.core.model import Finding, Response, Verdict
from knowngood.core.plain import REAL_MOVE_SIGMAS
from knowngood.core.policy import parse
from knowngood.core.reading import RateSign, Reading
from knowngood.core.scoring import Bets
from knowngood.core.stats import (
    SAFE_EVIDENCE,
    WEIGHT_AT_START,
    WEIGHT_PER_DAY,
    WEIGHT_PER_LABEL,
    alternatives,
    calls_to_alarm,
    safe_calls,
    upper_rank,
    upper_rate,
)
from knowngood.core.steps import attribution, recovery, stage, verify, watchdog
from knowngood.core.steps.brakes import STALE_MS
from knowngood.core.track import GATE_CHANCE, GATE_MS, LONG_GATE_MS, Plan, Track
from knowngood.core.watch import (
    ALPHAS,
    ELEVATED_RATE,
    SCORE_ALPHAS,
    target_trigger,
    watch_of,
    watches,
)
from knowngood.core.window import EMPTY, Window
from tests.cli.world import GOLDEN
from tests.docs.pages import DOCS, blocks

PAGE = DOCS / "explanation" / "how-it-decides.md"
TEXT = PAGE.read_text(encoding="utf-8")
POLICY = parse({}).for_prompt("any")
WINDOW_S = POLICY.window_ms // 1000
MINUTE_MS = 60_000
DAY_S = 86_400
TIMES = r"calls a second \| 6 % fail \| 20 % fail \| all fail"  # of which table
CRITICAL = next(t for t in POLICY.triggers if t.name == "error_critical")
QUALITY = next(t for t in POLICY.triggers if t.name == "quality_high")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    table = re.search(rf"^\| {heading} \|.*\n\|[- |]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert table, heading
    return [[c.strip() for c in line.strip("|").split("|")] for line in table[1].splitlines()]


def number(cell: str) -> float:
    """A cell's number, in whatever way people write it."""
    return float(cell.replace(",", "").removesuffix(" %"))


# --- The verdicts


def found(bad: int, n: int, seconds: int, blind: bool = False) -> Finding:
    """What the critical trigger says of so many failures of so many calls, evenly spread."""
    track = Track(0)
    track.plan(Plan(watches(POLICY), POLICY.baseline, POLICY.scores))
    for at in range(seconds):
        fails = bad * (at + 1) // seconds - bad * at // seconds
        calls = n * (at + 1) // seconds - n * at // seconds
        window = Window(ok=calls - fails, errors={"provider": fails} if fails else {})
        track.add(at * 1000, 1000, window, EMPTY, None)
    reading = track.read(POLICY.window_ms, seconds * 1000)
    whole = Window(ok=n - bad, errors={"provider": bad})
    frame = Frame("v2", 0, seconds * 1000, whole, blind=blind, reading=reading)
    return detect(CRITICAL, frame, POLICY)


def test_the_four_examples_are_what_it_says():
    """Each verdict of the table, in the words that `explain` prints."""
    examples = [found(35, 312, 5), found(1, 312, 5), found(6, 84, 60), found(0, 20, 5, blind=True)]
    table = rows("verdict")
    assert [row[0] for row in table] == [f.verdict for f in examples] == list(Verdict)
    for row, finding in zip(table, examples, strict=True):
        assert f"`{finding_words(finding)}`" in row[2]
    assert f"`{wait_words(examples[2].waiting_on[0])}`" in table[2][2]


def test_what_explain_shows_is_what_it_prints():
    """The example of its evidence is of a story that the command line's tests play."""
    shown = [block.text for block in blocks(PAGE) if block.language == ""]
    told = (GOLDEN / "unproven.txt").read_text(encoding="utf-8")
    assert shown and not [text for text in shown if text not in told]


# --- The figures in force


def test_figures_are_those_in_force():
    """A figure that changes in the code changes on the page."""
    table = rows("figure")
    assert len(table) == 19
    for _, value, constant in table:
        module, _, name = constant.strip("`").rpartition(".")
        real = getattr(import_module(f"knowngood.{module}"), name)
        assert float(value) == (real / 1000 if name.endswith("_MS") else real), constant


def test_budgets_are_those_in_force():
    """How much evidence each response needs, and how rarely a healthy version shows it."""
    needed = {row[0]: number(row[1]) for row in rows("what follows")}
    assert needed.pop("ask, about a score") == 1 / SCORE_ALPHAS[Response.ASK]
    assert needed == {response.value: 1 / alpha for response, alpha in ALPHAS.items()}
    days = {row[0]: re.search(r"([\d,]+) days", row[2]) for row in rows("what follows")}
    for response, alpha in ALPHAS.items():
        told = days[response.value]
        assert told and isclose(number(told[1]), 1 / (alpha * WEIGHT_PER_DAY))
    assert (WEIGHT_AT_START, WEIGHT_PER_DAY, WEIGHT_PER_LABEL * 2000) == (0.5, 0.5, 0.5)


def test_limits_in_the_text_are_those_in_force():
    """The bake, the brakes, the proof of recovery, the baseline and the alerts by age."""
    flap, rule = POLICY.flap, POLICY.verify
    assert (flap.cooldown_ms, flap.per_prompt_hour_count) == (10 * MINUTE_MS, 2)
    assert (flap.fleet_hour_count, STALE_MS, POLICY.bake.for_ms) == (10, 24 * 3_600_000, 3_600_000)
    assert (rule.error_rate_below, rule.goal_ms, rule.deadline_ms) == (0.01, 60_000, 300_000)
    assert [safe_calls(bad, 0.05) for bad in range(3)] == [70, 124, 168] and SAFE_EVIDENCE == 20
    assert isclose(recovery.QUALITY_BACK, 1 - 0.93) and isclose(recovery.LATENCY_BACK, 1.5 - 1)
    assert (verify.RETRY_MS, verify.STRAGGLER_MS) == (15 * MINUTE_MS, MINUTE_MS)
    assert verify.RETRY_MS * verify.MAX_ATTEMPTS == 24 * 3_600_000
    assert (POLICY.baseline.min_requests, POLICY.baseline.min_labels) == (1000, 50)
    ages = [(rule.min_age_ms, rule.max_age_ms) for rule in POLICY.alerts]
    assert ages == [(0, 60 * MINUTE_MS), (60 * MINUTE_MS, None)]
    limits = [[f"{100 * when.limit:g} %" for when in rule.when] for rule in POLICY.alerts]
    assert [[cell.strip("> +−") for cell in row[1:]] for row in rows("age")] == limits


def test_the_windows_and_the_ladder_in_the_text_are_those_in_force():
    """The gate's windows, the p99's ranks, the plain rule's count, the watchdog's limit."""
    assert ((*GATE_MS, POLICY.window_ms), LONG_GATE_MS) == (
        (15_000, MINUTE_MS, 5 * MINUTE_MS), (5 * MINUTE_MS, 3_600_000, 24 * 3_600_000)
    )  # fmt: skip
    assert upper_rank(459, 0.99) and not upper_rank(458, 0.99) and MIN_LATENCIES == 459
    assert LADDER_FROM == 0.5 and REAL_MOVE_SIGMAS == 4
    assert CRITICAL.limit_ms == watchdog.LIMIT_MS == 2 * MINUTE_MS


def test_who_is_at_fault_is_said_with_the_figures_in_force():
    """Attribution, a candidate worse than its control, and the cascade."""
    assert (attribution.HEALTHY_CALLS, attribution.FAILING_CALLS) == (3, 2)
    assert attribution.SHARE_OF_RATE == 0.5 and GATE_CHANCE == 0.001
    assert (WORSE_EVIDENCE, CASCADE_EVIDENCE, ELEVATED_RATE) == (100, 100, 0.02)
    assert (CASCADE_WITHIN_MS, CASCADE_CHANGED_MS) == (5 * MINUTE_MS, 24 * 3_600_000)
    assert f"E of {attribution.PROOF:g}" in TEXT and f"E of {WORSE_EVIDENCE:g}" in TEXT


def test_rollouts_are_as_it_says():
    """The ladders, their proof and holdback, the soak, and what pauses a gradual rollback."""
    canary, gradual, bake, soak = POLICY.canary, POLICY.gradual, POLICY.bake, POLICY.soak
    assert (canary.stages_bp, canary.wait_ms) == ((100, 500, 2_500, 10_000), 6 * 3_600_000)
    assert (gradual.stages_bp, gradual.hold_ms) == ((7_500, 5_000, 2_500, 0), 10 * MINUTE_MS)
    assert (bake.holdback_bp, stage.UNSAFE_RATE) == (500, 0.05)
    assert (soak.for_ms, soak.min_calls, soak.required) == (24 * 3_600_000, 100, "used")
    target = target_trigger(POLICY)
    assert (target.when.limit, target.action) == (0.02, Response.ASK)
    section = TEXT[TEXT.index("## Up and down, by stages") :].partition("\n## ")[0]
    said = re.findall(r"^- \*(\w+)\*: ", section, re.MULTILINE)
    story = (GOLDEN / "canary.txt").read_text(encoding="utf-8")
    lists = re.findall(r"(?:^  [✓?✗] +(?:allow|not yet|deny) +\w+ .*\n)+", story, re.MULTILINE)
    gates = [re.findall(r"^  . +(?:allow|not yet|deny) +(\w+)", text, re.M) for text in lists]
    full, timed = max(gates, key=len), next(g for g in reversed(gates) if "time" in g)
    assert said == full[-2:] and timed == full[:-2] and len(timed) == 7


# --- What the traffic shows


def sign(healthy: float) -> RateSign:
    """The critical trigger's detector at this healthy share."""
    return RateSign(100, 0, POLICY.window_ms, False, 0.05, healthy, ALPHAS[Response.ROLLBACK], 0.0)


def test_the_calls_that_are_needed_are_computed():
    """Whatever the statistics: so many calls tell the two shares apart."""
    count = len(alternatives(0.05))
    for rate, *cells in rows("calls that fail"):
        for healthy, cell in zip((0.0075, 0.02), cells, strict=True):
            calls = calls_to_alarm(number(rate) / 100, healthy, ALPHAS[Response.ROLLBACK], count)
            assert round(calls) == number(cell)


def test_times_to_detect_are_computed():
    """The table is what `explain` would tell of a version after such a baseline."""
    healthy = HEADROOM * upper_rate(50, 10_000)
    for per_s, *cells in rows(TIMES):
        times = time_to_detect(sign(healthy), float(per_s))
        assert [t.rate for t in times] == [0.06, 0.2, 1.0]
        assert cells == [duration(t.after_ms or 0) for t in times]


@pytest.fixture(scope="module")
def days() -> Callable[..., Verdicts]:
    """So many versions that fail by a plan, as the twin of core judges them."""

    def watched(
        per_s: float, phases: tuple[Phase, ...], seconds: int, share: float = 1.0
    ) -> Verdicts:
        dice = np.random.default_rng(7)
        made = traffic(dice, (seconds, 100), per_s, phases, share)
        return judge(made, *default_levels(dice, per_s, 0.005, 100))

    return watched


def within(values: np.ndarray, share: float) -> float:
    """By when so large a share has come."""
    return float(np.quantile(values, share, method="inverted_cdf"))


@pytest.mark.slow
def test_what_was_measured_can_be_measured_again(days):
    """The lines of the list, each with its bound."""
    measured = re.findall(r"^- (.+) failing ", TEXT, re.MULTILINE)
    assert measured == ["6 %", "20 %", "20 %", "3 %", "One call in five"]
    six = days(10, (Phase(0, 0.06),), HOUR_S).rollback_s
    assert within(six, 0.5) <= 30 and within(six, 0.95) <= 120
    assert within(days(1, (Phase(0, 0.2),), HOUR_S).rollback_s, 0.95) <= 75
    begin_s = 6 * HOUR_S
    late = days(10, (Phase(0, 0.005), Phase(begin_s, 0.2)), begin_s + 300).rollback_s - begin_s
    assert late.min() > 0 and within(late, 0.95) <= 20
    three = days(10, (Phase(0, 0.03),), DAY_S)
    assert within(three.ask_s, 0.95) <= 120 and np.isfinite(three.rollback_s).mean() <= 0.2
    outage = Phase(0, 0.005, 0.005), Phase(1_800, 0.2, 0.2), Phase(5_400, 0.005, 0.005)
    assert not np.isfinite(days(10, outage, 2 * HOUR_S, 0.25).rollback_s).any()


@pytest.mark.slow
def test_what_is_told_is_about_the_median(days):
    """`explain` promises what happens: half about then, some in several times as long."""
    healthy = HEADROOM * upper_rate(50, 10_000)
    for per_s in (float(row[0]) for row in rows(TIMES)):
        for told in time_to_detect(sign(healthy), per_s):
            assert told.after_ms
            came = days(per_s, (Phase(0, told.rate),), 4 * HOUR_S // round(max(1, per_s)))
            told_s = told.after_ms / 1000
            assert 0.5 * told_s <= within(came.rollback_s, 0.5) <= 1.6 * told_s
            assert within(came.rollback_s, 0.95) <= 6 * told_s


# --- Scores


def graded(dice: random.Random, mean: float) -> int:
    """A grade around the mean, in hundredths."""
    return min(100, max(0, round(100 * dice.gauss(mean, 0.2))))


def right_or_wrong(dice: random.Random, mean: float) -> int:
    """An answer that is right in `mean` of the cases."""
    return 100 if dice.random() < mean else 0


def labels_needed(draw: Callable[[random.Random, float], int], drop: float, seed: int) -> int:
    """After how many labels a drop from a mean of 0.8 is found."""
    dice, day = random.Random(seed), dict[int, int]()
    for _ in range(1000):
        label = draw(dice, 0.8)
        day[label] = day.get(label, 0) + 1
    watch, bets = watch_of(QUALITY), Bets()
    assert watch
    scores = Window(scores={"quality": day})
    bets.plan([watch], scores, "previous good v1", POLICY.baseline, POLICY.scores)
    for count in range(1, 3_000):
        bets.add(Window(scores={"quality": {draw(dice, 0.8 * (1 - drop)): 1}}), EMPTY)
        seen = bets.signs()[watch.key]
        if count >= watch.min_labels and seen.over and is_proof(seen.log_e, seen.alpha):
            return count
    return 3_000


@pytest.mark.slow
def test_labels_for_a_drop_are_what_core_needs():
    """The median of seeded runs is what the page says, but for a seventh."""
    for drop, *cells in rows("true drop"):
        for draw, cell in zip((graded, right_or_wrong), cells, strict=True):
            runs = sorted(labels_needed(draw, number(drop) / 100, seed) for seed in range(101))
            assert abs(runs[50] - number(cell)) <= number(cell) / 7, (drop, draw, runs[50])


# --- Why not the bare limit


def has_false_alarm(rate: float, failing: float, dice: random.Random) -> bool:
    """Whether the bare limit finds a healthy prompt at fault once in a day."""
    seen: deque[tuple[float, bool]] = deque()
    at_s, bad = 0.0, 0
    while (at_s := at_s + dice.expovariate(rate)) < DAY_S:
        fails = dice.random() < failing
        seen.append((at_s, fails))
        bad += fails
        while seen[0][0] < at_s - WINDOW_S:
            bad -= seen.popleft()[1]
        if bad > 0.05 * len(seen):
            return True
    return False


WORDS = {
    "1 in 10": (0.04, 0.19),
    "1 in 5": (0.1, 0.32),
    "1 in 2": (0.38, 0.62),
    "practically sure": (0.95, 1.0),
}


@pytest.mark.slow
def test_false_alarms_of_the_bare_limit_are_as_often_as_said():
    """The page does not flatter: days of each line are simulated, fewer of the busy ones."""
    dice = random.Random(7)
    for rate, *cells in rows(r"calls a second \| 0.5 % of calls fail anyway"):
        for failing, words in zip((0.005, 0.01), cells, strict=True):
            low, high = WORDS[words]
            count = min(100, round(60 / float(rate)))
            found_days = sum(has_false_alarm(float(rate), failing, dice) for _ in range(count))
            assert low <= found_days / count <= high, (rate, failing, found_days / count)


def test_what_is_frozen_is_what_the_page_says():
    """Sums and the detectors' numbers, and no buckets."""
    assert {"rates", "scores", "relative"} < {field.name for field in fields(Reading)}

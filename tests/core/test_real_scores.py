"""Scores that a real judge gave to real answers: what the bets on a mean find in them.

The variants are one model under three prompts, so that a change of variant is a real change of a
prompt. The score is skewed: most labels are near 0 and a few near 1.
"""

import csv
import math
import os
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from knowngood.core.detect import Frame, detect
from knowngood.core.model import Finding, Verdict
from knowngood.core.track import Plan, Track
from knowngood.core.watch import watch_of
from knowngood.core.window import EMPTY, Window, score_bin
from tests.core.build import DEFAULT, SECOND
from tests.core.policies import trigger_of

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "alpaca_eval_prompt_variants.csv"
MODEL = "gpt-3.5-turbo-1106"
VARIANTS = ("standard", "concise", "verbose")
QUALITY = ("quality_high", "quality_medium")

Scores = dict[str, list[float]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scores() -> Scores:
    """The scores of each variant; the real data has to be there when CI says so."""
    if not DATA.is_file() and os.environ.get("CI") != "true":
        pytest.skip(f"the real scores are not there: no shared/data/{DATA.name} in {ROOT.parent}")
    found: Scores = defaultdict(list)
    with DATA.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["model"] == MODEL:
                found[row["prompt_variant"]].append(float(row["score"]))
    assert {variant: len(found[variant]) for variant in VARIANTS} == dict.fromkeys(VARIANTS, 805)
    return found


def labelled(values: Sequence[float]) -> Window:
    """Calls that were given these scores."""
    bins = Counter(score_bin(value, 0, 1) for value in values)
    return Window(ok=len(values), scores={"quality": dict(bins)})


def played(before: Sequence[float], after: Sequence[float], rule: str) -> tuple[float, Finding]:
    """How many labels it took to a breach (infinity: none), and the trigger's last word."""
    trigger = trigger_of(DEFAULT, rule)
    watch = watch_of(trigger)
    assert watch is not None
    track = Track(0)
    track.plan(Plan((watch,), DEFAULT.baseline, DEFAULT.scores, "", labelled(before), "before"))
    labels = 0
    for labels, score in enumerate(after, 1):
        track.add(labels * SECOND, SECOND, labelled([score]), EMPTY, None)
        sign = track.bets.signs()[watch.key]
        if sign.over and sign.log_e >= math.log(1 / sign.alpha):
            break
    until_ms = (labels + 1) * SECOND
    reading = track.read(until_ms, DEFAULT.window_ms)
    finding = detect(trigger, Frame("v2", 0, until_ms, Window(ok=1), reading=reading), DEFAULT)
    return (labels if finding.verdict is Verdict.BREACH else math.inf), finding


RUNS = 30
LABELS_MAX = 3_000
FIXED_LABELS = 350  # of a z-test of the same question at the same level, power a half, one look


def test_a_real_fall_is_found(scores):
    """From verbose to concise the mean falls by 42 %: half of the runs know it by 1,800 labels.

    That is no more than six times what a single look would take, which must be planned beforehand.
    """
    runs = (random.Random(seed).choices(scores["concise"], k=LABELS_MAX) for seed in range(RUNS))
    needed = sorted(played(scores["verbose"], labels, "quality_high")[0] for labels in runs)
    assert needed[0] > 50
    assert needed[RUNS // 2] <= min(1_800, 6 * FIXED_LABELS)


def test_a_smaller_fall_cannot_be_told_from_noise(scores):
    """From standard to concise it falls by 19 %: 805 labels say so, and how many would be needed.

    A fixed test, worked out by hand, takes about 2,200 labels a side.
    """
    needed, finding = played(scores["standard"], scores["concise"], "quality_high")
    assert needed == math.inf and finding.verdict is Verdict.UNSURE
    (wait,) = finding.waiting_on
    assert (wait.kind, wait.have) == ("separable", 805)
    assert wait.need is not None and 1_800 <= wait.need <= 2_800


@pytest.mark.parametrize("rule", QUALITY)
def test_no_alarm_where_nothing_changed(scores, rule):
    """One half of a variant's scores against the other half, shuffled 200 times: no breach."""
    for number in range(200):
        values = list(scores[VARIANTS[number % len(VARIANTS)]])
        random.Random(number).shuffle(values)
        half = len(values) // 2
        needed, _finding = played(values[:half], values[half:], rule)
        assert needed == math.inf, f"shuffle {number}"

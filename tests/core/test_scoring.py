"""Scores: bets on a worse mean, on the clock of the labels."""

import json
import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.levels import expected_loss
from knowngood.core.model import Comparison, ScoreRange
from knowngood.core.reading import ScoreSign
from knowngood.core.rules import BaselineRule
from knowngood.core.scoring import Bets
from knowngood.core.stats import BETS, WEIGHT_PER_LABEL
from knowngood.core.watch import Watch
from knowngood.core.window import EMPTY, Window
from tests.core.build import MINUTE

RANGES = {"quality": ScoreRange(0, 1), "toxicity": ScoreRange(0, 1), "stars": ScoreRange(1, 5)}
DROP = Watch("quality", Comparison.DROP, 0.2, 0.005, 5 * MINUTE)
LOW = Watch("quality", Comparison.BELOW, 0.6, 0.005, 5 * MINUTE)
TOXIC = Watch("score.toxicity", Comparison.INCREASE, 0.2, 0.005, 5 * MINUTE)
FEW_STARS = Watch("score.stars", Comparison.DROP, 0.25, 0.005, 5 * MINUTE)
DAY = Window(scores={"quality": {70: 200, 90: 200}, "toxicity": {10: 400}, "stars": {75: 400}})
RULE = BaselineRule(min_labels=50)

Bins = Mapping[int, int]


def of(bins: Bins, name: str = "quality") -> Window:
    return Window(scores={name: bins}) if bins else EMPTY


def bets(*watched: Watch, day: Window | None = DAY, rule: BaselineRule = RULE) -> Bets:
    made = Bets()
    made.plan(watched or (DROP,), day, "previous good v1", rule, RANGES)
    return made


def judged(*ticks: Bins, theirs: Bins | None = None, watch: Watch = DROP, **more) -> ScoreSign:
    """What the bets on a watch show after these labels; `theirs` came to the control before."""
    made = bets(watch, **more)
    name = watch.metric.removeprefix("score.")
    if theirs:
        made.add(EMPTY, of(theirs, name))
    for bins in ticks:
        made.add(of(bins, name), EMPTY)
    return made.signs()[watch.key]


# --- What it waits on


def test_without_labels_there_is_nothing_to_show():
    """No label, no sign: nobody scored a call."""
    made = bets()
    made.add(EMPTY, of({80: 100}))
    assert made.signs() == {}


def test_without_a_baseline_nothing_is_bet():
    """The evidence stays at the start's weight, and says that it has no baseline."""
    sign = judged({20: 30}, day=None)
    assert (sign.n, sign.baseline, sign.over) == (30, None, False)
    assert math.exp(sign.log_e) == pytest.approx(0.5)


@pytest.mark.parametrize(("labels", "over"), [(9, False), (10, True)])
def test_a_handful_of_labels_passes_no_limit(labels, over):
    """Fewer than the least say nothing, however bad they are."""
    assert judged({10: labels}).over is over


def test_the_owner_says_how_many_labels_are_enough():
    """`min_labels` up to the fifty newest."""
    strict = Watch("quality", Comparison.DROP, 0.2, 0.005, 5 * MINUTE, min_labels=40)
    assert not judged({10: 39}, watch=strict).over
    assert judged({10: 40}, watch=strict).over
    huge = Watch("quality", Comparison.DROP, 0.2, 0.005, 5 * MINUTE, min_labels=400)
    assert judged({10: 50}, watch=huge).over


# --- What it bets


@pytest.mark.parametrize(
    ("watch", "ticks", "over", "proven"),
    [
        pytest.param(DROP, [{80: 1}] * 200, False, False, id="as before"),
        pytest.param(DROP, [{95: 1}] * 200, False, False, id="better"),
        pytest.param(DROP, [{70: 1}] * 300, False, True, id="an eighth worse: within the limit"),
        pytest.param(DROP, [{56: 1}] * 60, True, True, id="three tenths worse"),
        pytest.param(DROP, [{100: 1}, {0: 1}] * 30, True, False, id="worse on average, and wild"),
        pytest.param(LOW, [{55: 1}] * 200, True, True, id="below 0.60"),
        pytest.param(LOW, [{61: 1}] * 200, False, False, id="just above"),
        pytest.param(TOXIC, [{20: 1}] * 60, True, True, id="twice as toxic"),
        pytest.param(TOXIC, [{5: 1}] * 200, False, False, id="half as toxic"),
        pytest.param(FEW_STARS, [{50: 1}] * 60, False, True, id="3 stars instead of 4: a quarter"),
        pytest.param(FEW_STARS, [{25: 1}] * 60, True, True, id="2 stars instead of 4"),
    ],
)
def test_a_worse_mean_is_found(watch, ticks, over, proven):
    """The newest labels past the limit, and evidence that the mean is worse than a healthy one."""
    sign = judged(*ticks, watch=watch)
    assert sign.over is over
    assert (sign.log_e >= math.log(1 / sign.alpha)) is proven


@given(st.lists(st.dictionaries(st.integers(0, 100), st.integers(1, 5), max_size=4), max_size=30))
def test_the_bets_are_the_sum_of_all_labels(ticks):
    """Each stakes its share of its weight on every label, and each label brings fresh weight."""
    expected = expected_loss(DROP, RANGES["quality"], DAY.scores["quality"], "", 50)
    assert expected is not None
    weights = [0.5 / len(BETS)] * len(BETS)
    for bins in ticks:
        for place, share in enumerate(BETS):
            for index, count in bins.items():
                weights[place] *= (1 + share * ((1 - index / 100) / expected.loss - 1)) ** count
            weights[place] += WEIGHT_PER_LABEL * sum(bins.values()) / len(BETS)
    made = bets()
    for bins in ticks:
        made.add(of(bins), EMPTY)
    for sign in made.signs().values():
        assert math.exp(sign.log_e) == pytest.approx(sum(weights), rel=1e-9)


@given(st.lists(st.integers(0, 100), max_size=40), st.lists(st.integers(0, 100), max_size=40))
def test_a_worse_label_is_never_evidence_of_health(better, worse):
    """Make any labels worse: the evidence of harm does not fall."""
    ticks = [{max(a, b): 1} for a, b in zip(better, worse, strict=False)]
    lower = [{min(a, b): 1} for a, b in zip(better, worse, strict=False)]
    if ticks:
        assert judged(*lower).log_e >= judged(*ticks).log_e - 1e-9


def test_a_correction_is_no_label():
    """A settled bet is not taken back: that would multiply weight which came in after it."""
    corrected, before = judged({20: 20}, {20: -20, 80: 20}), judged({20: 20})
    assert corrected.log_e == before.log_e and corrected.recent_n == before.recent_n == 20
    mixed = judged({80: 20}, {80: 5, 100: -3, 20: 3})
    assert mixed.log_e == judged({80: 20}, {80: 5}).log_e  # what is left out is never the good


def test_corrections_of_good_labels_prove_nothing():
    """Provisional scores of 1 that are corrected at night, to what the baseline is as well."""
    daily = [{100: 10}] * 20
    nightly = [{100: -1, 0: 1}] * 40  # five were scored again, four of them the same
    assert judged(*daily, *nightly).log_e == judged(*daily).log_e < 0


def test_the_newest_labels_decide_whether_the_limit_is_passed():
    """A version that was good for long and fell: the fifty newest count, whole ticks of them."""
    sign = judged(*[{80: 10}] * 40, *[{30: 7}] * 8)
    assert (sign.n, sign.recent_n) == (456, 56) and sign.mean == pytest.approx(0.3)
    assert sign.over
    calm = judged(*[{30: 10}] * 40, *[{80: 7}] * 8)
    assert not calm.over


# --- Against what


def test_the_controls_labels_come_first():
    """A judge that drifts drifts on both arms: not worse than the control is not worse."""
    assert judged(*[{40: 1}] * 100).over
    beside = judged(*[{40: 1}] * 100, theirs={40: 60})
    assert not beside.over and beside.source == "control"
    assert beside.baseline == pytest.approx(0.4) and beside.log_e < 0


@pytest.mark.parametrize(
    ("theirs", "sources", "source"),
    [
        ({40: 49}, ("control", "previous_good"), "previous good v1"),
        ({40: 50}, ("control", "previous_good"), "control"),
        ({40: 50}, ("previous_good",), "previous good v1"),
        ({}, ("control", "previous_good"), "previous good v1"),
    ],
)
def test_the_control_needs_its_own_labels(theirs, sources, source):
    """The first source that the policy names and that has enough."""
    rule = BaselineRule(sources=sources, min_labels=50)
    assert judged({40: 20}, theirs=theirs, rule=rule).source == source


def test_the_control_counts_from_the_next_tick_on():
    """A bet is made before its tick is seen, or it would be no bet."""
    together = bets()
    together.add(of({40: 20}), of({40: 50}))
    alone = judged({40: 20})
    assert together.signs()[DROP.key].log_e == alone.log_e
    together.add(of({40: 20}), EMPTY)
    assert together.signs()[DROP.key].log_e < judged({40: 20}, {40: 20}).log_e


def test_another_control_begins_without_labels():
    """What the one before was judged by is no measure for the next."""
    made = bets()
    made.add(EMPTY, of({40: 60}))
    made.forget_control()
    made.add(of({40: 20}), EMPTY)
    assert made.signs()[DROP.key].source == "previous good v1"


# --- How far it moved, and what it would take


def test_a_sign_says_how_far_the_mean_moved():
    """As the limit counts it: positive is worse, with its standard error."""
    down, up = judged({60: 50, 64: 50}), judged({10: 50, 14: 50}, watch=TOXIC)
    assert down.move == pytest.approx((0.80 - 0.62) / 0.80)
    assert up.move == pytest.approx(0.2)
    assert 0 < down.move_se < 0.02
    assert judged({90: 100}).move == pytest.approx(-0.125)
    assert judged({50: 100}, watch=LOW).move == pytest.approx(0.1)


def test_smaller_moves_need_more_labels():
    """ "Needs about N labels a side": of one fixed test, one-sided 5 %, with a power of 80 %."""
    needed = [judged({mean: 50}).needed_n for mean in (20, 40, 60)]
    assert needed == sorted(needed) and needed[0] < needed[-1]
    spread = 0.1**2 * 400 / 399  # of the day's labels, which our own are taken to have too
    assert judged({60: 50}).needed_n == math.ceil(6.18 * 2 * spread / 0.8**2 / 0.25**2)


@given(
    st.lists(st.dictionaries(st.integers(0, 100), st.integers(-2, 5), max_size=3), max_size=30),
    st.lists(st.dictionaries(st.integers(0, 100), st.integers(0, 9), max_size=3), max_size=30),
    st.integers(0, 30),
)
def test_bets_that_were_put_away_go_on_as_if_they_never_were(own, theirs, stop):
    """Saved, written as JSON, loaded at any time: the same to the last bit."""
    watched = (DROP, LOW)
    stopped, never = bets(*watched), bets(*watched)
    for place, (mine, other) in enumerate(zip(own, theirs, strict=False)):
        if place == stop:
            data = json.loads(json.dumps(stopped.save()))
            stopped = Bets()
            stopped.load(data, watched)
            stopped.plan(watched, DAY, "previous good v1", RULE, RANGES)
        for made in (stopped, never):
            made.add(of(mine), of(other))
    assert json.dumps(stopped.save()) == json.dumps(never.save())
    assert stopped.signs() == never.signs()


def test_what_is_no_longer_watched_is_forgotten_and_the_labels_are_not():
    """A watch that comes back begins its bets anew, over all labels there are."""
    made = bets(DROP, LOW)
    made.add(of({20: 30}), EMPTY)
    made.plan((LOW,), DAY, "previous good v1", RULE, RANGES)
    assert set(made.signs()) == {LOW.key}
    made.plan((DROP, LOW), DAY, "previous good v1", RULE, RANGES)
    sign = made.signs()[DROP.key]
    assert sign.n == 30 and math.exp(sign.log_e) == pytest.approx(0.5)

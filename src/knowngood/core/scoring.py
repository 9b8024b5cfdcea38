"""Scores: bets on a worse mean, on the clock of the labels.

A label counts when it arrives. What a healthy mean is comes from the control's own labels so far,
since a judge that drifts drifts on both arms, and from the frozen baseline where there is none.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from knowngood.core.levels import Expected, expected_loss, losses
from knowngood.core.model import Comparison, ScoreRange
from knowngood.core.reading import ScoreSign
from knowngood.core.rules import BaselineRule
from knowngood.core.stats import (
    BETS,
    WEIGHT_PER_LABEL,
    LogWeights,
    bet,
    log_evidence,
    renew,
    start,
)
from knowngood.core.watch import Watch
from knowngood.core.window import Bins, Window, score_moments

RECENT_LABELS = 50
CONTROL = "control"
# One-sided 5 %, power 80 %: (1.645 + 0.842)^2, for "needs about N labels".
FIXED_TEST_FACTOR = 6.18
MOVE_MIN = 0.01  # of the baseline: a smaller move would need labels without end


class Bet:
    """The bets on one watch, and the newest labels."""

    __slots__ = ("recent", "watch", "weights")

    def __init__(self, watch: Watch, weights: LogWeights = ()) -> None:
        """Bets that are new, or go on with these weights."""
        self.watch = watch
        self.weights = weights or start(len(BETS))
        self.recent: deque[dict[int, int]] = deque()

    @property
    def score(self) -> str:
        """The name of the score."""
        return self.watch.metric.removeprefix("score.")

    @property
    def up(self) -> bool:
        """Whether more is worse."""
        return self.watch.comparison in (Comparison.ABOVE, Comparison.INCREASE)

    def take(self, bins: Bins, expected: Expected | None) -> None:
        """Labels of one tick have arrived.

        A bet that is settled cannot be taken back, since weight has come in after it: what a call
        said first counts here, and its correction does not.
        """
        bins = _new_labels(bins, self.up)
        labels = sum(bins.values())
        if not labels:
            return
        if expected is not None:
            self.weights = bet(self.weights, losses(bins, self.up), expected.loss)
            self.weights = renew(self.weights, WEIGHT_PER_LABEL * max(0, labels))
        self.recent.append(dict(bins))
        held = sum(sum(b.values()) for b in self.recent)
        while held - sum(self.recent[0].values()) >= RECENT_LABELS:
            held -= sum(self.recent.popleft().values())


class Bets:
    """All score detectors of a version."""

    def __init__(self) -> None:
        """No detector yet."""
        self.bets: dict[str, Bet] = {}
        self.own: dict[str, dict[int, int]] = {}  # score -> bins since the beginning
        self.theirs: dict[str, dict[int, int]] = {}
        self._day: Mapping[str, Bins] = {}
        self._source = ""
        self._rule = BaselineRule()
        self._scores: Mapping[str, ScoreRange] = {}

    def plan(
        self,
        watches: Sequence[Watch],
        day: Window | None,
        source: str,
        rule: BaselineRule,
        scores: Mapping[str, ScoreRange],
    ) -> None:
        """Watch these; `day` is the frozen baseline, which comes from `source`."""
        self._day, self._source = day.scores if day else {}, source
        self._rule, self._scores = rule, scores
        self.bets = {watch.key: self.bets.get(watch.key) or Bet(watch) for watch in watches}

    def forget_control(self) -> None:
        """Another control begins: its labels are not those of the one before."""
        self.theirs.clear()

    def add(self, own: Window, theirs: Window) -> None:
        """Fold one tick's labels; the control's count from the next tick on."""
        for each in self.bets.values():
            if bins := own.scores.get(each.score):
                each.take(bins, self._expected(each))
        _add(self.own, own.scores)
        _add(self.theirs, theirs.scores)

    def _expected(self, each: Bet) -> Expected | None:
        declared = self._scores[each.score]
        if CONTROL in self._rule.sources:
            theirs = self.theirs.get(each.score, {})
            minimum = self._rule.min_labels
            found = expected_loss(each.watch, declared, theirs, CONTROL, minimum)
            if found is not None:
                return found
        day = self._day.get(each.score, {})
        return expected_loss(each.watch, declared, day, self._source, self._rule.min_labels)

    def signs(self) -> dict[str, ScoreSign]:
        """What each detector shows; none for a score without a label."""
        return {
            key: self._sign(each)
            for key, each in self.bets.items()
            if any(n > 0 for n in self.own.get(each.score, {}).values())
        }

    def _sign(self, each: Bet) -> ScoreSign:
        declared, watch = self._scores[each.score], each.watch
        width = declared.max - declared.min
        n, mean, variance = score_moments(self.own[each.score])
        recent: dict[str, dict[int, int]] = {}
        for bins in each.recent:
            _add(recent, {"": bins})
        recent_n, recent_mean, _ = score_moments(recent.get("", {}))
        newest = declared.min + width * recent_mean
        sign = ScoreSign(
            n, recent_n, newest, False, watch.alpha, log_evidence(each.weights), source=""
        )
        expected = self._expected(each)
        if expected is None:
            return sign
        past = newest - expected.threshold if each.up else expected.threshold - newest
        moved = _moved(each, expected, n, declared.min + width * mean, variance * width * width)
        return replace(
            sign,
            over=past > 0 and recent_n >= min(RECENT_LABELS, watch.min_labels),
            baseline=expected.baseline,
            source=expected.source,
            move=moved[0],
            move_se=moved[1],
            needed_n=moved[2],
        )

    # --- Putting away

    def save(self) -> dict[str, Any]:
        """The state as JSON data."""
        return {
            "bets": {
                key: {"weights": list(b.weights), "recent": [_keyed(bins) for bins in b.recent]}
                for key, b in self.bets.items()
            },
            "own": {name: _keyed(bins) for name, bins in self.own.items()},
            "theirs": {name: _keyed(bins) for name, bins in self.theirs.items()},
        }

    def load(self, data: Mapping[str, Any], watches: Sequence[Watch]) -> None:
        """Go on from what `save` gave, for the watches that are still asked for."""
        for watch in watches:
            if kept := data["bets"].get(watch.key):
                made = Bet(watch, tuple(kept["weights"]))
                made.recent.extend(_unkeyed(bins) for bins in kept["recent"])
                self.bets[watch.key] = made
        self.own = {name: _unkeyed(bins) for name, bins in data["own"].items()}
        self.theirs = {name: _unkeyed(bins) for name, bins in data["theirs"].items()}


def _new_labels(bins: Bins, up: bool) -> dict[int, int]:
    """A tick's labels without its corrections: as many as were taken out are left out, worst first.

    Which of them are corrections cannot be told from sums; so they never speak against a version.
    """
    left = {index: count for index, count in bins.items() if count > 0}
    corrected = -sum(count for count in bins.values() if count < 0)
    for index in sorted(left, reverse=up):
        taken = min(left[index], corrected)
        left[index] -= taken
        corrected -= taken
    return {index: count for index, count in left.items() if count}


def _moved(
    each: Bet, expected: Expected, n: int, mean: float, variance: float
) -> tuple[float, float, int]:
    """(move, its standard error, labels a side that one fixed test would need)."""
    side = 1 if each.up else -1
    # A few labels that happen to agree understate their own noise: skewed scores do that often.
    spread = max(variance, expected.variance)
    if expected.baseline is None:
        move, se = side * (mean - expected.threshold), math.sqrt(spread / n)
        return move, se, math.ceil(FIXED_TEST_FACTOR * spread / max(abs(move), MOVE_MIN) ** 2)
    base = abs(expected.baseline) or 1.0
    move = side * (mean - expected.baseline) / base
    se = math.sqrt(spread / n + expected.variance / expected.n) / base
    told = max(move, each.watch.limit, MOVE_MIN)
    both = (spread + expected.variance) / base**2
    return move, se, math.ceil(FIXED_TEST_FACTOR * both / told**2)


def _add(into: dict[str, dict[int, int]], scores: Mapping[str, Bins]) -> None:
    for name, bins in scores.items():
        held = into.setdefault(name, {})
        for index, count in bins.items():
            held[index] = held.get(index, 0) + count


def _keyed(bins: Bins) -> dict[str, int]:
    return {str(index): bins[index] for index in sorted(bins) if bins[index]}


def _unkeyed(bins: Mapping[str, int]) -> dict[int, int]:
    return {int(index): count for index, count in bins.items()}

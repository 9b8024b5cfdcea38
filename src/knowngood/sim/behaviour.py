"""How a version of a story answers: the calls of one second, as its process would report them.

Nothing is drawn by lot: shares become whole calls by the exact sum so far (`series.Rounder`).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction

from knowngood.core.model import ScoreRange
from knowngood.core.policy_condition import score_of
from knowngood.core.window import NANO_PER_USD, Window, latency_bucket, score_bin
from knowngood.sim.series import Gap, Rounder, Sample, Series
from knowngood.sim.story import DEFAULT_KIND
from knowngood.sim.trace import TIMED

COST_MAX = 10**18  # nano-dollars in a second: no limit that anybody meets


class Behaviour:
    """One version's series, and what their fractions still owe."""

    def __init__(self, lines: Mapping[str, Series], scores: Mapping[str, ScoreRange]) -> None:
        """`lines` are the version's series by name; `scores` the declared ranges."""
        self._lines = lines
        self._scores = scores
        self._rounders: dict[str, Rounder] = defaultdict(Rounder)
        self._turns: dict[str, int] = defaultdict(int)  # scores so far: above and below by turns

    def window(self, n: int, step: int) -> Window | None:
        """What `n` calls of a second show; None when nothing of them is reported."""
        failed = self._failures(n, step)
        if failed is None:
            return None
        ok = n - sum(failed.values())
        timed = ok + sum(count for kind, count in failed.items() if kind in TIMED)
        return Window(
            ok=ok,
            errors={kind: count for kind, count in failed.items() if count},
            latency=self._times("latency", timed, step),
            first_token=self._times("first_token", ok, step),
            input_tokens=self._sum("tokens_per_call", n, step),
            cost_nano_usd=self._sum("cost_per_call", n * NANO_PER_USD, step),
            scores=dict(self._labels(ok, step)),
            counters=dict(self._counters(n, step)),
        )

    def _sample(self, name: str, step: int) -> Sample | None:
        found = self._lines[name].at(step) if name in self._lines else None
        return None if isinstance(found, Gap) else found

    def _failures(self, n: int, step: int) -> dict[str, int] | None:
        """Failed calls by kind, no more than there are calls; None in a gap."""
        failed: dict[str, int] = {}
        left = n
        for name in self._lines:
            what, _, kind = name.partition(".")
            if what not in ("errors", "error_rate"):
                continue
            sample = self._sample(name, step)
            if sample is None:
                return None
            amount = sample.value * n if what == "error_rate" else sample.value
            count = self._rounders[name].take(min(amount, Fraction(left)), left)
            failed[kind or DEFAULT_KIND] = count
            left -= count
        return failed

    def _times(self, name: str, count: int, step: int) -> dict[int, int]:
        sample = self._sample(name, step)
        if sample is None or not count:
            return {}
        return {latency_bucket(float(sample.value)): count}

    def _sum(self, name: str, per: int, step: int) -> int:
        sample = self._sample(name, step)
        return self._rounders[name].take(sample.value * per, COST_MAX) if sample else 0

    def _labels(self, ok: int, step: int) -> Iterator[tuple[str, dict[int, int]]]:
        """The scores of the calls that went well: of all or, with `labels`, of so many a second."""
        count = ok
        if "labels" in self._lines:
            sample = self._sample("labels", step)
            amount = min(sample.value, Fraction(ok)) if sample else Fraction(0)
            count = self._rounders["labels"].take(amount, ok)
        for line in self._lines:
            name = score_of(line)
            sample = self._sample(line, step)
            if name is not None and sample is not None and count:
                yield name, self._bins(name, sample, count)

    def _bins(self, name: str, sample: Sample, count: int) -> dict[int, int]:
        declared = self._scores[name]
        turn, self._turns[name] = self._turns[name], self._turns[name] + count
        above = (count + 1 - turn % 2) // 2
        bins: dict[int, int] = {}
        for sign, times in ((1, above), (-1, count - above)):
            value = float(sample.value + sign * sample.spread)
            index = score_bin(value, declared.min, declared.max)
            bins[index] = bins.get(index, 0) + times
        return {index: times for index, times in bins.items() if times}

    def _counters(self, n: int, step: int) -> Iterator[tuple[str, int]]:
        for line in self._lines:
            name = "refusal" if line == "refusal_rate" else line.removeprefix("counter.")
            if name == line:
                continue
            sample = self._sample(line, step)
            if sample is not None and (count := self._rounders[line].take(sample.value * n, n)):
                yield name, count

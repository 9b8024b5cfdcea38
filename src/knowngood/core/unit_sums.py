"""What the units of an arm have shown: sums that are enough to compare arms, unit by unit.

Users are assigned, not calls. The calls of one user resemble each other, so an analysis by calls
takes a few busy users for many independent ones and is too sure. Here each unit counts once, with
its mean.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from knowngood.core.basics import Sample, ScoreRange

ERRORS = "error_rate"
CALLS = ""  # the name of a unit's sum of calls, of which `total` failed
WHOLE_BP = 10_000  # a score's sum counts basis points of its declared range


@dataclass(frozen=True, slots=True)
class UnitSums:
    """One metric of an arm: how many units have a mean, the sum of the means, and of their squares.

    In the metric's own unit: shares within 0 and 1 for errors and slow calls, the declared units
    of a score. Raises ValueError for a negative count or sum of squares.
    """

    unit_count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __post_init__(self) -> None:
        if self.unit_count < 0 or self.squares < 0:
            raise ValueError(f"neither counts nor squares are ever negative: {self}")

    @property
    def mean(self) -> float:
        """The mean of the units' means; 0 without any."""
        return self.total / self.unit_count if self.unit_count else 0.0

    def sample(self) -> Sample:
        """The units as a sample of independent observations."""
        n = self.unit_count
        spread = (self.squares - self.total * self.total / n) / (n - 1) if n > 1 else 0.0
        return Sample(n, self.mean, max(0.0, spread))

    def times(self, factor: float) -> "UnitSums":
        """The same proportions in `factor` times as many units, to the nearest whole unit."""
        n = round(self.unit_count * factor)
        exact = n / self.unit_count if self.unit_count else 0.0
        return UnitSums(n, self.total * exact, self.squares * exact)


NO_UNITS = UnitSums()


def sums_of(means: Iterable[float]) -> UnitSums:
    """The sums over units with these means; empty for none."""
    kept = list(means)
    return UnitSums(len(kept), sum(kept), sum(mean * mean for mean in kept))


def counted(bad_count: int, unit_count: int) -> UnitSums:
    """The sums of units of which each is bad or not: `bad_count` of `unit_count`.

    Also for calls where each call is drawn by itself, and so is a unit.
    """
    return UnitSums(unit_count, float(bad_count), float(bad_count))


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of an arm: its calls, how many failed, and of each score how many and their sum."""

    call_count: int
    error_count: int = 0
    scores: Mapping[str, tuple[int, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """What one arm has shown since the comparison began.

    `unit_count` are the units assigned to it, with or without a value of any metric; `metrics` has
    the sums by the name of the metric. Calls and errors are for people: no test reads them.
    """

    unit_count: int = 0
    metrics: Mapping[str, UnitSums] = field(default_factory=dict)
    call_count: int = 0
    error_count: int = 0

    def of(self, metric: str) -> UnitSums:
        """The sums of a metric; empty if nothing was reported."""
        return self.metrics.get(metric, NO_UNITS)


@dataclass(frozen=True, slots=True)
class Arms:
    """Both arms of a comparison, up to one moment."""

    control: ArmSummary
    candidate: ArmSummary


@dataclass(frozen=True, slots=True, order=True)
class Tally:
    """So many units of an arm have exactly these sums.

    Of CALLS: `count` calls, of which `total` failed; of a score: `count` values that sum up to
    `total` basis points of its range.
    """

    name: str
    count: int
    total: int
    unit_count: int


def tallied(
    tallies: Iterable[Tally],
    scores: Mapping[str, ScoreRange],
    others: Mapping[str, UnitSums] | None = None,
) -> ArmSummary:
    """The arm of which these are all tallies; the order does not matter, not even to the last bit.

    Scores without a declared range are left out; `others` are metrics that were summed elsewhere.
    """
    kept = sorted(each for each in tallies if each.count > 0)
    calls = [each for each in kept if each.name == CALLS]
    named = {each.name for each in kept if each.name in scores}
    metrics = {ERRORS: _weighed((each.total / each.count, each.unit_count) for each in calls)}
    for name in sorted(named):
        low, width = scores[name].min, scores[name].max - scores[name].min
        metrics[name if name == "quality" else f"score.{name}"] = _weighed(
            (low + width * each.total / each.count / WHOLE_BP, each.unit_count)
            for each in kept
            if each.name == name
        )
    return ArmSummary(
        unit_count=sum(each.unit_count for each in calls),
        metrics={**metrics, **(others or {})},
        call_count=sum(each.count * each.unit_count for each in calls),
        error_count=sum(each.total * each.unit_count for each in calls),
    )


def _weighed(means: Iterable[tuple[float, int]]) -> UnitSums:
    kept = list(means)
    return UnitSums(
        sum(units for _, units in kept),
        sum(units * mean for mean, units in kept),
        sum(units * mean * mean for mean, units in kept),
    )


def summary(units: Iterable[Unit], others: Mapping[str, UnitSums] | None = None) -> ArmSummary:
    """The arm of these units, each with all of its calls; `others` are metrics summed elsewhere.

    The share of failed calls of each unit becomes `error_rate`, its mean of a score the metric of
    that score (`quality`, or `score.<name>`). Units without a call have no error rate.
    """
    kept = list(units)
    labelled: dict[str, list[float]] = {}
    for unit in kept:
        for name, (count, total) in unit.scores.items():
            if count > 0:
                metric = name if name == "quality" else f"score.{name}"
                labelled.setdefault(metric, []).append(total / count)
    failed = [unit.error_count / unit.call_count for unit in kept if unit.call_count > 0]
    return ArmSummary(
        unit_count=len(kept),
        metrics={
            ERRORS: sums_of(failed),
            **{metric: sums_of(means) for metric, means in labelled.items()},
            **(others or {}),
        },
        call_count=sum(unit.call_count for unit in kept),
        error_count=sum(unit.error_count for unit in kept),
    )

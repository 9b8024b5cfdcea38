"""Nouns that stand on no other: a score's range, what something waits on, a sample."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoreRange:
    """The declared range of a score and which direction is better (`higher` or `lower`)."""

    min: float
    max: float
    better: str = "higher"


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that a verdict or decision waits on: `kind` is a word that explain.py knows."""

    kind: str
    need: float | None = None
    have: float | None = None
    detail: str = ""
    eta_ms: int | None = None  # about how long still, at today's traffic


@dataclass(frozen=True, slots=True)
class Sample:
    """What an arm has shown: `n` observations, their mean, and their variance (not of the mean).

    The observations are independent: if users are assigned, not requests, they are users' means.
    Raises ValueError for a negative n or variance.
    """

    n: int
    mean: float
    variance: float

    def __post_init__(self) -> None:
        if self.n < 0 or self.variance < 0:
            raise ValueError(f"neither n nor the variance is ever negative: {self}")

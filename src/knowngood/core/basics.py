"""Nouns that stand on no other: what a score may be, and what something waits on."""

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

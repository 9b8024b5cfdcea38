"""Series in a compact notation, as promtool has them, and exact amounts as whole counts.

    0.3%x120 12%x1m _x30     a value for 120 steps, another for a minute, nothing for 30 steps
    0+2x10                   0, 2, 4 … : ten values (promtool would count eleven)
    0.8~0.1x300              scores of 0.7 and 0.9 in turn
    _  stale                 nothing is reported; the processes have said goodbye

The last value holds on.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from itertools import accumulate

from knowngood.core.errors import BadPolicy
from knowngood.core.units import duration_ms, exact_fraction, shown

STEPS_MAX = 100_000  # of one item: longer than the longest test, in seconds
HALF = Fraction(1, 2)

_ITEM = re.compile(
    r"(?P<value>-?[^\s~x+-]+)"
    r"(?P<slope>[+-][^\s~x+-]+)?"
    r"(?:~(?P<spread>[^\s~x+-]+))?"
    r"(?:x(?P<count>\S+))?"
)


class Gap(Enum):
    """A step without a value."""

    MISSING = "_"  # nothing is reported
    STALE = "stale"  # nothing is reported any more, as announced


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of one step; single scores lie `spread` above and below it in turn."""

    value: Fraction
    spread: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Unit:
    """What the values of a series are: how they are written, and where they lie."""

    what: str
    example: str
    read: Callable[[str], Fraction]
    least: Fraction
    most: Fraction
    gaps: tuple[Gap, ...] = (Gap.MISSING,)
    may_spread: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One word of the notation, over so many steps."""

    first: Sample | Gap
    slope: Fraction
    count: int


@dataclass(frozen=True, slots=True)
class Series:
    """A value or a gap for each step; the last one holds on."""

    items: tuple[Item, ...]
    ends: tuple[int, ...]

    @property
    def step_count(self) -> int:
        """For how many steps it says something of its own."""
        return self.ends[-1]

    def at(self, step: int) -> Sample | Gap:
        """What it says of a step."""
        index = min(bisect_right(self.ends, step), len(self.items) - 1)
        item = self.items[index]
        if isinstance(item.first, Gap) or not item.slope:
            return item.first
        begin = self.ends[index] - item.count
        steps = min(step - begin, item.count - 1)
        return Sample(item.first.value + steps * item.slope, item.first.spread)


def parse_series(text: str, unit: Unit, step_ms: int) -> Series:
    """The series that the text stands for. Raises BadPolicy, without a path."""
    words = text.split()
    if not words:
        raise BadPolicy("the series is empty", next_step=f"write {unit.example}")
    items = tuple(_item(word, unit, step_ms) for word in words)
    return Series(items, tuple(accumulate(item.count for item in items)))


def _item(word: str, unit: Unit, step_ms: int) -> Item:
    match = _ITEM.fullmatch(word)
    if match is None:
        raise BadPolicy(f"{shown(word)} is no item of a series", next_step=f"write {unit.example}")
    value, slope, spread, count = match.group("value", "slope", "spread", "count")
    steps = 1 if count is None else _steps(count, step_ms)
    if value in {gap.value for gap in Gap}:
        gap = Gap(value)
        if slope or spread or gap not in unit.gaps:
            raise BadPolicy(f"{shown(word)} means nothing for {unit.what}")
        return Item(gap, Fraction(0), steps)
    if slope and count is None:
        raise BadPolicy(f"{shown(word)} rises or falls for how long?", next_step="add x10 or x30s")
    if spread and not unit.may_spread:
        raise BadPolicy(f"{shown(word)}: only scores have a spread, not {unit.what}")
    rise = (-1 if (slope or "").startswith("-") else 1) * unit.read(slope[1:]) if slope else 0
    sample = Sample(unit.read(value), unit.read(spread) if spread else Fraction(0))
    for end in (sample.value, sample.value + (steps - 1) * rise):
        if not unit.least <= end - sample.spread <= end + sample.spread <= unit.most:
            raise BadPolicy(
                f"{shown(word)} leaves the range of {unit.what}, "
                f"{_plain(unit.least)} to {_plain(unit.most)}"
            )
    return Item(sample, Fraction(rise), steps)


def _plain(value: Fraction) -> str:
    return f"{float(value):g}"


def _steps(count: str, step_ms: int) -> int:
    if count.isdecimal():
        steps, rest = int(count), 0
    else:
        steps, rest = divmod(duration_ms(count), step_ms)
    if rest:
        raise BadPolicy(f"{count} is no whole number of steps of {step_ms / 1000:g} s")
    if not 1 <= steps <= STEPS_MAX:
        raise BadPolicy(f"x{count} is not between 1 and {STEPS_MAX} steps")
    return steps


# --- How values are written


def number(text: str) -> Fraction:
    """A decimal number, which may be negative. Raises BadRequest."""
    if text.endswith("%"):
        raise BadPolicy(f"{shown(text)} is a percentage, not a number")
    if text.startswith("-"):
        return -exact_fraction(text[1:])
    return exact_fraction(text)


def milliseconds(text: str) -> Fraction:
    """A duration with its unit, or 0, in ms. Raises BadRequest."""
    return Fraction(0) if text in ("0", "0s", "0ms") else Fraction(duration_ms(text))


# --- Amounts as counts


class Rounder:
    """Turns exact amounts into whole counts without drawing lots.

    What was given so far is always the exact sum, rounded (half upward): 0.3 % of 20 calls a second
    is one failure in the ninth second and then every 16 or 17 seconds.
    """

    def __init__(self) -> None:
        """Nothing is owed yet."""
        self._owed = Fraction(0)  # what is exact and not given, between -1/2 and 1/2

    def take(self, amount: Fraction, most: int) -> int:
        """The whole count for `amount`, 0 to `most`; what does not fit is given later."""
        self._owed += amount
        count = max(0, min(most, math.floor(self._owed + HALF)))
        self._owed -= count
        return count

"""How people write durations and shares."""

import re
from fractions import Fraction
from typing import Any

from knowngood.core.errors import BadRequest

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION_MAX_MS = 3_650 * UNITS_MS["d"]  # ten years: beyond any retention, far below 64 bits

SHOWN_MAX = 60

_DURATION = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([A-Za-zµ]+)")
_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,15})?|\.\d{1,15})\s*(%?)")


def shown(value: object) -> str:
    """A value as its file says it, more or less, and not longer than a line."""
    words = "nothing" if value is None else repr(value)
    return words if len(words) <= SHOWN_MAX else f"{words[:SHOWN_MAX]}…"


def duration_ms(value: Any) -> int:
    """The milliseconds of `90s`, `5m`, `1.5h`, `180d` or `500ms`. Raises BadRequest."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise BadRequest(
            f"{shown(value)} is not a duration",
            known=tuple(UNITS_MS),
            next_step="write a number and a unit, such as 90s, 5m or 24h",
        )
    number, unit = match.groups()
    if unit not in UNITS_MS:
        raise BadRequest(
            f"{shown(value)} has the unknown unit {unit!r}",
            known=tuple(UNITS_MS),
            next_step="write it in one of the known units, such as 90s, 5m or 24h",
        )
    exact = Fraction(number) * UNITS_MS[unit]
    if exact.denominator != 1 or not 0 < exact <= DURATION_MAX_MS:
        raise BadRequest(f"{shown(value)} is not a whole number of ms from 1 ms to 3650d")
    return int(exact)


def is_number(value: object) -> bool:
    """Is this a finite number of a sane size, and not true or false?"""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def exact_fraction(value: Any) -> Fraction:
    """The exact value of `5%`, `0.05` or the number 0.05. Raises BadRequest."""
    if isinstance(value, str):
        if match := _NUMBER.fullmatch(value.strip()):
            number, percent = match.groups()
            return Fraction(number) / (100 if percent else 1)
    elif is_number(value):
        return Fraction(str(value))
    raise BadRequest(
        f"{shown(value)} is not a share", next_step="write a percentage, such as 5%, or 0.05"
    )


def share_bp(value: Any) -> int:
    """The basis points of a share from 0 to 100 %. Raises BadRequest."""
    exact = exact_fraction(value) * 10_000
    if not 0 <= exact <= 10_000:
        raise BadRequest(f"{shown(value)} is not between 0% and 100%")
    if exact.denominator != 1:
        raise BadRequest(f"{shown(value)} is not a whole number of basis points (0.01%)")
    return int(exact)

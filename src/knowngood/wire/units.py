"""The sums of single units, which travel only while the arms of a route are compared.

A unit is its hash: the 64 bits of core.routing.unit_hash, salted with the rollout's salt, so the
same user is another number in another prompt and in another rollout.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from knowngood.core.model import WHOLE_BP
from knowngood.wire.values import (
    COUNT_MAX,
    NAMES_PER_ROW_MAX,
    NUMBER_MAX,
    LeftOut,
    checked_count,
    checked_name,
)

# definitions.md. A sum is some 30 bytes, so all are 300 KB: a report stays below 1 MiB.
SUMS_PER_FLUSH_MAX = 10_000
UNIT_DIGITS = 16
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Compared:
    """The arms of a route are compared: since which generation of it, and on which scores."""

    generation: int
    scores: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnitSum:
    """One unit since the last flush: its calls, how many failed, and of each score how many.

    `scores` maps a name to (how many, their sum in basis points of the declared range).
    """

    unit: int
    call_count: int
    error_count: int
    scores: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def sum_count(self) -> int:
        """How many sums it is: of its calls, and of each score."""
        return 1 + len(self.scores)


@dataclass(frozen=True, slots=True)
class UnitGroup:
    """Units that were served one version, all by the same generation of its route."""

    prompt: str
    version: str
    generation: int
    sums: tuple[UnitSum, ...]


def encode_group(group: UnitGroup) -> dict[str, Any]:
    """The group as JSON data: `{"<hash>": [calls, errors, {"quality": [count, sum]}]}`."""
    return {
        "prompt": group.prompt,
        "version": group.version,
        "generation": group.generation,
        "sums": {unit_text(each.unit): _encode(each) for each in group.sums},
    }


def _encode(each: UnitSum) -> list[Any]:
    plain = [each.call_count, each.error_count]
    if not each.scores:
        return plain
    return [*plain, {name: list(pair) for name, pair in each.scores.items()}]


def decode_group(data: Any, ignored: dict[str, int]) -> UnitGroup | None:
    """The group in JSON data, or None; what was left out is counted by reason."""
    kept: list[UnitSum] = []
    try:
        if type(data) is not dict or type(data.get("sums")) is not dict:
            raise LeftOut("not an object")
        prompt, version = checked_name(data.get("prompt")), checked_name(data.get("version"))
        generation = checked_count(data.get("generation"), NUMBER_MAX)
    except LeftOut as reason:
        _ignore(ignored, reason)
        return None
    for text, sums in data["sums"].items():
        try:
            kept.append(_decode(text, sums))
        except LeftOut as reason:
            _ignore(ignored, reason)
    return UnitGroup(prompt, version, generation, tuple(kept))


def _decode(text: str, data: Any) -> UnitSum:
    unit = parse_unit(text)
    if unit is None:
        raise LeftOut("not a unit")
    if type(data) is not list or not 2 <= len(data) <= 3:
        raise LeftOut("sums of a unit are not a list")
    calls, errors = checked_count(data[0]), checked_count(data[1])
    if errors > calls:
        raise LeftOut("more errors than calls")
    return UnitSum(unit, calls, errors, _scores(data[2]) if len(data) == 3 else {})


def _scores(data: Any) -> dict[str, tuple[int, int]]:
    if type(data) is not dict or len(data) > NAMES_PER_ROW_MAX:
        raise LeftOut("too many scores" if type(data) is dict else "not an object")
    scores = {}
    for name, pair in data.items():
        if type(pair) is not list or len(pair) != 2:
            raise LeftOut("sums of a score are not a pair")
        count, total = checked_count(pair[0]), checked_count(pair[1], COUNT_MAX * WHOLE_BP)
        if total > count * WHOLE_BP:
            raise LeftOut("score outside its range")
        scores[checked_name(name)] = (count, total)
    return scores


def _ignore(ignored: dict[str, int], reason: LeftOut) -> None:
    text = str(reason)
    ignored[text] = ignored.get(text, 0) + 1


def unit_text(unit: int) -> str:
    """A unit's hash as it travels: 16 hexadecimal digits."""
    return f"{unit:0{UNIT_DIGITS}x}"


def parse_unit(text: str) -> int | None:
    """The hash in its digits; None for any other text."""
    if len(text) != UNIT_DIGITS or not _HEX.issuperset(text):
        return None
    return int(text, 16)


# --- In a call's id, so that whoever scores it later scores the unit


def tagged(random_part: str, generation: int, unit: int) -> str:
    """The last part of a call's id that says which unit it was, and by which route."""
    return f"{random_part}.{generation:x}.{unit_text(unit)}"


def unit_of(random_part: str) -> tuple[int, int] | None:
    """(generation, unit) from the last part of a call's id; None when it names no unit."""
    parts = random_part.split(".")
    if len(parts) != 3 or not 0 < len(parts[1]) <= UNIT_DIGITS or not _HEX.issuperset(parts[1]):
        return None
    unit = parse_unit(parts[2])
    return None if unit is None else (int(parts[1], 16), unit)

"""What the checks of a policy file share: the problems found, and the shapes of values."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from knowngood.core.errors import BadPolicy, KnowngoodError
from knowngood.core.model import ScoreRange
from knowngood.core.policy_condition import did_you_mean, parse_condition
from knowngood.core.rules import Condition
from knowngood.core.units import duration_ms, is_number, shown

COUNT_MAX = 1_000_000_000
PROBLEMS_SHOWN_MAX = 20

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, what exists instead, and what to do."""

    path: str
    what: str
    known: tuple[str, ...] = ()
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """What the checks share: the declared names, and the problems found so far."""

    scores: Mapping[str, ScoreRange] = field(default_factory=dict)
    counters: frozenset[str] = frozenset()
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, path: str, what: str, known: Collection[str] = (), next_step: str = "") -> None:
        """Note a problem and go on."""
        self.problems.append(Problem(path, what, tuple(known), next_step))

    def unknown(self, path: str, what: str, name: object, known: Collection[str]) -> None:
        """Note a name that does not exist, with those that do and the closest of them."""
        advice = did_you_mean(name, known) if isinstance(name, str) else ""
        self.wrong(path, f"unknown {what} {name!r}", known, advice)

    def attempt(self, path: str, read: Callable[[Any], object], value: Any) -> None:
        """Read the value and note what its reader has against it."""
        try:
            read(value)
        except KnowngoodError as error:
            self.wrong(path, error.message, error.known, error.next_step)

    def condition(self, text: object) -> Condition:
        """The condition, with the declared scores and counters. Raises BadPolicy."""
        return parse_condition(text, self.scores, self.counters)

    def raise_any(self) -> None:
        """Raise BadPolicy when a problem was noted; its message has a line for each of them."""
        if not self.problems:
            return
        lines = [f"{p.path}: {p.what}" for p in self.problems[:PROBLEMS_SHOWN_MAX]]
        if (more := len(self.problems) - PROBLEMS_SHOWN_MAX) > 0:
            lines.append(f"and {more} more")
        first = self.problems[0]
        raise BadPolicy("\n".join(lines), known=first.known, next_step=first.next_step)


Check = Callable[[Reader, str, Any], None]


def below(path: str, key: object) -> str:
    """The path of `key` below `path`."""
    return f"{path}.{key}" if path else str(key)


def is_removal(item: object) -> bool:
    """null or false: the trigger or alert of this name is taken out."""
    return item is None or item is False


def fields(reader: Reader, path: str, value: Any, known: Mapping[str, Check]) -> None:
    """A mapping with these keys only, each of which passes its check."""
    if not isinstance(value, Mapping):
        reader.wrong(path, f"{shown(value)} is not a mapping", known)
        return
    for key, item in value.items():
        if check := known.get(key):
            check(reader, below(path, key), item)
        else:
            reader.unknown(below(path, key), "key", key, known)


def section(known: Mapping[str, Check]) -> Check:
    """The check of a mapping with these keys."""
    return lambda reader, path, value: fields(reader, path, value, known)


def named(check: Check, pattern: re.Pattern[str] = NAME, removable: bool = False) -> Check:
    """The check of a mapping from names to items; null or false removes a removable item."""

    def run(reader: Reader, path: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            reader.wrong(path, f"{shown(value)} is not a mapping of names")
            return
        for key, item in value.items():
            if not isinstance(key, str) or not pattern.fullmatch(key):
                reader.wrong(
                    below(path, key),
                    f"{key!r} is not a name",
                    next_step="use a-z, 0-9, dot, underscore and hyphen, a letter or digit first",
                )
            elif not (removable and is_removal(item)):
                check(reader, below(path, key), item)

    return run


def listed(check: Check) -> Check:
    """The check of a list of items."""

    def run(reader: Reader, path: str, value: Any) -> None:
        if not isinstance(value, Sequence) or isinstance(value, str):
            reader.wrong(path, f"{shown(value)} is not a list")
            return
        for index, item in enumerate(value):
            check(reader, f"{path}[{index}]", item)

    return run


def one_of(what: str, known: Sequence[str]) -> Check:
    """The check of one word out of `known`."""

    def run(reader: Reader, path: str, value: Any) -> None:
        if not isinstance(value, str) or value not in known:
            reader.unknown(path, what, value, known)

    return run


def text(reader: Reader, path: str, value: Any) -> None:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        reader.wrong(path, f"{shown(value)} is not a text")


def flag(reader: Reader, path: str, value: Any) -> None:
    """true or false."""
    if not isinstance(value, bool):
        reader.wrong(path, f"{shown(value)} is not true or false", ("true", "false"))


def number(reader: Reader, path: str, value: Any) -> None:
    """A finite number."""
    if not is_number(value):
        reader.wrong(path, f"{shown(value)} is not a number")


def count(least: int) -> Check:
    """The check of a whole number from `least` upward."""

    def run(reader: Reader, path: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            reader.wrong(path, f"{shown(value)} is not a whole number")
        elif not least <= value <= COUNT_MAX:
            reader.wrong(path, f"{value} is not between {least} and {COUNT_MAX}")

    return run


def duration(reader: Reader, path: str, value: Any) -> None:
    """A duration with its unit."""
    reader.attempt(path, duration_ms, value)

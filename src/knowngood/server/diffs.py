"""How two versions differ, for people: line by line, and word by word within a line.

Long stretches that are the same are folded. What would take minutes to compare is not compared
line by line, and says so.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any

from knowngood.core.content import changed_texts, texts_of
from knowngood.core.content import diff as content_diff
from knowngood.server.desk import Desk
from knowngood.server.read import version_data

CONTEXT_LINES = 3
FOLDED_MIN = 5  # fewer lines than this are quicker read than unfolded
# Pairs of equal lines, one of each side: what a comparison looks at, some 0.3 s of it.
LINE_PAIRS_MAX = 1_000_000
WORD_PAIRS_MAX = 40_000  # of two lines: some 200 words each
WORD_PAIRS_IN_ALL = 1_000_000  # of a text: then its lines are shown whole
ALIKE_MIN = 0.4  # lines that have less in common are two lines, not one that was changed
LINES_SHOWN = 1_000
LINES_MAX = 20_000  # when everything is asked for: a page of some 3 MB
FOLDED_MAX = 300  # lines that an unfolded stretch brings along; longer ones are counted
_WORD = re.compile(r"\w+|\s+|[^\w\s]")

Lines = Sequence[str]
Parts = tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a comparison.

    `sign` is `+`, `-`, or a blank for what is the same; `a` and `b` are its numbers on either side.
    `parts` are its stretches, and whether each was changed within the line.
    """

    sign: str
    a: int | None
    b: int | None
    parts: Parts


@dataclass(slots=True)
class Block:
    """Lines that are shown, or a stretch that is folded away; `rows` is empty if it is long."""

    rows: list[Row] = field(default_factory=list)
    is_folded: bool = False
    count: int = 0


@dataclass(frozen=True, slots=True)
class Compared:
    """How one text changed. `is_whole`: too much of it repeats to be compared line by line."""

    where: str
    blocks: tuple[Block, ...]
    added_count: int
    removed_count: int
    is_whole: bool
    left_count: int  # changed lines that are not shown


def compared(desk: Desk, name: str, a: str, b: str, *, everything: bool = False) -> dict[str, Any]:
    """How version `b` differs from version `a`; without `everything`, the first lines of it.

    Raises UnknownPrompt, UnknownVersion or BadRequest.
    """
    before, after = desk.version(name, a), desk.version(name, b)
    changed = list(changed_texts(before.content, after.content))
    left = LINES_MAX if everything else LINES_SHOWN
    texts = []
    for where, old, new in changed:
        found = compare(where, old, new, left, LINES_MAX if everything else FOLDED_MAX)
        texts.append(found)
        left = max(0, left - sum(len(each.rows) for each in found.blocks if not each.is_folded))
    gone = sum(new is None for _, _, new in changed)
    return {
        "prompt": name,
        "a": version_data(before),
        "b": version_data(after),
        "is_same_version": before.version == after.version,
        "identical": before.digest == after.digest,
        "texts": texts,
        "same_texts_count": len(texts_of(after.content)) - len(changed) + gone,
        "config": list(content_diff(before, after).config),
        "left_count": sum(each.left_count for each in texts),
    }


def compare(
    where: str,
    old: str | None,
    new: str | None,
    limit: int = LINES_SHOWN,
    folded_max: int = FOLDED_MAX,
) -> Compared:
    """The lines of two texts beside each other, the first `limit`; None is a text that is none."""
    a = [] if old is None else old.split("\n")
    b = [] if new is None else new.split("\n")
    head = _same(a, b)
    tail = _same(a[head:][::-1], b[head:][::-1])
    inner_a, inner_b = a[head : len(a) - tail], b[head : len(b) - tail]
    is_whole = _pairs(inner_a, inner_b) > LINE_PAIRS_MAX
    rows = list(_equal(a[:head], 0, 0))
    cut_a = cut_b = 0
    if is_whole:
        cut_a, cut_b = max(0, len(inner_a) - limit), max(0, len(inner_b) - limit)
        inner_a, inner_b = inner_a[:limit], inner_b[:limit]
    rows += _rows(inner_a, inner_b, head, is_whole)
    if not cut_a and not cut_b:
        rows += _equal(a[len(a) - tail :], len(a) - tail, len(b) - tail)
    shown, left = _first(rows, limit)
    return Compared(
        where,
        tuple(_folded(shown, folded_max)),
        sum(row.sign == "+" for row in rows) + cut_b,
        sum(row.sign == "-" for row in rows) + cut_a,
        is_whole,
        left + cut_a + cut_b,
    )


def _same(a: Lines, b: Lines) -> int:
    """How many lines are the same from the beginning."""
    count = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        count += 1
    return count


def _pairs(a: Lines, b: Lines) -> int:
    counts = Counter(b)
    return sum(counts[line] for line in a)


def _equal(lines: Lines, a_from: int, b_from: int) -> Iterator[Row]:
    for at, line in enumerate(lines, 1):
        yield Row(" ", a_from + at, b_from + at, ((line, False),))


def _rows(a: Lines, b: Lines, offset: int, is_whole: bool) -> Iterator[Row]:
    words = _Words()
    steps = [("replace", 0, len(a), 0, len(b))]
    if not is_whole:
        steps = list(SequenceMatcher(None, a, b, False).get_opcodes())
    for tag, a_from, a_to, b_from, b_to in steps:
        if tag == "equal":
            yield from _equal(a[a_from:a_to], offset + a_from, offset + b_from)
        else:
            there = offset + a_from, offset + b_from
            yield from _changed(a[a_from:a_to], b[b_from:b_to], *there, words)


def _changed(a: Lines, b: Lines, a_from: int, b_from: int, words: "_Words") -> Iterator[Row]:
    """What went, then what came; lines that were changed have their words held together."""
    pairs = [words(one, other) for one, other in zip(a, b, strict=False)]
    for at, line in enumerate(a):
        parts = pairs[at][0] if at < len(pairs) else ((line, False),)
        yield Row("-", a_from + at + 1, None, parts)
    for at, line in enumerate(b):
        parts = pairs[at][1] if at < len(pairs) else ((line, False),)
        yield Row("+", None, b_from + at + 1, parts)


@dataclass(slots=True)
class _Words:
    """Holds the words of two lines against each other, as long as it takes no time to speak of."""

    left: int = WORD_PAIRS_IN_ALL

    def __call__(self, one: str, other: str) -> tuple[Parts, Parts]:
        """Both lines in stretches, those marked that the other does not have."""
        plain: tuple[Parts, Parts] = ((one, False),), ((other, False),)
        if not one or not other or self.left <= 0:
            return plain
        a, b = _WORD.findall(one), _WORD.findall(other)
        if len(a) * len(b) > WORD_PAIRS_MAX:
            return plain
        self.left -= len(a) * len(b)
        steps = SequenceMatcher(None, a, b, False).get_opcodes()
        alike = sum(_count(a[i:j]) for tag, i, j, *_ in steps if tag == "equal")
        if 2 * alike < ALIKE_MIN * (_count(a) + _count(b)):
            return plain
        mine = ("".join(a[i:j]) for _, i, j, _, _ in steps)
        theirs = ("".join(b[i:j]) for _, _, _, i, j in steps)
        changed = [tag != "equal" for tag, *_ in steps]
        return (
            tuple(pair for pair in zip(mine, changed, strict=True) if pair[0]),
            tuple(pair for pair in zip(theirs, changed, strict=True) if pair[0]),
        )


def _count(words: Sequence[str]) -> int:
    """How many of them are more than blanks, which any two lines have in common."""
    return sum(not word.isspace() for word in words)


def _first(rows: list[Row], limit: int) -> tuple[list[Row], int]:
    """The rows up to the limit, and how many changed ones are left out."""
    count = 0
    # What is the same before and after does not count: it is folded anyway.
    for at, is_near in enumerate(_near_changes(rows)):
        count += is_near
        if count > limit:
            return rows[:at], sum(row.sign != " " for row in rows[at:])
    return rows, 0


def _near_changes(rows: list[Row]) -> list[bool]:
    """Whether each row is a change or close to one."""
    near = [False] * len(rows)
    for step, order in ((1, range(len(rows))), (-1, range(len(rows) - 1, -1, -1))):
        last = -step * len(rows) * 2 - CONTEXT_LINES
        for at in order:
            last = at if rows[at].sign != " " else last
            near[at] = near[at] or step * (at - last) <= CONTEXT_LINES
    return near


def _folded(rows: list[Row], folded_max: int) -> Iterator[Block]:
    """The rows in blocks; long stretches far from any change are folded."""
    for is_near, pairs in groupby(zip(_near_changes(rows), rows, strict=True), lambda p: p[0]):
        found = [row for _, row in pairs]
        count = len(found)
        is_folded = not is_near and count >= FOLDED_MIN
        yield Block([] if is_folded and count > folded_max else found, is_folded, count)

"""Differences for people: nothing is lost, what is the same is folded, and it never takes long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.server.diffs import FOLDED_MAX, LINES_MAX, compare

LINE = st.sampled_from(["a", "b", "c", "The quick fox.", "The slow fox.", ""])


def rows(found):
    return [row for block in found.blocks for row in block.rows]


def said(row):
    return "".join(text for text, _ in row.parts)


@given(st.lists(LINE, max_size=30), st.lists(LINE, max_size=30))
def test_both_texts_can_be_read_off_the_rows(a, b):
    """Each line of either side stands there once, in order, with its number."""
    old, new = "\n".join(a), "\n".join(b)
    found = compare("text", old, new, LINES_MAX, LINES_MAX)
    before = [row for row in rows(found) if row.a is not None]
    after = [row for row in rows(found) if row.b is not None]
    assert "\n".join(map(said, before)) == old and "\n".join(map(said, after)) == new
    assert [row.a for row in before] == list(range(1, len(before) + 1))
    assert [row.b for row in after] == list(range(1, len(after) + 1))
    assert found.added_count == sum(row.sign == "+" for row in rows(found))


def test_words_that_changed_are_marked():
    """Within lines that are alike; a line that is another one is not taken apart."""
    found = compare("text", "Be short and kind.", "Be brief and kind.")
    marked = [text for row in rows(found) for text, was_changed in row.parts if was_changed]
    assert marked == ["short", "brief"]
    other = compare("text", "Be short and kind.", "0000 1111 2222 3333")
    assert not any(was_changed for row in rows(other) for _, was_changed in row.parts)


def test_long_stretches_that_are_the_same_are_folded():
    """A few lines around each change stay; a very long stretch is counted and not sent."""
    lines = [f"line {i}" for i in range(50)]
    found = compare("text", "\n".join([*lines, "x", *lines]), "\n".join([*lines, "y", *lines]))
    assert [(b.is_folded, b.count) for b in found.blocks] == [(True, 47), (False, 8), (True, 47)]
    many = "same\n" * (FOLDED_MAX + 10)
    found = compare("text", many + "x", many + "y")
    assert found.blocks[0].is_folded and found.blocks[0].rows == []
    assert found.blocks[0].count == FOLDED_MAX + 7


def test_a_text_that_came_or_went():
    """Is all added, or all removed."""
    assert [row.sign for row in rows(compare("text", None, "a\nb"))] == ["+", "+"]
    assert [row.sign for row in rows(compare("text", "a", None))] == ["-"]


def test_only_so_many_lines_are_shown():
    """The rest of the changes is counted."""
    found = compare("text", "", "\n".join(map(str, range(500))), limit=100)
    assert len(rows(found)) == 100 and found.left_count == 401


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n" * 250_000, "x" + "\n" * 125_000 + "y" + "\n" * 100_000),
        ("ab\ncd\n" * 40_000, "cd\nef\n" * 40_000),
        ("word " * 50_000, "other " * 40_000),
        ("\n".join(f"a b c d e {i}" for i in range(20_000)),
         "\n".join(f"a b c e d {i}" for i in range(20_000))),
    ],
)  # fmt: skip
def test_no_two_texts_take_long(old, new):
    """However much of them repeats."""
    began = time.process_time()
    compare("text", old, new)
    assert time.process_time() - began < 10

"""A text as it may be shown: nothing hides in it, and nothing of it is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.server.shown import Piece, stretches, template, templates


def cut(text, limit=None):
    return [(piece.kind.value, piece.text) for piece in template(text, limit).stretches]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("plain", [("plain", "plain")]),
        ("", []),
        ("Hi {{ name }}!", [("plain", "Hi "), ("variable", "{{ name }}"), ("plain", "!")]),
        (r"\{{no}} {{a}}", [("plain", r"\{{no}} "), ("variable", "{{a}}")]),
        ("a\tb\nc", [("plain", "a\tb\nc")]),
        ("\x1b[31mred", [("hidden", "ESC"), ("plain", "[31mred")]),
        ("\u202eexe", [("hidden", "U+202E"), ("plain", "exe")]),
        ("a\u200b\u200b\u200bb", [("plain", "a"), ("hidden", "U+200B×3"), ("plain", "b")]),
        ("\U000e0041\r\n", [("hidden", "U+E0041"), ("hidden", "CR"), ("plain", "\n")]),
    ],
)
def test_what_hides_is_named(text, pieces):
    """Placeholders are marked; controls, invisible characters and turns of direction are named."""
    assert cut(text) == pieces


def test_hidden_characters_say_what_they_are():
    """By their names in Unicode."""
    (piece,) = stretches("\u202e")
    assert piece.words == "U+202E right-to-left override"


@given(st.text())
def test_nothing_plain_is_lost_and_nothing_hidden_left(text):
    """What is shown as it is is the text without what hides, in order."""
    plain = "".join(p.text for p in stretches(text) if p.kind is Piece.PLAIN)
    assert not any(p.kind is Piece.HIDDEN for p in stretches(plain))
    rest = iter(text)
    assert all(char in rest for char in plain)


def test_a_long_text_is_cut_after_a_line_and_never_within_a_placeholder():
    """And says how much is left."""
    text = "0123456789\n" * 20
    shown = template(text, 100)
    assert "".join(p.text for p in shown.stretches) == text[:99] and shown.left_chars == 121
    cut_within = template("x" * 95 + "{{variable}} and more", 100)
    assert cut_within.stretches[-1].text == "{{variable}}"


def test_messages_share_the_limit():
    """The first ones are shown, and the rest is counted."""
    shown = templates(["a" * 60, "b" * 60, "c"], 100)
    assert [each.left_chars for each in shown] == [0, 20, 1]
    assert [len(each.stretches) for each in shown] == [1, 1, 0]
    assert [each.left_chars for each in templates(["a" * 60, "b" * 60], None)] == [0, 0]

"""A text as it may be shown: cut into plain stretches, placeholders, and what hides in it.

Prompts come from anywhere. Whatever a reader would not see, or would see somewhere else than where
it stands, is named instead: control characters, invisible ones, those that turn the direction of
what follows.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from knowngood.core.render import placeholders

CHARS_SHOWN = 16_000  # some eight printed pages; the rest of a text is there on request

# Unicode's controls (but line break and tab), its format characters, separators that break a line,
# letters that are blank, and tags, which spell out text that nobody sees.
_HIDDEN = re.compile(
    "([\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u070f\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff])\\1*"
)
# Unicode has pictures of these, and many fonts have none.
_SIGNS = {"\x07": "BEL", "\x08": "BS", "\r": "CR", "\x1b": "ESC", "\x7f": "DEL"}


class Piece(StrEnum):
    """What a stretch of a text is."""

    PLAIN = "plain"
    VARIABLE = "variable"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a text. `words` say what a hidden character is, or how a variable is called."""

    kind: Piece
    text: str
    words: str = ""


def stretches(text: str) -> Iterator[Stretch]:
    """The text in stretches, with what hides in it named."""
    at = 0
    for found in _HIDDEN.finditer(text):
        if found.start() > at:
            yield Stretch(Piece.PLAIN, text[at : found.start()])
        often = f"×{len(found[0]):,}" if len(found[0]) > 1 else ""
        yield Stretch(Piece.HIDDEN, _sign(found[1]) + often, _called(found[1]))
        at = found.end()
    if at < len(text):
        yield Stretch(Piece.PLAIN, text[at:])


def _sign(hidden: str) -> str:
    """`ESC`, or `U+202E`."""
    return _SIGNS.get(hidden) or f"U+{ord(hidden):04X}"


def _called(hidden: str) -> str:
    code = ord(hidden)
    name = unicodedata.name(hidden, "").lower() or "control character"
    return f"U+{code:04X} {name}"


@dataclass(frozen=True, slots=True)
class Shown:
    """The beginning of a text, and how much more of it there is."""

    stretches: tuple[Stretch, ...]
    left_chars: int


def template(text: str, limit: int | None = CHARS_SHOWN) -> Shown:
    """A prompt's text with its placeholders marked; the first `limit` characters of it, or all."""
    end = len(text) if limit is None else _end(text, limit)
    found: list[Stretch] = []
    at = 0
    for start, until, name in placeholders(text):
        if start >= end:
            break
        end = max(end, until)
        found += stretches(text[at:start])
        found.append(Stretch(Piece.VARIABLE, text[start:until], name))
        at = until
    found += stretches(text[at:end])
    return Shown(tuple(found), len(text) - end)


def _end(text: str, limit: int) -> int:
    """Where the first `limit` characters end, after a whole line if one ends not long before."""
    if len(text) <= limit:
        return len(text)
    line = text.rfind("\n", limit - limit // 10, limit)
    return line + 1 if line >= 0 else limit


def templates(texts: Sequence[str], limit: int | None = CHARS_SHOWN) -> list[Shown]:
    """The same for several texts that share the limit; those after it are not shown at all."""
    found = []
    left = limit
    for text in texts:
        if left is not None and left <= 0:
            found.append(Shown((), len(text)))
            continue
        shown = template(text, left)
        found.append(shown)
        if left is not None:
            left -= len(text)
    return found

"""Text for Markdown documents: what people and models wrote is shown, never taken for markup."""

import re
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(r"([\\`*_\[\]#|~{}])")
_BACKTICKS = re.compile(r"`+")
_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
}


def plain_text(text: str) -> str:
    """The text within a line: no markup, no HTML, no line break."""
    line = " ".join(text.translate(_CONTROLS).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _MARKUP.sub(r"\\\1", line)
    # Addresses are not made links of, and a line that begins like a list is none.
    line = line.replace("://", ":&#8203;//").replace("@", "&#64;")
    return re.sub(r"^([-+]|\d+[.)])(\s)", r"\\\1\2", line)


def paragraph(text: str) -> str:
    """A text of several lines as a quotation."""
    lines = text.splitlines() or [""]
    return "\n".join(f"> {plain_text(line)}".rstrip() for line in lines)


def fenced(text: str, language: str = "") -> str:
    """The text as it is, in a fence that nothing within it can close."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    shown = text.translate(_CONTROLS)
    return f"{fence}{language}\n{shown.rstrip()}\n{fence}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; every cell is plain text."""
    lines = [list(titles), ["---"] * len(titles)]
    lines += [[plain_text(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

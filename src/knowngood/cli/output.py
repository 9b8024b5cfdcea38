"""Printing: tables and sentences for people, JSON for programs, complaints on stderr.

Colour only ever repeats what a word and a symbol say. Without a terminal the same text comes out
plain, and no line is broken, so that `knowngood status | grep` sees whole lines.
"""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNBROKEN = 10_000  # columns of a pipe: more than any line of ours
GAP = 2  # blanks between columns
FOLDED_MIN = 30  # a last column narrower than this is a tower of syllables

SYMBOLS = {
    "breach": "✗",
    "clear": "✓",
    "unsure": "?",
    "blind": "○",
    "error": "✗",
    "warning": "!",
    "ok": "✓",
    "allow": "✓",
    "deny": "✗",
    "not yet": "?",
}
STYLES = {
    "breach": "bold red",
    "clear": "green",
    "unsure": "yellow",
    "blind": "magenta",
    "error": "bold red",
    "warning": "yellow",
    "ok": "green",
    "allow": "green",
    "deny": "bold red",
    "not yet": "yellow",
    "good": "green",
    "candidate": "yellow",
    "quarantined": "red",
}

# A prompt's text is somebody else's: on a terminal it may say things, not do them. Carriage returns
# are swallowed by Rich.
CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\r\t"
}

Cell = str | Text


def console() -> Console:
    """Where answers go. Made anew each time, because a test replaces `sys.stdout`."""
    width = None if sys.stdout.isatty() else UNBROKEN
    return Console(
        file=sys.stdout, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True
    )


def say(line: Cell = "") -> None:
    """Print one line for a person."""
    console().print(_harmless(line))


def complain(lines: Iterable[str]) -> None:
    """Print lines to stderr; the first says what is wrong."""
    for number, line in enumerate(lines):
        said = line.translate(CONTROLS)
        print(f"knowngood: {said}" if number == 0 else said, file=sys.stderr)


def print_json(data: Any) -> None:
    """Print the data, and nothing else, as JSON."""
    print(json.dumps(data, ensure_ascii=sys.stdout.encoding.lower() not in ("utf-8", "utf8")))


def table(titles: Sequence[str], rows: Iterable[Sequence[Cell]], indent: int = 0) -> None:
    """Print columns; only the last one may be broken, and only on a terminal."""
    lines = [tuple(titles), *(tuple(map(_harmless, row)) for row in rows)]
    grid = Table(box=None, pad_edge=False, show_header=any(titles), padding=(0, GAP, 0, 0))
    for title in titles[:-1]:
        grid.add_column(title, no_wrap=True, header_style="bold")
    grid.add_column(titles[-1], overflow="fold", header_style="bold")
    for row in lines[1:]:
        grid.add_row(*row)
    before_last = sum(
        max(map(_width, column)) + GAP for column in list(zip(*lines, strict=True))[:-1]
    )
    out = console()
    # On a terminal that is too narrow the line runs over its edge: nothing is cut off.
    out.width = max(out.width - indent, before_last + FOLDED_MIN)
    with out.capture() as captured:
        out.print(grid, soft_wrap=False)
    # The last column is padded to its widest cell, which only shows as blanks in a file.
    for line in captured.get().splitlines():
        sys.stdout.write((" " * indent + line).rstrip() + "\n")


def _harmless(cell: Cell) -> Cell:
    plain = cell if isinstance(cell, str) else cell.plain
    shown = plain.translate(CONTROLS)
    if shown == plain:
        return cell
    return shown if isinstance(cell, str) else Text(shown, style=cell.style)


def _width(cell: Cell) -> int:
    return cell.cell_len if isinstance(cell, Text) else cell_len(cell)


def verdict(word: str, more: str = "", words: str = "") -> Text:
    """A verdict with its symbol, and in colour on a terminal; `words` are said in its place."""
    return Text(f"{SYMBOLS.get(word, '·')} {words or word}{more}", style=STYLES.get(word, ""))


def styled(word: str) -> Text:
    """A word in its colour."""
    return Text(word, style=STYLES.get(word, ""))


def heading(text: str) -> Text:
    """A part's title."""
    return Text(text, style="bold")


def when(at_ms: int | None) -> str:
    """An instant in UTC, to the second, as it is in the logs."""
    if at_ms is None:
        return "–"
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at_ms / 1000))

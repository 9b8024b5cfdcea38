"""What the documentation shows, as tests read it: fenced blocks, commands and their output.

A block's first line is three backquotes, its language and perhaps one word more: the file that its
text is saved as, or the part that it plays.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\w*)[ ]?([\w.-]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ANYTHING = "..."  # a line of its own: whatever stands there, none or many lines


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the word behind it, and its text."""

    language: str
    word: str
    text: str

    def commands(self) -> Iterator[tuple[str, str]]:
        """Each command of a console block with the output that is shown below it."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


# What differs from run to run, and what the page and the output are compared by instead.
VARYING = (
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\b[0-9a-f]{12}\b", "DIGEST"),
    (r"(?<![<>=] )\b\d+\.\d+%", "N%"),
    (r"\(\d+ of \d+\)", "(N of N)"),
    (r"\brevision \d+", "revision N"),  # each look that notes something counts
    (r"\b\d+(\.\d+)? (s|ms)\b", "N s"),
    (r"\b\d+ more (labels|requests)", r"N more \1"),
    (r"\bE = (over )?[\d.,e-]+ of", "E = N of"),
    (r"\btime to detect .*", "time to detect T"),
    (r"[ \t]+", " "),
    (r"[ \t]+$", ""),
)


def normal(text: str) -> str:
    """The text without what differs from run to run: times, digests, counts, column widths."""
    for pattern, instead in VARYING:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text.strip()


def matches(shown: str, printed: str) -> bool:
    """Whether a command printed what its page shows."""
    lines = [re.escape(line) + "\n" for line in normal(shown).splitlines()]
    anything = re.escape(ANYTHING) + "\n"
    pattern = "".join(r"(?:.*\n)*?" if line == anything else line for line in lines)
    return re.fullmatch(pattern, normal(printed) + "\n" if printed.strip() else "") is not None

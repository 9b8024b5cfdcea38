"""Runbook files: Markdown taken apart and its YAML read at the edge, checked by core."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from knowngood.core.errors import KnowngoodError
from knowngood.core.runbook import Fence, Problem, Runbook, Section, Source
from knowngood.core.runbook_build import Known, build, stale
from knowngood.server.policy_file import strict_yaml

SUFFIX = ".runbook.md"
TEXT_CHARS_MAX = 200_000  # a book; a runbook has a page or two
FILES_MAX = 500

_FENCE = re.compile(r"^(`{3,}|~{3,})[ \t]*([A-Za-z0-9_-]*)[ \t]*(\{[^}]*\})?[ \t]*(.*)$")
_HEADING = re.compile(r"^##[ \t]+(.+?)[ \t]*#*$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class BadRunbook(KnowngoodError):
    """The runbook is not valid."""

    code = "bad_runbook"


def read_text(path: Path) -> str:
    """The file's text. Raises BadRunbook."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadRunbook(f"cannot read the runbook {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadRunbook(f"{path} is not UTF-8 text: byte {error.start}") from error
    if len(text) > TEXT_CHARS_MAX:
        raise BadRunbook(f"{path} has {len(text)} characters; the limit is {TEXT_CHARS_MAX}")
    return text


def lint(
    text: str, known: Known, folder: Path | None = None, today: date | None = None
) -> tuple[Runbook | None, tuple[Problem, ...]]:
    """The runbook in a text and all that is wrong with it.

    With `folder` links to files are followed; with `today` a review that is overdue is a problem.
    """
    source, problems = take_apart(text, folder)
    runbook, found = build(source, known)
    problems = (*problems, *found)
    if runbook is not None and today is not None:
        problems = (*problems, *stale(source, runbook, today))
    ordered = tuple(sorted(problems, key=lambda problem: problem.line))
    return (None if problems and found else runbook), ordered


def parse(text: str, name: str, known: Known) -> Runbook:
    """The runbook in a text. Raises BadRunbook with the first things that are wrong."""
    runbook, problems = lint(text, known)
    if runbook is None or problems:
        said = "; ".join(f"line {p.line}: {p.words}" for p in problems[:3])
        raise BadRunbook(
            f"{name}: {said}" + (f"; and {len(problems) - 3} more" if len(problems) > 3 else ""),
            next_step=f"knowngood runbook lint {name} says it all",
        )
    return runbook


def take_apart(text: str, folder: Path | None = None) -> tuple[Source, tuple[Problem, ...]]:
    """A runbook's text as front matter, sections and fences; and what could not be read."""
    problems: list[Problem] = []
    lines = text.split("\n")
    front, front_lines, begin = _front(lines, problems)
    sections: list[Section] = []
    intro: list[str] = []
    heading: tuple[int, str] | None = None
    body: list[str] = []
    fences: list[Fence] = []
    end = 0
    for number, line in enumerate(lines[begin:], begin):
        if number >= end and (opened := _FENCE.match(line)):
            end, fence = _fence(lines, number, opened, problems)
            fences.append(fence)
        if number >= end and (found := _HEADING.match(line)):
            _close(sections, intro, heading, body, fences)
            heading, body, fences = (number + 1, found[1]), [], []
            continue
        body.append(line)
    _close(sections, intro, heading, body, fences)
    links = tuple(_links(lines, begin))
    dead = tuple(link for link in links if not _leads(link[1], lines, folder))
    source = Source(text, front, front_lines, "\n".join(intro), tuple(sections), links, dead)
    return source, tuple(problems)


def _close(
    sections: list[Section],
    intro: list[str],
    heading: tuple[int, str] | None,
    body: list[str],
    fences: list[Fence],
) -> None:
    """What was gathered belongs to the heading above it, or to the introduction."""
    if heading is None:
        intro += body
        return
    sections.append(Section(heading[0], heading[1], "\n".join(body).strip("\n"), tuple(fences)))


def _front(lines: list[str], problems: list[Problem]) -> tuple[Any, dict[str, int], int]:
    """The front matter's data, where its keys stand, and the line after it."""
    if not lines or lines[0].strip() != "---":
        return None, {}, 0
    ends = (number for number, line in enumerate(lines[1:], 1) if line.strip() == "---")
    end = next(ends, 0)
    if not end:
        problems.append(Problem(1, "the front matter has no end", "close it with a line of ---"))
        return None, {}, len(lines)
    own = lines[1:end]
    keys = {
        line.partition(":")[0].strip(): number
        for number, line in enumerate(own, 2)
        if ":" in line and not line.startswith((" ", "\t", "#"))
    }
    return _yaml("\n".join(own), 2, problems), keys, end + 1


def _fence(
    lines: list[str], number: int, opened: re.Match[str], problems: list[Problem]
) -> tuple[int, Fence]:
    """The fence that begins on a line, and the line after its end."""
    mark, language, given, rest = opened.groups()
    end = number + 1
    while end < len(lines) and lines[end].strip() != mark:
        end += 1
    if end == len(lines):
        problems.append(Problem(number + 1, "the fence is never closed", f"close it with {mark}"))
    text = "\n".join(lines[number + 1 : end])
    attributes = None if given is None else _attributes(given, number + 1, problems)
    if attributes is not None and rest:
        problems.append(Problem(number + 1, f"{rest!r} after the attributes means nothing"))
    data = _yaml(text, number + 2, problems) if attributes is not None else None
    return end + 1, Fence(number + 1, language, attributes, text, data)


def _attributes(given: str, line: int, problems: list[Problem]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in given.strip("{}").split():
        key, equals, value = word.partition("=")
        if not equals:
            problems.append(Problem(line, f"{word!r} is no attribute", "as in step=revert"))
            continue
        if key in found:
            problems.append(Problem(line, f"the attribute {key!r} is there twice"))
        found[key] = value
    return found


def _yaml(text: str, first_line: int, problems: list[Problem]) -> Any:
    """The data of a YAML text that begins on `first_line`; wrong YAML is a problem."""
    try:
        return strict_yaml(text, "", BadRunbook)
    except BadRunbook as error:
        line = first_line
        if isinstance(error.__cause__, yaml.MarkedYAMLError):
            mark = error.__cause__.problem_mark or error.__cause__.context_mark
            line += mark.line if mark else 0
        words = error.message.rpartition(": ")[2]
        problems.append(Problem(line, f"no valid YAML: {words}"))
        return {}


# --- Links


def _links(lines: list[str], begin: int) -> Iterator[tuple[int, str]]:
    inside = ""
    for number, line in enumerate(lines[begin:], begin + 1):
        fence = _FENCE.match(line)
        if fence and not inside:
            inside = fence[1]
        elif inside and line.strip() == inside:
            inside = ""
        elif not inside:
            for found in _LINK.finditer(line):
                yield number, found[1]


def _leads(target: str, lines: list[str], folder: Path | None) -> bool:
    """Whether a link leads somewhere; what is elsewhere on the network is taken on trust."""
    if _ELSEWHERE.match(target) or target.startswith("//") or "{{" in target:
        return True
    path, _, anchor = target.partition("#")
    if not path:
        return anchor in {_anchor(line) for line in lines if line.startswith("#")}
    return folder is None or (folder / path).exists()


def _anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    text = re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower())
    return text.replace(" ", "-")

"""Filling a runbook with an incident's own names, numbers and commands.

What is filled in is never read again. In a command it is quoted for the shell, since a version's
name may be any text.
"""

import re
from collections.abc import Iterator, Mapping

from knowngood.core.runbook import UNKNOWN, Act

VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@%+=,-]*")
_ANY_SHELL = ("sh", "bash", "shell", "console")
_FENCE = re.compile(r"^(```+|~~~+)\s*([A-Za-z0-9_-]*)")
# Already words of a command line, made by us: never quoted.
_WORDS = ("env",)
_COMMAND = re.compile(r"(`knowngood [^`]*`)")
_NO_ENV = re.compile(r" ?\{\{\s*env\s*\}\}")  # with the blank before it


def names_in(text: str) -> Iterator[tuple[int, str]]:
    """Every variable that a text names, each with its line, counted from 0."""
    for number, line in enumerate(text.split("\n")):
        for found in VARIABLE.finditer(line):
            yield number, found[1]


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables filled in; one that nobody knows reads `(unknown)`."""
    return VARIABLE.sub(lambda found: values.get(found[1]) or UNKNOWN, _without_env(text, values))


def fill_command(text: str, values: Mapping[str, str]) -> str:
    """A command with its variables filled in, each quoted for the shell."""

    def word(found: re.Match[str]) -> str:
        value = values.get(found[1]) or UNKNOWN
        return value if found[1] in _WORDS else quoted(value)

    return VARIABLE.sub(word, _without_env(text, values))


def _without_env(text: str, values: Mapping[str, str]) -> str:
    return text if values.get("env") else _NO_ENV.sub("", text)


def fill_markdown(text: str, values: Mapping[str, str]) -> str:
    """Markdown with its variables filled in; within a shell's fence they are quoted."""
    lines: list[str] = []
    mark, shell = "", False
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        if fence and not mark:
            mark, shell = fence[1], fence[2] in _ANY_SHELL
        elif fence and line.strip() == mark:
            mark, shell = "", False
        lines.append(fill_command(line, values) if shell else _prose(line, values))
    return "\n".join(lines)


def _prose(line: str, values: Mapping[str, str]) -> str:
    """A line of prose, in which what is marked as a command is one."""
    parts = _COMMAND.split(line)  # every second one is a command
    return "".join(
        (fill_command if number % 2 else fill)(part, values) for number, part in enumerate(parts)
    )


def unquotable(text: str) -> Iterator[tuple[int, str]]:
    """Variables of a command that stand inside quotes, where their own quotes would end them."""
    for number, line in enumerate(text.split("\n")):
        for found in VARIABLE.finditer(line):
            before = line[: found.start()]
            if before.count("'") % 2 or before.count('"') % 2:
                yield number, found[1]


def quoted(word: str) -> str:
    """A word as a shell takes it."""
    return word if _PLAIN.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"


def by_hand(act: Act, values: Mapping[str, str]) -> str:
    """The command that does what the action does."""
    prompt = quoted(fill(act.prompt, values))
    version = quoted(fill(act.options["version"], values)) if "version" in act.options else ""
    more = " ".join(part for part in (prompt, version) if part)
    length = quoted(fill(act.options.get("for", ""), values))
    hold = f" --hold {quoted(fill(act.options['hold'], values))}" if "hold" in act.options else ""
    line = {
        "gradual_rollback": f"rollback {more} --gradual{hold}",
        "automation_off": f"automation off {prompt} --for {length}",
        "automation_on": f"automation on {prompt}",
    }.get(act.verb, f"{act.verb} {more}")
    because = quoted(fill(act.because, values) or "see the runbook")
    env = f" {values['env']}" if values.get("env") else ""
    return f"knowngood {line}{env} --because {because}"

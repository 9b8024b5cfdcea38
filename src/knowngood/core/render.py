"""Filling `{{ name }}` in a prompt's text. There is no logic in a template, by design.

A placeholder is two braces, a name and two braces. Values are inserted as they are and never
looked at again, so a value that contains `{{ x }}` stays text. `\\{{` writes two literal braces.
Nothing of a stored text is ever evaluated or formatted. `spec/rendering.json` holds the cases that
every SDK must pass.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from knowngood.core.errors import BadContent, KnowngoodError
from knowngood.core.model import Content

Scalar = str | int | float | bool | None

# A version's whole content is at most 256 KiB; no text in it can be longer.
TEMPLATE_CHARS_MAX = 256 * 1024
# Far above any prompt written by hand; bounds what one render can be made to look up.
VARIABLES_MAX = 200
NAME_CHARS_MAX = 64

_OPEN = re.compile(r"\\?\{\{")
_PLACEHOLDER = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}")
_SHOWN_CHARS = 40  # how much of a malformed placeholder an error quotes


class MissingVariable(KnowngoodError):
    """The template needs a variable that was not given."""

    code = "missing_variable"


class BadValue(KnowngoodError):
    """A variable's value is not a text, a number, a truth value or None."""

    code = "bad_value"


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled text. `variables` are its placeholders' names in the order they first appear."""

    text: str
    variables: tuple[str, ...]
    parts: tuple[str, ...]  # the text cut at its placeholders, a hole where each one was
    holes: tuple[tuple[int, str], ...]  # (index into parts, variable)

    def render(self, values: Mapping[str, Scalar]) -> str:
        """The text with every placeholder filled; values that it does not name are ignored.

        Texts go in as they are, numbers as Python prints them, True and False as `true` and
        `false`, None as nothing. Raises MissingVariable, naming all that is missing, and BadValue.
        """
        filled = list(self.parts)
        for index, name in self.holes:
            try:
                value = values[name]
            except KeyError:
                raise self._missing(values) from None
            filled[index] = value if type(value) is str else _text(name, value)
        return "".join(filled)

    def _missing(self, values: Mapping[str, Scalar]) -> MissingVariable:
        return missing_variables([name for name in self.variables if name not in values], values)


@dataclass(frozen=True, slots=True)
class CompiledContent:
    """A version's content, ready to be rendered. `variables` are those of all its texts."""

    variables: tuple[str, ...]
    text: Template | None
    messages: tuple[tuple[str, Template], ...]  # (role, template)

    def render(self, values: Mapping[str, Scalar]) -> str | list[dict[str, str]]:
        """The filled text, or the list of `{"role", "content"}` with every content filled.

        Raises MissingVariable, naming what is missing in any of the texts, and BadValue.
        """
        if self.text is not None:
            return self.text.render(values)
        missing = [name for name in self.variables if name not in values]
        if missing:
            raise missing_variables(missing, values)
        return [{"role": role, "content": t.render(values)} for role, t in self.messages]


def missing_variables(missing: list[str], values: Mapping[str, Scalar]) -> MissingVariable:
    """The error for variables that were not given; `known` lists those that were."""
    given = sorted(map(str, values))
    return MissingVariable(
        f"missing variable{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
        f"given: {', '.join(given) or 'none'}",
        known=given,
        next_step=f"pass {missing[0]}=… to render" if missing else "",
    )


def compile_template(text: str) -> Template:
    """Compile a text once, to be rendered many times.

    Raises BadContent, with line and column, for a `{{` that no well-formed placeholder follows, and
    when the text is too long or names too many variables.
    """
    if len(text) > TEMPLATE_CHARS_MAX:
        raise BadContent(f"the text has {len(text)} characters; the limit is {TEMPLATE_CHARS_MAX}")
    parts: list[str] = []
    holes: list[tuple[int, str]] = []
    literal: list[str] = []
    at = 0
    while opening := _OPEN.search(text, at):
        literal.append(text[at : opening.start()])
        if text[opening.start()] == "\\":
            literal.append("{{")
            at = opening.end()
            continue
        name, at = _placeholder(text, opening.start())
        parts.append("".join(literal))
        literal = []
        holes.append((len(parts), name))
        parts.append("")
    parts.append("".join([*literal, text[at:]]))
    variables = tuple(dict.fromkeys(name for _, name in holes))
    _check_variable_count(len(variables))
    return Template(text, variables, tuple(parts), tuple(holes))


def placeholders(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each placeholder of a text begins and ends, and its name, for whoever shows the text.

    Raises BadContent as `compile_template` does.
    """
    at = 0
    while opening := _OPEN.search(text, at):
        if text[opening.start()] == "\\":
            at = opening.end()
            continue
        name, at = _placeholder(text, opening.start())
        yield opening.start(), at, name


def compile_content(content: Content) -> CompiledContent:
    """Compile the text or every message. Raises BadContent as `compile_template` does."""
    if content.text is not None:
        text = compile_template(content.text)
        return CompiledContent(text.variables, text, ())
    messages = tuple((m.role, compile_template(m.content)) for m in content.messages or ())
    names = dict.fromkeys(name for _, template in messages for name in template.variables)
    _check_variable_count(len(names))
    return CompiledContent(tuple(names), None, messages)


def _check_variable_count(count: int) -> None:
    if count > VARIABLES_MAX:
        raise BadContent(f"the prompt names {count} variables; the limit is {VARIABLES_MAX}")


def _placeholder(text: str, start: int) -> tuple[str, int]:
    """The name of the placeholder at `start`, and where it ends."""
    match = _PLACEHOLDER.match(text, start)
    if match and len(match[1]) <= NAME_CHARS_MAX:
        return match[1], match.end()
    line = text.count("\n", 0, start) + 1
    column = start - (text.rfind("\n", 0, start) + 1) + 1
    where = f"line {line}, column {column}"
    if match:
        raise BadContent(f"{where}: the variable's name is longer than {NAME_CHARS_MAX} characters")
    end = text.find("}}", start)
    if end < 0:
        problem = "`{{` is never closed"
    else:
        shown = text[start : min(end + 2, start + _SHOWN_CHARS)]
        problem = f"`{shown}` is not a placeholder: a name is letters, digits and _"
    raise BadContent(f"{where}: {problem}", next_step=r"write \{{ for two literal braces")


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int | float):
        return str(value)
    raise BadValue(
        f"the value of {name} is a {type(value).__name__}; it must be a text, a number, a truth "
        "value or None",
        next_step=f"turn {name} into text first, for example with json.dumps",
    )

"""What a version consists of and what things are called: validation, digests and readable diffs."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher, unified_diff
from hashlib import sha256
from math import isfinite
from typing import Any

from knowngood.core.errors import BadContent, BadRequest, ContentConflict
from knowngood.core.model import Content, Message, Version
from knowngood.core.render import compile_content, compile_template

# A quarter of the API's body limit of 1 MiB: a few hundred pages, far above any model's sweet spot.
CONTENT_BYTES_MAX = 256 * 1024
MESSAGES_MAX = 200
# Deeper than any provider's settings; bounds the recursion over what a stranger sent.
CONFIG_DEPTH_MAX = 20
NAME_CHARS_MAX = 128  # the wire's limit too
INTEGER_MAX = 2**63 - 1  # what databases and other languages can read back

ROLES = ("system", "user", "assistant", "tool", "developer")
FIELDS = ("text", "messages", "config")
CONTEXT_LINES = 3

_PLAIN_KEY = re.compile(r"[\w-]+")  # other keys are quoted, so that a dot only ever means a level
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


# --- Names


def check_prompt_name(name: object) -> str:
    """The name, if it is one: `[a-z0-9][a-z0-9._-]*`. Raises BadRequest."""
    return _check_name("prompt", name)


def check_environment_name(name: object) -> str:
    """The name, if it is one: the same rule as for prompts. Raises BadRequest."""
    return _check_name("environment", name)


def check_suite_name(name: object) -> str:
    """The suite, if it is one: the same rule as for prompts. Raises BadRequest."""
    return _check_name("suite", name)


def check_version_name(name: object) -> str:
    """The version, if it is one: printable, without a colon and surrounding blanks.

    Raises BadRequest.
    """
    if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS_MAX:
        got = f"{len(name)}" if isinstance(name, str) else repr(name)
        raise BadRequest(f"a version is a text of 1 to {NAME_CHARS_MAX} characters, got {got}")
    if ":" in name or not name.isprintable() or name != name.strip():
        raise BadRequest(
            f"{name!r} cannot be a version: it has no colon, no control character and no blank at "
            "either end"
        )
    return name


def split_name(name: str) -> tuple[str, str | None]:
    """(prompt, version) of `name:version`, (prompt, None) of a bare name. Raises BadRequest."""
    prompt, colon, version = name.partition(":")
    return check_prompt_name(prompt), check_version_name(version) if colon else None


def _check_name(kind: str, name: object) -> str:
    if not isinstance(name, str) or len(name) > NAME_CHARS_MAX or not _NAME.fullmatch(name):
        article = "an" if kind[0] in "aeiou" else "a"
        raise BadRequest(
            f"{str(name)[:NAME_CHARS_MAX]!r} cannot be {article} {kind} name: it starts with a-z "
            f"or 0-9 and goes on with those, dot, _ and -, {NAME_CHARS_MAX} characters at most"
        )
    return name


# --- Content


def parse_content(data: object) -> Content:
    """The content in JSON data: `{text | messages, config?}`, checked in every part.

    Raises BadContent, which names the field, says what is known and, for a malformed placeholder,
    where it stands.
    """
    if not isinstance(data, Mapping):
        raise BadContent("the content must be an object", known=FIELDS)
    for field in data:
        if field not in FIELDS:
            raise BadContent(f"unknown field {field!r} in the content", known=FIELDS)
    text, messages = data.get("text"), data.get("messages")
    if (text is None) == (messages is None):
        raise BadContent("the content needs either `text` or `messages`", known=FIELDS)
    config = _config(data.get("config"))
    if messages is None:
        content = Content(text=_text("text", text), config=config)
        if not content.text:
            raise BadContent("`text` is empty")
    else:
        content = Content(messages=_messages(messages), config=config)
    compile_content(content)
    size = len(canonical(content_data(content)).encode())
    if size > CONTENT_BYTES_MAX:
        raise BadContent(f"the content has {size} bytes; the limit is {CONTENT_BYTES_MAX}")
    return content


def content_data(content: Content) -> dict[str, Any]:
    """The content as JSON data: `{text | messages, config}`."""
    config = dict(content.config)
    if content.messages is None:
        return {"text": content.text, "config": config}
    messages = [{"role": m.role, "content": m.content} for m in content.messages]
    return {"messages": messages, "config": config}


def canonical(data: object) -> str:
    """The one way to write JSON data: keys sorted, no blanks, no NaN, characters unescaped."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(content: Content) -> str:
    """The name of this very content: sha256, in hex, of its canonical JSON in UTF-8."""
    return sha256(canonical(content_data(content)).encode()).hexdigest()


def refuse_other_content(version: Version, there: Version) -> None:
    """Raises ContentConflict if `there`, which has the version's name already, says otherwise."""
    if there.digest != version.digest:
        raise ContentConflict(
            f"{version.prompt}:{version.version} exists with other content",
            next_step="push it under another version name",
        )


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadContent(f"`{field}` must be a text, got {type(value).__name__}")
    if "\0" in value:
        raise BadContent(f"`{field}` contains a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadContent(f"`{field}` is not valid Unicode at character {error.start}") from None
    return value


def _messages(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise BadContent("`messages` must be a list of at least one message")
    if len(value) > MESSAGES_MAX:
        raise BadContent(f"`messages` has {len(value)} entries; the limit is {MESSAGES_MAX}")
    return tuple(_message(f"messages[{i}]", message) for i, message in enumerate(value))


def _message(field: str, value: object) -> Message:
    if not isinstance(value, Mapping) or set(value) != {"role", "content"}:
        raise BadContent(f"`{field}` must be an object with `role` and `content`, nothing else")
    if value["role"] not in ROLES:
        raise BadContent(f"`{field}.role` is {value['role']!r}, which is unknown", known=ROLES)
    content = _text(f"{field}.content", value["content"])
    try:
        compile_template(content)
    except BadContent as error:
        raise BadContent(
            f"`{field}.content`, {error.message}", next_step=error.next_step
        ) from error
    return Message(value["role"], content)


def _config(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadContent(f"`config` must be an object, got {type(value).__name__}")
    config: dict[str, Any] = _json("config", value, CONFIG_DEPTH_MAX)
    for name in ("provider", "model"):
        if name in config and (not isinstance(config[name], str) or not config[name]):
            raise BadContent(f"`config.{name}` must be a text, got {config[name]!r}")
    return config


def _json(field: str, value: object, depth: int) -> Any:
    """A copy of JSON data, so that nobody else's hands are on what was digested."""
    if depth < 0:
        raise BadContent(f"`{field}` is nested deeper than {CONFIG_DEPTH_MAX} levels")
    match value:
        case None | bool():
            return value
        case int():
            if abs(value) > INTEGER_MAX:
                raise BadContent(f"`{field}` is a whole number that does not fit 64 bits")
            return value
        case float():
            if not isfinite(value):
                raise BadContent(f"`{field}` is {value}, which JSON cannot hold")
            return value
        case str():
            return _text(field, value)
        case list() | tuple():
            return [_json(f"{field}[{i}]", item, depth - 1) for i, item in enumerate(value)]
        case Mapping():
            copy = {}
            for key, item in value.items():
                if not isinstance(key, str):
                    raise BadContent(f"`{field}` has the key {key!r}, which is not a text")
                copy[_text(field, key)] = _json(f"{field}.{key}", item, depth - 1)
            return copy
        case _:
            raise BadContent(f"`{field}` is a {type(value).__name__}, which JSON cannot hold")


# --- Diffs


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a text's diff: `kind` is `+`, `-`, a blank for context, or `@` for a gap."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class TextDiff:
    """How one text changed; `where` is `text` or names a message of either side by its place."""

    where: str
    lines: tuple[DiffLine, ...]


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """One key of the configuration (dotted when nested): JSON before and after, None if absent."""

    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Diff:
    """How one version differs from another; no texts and no config changes when it does not."""

    before: str
    after: str
    texts: tuple[TextDiff, ...]
    config: tuple[ConfigChange, ...]

    @property
    def identical(self) -> bool:
        """Whether both versions have the same content."""
        return not self.texts and not self.config

    def unified(self) -> str:
        """The diff as plain text in the usual notation; empty when the versions are identical."""
        lines = [] if self.identical else [f"--- {self.before}", f"+++ {self.after}"]
        for text in self.texts:
            lines.append(f"@@ {text.where} @@")
            # A gap's own numbers are of no use to people; they would not survive a paste either.
            lines += ["  …" if ln.kind == "@" else ln.kind + ln.text for ln in text.lines]
        if self.config:
            lines.append("@@ config @@")
        for change in self.config:
            if change.before is not None:
                lines.append(f"-{change.key}: {change.before}")
            if change.after is not None:
                lines.append(f"+{change.key}: {change.after}")
        return "\n".join(lines)


def diff(a: Version, b: Version) -> Diff:
    """How version `b` differs from version `a`: line by line and key by key."""
    return Diff(
        before=f"{a.prompt}:{a.version}",
        after=f"{b.prompt}:{b.version}",
        texts=tuple(
            TextDiff(where, tuple(_diff_lines(before, after)))
            for where, before, after in changed_texts(a.content, b.content)
        ),
        config=tuple(_diff_config(a.content.config, b.content.config)),
    )


def texts_of(content: Content) -> list[tuple[str, str]]:
    """(role, text) of every message; a plain text has no role."""
    if content.messages is None:
        return [("", content.text or "")]
    return [(message.role, message.content) for message in content.messages]


def changed_texts(before: Content, after: Content) -> Iterator[tuple[str, str | None, str | None]]:
    """(where, text before, text after) of each text that differs; None where there was none."""
    a, b = texts_of(before), texts_of(after)
    for tag, a_from, a_to, b_from, b_to in SequenceMatcher(None, a, b, False).get_opcodes():
        if tag == "equal":
            continue
        for i in range(max(a_to - a_from, b_to - b_from)):
            a_at, b_at = a_from + i, b_from + i
            old = a[a_at] if a_at < a_to else None
            new = b[b_at] if b_at < b_to else None
            places = dict.fromkeys((place_of(a_at, old), place_of(b_at, new)))
            where = " -> ".join(place for place in places if place)
            yield where, old[1] if old else None, new[1] if new else None


def place_of(index: int, text: tuple[str, str] | None) -> str:
    """What a text is called among those of its version: `text`, or `messages[2] user`."""
    if text is None:
        return ""
    return f"messages[{index}] {text[0]}" if text[0] else "text"


def _diff_lines(a: str | None, b: str | None) -> Iterable[DiffLine]:
    before = [] if a is None else a.split("\n")
    after = [] if b is None else b.split("\n")
    # The first two lines are the files' names; the first gap's line says nothing yet.
    changed = list(unified_diff(before, after, n=CONTEXT_LINES, lineterm=""))[3:]
    for line in changed:
        yield DiffLine("@", "") if line.startswith("@@ ") else DiffLine(line[0], line[1:])


def _diff_config(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[ConfigChange]:
    before, after = dict(flat_config("", a)), dict(flat_config("", b))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield ConfigChange(key, before.get(key), after.get(key))


def flat_config(prefix: str, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, JSON) of each value of a configuration; a key is dotted where it is nested."""
    for key, value in config.items():
        name = prefix + (key if _PLAIN_KEY.fullmatch(key) else canonical(key))
        if isinstance(value, Mapping) and value:
            yield from flat_config(f"{name}.", value)
        else:
            yield name, canonical(value)

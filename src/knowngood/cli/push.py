"""`knowngood push`: store a version of a prompt."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from knowngood.cli.backend import connect, segment
from knowngood.cli.names import version_of
from knowngood.cli.options import DEFAULT_URL, As, Because, Json, Name, Token, Url
from knowngood.cli.output import print_json, say
from knowngood.core.content import parse_content
from knowngood.core.errors import BadContent, BadRequest

SUFFIXES = (".yaml", ".yml", ".json", ".txt")


def push(
    name: Name,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="The version, unless NAME names it already.")
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Its content: .yaml, .json or .txt.")
    ] = "",
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="What is new in it.")] = "",
    because: Because = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Store a version from a file.

    A .txt file is the text; .yaml and .json have `text` or `messages`, and `config`. Versions are
    immutable: the same content again changes nothing, other content is refused.
    """
    prompt, wanted = version_of(name, version if file else "")
    body = {
        "version": wanted,
        **read_content(Path(file or version)),
        "note": note or None,
        "because": because or None,
    }
    answer = connect(url, token, actor).post(f"/api/prompts/{segment(prompt)}/versions", body)
    if as_json:
        print_json(answer)
        return
    new = answer["outcome"] == "new"
    fate = "stored" if new else "unchanged: the same content was there already"
    say(f"{prompt}:{wanted}  {fate}  digest {answer['digest'][:12]}")
    if new:
        say(f"next: knowngood promote {prompt} {wanted} --because '...'")


def read_content(file: Path) -> dict[str, Any]:
    """The content that a file holds. Raises BadRequest or BadContent."""
    if file.suffix not in SUFFIXES:
        raise BadRequest(
            f"{file} has the suffix {file.suffix or 'none'!r}, so its form is unknown",
            known=SUFFIXES,
        )
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadRequest(f"cannot read {file}: {why}") from error
    if file.suffix == ".txt":
        # An editor's final line break is no part of a prompt.
        return {"text": text.removesuffix("\n").removesuffix("\r")}
    data = _parsed(file, text)
    if not isinstance(data, dict):
        raise BadContent(f"{file} does not hold an object", known=["text", "messages", "config"])
    if unknown := sorted(map(str, data.keys() - {"text", "messages", "config"})):
        raise BadContent(
            f"{file} has the unknown field {unknown[0]!r}", known=["text", "messages", "config"]
        )
    parse_content(data)  # YAML has dates, sets and bytes, which cannot even be sent
    return data


def _parsed(file: Path, text: str) -> Any:
    if file.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise BadContent(f"{file} is not valid JSON: {error}") from error
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or "not valid YAML"
        raise BadContent(f"{file}{where}: {what}") from error

"""`knowngood show`: a prompt's versions, or one version with its content."""

import json
from typing import Any

from knowngood.cli.backend import connect, segment
from knowngood.cli.names import optional_version
from knowngood.cli.options import DEFAULT_URL, Db, Json, Name, OptionalVersion, Token, Url
from knowngood.cli.output import heading, print_json, say, table, when


def show(
    name: Name,
    version: OptionalVersion = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show a prompt, or one of its versions.

    A prompt comes with its versions, newest first; a version comes with its content.
    """
    prompt, wanted = optional_version(name, version)
    path = f"/api/prompts/{segment(prompt)}"
    if wanted is not None:
        path += f"/versions/{segment(wanted)}"
    answer = connect(url, token, db=db).get(path)
    if as_json:
        print_json(answer)
    elif wanted is None:
        _print_prompt(answer)
    else:
        _print_version(answer)


def _print_prompt(answer: dict[str, Any]) -> None:
    say(heading(answer["name"]))
    for environment, data in sorted(answer["environments"].items()):
        say(f"  {environment}: {data['route']}, generation {data['generation']}")
    say()
    rows = [
        (v["version"], v["digest"][:12], when(v["created_ms"]), v["author"], _marked(v))
        for v in answer["versions"]
    ]
    table(("version", "digest", "pushed", "by", "standing"), rows)


def _standing(version: dict[str, Any]) -> str:
    return "; ".join(
        f"{environment}: {data['standing']}" + (_share(data["weight_bp"]))
        for environment, data in sorted(version["standing"].items())
    )


def _marked(version: dict[str, Any]) -> str:
    """The standing, and where the version is unless it is hot by itself."""
    return "; ".join(part for part in (_standing(version), *_kept(version)) if part)


def _kept(version: dict[str, Any]) -> list[str]:
    if pin := version["pin"]:
        return [f"pinned by {pin['actor']}: {pin['because']}"]
    # What was never served is not hot either, and is no old version all the same.
    return ["archived"] if version["kept"] == "archived" and version["standing"] else []


def _share(weight_bp: int) -> str:
    return f", serves {weight_bp / 100:g}%" if weight_bp else ""


def _print_version(answer: dict[str, Any]) -> None:
    say(heading(f"{answer['prompt']}:{answer['version']}"))
    say(f"  digest {answer['digest']}")
    say(f"  pushed {when(answer['created_ms'])} by {answer['author']}")
    if answer["note"]:
        say(f"  note: {answer['note']}")
    if answer["variables"]:
        say(f"  variables: {', '.join(answer['variables'])}")
    for environment, data in sorted(answer["standing"].items()):
        words = f"{data['standing']}{_share(data['weight_bp'])}"
        say(f"  {environment}: {words} ({data['because'] or 'routed'})")
    for words in _kept(answer):
        say(f"  {words}")
    content = answer["content"]
    for message in content.get("messages") or [{"role": "text", "content": content.get("text")}]:
        say()
        say(heading(message["role"]))
        say(message["content"])
    if content["config"]:
        say()
        say(heading("config"))
        say(json.dumps(content["config"], indent=2, ensure_ascii=False))

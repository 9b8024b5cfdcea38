"""`knowngood diff`: how one version differs from another."""

from typing import Annotated

import typer
from rich.text import Text

from knowngood.cli.backend import connect, segment
from knowngood.cli.errors import Usage
from knowngood.cli.names import version_of
from knowngood.cli.options import DEFAULT_URL, Db, Json, Name, Token, Url
from knowngood.cli.output import print_json, say

STYLES = {"+": "green", "-": "red", "@": "cyan"}


def diff(
    name: Name,
    a: Annotated[
        str, typer.Argument(metavar="A", help="The version before, unless NAME names it already.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The version after.")] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show how version B differs from version A."""
    if not b and ":" not in name:
        raise Usage("expected NAME A B or NAME:A B")
    prompt, before = version_of(name, a if b else "")
    _, after = version_of(prompt, b or a)
    backend = connect(url, token, db=db)
    answer = backend.get(f"/api/prompts/{segment(prompt)}/diff", a=before, b=after)
    if as_json:
        print_json(answer)
    elif answer["identical"]:
        say(f"{prompt}: {before} and {after} have the same content")
    else:
        for line in answer["unified"].splitlines():
            say(Text(line, style=STYLES.get(line[:1], "")))

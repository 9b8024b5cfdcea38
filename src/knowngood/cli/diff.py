"""`knowngood diff`: how one version differs from another."""

from rich.text import Text

from knowngood.cli.backend import connect, segment
from knowngood.cli.names import two_versions
from knowngood.cli.options import (
    DEFAULT_URL,
    AfterVersion,
    BeforeVersion,
    Db,
    Json,
    Name,
    Token,
    Url,
)
from knowngood.cli.output import print_json, say

STYLES = {"+": "green", "-": "red", "@": "cyan"}


def diff(
    name: Name,
    a: BeforeVersion,
    b: AfterVersion = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show how version B differs from version A."""
    prompt, before, after = two_versions(name, a, b, "NAME A B or NAME:A B")
    backend = connect(url, token, db=db)
    answer = backend.get(f"/api/prompts/{segment(prompt)}/diff", a=before, b=after)
    if as_json:
        print_json(answer)
    elif answer["identical"]:
        say(f"{prompt}: {before} and {after} have the same content")
    else:
        for line in answer["unified"].splitlines():
            say(Text(line, style=STYLES.get(line[:1], "")))

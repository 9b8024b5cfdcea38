"""`knowngood token`: who may do what with a server, and how they prove it."""

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from knowngood.cli.options import Json
from knowngood.cli.output import print_json, say, table

app = typer.Typer(
    help="Make tokens for people and programs, and see who has one.",
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("make")
def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is.")],
    role: Annotated[
        str,
        typer.Option("--role", metavar="ROLE", help="sdk, viewer, operator, approver or admin."),
    ],
    until: Annotated[
        str,
        typer.Option(
            "--until",
            metavar="DATE",
            help="It ends when this day begins, in UTC; default: never.",
            show_default=False,
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Make a token, and the line for the server's token file.

    The token is shown this once: the line holds its digest, which opens nothing.
    """
    from knowngood.server.tokens import SECRET_BYTES, line_for
    from knowngood.server.tokens import make as new_token

    token = new_token(name, role, secrets.token_bytes(SECRET_BYTES))
    line = line_for(token, until)
    if as_json:
        print_json({"name": name, "role": role, "token": token, "line": line})
        return
    say(f"The token, for {name} alone; it is not shown again:")
    say(f"  {token}")
    say("Its line for the file that `knowngood serve --token-file` reads:")
    say(f"  {line}")


@app.command("list")
def list_tokens(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The token file.")],
    as_json: Json = False,
) -> None:
    """Show who has a token in a file, with which role, and until when."""
    from knowngood.server.tokens import day, read_file, roster_of

    rows: list[dict[str, Any]] = [
        {
            "name": token.caller.name,
            "role": token.caller.role.value,
            "until": None if token.until_ms is None else day(token.until_ms),
        }
        for token in roster_of(read_file(file)).tokens
    ]
    if as_json:
        print_json({"tokens": rows})
        return
    table(
        ("name", "role", "until"),
        [(row["name"] or "(nobody)", row["role"], row["until"] or "") for row in rows],
    )

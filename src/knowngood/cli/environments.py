"""`knowngood environments`: list them, add one."""

from typing import Annotated, Any

import typer

from knowngood.cli.backend import connect
from knowngood.cli.options import DEFAULT_URL, As, Because, Db, Json, Token, Url
from knowngood.cli.output import print_json, say, table

app = typer.Typer(
    help="List the environments; add one.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def list_environments(
    ctx: typer.Context,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """List the environments with their generations, or add one."""
    if ctx.invoked_subcommand is not None:
        return
    answer = connect(url, token, db=db).get("/api/environments")
    if as_json:
        print_json(answer)
    else:
        table(("environment", "generation"), map(_cells, answer["environments"]))


def _cells(row: dict[str, Any]) -> tuple[str, str]:
    return row["name"], str(row["generation"])


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new environment.")],
    because: Because = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Add an environment; one that exists stays as it is."""
    answer = connect(url, token, actor).post(
        "/api/environments", {"name": name, "because": because or None}
    )
    if as_json:
        print_json(answer)
    else:
        new = answer["outcome"] == "new"
        say(f"the environment {name} " + ("is added" if new else "was there already"))

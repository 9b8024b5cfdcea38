"""`knowngood policy report`: what dry runs would have done, and whether to trust them."""

from typing import Annotated, Any

import typer

from knowngood.cli.backend import connect
from knowngood.cli.names import prompt_of
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    Db,
    Env,
    Json,
    OptionalName,
    Token,
    Url,
)
from knowngood.cli.output import Cell, heading, print_json, say, table, when

TITLES = ("PROMPT", "TRIGGER", "ACTION", "DRY SINCE", "DAYS", "ACTED", "RIGHT", "WRONG", "ADVICE")
MARKS = {"right": "right", "wrong": "WRONG", "pending": "not known yet"}


def report(
    name: OptionalName = "",
    env: Env = DEFAULT_ENVIRONMENT,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="How far to look back.")
    ] = "30d",
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show what triggers in dry run would have done, and whether they are ready to act.

    A would-be action was right if others took the version off the route within a day, or if it had
    an incident that stayed open.
    """
    prompt = prompt_of(name) if name else None
    answer = connect(url, token, db=db).get(
        "/api/policy/report", environment=env, prompt=prompt, since=since
    )
    if as_json:
        print_json(answer)
        return
    if not answer["triggers"]:
        say(f"no trigger runs dry{f' on {prompt}' if prompt else ''} in {env}")
        say("next: add `dry_run: true` to a trigger of the policy, and let it watch")
        return
    table(TITLES, map(_cells, answer["triggers"]))
    for row in answer["triggers"]:
        _print_acts(row)
    if answer["unread_count"]:
        say()
        say(f"{answer['unread_count']} more prompts were not looked at: ask for them by name")


def _cells(row: dict[str, Any]) -> tuple[Cell, ...]:
    return (
        row["prompt"],
        row["trigger"],
        row["action"],
        when(row["since_ms"]),
        f"{row['days_watched']:.1f}",
        str(row["acted_count"]),
        str(row["right_count"]),
        str(row["wrong_count"]),
        row["words"],
    )


def _print_acts(row: dict[str, Any]) -> None:
    if not row["acts"]:
        return
    say()
    say(heading(f"{row['prompt']}, {row['trigger']}: {row['when']}"))
    lines = [
        (when(act["at_ms"]), act["version"], act["because"], MARKS[act["hindsight"]], act["words"])
        for act in row["acts"]
    ]
    table(("", "", "", "", ""), lines, indent=2)

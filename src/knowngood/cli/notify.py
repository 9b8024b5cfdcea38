"""`knowngood notify`: does each channel work, and what became of each message?"""

from typing import Annotated, Any

import typer

from knowngood.cli.backend import connect
from knowngood.cli.errors import EXIT_REFUSED
from knowngood.cli.options import DEFAULT_URL, As, Db, Json, Token, Url
from knowngood.cli.output import print_json, say, table, verdict, when

PATIENCE_S = 60.0  # a provider may take 15 s, a mail server several times ten

app = typer.Typer(
    help="Test the channels through which people are told, and see what they answered.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SIGNS = {"delivered": "ok", "skipped": "ok", "retry": "warning"}


@app.command("test")
def try_out(
    channel: Annotated[
        str, typer.Argument(metavar="CHANNEL", help="One channel; default: all.")
    ] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Send a test page, marked as a drill, and show what each channel answered.

    It reaches people: say so before, and close what it opens. The exit code is 1 if a channel did
    not take it.
    """
    backend = connect(url, token, actor, patience_s=PATIENCE_S)
    answer = backend.post("/api/notify/test", {"channel": channel or None})
    if as_json:
        print_json(answer)
    else:
        table(("", "CHANNEL", "ANSWER"), map(_row, answer["deliveries"]))
        say("every channel took it" if answer["ok"] else "not every channel took it, see above")
    if not answer["ok"]:
        raise typer.Exit(EXIT_REFUSED)


@app.command("log")
def deliveries(
    thread: Annotated[
        str,
        typer.Option(
            "--thread", metavar="ID", help="One incident or page; default: all.", show_default=False
        ),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", help="How many tries at most.")] = 50,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show what each channel answered to each message, newest first."""
    answer = connect(url, token, db=db).get("/api/notify/log", thread=thread, limit=limit)
    if as_json:
        print_json(answer)
    elif answer["deliveries"]:
        rows = ((when(each["at_ms"]), *_row(each), each["key"]) for each in answer["deliveries"])
        titles = ("AT", "", "CHANNEL", "ANSWER", "MESSAGE")
        table(titles, rows)
    else:
        say("no channel was asked for anything yet")


def _row(delivery: dict[str, Any]) -> tuple[Any, str, str]:
    outcome = delivery["outcome"]
    sign = verdict(SIGNS.get(outcome, "error"), words=outcome.replace("_", " "))
    again = f", again at {when(delivery['next_ms'])}" if delivery["next_ms"] else ""
    return sign, delivery["channel"], delivery["answer"] + again

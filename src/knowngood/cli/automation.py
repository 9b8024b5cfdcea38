"""`knowngood automation`: hold automatic rollbacks for a while, or let them go on."""

from typing import Annotated

import typer

from knowngood.cli.backend import connect
from knowngood.cli.changes import print_change
from knowngood.cli.errors import Usage, need_because
from knowngood.cli.names import prompt_of
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    As,
    Because,
    DryRun,
    Env,
    Json,
    OptionalName,
    Token,
    Url,
)
from knowngood.cli.output import say

STATES = ("on", "off")


def automation(
    state: Annotated[str, typer.Argument(metavar="on|off", help="On, or off for a while.")],
    name: OptionalName = "",
    length: Annotated[
        str,
        typer.Option(
            "--for", metavar="TIME", help="How long it is off, such as 2h.", show_default=False
        ),
    ] = "",
    because: Because = "",
    env: Env = DEFAULT_ENVIRONMENT,
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Turn automatic rollbacks off for a while.

    For one prompt or, without NAME, for all of the environment. A rollback by hand is never held.
    """
    if state not in STATES:
        raise Usage(f"automation is turned on or off, not {state!r}", known=STATES)
    if state == "off" and not length:
        raise Usage("automation that is off always has an end", next_step="add --for 2h")
    if state == "on" and length:
        raise Usage("automation that is on needs no --for")
    prompt = prompt_of(name) if name else None
    body = {
        "state": state,
        "prompt": prompt,
        "environment": env,
        "for": length or None,
        "because": need_because(because),
        "dry_run": dry_run or None,
    }
    answer = connect(url, token, actor).post("/api/automation", body)
    print_change(answer, f"automation {state} for {prompt or 'all prompts'} in {env}", as_json)
    if answer["automation"] and not (as_json or answer["dry_run"]):
        say(f"  {answer['automation']['words']}")

"""`knowngood rollback`: put the last known-good version back, now and for everybody."""

from typing import Annotated, Any

import typer
from rich.text import Text

from knowngood.cli.backend import connect
from knowngood.cli.changes import print_together, print_would
from knowngood.cli.errors import Usage
from knowngood.cli.ladder import stages_of
from knowngood.cli.names import optional_version
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    As,
    Because,
    Db,
    DryRun,
    Env,
    Hold,
    Json,
    Name,
    OptionalVersion,
    Override,
    PolicyFileOption,
    Revision,
    Token,
    Url,
)
from knowngood.cli.output import print_json, say

# At three in the morning a rollback asks for nothing that it does not need.
BECAUSE = "manual rollback via the command line"


def rollback(
    name: Name,
    version: OptionalVersion = "",
    because: Because = BECAUSE,
    env: Env = DEFAULT_ENVIRONMENT,
    if_confirmed: Annotated[
        bool, typer.Option("--if-confirmed", help="Only if something is found wrong.")
    ] = False,
    no_quarantine: Annotated[
        bool, typer.Option("--no-quarantine", help="Leave the version that goes a candidate.")
    ] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Leave what it was released with where it is.")
    ] = False,
    gradual: Annotated[
        bool, typer.Option("--gradual", help="Stage by stage, for minor harm.")
    ] = False,
    stages: Annotated[
        str,
        typer.Option(
            "--stages",
            metavar="SHARES",
            help="Of a gradual one: what is left to the bad version, such as 50%,0%.",
            show_default=False,
        ),
    ] = "",
    hold: Hold = "",
    override: Override = [],  # noqa: B006 # Typer copies it
    revision: Revision = None,
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    db: Db = None,
    policy: PolicyFileOption = None,
    as_json: Json = False,
) -> None:
    """Put the last known-good version back.

    For everybody and at once: to VERSION or, without one, to the newest version that is known to
    be good. No brake holds a rollback by hand. A gradual one becomes an instant one when you ask
    for it again without --gradual.
    """
    prompt, target = optional_version(name, version)
    if (stages or hold) and not gradual:
        raise Usage(
            "only a gradual rollback has stages",
            next_step="add --gradual, or leave out --stages and --hold: then it is at once",
        )
    body = {
        "prompt": prompt,
        "target_version": target,
        "environment": env,
        "because": because,
        "confirm": if_confirmed or None,
        "override": override or None,
        "revision": revision,
        "dry_run": dry_run or None,
        "quarantine": False if no_quarantine else None,
        "alone": alone or None,
        "gradual": gradual or None,
        "stages": stages_of(stages),
        "hold": hold or None,
    }
    answer = connect(url, token, actor, db, policy).post("/api/rollback", body)
    if as_json:
        print_json(answer)
    else:
        _print(answer, prompt, env, with_server=db is None)


def _print(answer: dict[str, Any], prompt: str, env: str, with_server: bool) -> None:
    title = f"rollback {prompt} in {env}"
    if answer["outcome"] == "unchanged" and not answer.get("would"):
        say(f"{title}: unchanged, {answer['to_version']} serves everybody already")
        print_together(answer)
    elif answer.get("dry_run"):
        print_would(title, answer["would"])
        print_together(answer, "would go together with")
        if note := answer.get("note"):
            say(f"  {note}")
    else:
        versions = f"{answer['from_version']} -> {answer['to_version']}"
        gradual = answer["outcome"] == "gradual"
        word = "GRADUAL ROLLBACK" if gradual else "ROLLBACK"
        say(Text(f"{word} {versions}  {prompt} in {env}", style="bold green"))
        say(f"  generation {answer['generation']}, audit entry {answer['id']}")
        print_together(answer)
        if note := answer.get("note"):
            say(f"  {note}")
        if gradual:
            say(f"  stage by stage: knowngood explain {prompt} --env {env}")
            say(f"  at once after all: knowngood rollback {prompt} --env {env}")
        elif with_server:
            say(f"  verification runs: knowngood explain {prompt} --env {env}")
        else:
            say("  no server runs: clients switch, and verification runs, when it is back")

"""The options that verbs share, each said once."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_ENVIRONMENT = "production"

Name = Annotated[str, typer.Argument(metavar="NAME", help="The prompt; `name:version` too.")]
OptionalName = Annotated[str, typer.Argument(metavar="NAME", help="One prompt; default: all.")]
OptionalVersion = Annotated[
    str, typer.Argument(metavar="VERSION", help="The version, unless NAME names it already.")
]
BeforeVersion = Annotated[
    str, typer.Argument(metavar="A", help="The version before, unless NAME names it already.")
]
AfterVersion = Annotated[str, typer.Argument(metavar="B", help="The version after.")]
Url = Annotated[
    str, typer.Option("--url", envvar="KNOWNGOOD_URL", metavar="URL", help="The server.")
]
Token = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="KNOWNGOOD_TOKEN",
        metavar="TOKEN",
        help="The server's token, if it asks for one.",
        show_default=False,
    ),
]
Env = Annotated[str, typer.Option("--env", metavar="NAME", help="The environment.")]
As = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="ACTOR",
        help="Who acts; default: the user of the operating system.",
        show_default=False,
    ),
]
Because = Annotated[
    str,
    typer.Option("--because", metavar="TEXT", help="Why, for the audit log.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as one JSON object.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen; change nothing.")]
Override = Annotated[
    list[str],
    typer.Option(
        "--override",
        metavar="REFUSAL",
        help="A refusal to step over, such as `quarantined`; may be repeated.",
        show_default=False,
    ),
]
Revision = Annotated[
    int | None,
    typer.Option(
        "--revision",
        metavar="N",
        help="Refuse if the prompt has changed since this revision.",
        show_default=False,
    ),
]
SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="The suite of examples.")]
ScoreRange = Annotated[
    str,
    typer.Option(
        "--range", metavar="MIN..MAX", help="The scores' range; default: 0..1.", show_default=False
    ),
]
PassAt = Annotated[
    float | None,
    typer.Option(
        "--pass-at",
        metavar="SCORE",
        help="From which score on an example passes; default: the middle of the range.",
        show_default=False,
    ),
]
AtLeast = Annotated[
    str,
    typer.Option(
        "--at-least",
        metavar="SHARE",
        help="Exit 1 if fewer examples passed, such as `75%`.",
        show_default=False,
    ),
]
TracePrompt = Annotated[
    str, typer.Option("--prompt", metavar="NAME", help="The prompt; default: the file's name.")
]
Db = Annotated[
    Path | None,
    typer.Option(
        "--db",
        metavar="FILE",
        help="Break glass: use this database file while the server is down.",
        show_default=False,
    ),
]
PolicyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="With --db: the policy to judge by; default: the built-in one.",
        show_default=False,
    ),
]
Now = Annotated[bool, typer.Option("--now", help="No ladder: everybody at once.")]
Stages = Annotated[
    str,
    typer.Option(
        "--stages",
        metavar="SHARES",
        help="The stages, such as 1%,5%,25%,100%; default: the policy's.",
        show_default=False,
    ),
]
Hold = Annotated[
    str,
    typer.Option(
        "--hold",
        metavar="TIME",
        help="How long a stage lasts at least; default: the policy's.",
        show_default=False,
    ),
]
WaitAtMost = Annotated[
    str,
    typer.Option(
        "--wait-at-most",
        metavar="TIME",
        help="After this long without proof a person is asked; default: the policy's.",
        show_default=False,
    ),
]
Timed = Annotated[
    bool,
    typer.Option(
        "--timed", help="Leave stages on time alone: a breach stops it, no proof is asked for."
    ),
]

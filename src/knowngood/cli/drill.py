"""`knowngood drill`: a fault in staging, to see whether the limits are kept before it is real."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from knowngood.cli.backend import connect
from knowngood.cli.demo import _ends_on_terminate
from knowngood.cli.errors import EXIT_REFUSED, Usage
from knowngood.cli.names import prompt_of
from knowngood.cli.options import DEFAULT_URL, As, Json, Token, Url
from knowngood.cli.output import complain, print_json, say, table
from knowngood.core.drill import DRILL_PREFIX, Fault

STAGING = "staging"
PRODUCTION = "production"
DEADLINE_S = 600
FAULTS = tuple(fault.value for fault in Fault)


def drill(
    fault: Annotated[
        str,
        typer.Argument(
            metavar="[error|latency|quality|blind]", help="What goes wrong.", show_default=False
        ),
    ] = Fault.ERROR.value,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="The prompt; default: a throw-away one.")
    ] = "",
    env: Annotated[
        str, typer.Option("--env", metavar="NAME", help="The environment; never production.")
    ] = STAGING,
    hands_on: Annotated[
        bool,
        typer.Option(
            "--hands-on",
            help="Where a person decides, wait for you instead of deciding at once.",
        ),
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="As in the demo; a drill always ends after one fault.")
    ] = False,
    deadline: Annotated[
        int, typer.Option("--deadline", metavar="SECONDS", help="Give a part up after so long.")
    ] = DEADLINE_S,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same calls.")] = 7,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Inject a fault in staging and time detect, decide, act, propagate and recover.

    A real server judges, real processes call and follow. Exit code 0 when every limit was kept.
    """
    if fault not in FAULTS:
        raise Usage(f"there is no fault {fault!r}", known=FAULTS)
    if env == PRODUCTION:
        raise Usage("a drill never touches production", next_step="drill in staging")
    prompt = prompt_of(name) if name else f"{DRILL_PREFIX}{fault}"
    with _ends_on_terminate():
        place = Place(url, token, actor, env)
        report = _play(place, Fault(fault), prompt, hands_on, deadline, seed, as_json)
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report["outcome"] != "kept":
        raise typer.Exit(EXIT_REFUSED)


class Place(NamedTuple):
    """Where the drill takes place, and who holds it."""

    url: str
    token: str
    actor: str
    environment: str


def _play(
    place: Place,
    fault: Fault,
    prompt: str,
    hands_on: bool,
    deadline: int,
    seed: int,
    as_json: bool,
) -> dict[str, Any]:
    from knowngood.cli.drill_callers import Callers
    from knowngood.cli.drill_story import Drill

    def tell(line: str) -> None:
        if as_json:
            print(line, file=sys.stderr)
        else:
            say(f"  {line}")

    folder = Path(tempfile.mkdtemp(prefix="knowngood-drill-"))
    callers = Callers(folder, place.url, place.token, place.environment, prompt, fault)
    try:
        api = connect(place.url, place.token, place.actor)
        return Drill(api, callers, tell, hands_on, seed, float(deadline)).play()
    finally:
        callers.end()
        shutil.rmtree(folder, ignore_errors=True)


def _print(report: dict[str, Any]) -> None:
    say()
    rows = [
        (
            part["part"],
            "–" if part["took_s"] is None else f"{part['took_s']:.1f} s",
            "–" if part["limit_s"] is None else f"{part['limit_s']:.0f} s",
            "kept" if part["kept"] else "MISSED",
        )
        for part in report["parts"]
    ]
    table(("part", "took", "limit", ""), rows, indent=2)
    say()
    where = f"{report['prompt']} in {report['environment']}"
    say(f"drill {report['drill']} of {where}: {report['outcome']} after {report['seconds']} s")
    if report["problem"]:
        complain([report["problem"]])

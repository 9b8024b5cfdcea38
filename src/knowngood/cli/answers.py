"""`knowngood approve`, `decline` and `ack`: what a person answers to a question or a page."""

from collections.abc import Callable
from inspect import signature
from typing import Annotated, Any

import typer
from rich.text import Text

from knowngood.cli.backend import connect
from knowngood.cli.changes import print_change, print_would
from knowngood.cli.errors import Usage, need_because
from knowngood.cli.names import version_of
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    As,
    Because,
    DryRun,
    Env,
    Json,
    Revision,
    Token,
    Url,
)
from knowngood.cli.output import print_json, say, when

APPROVE, ACK = "approve", "ack"
About = Annotated[
    str,
    typer.Argument(
        metavar="NAME|INCIDENT",
        help="A prompt, or the incident or page that you answer.",
        show_default=False,
    ),
]
Agreed = Annotated[
    str,
    typer.Argument(
        metavar="VERSION",
        help="To agree to a promotion instead: of this version.",
        show_default=False,
    ),
]
Question = Annotated[
    int | None,
    typer.Option(
        "--question",
        metavar="N",
        help="The question that you saw: another that is open by now is not answered.",
        show_default=False,
    ),
]


def _answer(verb: str, explained: str, without: tuple[str, ...] = ()) -> Callable[..., None]:
    """The command that gives the answer `verb`; `explained` is its help.

    `without`: the options that this answer has no use for.
    """

    def command(
        about: About,
        version: Agreed = "",
        because: Because = "",
        question: Question = None,
        env: Env = DEFAULT_ENVIRONMENT,
        revision: Revision = None,
        dry_run: DryRun = False,
        url: Url = DEFAULT_URL,
        token: Token = "",
        actor: As = "",
        as_json: Json = False,
    ) -> None:
        body = {
            "environment": env,
            "because": because if verb == ACK else need_because(because),
            "revision": revision,
            "dry_run": dry_run or None,
        }
        if verb == APPROVE and (version or ("/" not in about and ":" in about)):
            if question is not None:
                raise Usage(
                    "a promotion is no question", next_step="leave out --question, or VERSION"
                )
            prompt, wanted = version_of(about, version)
            body |= {"prompt": prompt, "version": wanted}
            answer = connect(url, token, actor).post("/api/approvals", body)
            _print_agreed(answer, f"approve {prompt}:{wanted} in {env}", as_json)
            return
        body |= {"about": about, "answer": verb, "question": question}
        answer = connect(url, token, actor).post("/api/answers", body)
        if verb == APPROVE:
            _print_rollback(answer, f"approve {about}", dry_run, as_json)
        else:
            print_change(answer, f"{verb} {about}", as_json)

    command.__doc__ = explained
    whole = signature(command)
    kept = [each for name, each in whole.parameters.items() if name not in without]
    vars(command)["__signature__"] = whole.replace(parameters=kept)
    return command


approve = _answer(
    APPROVE,
    """Roll back what the open question asks about, or agree to a promotion.

    As it was asked: at once, or stage by stage. The question is shown by `explain`. With a VERSION
    (or `name:version`) you are the second person of its promotion: see `gates`.
    """,
)
decline = _answer(
    "decline",
    """Investigate instead of rolling back.

    Nothing is changed. While the breach lasts you are reminded, each time the limit passes.
    """,
    without=("version",),
)
ack = _answer(
    ACK,
    """Take the page: you look at it, and nobody else is called.

    An open question stays open, and its limit goes on.
    """,
    without=("version", "question"),
)


def _print_agreed(answer: dict[str, Any], title: str, as_json: bool) -> None:
    """What was agreed to, and until when it holds."""
    print_change(answer, title, as_json)
    if as_json or answer["dry_run"]:
        return
    said = answer["approvals"]
    for given in said["given"]:
        say(f"  approved by {given['actor']} until {when(given['until_ms'])}: {given['because']}")
    say(f"  whoever promotes it has to be somebody else ({said['people_count']} people in all)")


def _print_rollback(answer: dict[str, Any], title: str, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    if dry_run:
        print_would(title, answer["would"])
        return
    say(Text(f"{title}: done", style="bold green"))
    gently = ", stage by stage" if answer["outcome"] == "gradual" else ""
    moved = f"{answer['from_version']} -> {answer['to_version']}{gently}"
    say(f"  {moved}, generation {answer['generation']}")
    say("  it is verified now; `knowngood explain` says how it goes")

"""`knowngood approve`, `decline` and `ack`: what a person answers to a question or a page."""

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


def approve(
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
    """Roll back what the open question asks about, or agree to a promotion.

    As it was asked: at once, or stage by stage. The question is shown by `explain`. With a VERSION
    (or `name:version`) you are the second person of its promotion: see `gates`.
    """
    if version or ("/" not in about and ":" in about):
        if question is not None:
            raise Usage("a promotion is no question", next_step="leave out --question, or VERSION")
        prompt, wanted = version_of(about, version)
        body = _body("", "", need_because(because), None, env, revision, dry_run)
        body = {**body, "prompt": prompt, "version": wanted, "about": None, "answer": None}
        done = connect(url, token, actor).post("/api/approvals", body)
        _agree(done, f"approve {prompt}:{wanted} in {env}", as_json)
        return
    body = _body("approve", about, need_because(because), question, env, revision, dry_run)
    answer = connect(url, token, actor).post("/api/answers", body)
    if as_json:
        print_json(answer)
    elif dry_run:
        print_would(f"approve {about}", answer["would"])
    else:
        _print_rollback(about, answer)


def decline(
    about: About,
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
    """Investigate instead of rolling back.

    Nothing is changed. While the breach lasts you are reminded, each time the limit passes.
    """
    body = _body("decline", about, need_because(because), question, env, revision, dry_run)
    answer = connect(url, token, actor).post("/api/answers", body)
    print_change(answer, f"decline {about}", as_json)


def ack(
    about: About,
    because: Because = "",
    env: Env = DEFAULT_ENVIRONMENT,
    revision: Revision = None,
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Take the page: you look at it, and nobody else is called.

    An open question stays open, and its limit goes on.
    """
    body = _body("ack", about, because, None, env, revision, dry_run)
    answer = connect(url, token, actor).post("/api/answers", body)
    print_change(answer, f"ack {about}", as_json)


def _agree(answer: dict[str, Any], title: str, as_json: bool) -> None:
    """What was agreed to, and until when it holds."""
    print_change(answer, title, as_json)
    if as_json or answer["dry_run"]:
        return
    said = answer["approvals"]
    for given in said["given"]:
        say(f"  approved by {given['actor']} until {when(given['until_ms'])}: {given['because']}")
    say(f"  whoever promotes it has to be somebody else ({said['people_count']} people in all)")


def _body(
    answer: str,
    about: str,
    because: str,
    question: int | None,
    env: str,
    revision: int | None,
    dry_run: bool,
) -> dict[str, Any]:
    return {
        "about": about,
        "answer": answer,
        "question": question,
        "environment": env,
        "because": because,
        "revision": revision,
        "dry_run": dry_run or None,
    }


def _print_rollback(about: str, answer: dict[str, Any]) -> None:
    say(Text(f"approve {about}: done", style="bold green"))
    gently = ", stage by stage" if answer["outcome"] == "gradual" else ""
    moved = f"{answer['from_version']} -> {answer['to_version']}{gently}"
    say(f"  {moved}, generation {answer['generation']}")
    say("  it is verified now; `knowngood explain` says how it goes")

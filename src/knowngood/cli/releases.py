"""`knowngood release`: versions of several prompts that come, and go, as one."""

from typing import Annotated, Any

import typer
from rich.text import Text

from knowngood.cli.backend import connect, segment
from knowngood.cli.changes import print_together, print_would
from knowngood.cli.errors import need_because
from knowngood.cli.ladder import ladder_of
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    As,
    Because,
    DryRun,
    Env,
    Hold,
    Json,
    Now,
    Override,
    Stages,
    Timed,
    Token,
    Url,
    WaitAtMost,
)
from knowngood.cli.output import heading, print_json, say, table, when

app = typer.Typer(help="Versions of several prompts that come, and go, as one.")

ReleaseName = Annotated[str, typer.Argument(metavar="RELEASE", help="The release.")]


@app.command("create")
def create(
    name: ReleaseName,
    members: Annotated[
        list[str],
        typer.Argument(metavar="NAME:VERSION...", help="One version of each prompt."),
    ],
    because: Because = "",
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Name versions that belong together.

    A release never changes; the same versions again change nothing.
    """
    body = {"name": name, "members": members, "because": because, "dry_run": dry_run or None}
    answer = connect(url, token, actor).post("/api/releases", body)
    if as_json:
        print_json(answer)
        return
    say(f"release {name}: {answer['outcome']}")
    _print_members(answer)
    if answer["outcome"] == "new" and not answer["dry_run"]:
        say(f"next: knowngood release promote {name} --because '...'")


@app.command("list")
def list_releases(
    env: Env = DEFAULT_ENVIRONMENT,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """List the releases, the newest first."""
    answer = connect(url, token).get("/api/releases", environment=env)
    if as_json:
        print_json(answer)
        return
    if not answer["releases"]:
        say("no releases; `knowngood release create RELEASE NAME:VERSION...` makes one")
    rows = [
        (r["name"], when(r["created_ms"]), f"{_served(r)} of {len(r['members'])}", r["because"])
        for r in answer["releases"]
    ]
    table(("RELEASE", "CREATED", "SERVED", "WHY"), rows)


@app.command("show")
def show(
    name: ReleaseName,
    env: Env = DEFAULT_ENVIRONMENT,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Show a release: its versions and the share that each has."""
    answer = connect(url, token).get(f"/api/releases/{segment(name)}", environment=env)
    if as_json:
        print_json(answer)
        return
    say(heading(f"release {answer['name']} in {env}"))
    say(f"  created {when(answer['created_ms'])} by {answer['actor']}")
    _print_members(answer)


@app.command("promote")
def promote(
    name: ReleaseName,
    because: Because = "",
    env: Env = DEFAULT_ENVIRONMENT,
    now: Now = False,
    stages: Stages = "",
    hold: Hold = "",
    wait_at_most: WaitAtMost = "",
    timed: Timed = False,
    override: Override = [],  # noqa: B006 # Typer copies it
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Begin to serve all of a release's versions, in one transaction.

    The same users get all of them, and a stage is left when every prompt's gates are open.
    """
    body = _body(name, because, env, override, dry_run)
    body |= {"now": now or None, **ladder_of(stages, hold, wait_at_most, timed)}
    answer = connect(url, token, actor).post("/api/releases/promote", body)
    if as_json:
        print_json(answer)
        return
    title = f"promote release {name} in {env}"
    if answer["dry_run"]:
        print_would(title, [f"{p}: {w}" for p, words in answer["did"].items() for w in words])
    elif answer["outcome"] == "unchanged":
        say(f"{title}: unchanged, it is so already")
    else:
        say(Text(f"{title}: done", style="bold green"))
        _print_members(answer)


@app.command("rollback")
def rollback(
    name: ReleaseName,
    because: Because = "",
    env: Env = DEFAULT_ENVIRONMENT,
    override: Override = [],  # noqa: B006 # Typer copies it
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Roll all of a release back, in one transaction.

    Each prompt goes to its own newest known-good version.
    """
    body = _body(name, because, env, override, dry_run)
    answer = connect(url, token, actor).post("/api/releases/rollback", body)
    if as_json:
        print_json(answer)
        return
    title = f"roll back release {name} in {env}"
    if answer.get("dry_run"):
        print_would(title, answer["would"])
        print_together(answer, "would go together with")
        return
    say(Text(f"{title}: done", style="bold green"))
    say(f"  {answer['from_version']} -> {answer['to_version']}, audit entry {answer['id']}")
    print_together(answer)


def _body(
    name: str, because: str, env: str, override: list[str], dry_run: bool
) -> dict[str, object]:
    return {
        "name": name,
        "environment": env,
        "because": need_because(because),
        "override": override or None,
        "dry_run": dry_run or None,
    }


def _served(release: dict[str, Any]) -> int:
    return sum(1 for member in release["members"] if member["weight_bp"])


def _print_members(answer: dict[str, Any]) -> None:
    rows = [
        (
            f"{m['prompt']}:{m['version']}",
            f"{m['weight_bp'] / 100:g}%" if "weight_bp" in m else "",
            m.get("standing") or "",
        )
        for m in answer["members"]
    ]
    table(("", "", ""), rows, indent=2)

"""`knowngood policy`: check a policy file, and show the policy in force."""

from pathlib import Path
from typing import Annotated, Any

import typer

from knowngood.cli.backend import connect
from knowngood.cli.names import prompt_of
from knowngood.cli.options import DEFAULT_URL, Db, Json, OptionalName, Token, Url
from knowngood.cli.output import heading, print_json, say

app = typer.Typer(
    help="Check a policy file; show the policy in force.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy file (YAML).")],
    as_json: Json = False,
) -> None:
    """Check a policy file: every problem with its path, or what its owner may not have meant."""
    from knowngood.core.policy import warnings
    from knowngood.server.policy_file import load_policy

    policy = load_policy(file)
    said = warnings(policy)
    if as_json:
        print_json({"ok": True, "revision": policy.revision, "warnings": said})
        return
    say(f"{file} is valid: revision {policy.revision[:12]}, {len(said)} warnings")
    for warning in said:
        say(f"warning: {warning}")


@app.command("show")
def show(
    name: OptionalName = "",
    tree: Annotated[bool, typer.Option("--tree", help="As a decision tree.")] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--policy", metavar="FILE", help="Of this file, without a server.", show_default=False
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show the policy in force, for one prompt or by default; it can be pasted as a file."""
    prompt = prompt_of(name) if name else None
    if file is not None and db is None:
        from knowngood.cli.breakglass import local_policy

        answer = local_policy(file).get("/api/policy", prompt=prompt)
    else:
        answer = connect(url, token, db=db, policy=file).get("/api/policy", prompt=prompt)
    if as_json:
        print_json(answer)
    elif tree:
        say(answer["tree"].rstrip("\n"))
    else:
        _print(answer)


def _print(answer: dict[str, Any]) -> None:
    import yaml

    say(heading(f"# the policy in force, revision {answer['revision'][:12]}"))
    if answer["prompt"]:
        entries = ", ".join(answer["entries"]) or "none, the defaults hold"
        say(f"# under `prompts:`, these apply to {answer['prompt']}: {entries}")
    for warning in answer["warnings"]:
        say(f"# warning: {warning}")
    text = yaml.safe_dump(answer["policy"], sort_keys=False, allow_unicode=True, width=100)
    say(text.rstrip("\n"))

"""`knowngood policy`: check and test one, show the one in force, and what it would have done."""

from pathlib import Path
from typing import Annotated, Any

import typer

from knowngood.cli import policy_report, policy_test
from knowngood.cli.backend import connect
from knowngood.cli.names import prompt_of
from knowngood.cli.options import DEFAULT_URL, Db, Json, OptionalName, Token, Url
from knowngood.cli.output import heading, print_json, say

app = typer.Typer(
    help="Check and test a policy file; show the policy in force, and what it would have done.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy file (YAML).")],
    url: Annotated[
        str,
        typer.Option(
            "--url", metavar="URL", help="Beside what this server sees.", show_default=False
        ),
    ] = "",
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Check a policy file: every problem with its path, or what its owner may not have meant.

    With `--url` or `--db` it also says which limits cannot be told from what is healthy there
    (THRESHOLD_NOT_SEPARABLE).
    """
    answer = _checked(file, url, token, db)
    if as_json:
        print_json(answer)
        return
    said = answer["warnings"]
    say(f"{file} is valid: revision {answer['revision'][:12]}, {len(said)} warnings")
    for warning in said:
        say(f"warning: {warning}")
    for found in answer.get("not_separable", ()):
        place = f"{found['environment']}/{found['prompt']} {found['trigger']}"
        say(f"{found['code']}: {place}: {found['words']}")


def _checked(file: Path, url: str, token: str, db: Path | None) -> dict[str, Any]:
    from knowngood.core.policy import warnings
    from knowngood.server.policy_file import load_policy

    policy = load_policy(file)
    answer: dict[str, Any]
    if db is not None:
        answer = connect(url, token, db=db, policy=file).get("/api/policy/check")
    elif url:
        text = file.read_text(encoding="utf-8")
        answer = connect(url, token).post("/api/policy/check", {"policy": text})
    else:
        answer = {"ok": True, "revision": policy.revision, "warnings": warnings(policy)}
    return answer


app.command("test")(policy_test.run_tests)
app.command("report")(policy_report.report)


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

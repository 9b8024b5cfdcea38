"""`knowngood runbook`: what to do, with this incident's own names, numbers and commands."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from knowngood.cli.backend import Backend, connect, segment
from knowngood.cli.errors import EXIT_REFUSED, Usage
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    As,
    Because,
    Db,
    DryRun,
    Env,
    Json,
    PolicyFileOption,
    Token,
    Url,
)
from knowngood.cli.output import heading, print_json, say, table

ANSWERS = ("go", "decline", "skip", "again")
MARKS = {
    "passed": "✓",
    "would_do": "→",
    "would_ask": "?",
    "would_wait": "…",
    "begun": "…",
    "skipped": "-",
    None: " ",
}

app = typer.Typer(
    help="What to do, with an incident's own names, numbers and commands.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

RunbookId = Annotated[str, typer.Argument(metavar="ID", help="The runbook's id.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Incident = Annotated[
    str,
    typer.Option(
        "--incident", metavar="ID", help="The incident that it is for.", show_default=False
    ),
]
Prompt = Annotated[
    str,
    typer.Option(
        "--prompt",
        metavar="NAME",
        help="The prompt that it is for, where there is no incident.",
        show_default=False,
    ),
]
Yes = Annotated[
    bool, typer.Option("--yes", help="Carry out actions without asking; people are still asked.")
]


@app.command("list")
def list_runbooks(
    url: Url = DEFAULT_URL, token: Token = "", db: Db = None, as_json: Json = False
) -> None:
    """List the runbooks: what each is for."""
    answer = connect(url, token, db=db).get("/api/runbooks")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            row["id"],
            row["severity"],
            row["title"],
            f"review overdue by {row['overdue_days']} days"
            if row["overdue_days"]
            else f"reviewed {row['reviewed_at']}",
        )
        for row in answer["runbooks"]
    ]
    table(("id", "severity", "title", "review"), rows)


@app.command("show")
def show(
    runbook: RunbookId,
    incident: Incident = "",
    prompt: Prompt = "",
    env: Env = DEFAULT_ENVIRONMENT,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show a runbook, filled with the incident's names, numbers and commands."""
    query = {"incident": incident, "prompt": prompt, "environment": env if prompt else ""}
    answer = connect(url, token, db=db).get(f"/api/runbooks/{segment(runbook)}", **query)
    if as_json:
        print_json(answer)
        return
    say(heading(f"{answer['title']}  ({answer['severity']})"))
    if answer["incident"]:
        say(f"  for {answer['incident']}")
    if answer["overdue_days"]:
        say(f"  ! nobody has reviewed it for {answer['overdue_days']} days too long")
    if answer["intro"]:
        say()
        say(answer["intro"])
    for number, step in enumerate(answer["steps"], 1):
        say()
        _print_step(number, step)


@app.command("lint")
def lint(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Runbooks, or folders of them.")
    ],
    policy: PolicyFileOption = None,
    as_json: Json = False,
) -> None:
    """Check runbooks: everything that is wrong, by line. Needs no server."""
    from knowngood.server.policy_file import load_policy
    from knowngood.server.runbook_file import SUFFIX
    from knowngood.server.runbooks import known_of

    known = known_of(load_policy(policy), strict=True)
    found = [
        each
        for file in files
        for each in (sorted(file.rglob(f"*{SUFFIX}")) if file.is_dir() else [file])
    ]
    if not found:
        raise Usage(f"there is no *{SUFFIX} in {', '.join(map(str, files))}")
    results = [_linted(file, known) for file in found]
    if as_json:
        print_json({"files": results})
    else:
        for result in results:
            _print_lint(result)
    if any(result["problems"] for result in results):
        raise typer.Exit(EXIT_REFUSED)


@app.command("run")
def run(
    runbook: RunbookId,
    incident: Incident = "",
    prompt: Prompt = "",
    env: Env = DEFAULT_ENVIRONMENT,
    yes: Yes = False,
    because: Because = "",
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Run a runbook step by step, or go on with a run that is not over.

    Exit code 0 when every step is behind us.
    """
    if not (incident or prompt):
        raise Usage("say what it is for", next_step="add --incident ID, or --prompt NAME")
    api = connect(url, token, actor)
    body = {
        "runbook": runbook,
        "incident": incident or None,
        "prompt": prompt or None,
        "environment": env,
        "because": because or None,
        "dry_run": dry_run or None,
    }
    answer = api.post("/api/runbook-runs", body)
    if not dry_run:
        answer = _go_on(api, answer, yes, talk=not as_json and sys.stdin.isatty(), quiet=as_json)
    if as_json:
        print_json(answer)
    elif dry_run:
        _print_transcript(answer)
    if not dry_run and answer["state"] != "done":
        raise typer.Exit(EXIT_REFUSED)


@app.command("answer")
def answer_step(
    run: RunId,
    answer: Annotated[str, typer.Argument(metavar="go|decline|skip|again", help="What you say.")],
    because: Because = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Say a word to the step of a run that is next: do it, done, approved; no; skip; again."""
    if answer not in ANSWERS:
        raise Usage(f"{answer!r} is no answer to a step", known=ANSWERS)
    body = {"run": run, "answer": answer, "because": because or None}
    after = connect(url, token, actor).post("/api/runbook-runs/answer", body)
    if as_json:
        print_json(after)
        return
    _print_transcript(after)
    _print_next(after)


@app.command("runs")
def runs(
    run: Annotated[str, typer.Argument(metavar="RUN", help="One run; default: the newest.")] = "",
    incident: Incident = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Show the newest runs, or the transcript of one."""
    api = connect(url, token)
    if run:
        one = api.get(f"/api/runbook-runs/{segment(run)}")
        if as_json:
            print_json(one)
            return
        _print_transcript(one)
        _print_next(one)
        return
    answer = api.get("/api/runbook-runs", incident=incident)
    if as_json:
        print_json(answer)
        return
    table(
        ("run", "state", "began", "by", "next"),
        [
            (
                row["id"],
                row["state"],
                row["began"],
                row["actor"],
                row["next"]["title"] if row["next"] else "–",
            )
            for row in answer["runs"]
        ],
    )


# --- Running


def _go_on(
    api: Backend, answer: dict[str, Any], yes: bool, *, talk: bool, quiet: bool
) -> dict[str, Any]:
    """Step by step until the end, or until somebody is needed who is not here."""
    if not quiet:
        say(heading(f"{answer['title']}  for {answer['incident']}"))
        say(f"  run {answer['id']}")
    told: set[tuple[str, int]] = set()
    while answer["next"] is not None:
        step = answer["next"]
        if not quiet:
            _tell_done(answer, told)
        body: dict[str, Any] = {"run": answer["id"]}
        if step["needs_word"]:
            word = "go" if yes and step["kind"] in ("action", "read") else None
            if word is None and talk and answer["state"] == "running":
                _print_step(0, step)
                word, body["because"] = _asked(step["answers"])
            if word is None or answer["state"] != "running":
                if not quiet:
                    _print_next(answer)
                return answer
            body["answer"] = word
        elif step["recheck_after_ms"]:
            time.sleep(step["recheck_after_ms"] / 1000)
        answer = api.post("/api/runbook-runs/answer", body)
    if not quiet:
        _tell_done(answer, told)
        say(f"  {answer['state']}")
    return answer


def _asked(answers: list[str]) -> tuple[str | None, str | None]:
    """What the person at the terminal says, and why."""
    word = typer.prompt(f"  {' / '.join(answers)} / quit", default="quit").strip().lower()
    if word not in answers:
        return None, None
    because = typer.prompt("  because", default="", show_default=False)
    return word, because or None


def _tell_done(answer: dict[str, Any], told: set[tuple[str, int]]) -> None:
    for step in answer["steps"]:
        key = (step["step"], step["attempts"])
        if step["mark"] not in (None, "begun") and key not in told:
            told.add(key)
            say(_done_line(step))


# --- Printing


def _print_step(number: int, step: dict[str, Any]) -> None:
    numbered = step["title"][:1].isdigit()  # most authors number their headings
    say(heading(step["title"] if numbered or not number else f"{number}. {step['title']}"))
    for line in step["prose"].split("\n") if step["prose"] else ():
        say(f"  {line}")
    if step["does"]:
        say(f"  [{step['kind']}] {step['does']}")
    if step["command"]:
        say(f"  by hand: {step['command']}")


def _print_transcript(answer: dict[str, Any]) -> None:
    say(heading(f"{answer['title']}  for {answer['incident']}"))
    for step in answer["steps"]:
        say(_done_line(step))
    if answer["dry_run"]:
        say("  nothing was changed")


def _done_line(step: dict[str, Any]) -> str:
    words = step["words"] or step["does"] or ""
    by = f"  ({step['actor']})" if step.get("actor") else ""
    return f"  {MARKS.get(step['mark'], '✗')} {step['title']}: {words}{by}"


def _print_next(answer: dict[str, Any]) -> None:
    step = answer["next"]
    if step is None:
        say(f"  {answer['state']}")
        return
    say()
    _print_step(0, step)
    if answer["state"] == "stopped":
        say(f"  stopped: {step['words']}")
    say(f"  next: knowngood runbook answer {answer['id']} {'|'.join(step['answers'])}")


def _linted(file: Path, known: Any) -> dict[str, Any]:
    from dataclasses import replace
    from datetime import UTC, datetime

    from typer.main import get_command

    from knowngood.cli.app import app as whole
    from knowngood.core.runbook import Problem
    from knowngood.server import runbook_file
    from knowngood.server.runbooks import problem_data

    verbs = tuple(getattr(get_command(whole), "commands", {}))
    problems: Iterable[Problem]
    try:
        text = runbook_file.read_text(file)
    except runbook_file.BadRunbook as error:
        problems = (Problem(0, error.message),)
    else:
        today = datetime.now(UTC).date()
        named = replace(known, verbs=verbs)
        problems = runbook_file.lint(text, named, file.parent, today)[1]
    return {"file": str(file), "problems": [problem_data(problem) for problem in problems]}


def _print_lint(result: dict[str, Any]) -> None:
    if not result["problems"]:
        say(f"{result['file']}: fine")
    for problem in result["problems"]:
        hint = f" ({problem['hint']})" if problem["hint"] else ""
        say(f"{result['file']}:{problem['line']}: {problem['words']}{hint}")

"""`knowngood audit`: what happened, who did it, and why."""

import json
from typing import Annotated, Any

import typer

from knowngood.cli.backend import Backend, connect
from knowngood.cli.errors import Usage
from knowngood.cli.names import prompt_of
from knowngood.cli.options import DEFAULT_URL, Db, Json, Token, Url
from knowngood.cli.output import heading, print_json, say, table, when
from knowngood.core.explain import arms_words, duration

SHOW, REPLAY = "show", "replay"
WORDS = (SHOW, REPLAY)
# Shown in their own way, or not at all.
APART = ("findings", "gates", "windows", "now_ms", "frozen", "together")
LENGTHS = ("hold_ms", "took_ms")


def audit(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="One prompt; or `show` or `replay` before an ID.")
    ] = "",
    entry: Annotated[
        str, typer.Argument(metavar="ID", help="After `show` or `replay`: the entry.")
    ] = "",
    env: Annotated[
        str | None, typer.Option("--env", metavar="NAME", help="One environment; default: all.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many lines.")] = 30,
    after: Annotated[int, typer.Option("--after", min=0, help="Only lines after this id.")] = 0,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show the history, newest line last.

    `audit show ID` shows one line with the evidence that was frozen in it. `audit replay ID` makes
    its decision again from that evidence, and exits 1 when it comes out differently.
    """
    backend = connect(url, token, db=db)
    if entry:
        _check(name, entry)
        if name == REPLAY:
            _replay(backend, entry, as_json)
        else:
            _show(backend, entry, as_json)
        return
    prompt = prompt_of(name) if name else None
    answer = backend.get("/api/audit", environment=env, prompt=prompt, after=after, limit=limit)
    if as_json:
        print_json(answer)
    elif not answer["entries"]:
        say("nothing has happened here yet")
    else:
        titles = ("id", "at", "prompt", "env", "what", "change", "by", "because")
        table(titles, map(_cells, answer["entries"]))


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(line["id"]),
        when(line["at_ms"]),
        line["prompt"],
        line["environment"],
        line["kind"],
        _change(line["detail"]),
        line["actor"],
        line["because"],
    )


def _change(detail: dict[str, Any]) -> str:
    """From which version to which, or which version it was about; empty for neither."""
    after = detail.get("to")
    if isinstance(after, list):  # the arms of a route
        after = arms_words(after)
    if after and detail.get("from"):
        return f"{detail['from']} -> {after}"
    return str(after or detail.get("version") or "")


def _check(word: str, entry: str) -> None:
    if word not in WORDS:
        raise Usage(f"expected `audit {SHOW} {entry}` or `audit {word}`")
    if not entry.isdigit():
        raise Usage(f"{entry!r} is no id of an entry", next_step="`knowngood audit` lists them")


def _replay(backend: Backend, entry: str, as_json: bool) -> None:
    answer = backend.get(f"/api/audit/{entry}/replay")
    if as_json:
        print_json(answer)
    else:
        judged = f"judged at {when(answer['judged_ms'])} by {answer['policy_revision'][:12]}"
        say(heading(f"{answer['id']}  {answer['kind']}: {answer['because']}"))
        theirs = answer["judged_for"]
        whose = f" of {theirs}, which it went along with" if theirs != answer["prompt"] else ""
        say(f"  {judged}, frozen in entry {answer['frozen_in']}{whose}")
        for line in answer["again"]:
            say(f"  again: {line['kind']}  {line.get('because', '')}".rstrip())
        say("  same verdict" if answer["same"] else "  DIFFERENT from what was recorded:")
        if not answer["same"]:
            for line in answer["recorded"]:
                say(f"  recorded: {line['kind']}  {line.get('because', '')}".rstrip())
    if not answer["same"]:
        raise typer.Exit(1)


def _show(backend: Backend, entry: str, as_json: bool) -> None:
    line = backend.get(f"/api/audit/{entry}")
    if as_json:
        print_json(line)
        return
    where = f" in {line['environment']}" if line["environment"] else ""  # a push is in none
    say(heading(f"{line['id']}  {line['kind']}  {line['prompt']}{where}"))
    say(f"  {when(line['at_ms'])} by {line['actor']}")
    say(f"  {line['because']}")
    say(f"  revision {line['revision']}, generation {line['generation']}")
    if line["policy_revision"]:
        say(f"  judged by the policy {line['policy_revision'][:12]}")
    _print_detail(line["detail"])


def _print_detail(detail: dict[str, Any]) -> None:
    for finding in detail.get("findings", ()):
        say(f"  {finding['verdict']}  {finding['trigger']}  {finding['words']}")
        if proof := finding.get("proof_words"):
            say(f"    {proof}")
    for gate in detail.get("gates", ()):
        say(f"  {gate['answer'].replace('_', ' ')}  {gate['name']}  {gate['because']}")
    if source := detail.get("together"):
        say(f"  decided for {source['lead']}, in one transaction: its lines say on what")
    for key, value in detail.items():
        if value and key not in APART:
            if key == "to" and isinstance(value, list):
                value = arms_words(value)
            if key.endswith("_bp"):
                key, value = key.removesuffix("_bp"), _shares(value)
            if key in LENGTHS:
                key, value = key.removesuffix("_ms"), duration(value)
            words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            say(f"  {key}: {words}")


def _shares(value: int | list[int]) -> str:
    """One share of the traffic, or the stages of a ladder."""
    stages_bp = value if isinstance(value, list) else [value]
    return " -> ".join(f"{bp / 100:g}%" for bp in stages_bp)

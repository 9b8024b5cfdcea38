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

SHOW, REPLAY, VERIFY, HEAD = "show", "replay", "verify", "head"
WORDS = (SHOW, REPLAY)
# Shown in their own way, or not at all.
APART = ("findings", "gates", "windows", "now_ms", "frozen", "together")
LENGTHS = ("hold_ms", "took_ms")


def audit(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="One prompt; or `show` or `replay` before an ID; or `verify`, or `head`.",
        ),
    ] = "",
    entry: Annotated[
        str, typer.Argument(metavar="ID", help="After `show` or `replay`: the entry.")
    ] = "",
    env: Annotated[
        str | None, typer.Option("--env", metavar="NAME", help="One environment; default: all.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many lines.")] = 30,
    after: Annotated[int, typer.Option("--after", min=0, help="Only lines after this id.")] = 0,
    expect: Annotated[
        str,
        typer.Option(
            "--expect",
            metavar="HASH",
            help="With `verify`: a head that was kept elsewhere.",
            show_default=False,
        ),
    ] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show the history, newest line last.

    `audit show ID` shows one line with the evidence that was frozen in it. `audit replay ID` makes
    its decision again from that evidence, and exits 1 when it comes out differently. `audit verify`
    follows the chain of hashes over all lines and prints its head; it exits 1 where a line was
    changed, removed or inserted, or when the hash that `--expect` names is in it no more. `audit
    head` prints the newest line's place, time and hash on one line, to be kept elsewhere.
    """
    backend = connect(url, token, db=db)
    if name == VERIFY and not entry:
        _verify(backend, expect, as_json)
        return
    if name == HEAD and not entry and not expect:
        _head(backend, as_json)
        return
    if expect:
        raise Usage("--expect goes with `audit verify`")
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


def _verify(backend: Backend, expect: str, as_json: bool) -> None:
    count, expected_id = 0, None
    answer: dict[str, Any] = {"head": "", "next_after": 0}
    while answer["next_after"] is not None:  # each answer goes further, up to the newest line
        answer = backend.get(
            "/api/audit/verify",
            after=answer["next_after"],
            before=answer["head"],
            expect=expect,
        )
        count += answer["lines"]
        expected_id = expected_id or answer["expected_id"]
    is_missing = bool(expect) and answer["whole"] and expected_id is None
    if as_json:
        print_json({**answer, "lines": count, "expected_id": expected_id})
    elif not answer["whole"]:
        say(f"BROKEN after {_lines(count)}: {answer['why']}")
        say(f"  the last hash that holds is {answer['head'] or 'none'}")
    else:
        say(f"{_lines(count)}, chain whole, head {answer['head'] or 'none'}")
        if is_missing:
            say(f"NOT THE SAME HISTORY: no line has the hash {expect}")
            say("  it was cut, or written anew from some line on, since that hash was kept")
        elif expect:
            say(f"  line {expected_id} has the hash that was kept elsewhere")
    if is_missing or not answer["whole"]:
        raise typer.Exit(1)


def _head(backend: Backend, as_json: bool) -> None:
    newest = backend.get("/api/audit", limit=1)["entries"]
    if not newest:
        raise Usage("nothing has happened here yet: there is no head", next_step="knowngood push")
    head = {name: newest[-1][name] for name in ("id", "at", "hash")}
    if as_json:
        print_json(head)
    else:
        say(" ".join(str(value) for value in head.values()))


def _lines(count: int) -> str:
    return f"{count:,} line" if count == 1 else f"{count:,} lines"


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

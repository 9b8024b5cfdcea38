"""`knowngood status`, the default verb: every prompt on one line, those in trouble first."""

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from knowngood.cli.backend import connect
from knowngood.cli.names import prompt_of
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    Db,
    Env,
    Json,
    OptionalName,
    PolicyFileOption,
    Token,
    Url,
)
from knowngood.cli.output import Cell, print_json, say, table, verdict
from knowngood.core.explain import amount, percent

TITLES = ("prompt", "env", "route", "verdict", "errors", "p99", "quality", "state")
NOTHING = "–"


def status(
    name: OptionalName = "",
    env: Env = DEFAULT_ENVIRONMENT,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    policy: PolicyFileOption = None,
    as_json: Json = False,
) -> None:
    """Show what is served, how it does, and what is waited on."""
    prompt = prompt_of(name) if name else None
    answer = connect(url, token, db=db, policy=policy).get(
        "/api/status", environment=env, prompt=prompt
    )
    if as_json:
        print_json(answer)
        return
    if not answer["prompts"]:
        say(f"{env}: nothing is routed here")
        say(f"next: knowngood promote NAME VERSION --env {env} --because '...'")
        return
    table(TITLES, [line for row in answer["prompts"] for line in _lines(env, row)])
    say()
    say(f"clients: {answer['census']}")
    if answer["automation"]:
        say(Text(f"! {answer['automation']['words']}", style="bold yellow"))
    for row in answer["prompts"]:
        if row["automation"]:
            say(Text(f"! {row['prompt']}: {row['automation']['words']}", style="bold yellow"))
    if answer["unread_count"]:
        say(f"{answer['unread_count']} prompts were not looked at: ask for them by name")


def _lines(env: str, row: dict[str, Any]) -> Iterator[tuple[Cell, ...]]:
    """A line for each arm that was measured, the suspect (the last) with the verdict."""
    measured = row["versions"] or [None]
    arms = row["arms"] or [None]
    for number, figures in enumerate(reversed(measured)):
        word = row["verdict"] if number == 0 else None
        yield (
            row["prompt"] if number == 0 else "",
            env if number == 0 else "",
            _route(arms, row, figures),
            verdict(word, _of(row)) if word else (NOTHING if number == 0 else ""),
            *_figures(figures),
            _state(row) if number == 0 else "",
        )


def _route(arms: list[Any], row: dict[str, Any], figures: dict[str, Any] | None) -> str:
    if figures is None:
        return str(row["route"])
    weight_bp = next(arm["weight_bp"] for arm in arms if arm["version"] == figures["version"])
    return f"{figures['version']} {weight_bp / 100:g}%"


def _of(row: dict[str, Any]) -> str:
    """How many of the triggers say so, when they are not of one mind."""
    counts = row["verdicts"] or {}
    same = counts.get(row["verdict"], 0)
    return f" ({same} of {sum(counts.values())})" if same < sum(counts.values()) else ""


def _figures(figures: dict[str, Any] | None) -> tuple[str, str, str]:
    if figures is None:
        return NOTHING, NOTHING, NOTHING
    rate, p99, quality = figures["error_rate"], figures["p99_ms"], figures["quality"]
    return (
        NOTHING if rate is None else f"{percent(rate)} ({figures['bad']} of {figures['n']})",
        NOTHING if p99 is None else amount("latency_p99", p99),
        NOTHING if quality is None else amount("quality", quality),
    )


def _state(row: dict[str, Any]) -> str:
    # What a clear prompt still waits on is for `explain`: nobody has to do anything about it.
    waits = row["waiting_on"] and row["verdict"] != "clear"
    parts = [row["phase"] if row["phase"] != "steady" or not waits else ""]
    if row["incident"]:
        incident = row["incident"]
        said = f"incident {incident['id']} ({incident['severity']}, {incident['clock']})"
        parts.insert(0, said)
    if waits:
        parts.append(f"waits on {row['waiting_on']}")
    return "; ".join(part for part in parts if part)

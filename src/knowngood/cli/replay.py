"""`knowngood replay`: what a policy would have done with recorded traffic."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from knowngood.cli.options import DEFAULT_ENVIRONMENT, Env, Json, TracePrompt
from knowngood.cli.output import heading, print_json, say, styled, table, verdict
from knowngood.cli.progress import bars

FALLBACK_NAME = "trace"  # for a file whose name has no letter or digit
NAME_CHARS_MAX = 128


def replay(
    trace: Annotated[
        Path, typer.Argument(metavar="TRACE", help="Recorded calls: CSV or JSON Lines.")
    ],
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy", metavar="FILE", help="A policy file; default: the default policy."
        ),
    ] = None,
    prompt: TracePrompt = "",
    env: Env = DEFAULT_ENVIRONMENT,
    as_json: Json = False,
) -> None:
    """Play recorded calls back under a policy: what would have fired, and when."""
    from knowngood.core.policy import parse
    from knowngood.server.policy_file import load_policy
    from knowngood.sim.backtest import SCORE, answer, read_trace
    from knowngood.sim.backtest import replay as play

    rules = load_policy(policy) if policy else parse({})
    read = read_trace(trace, rules.scores[SCORE])
    with bars() as begin:
        told = begin(f"replaying {trace.name}")
        found = play(read.calls, rules, prompt or name_of(trace), told, env)
    data = answer(found, read)
    if as_json:
        print_json(data)
    else:
        _print(data)


def name_of(trace: Path) -> str:
    """The file's name without its ending, reduced to what a prompt may be called."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", trace.stem.lower())
    return plain.strip("._-")[:NAME_CHARS_MAX] or FALLBACK_NAME


# --- For a person


def _print(data: dict[str, Any]) -> None:
    say(
        f"{data['prompt']} ({data['environment']})  {data['calls']} calls"
        f"  {data['from']} – {data['to']}"
    )
    _print_rollbacks(data)
    say()
    _print_versions(data["versions"])
    say()
    _print_findings(data["findings"])
    _list("People would have been told", [_question(q) for q in data["questions"]])
    _list("Waiting on", data["waiting_on"])
    _list("Ignored", [f"{reason}: {n}" for reason, n in data["ignored"].items()])
    _list("Note", [data["note"]])


def _print_rollbacks(data: dict[str, Any]) -> None:
    held = [line for line in data["decisions"] if line["kind"] == "rollback.held"]
    for line in held:
        say(f"HELD at {line['at']}: {line['because']}")
    for back in data["rollbacks"]:
        say(
            f"ROLLBACK at {back['at']}, {back['after_s']} s after the deploy:"
            f" {back['from_version']} -> {back['to_version']}  {back['because']}"
        )
    if not data["rollbacks"]:
        say("No rollback would have happened.")


def _print_versions(versions: list[dict[str, Any]]) -> None:
    rows = [
        [
            tally["version"],
            styled(tally["standing"] or "–"),
            str(tally["calls"]),
            _percent(tally["error_rate"]),
            _number(tally["latency_p50_ms"], "{:.0f} ms"),
            _number(tally["latency_p99_ms"], "{:.0f} ms"),
            str(tally["scores"]),
            _number(tally["score_mean"], "{:.3f}"),
            str(tally["off_route"]),
        ]
        for tally in versions
    ]
    titles = (
        "VERSION",
        "STANDING",
        "CALLS",
        "ERRORS",
        "P50",
        "P99",
        "SCORES",
        "MEAN",
        "NOT JUDGED",
    )
    table(titles, rows)


def _print_findings(findings: list[dict[str, Any]]) -> None:
    rows = []
    for found in findings:
        since = found["first_breach_at"]
        breach = f"{since}, {found['breach_s']} s in all" if since is not None else "–"
        rows.append(
            [
                found["version"],
                found["trigger"],
                verdict(found["verdict"]),
                found["words"],
                breach,
            ]
        )
    table(("VERSION", "TRIGGER", "LAST VERDICT", "WHAT IT SAW", "FIRST BREACH"), rows)


def _question(question: dict[str, Any]) -> str:
    ended = question["ended"]
    end = f", {ended} at {question['ended_at']}" if question["ended_at"] is not None else ", open"
    return f"{question['at']}  {question['action']} ({question['severity']}){end}: " + str(
        question["because"]
    )


def _list(title: str, lines: list[str]) -> None:
    if lines:
        say()
        say(heading(title))
    for line in lines:
        say(f"  {line}")


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.2f}%"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)

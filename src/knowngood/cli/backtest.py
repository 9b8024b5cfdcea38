"""`knowngood backtest`: what a policy would have fired on recorded calls, and how much falsely."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from knowngood.cli.options import DEFAULT_ENVIRONMENT, Env, Json, TracePrompt
from knowngood.cli.output import heading, print_json, say, table
from knowngood.cli.progress import bars
from knowngood.cli.replay import name_of
from knowngood.core.explain import duration

if TYPE_CHECKING:
    from knowngood.core.policy import PolicyFile

DEFAULT = "default"
WEEK_HOURS = 168
WHAT = {
    "dry_run": "dry run",
    "held": "rollback, held by a brake",
    "no_target": "rollback, without a target",
}
GROUPS = (("rollbacks", "rollbacks"), ("questions", "questions"), ("alerts", "alerts"))
NOTHING = "–"


def backtest(
    traces: Annotated[
        list[Path], typer.Argument(metavar="TRACE", help="Recorded calls: CSV or JSON Lines.")
    ],
    policy: Annotated[
        str,
        typer.Option("--policy", metavar="FILE", help="A policy file, or the word `default`."),
    ] = DEFAULT,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="FILE",
            help="Another policy, shown beside it; or the word `default`.",
            show_default=False,
        ),
    ] = "",
    healthy: Annotated[
        list[str] | None,
        typer.Option(
            "--healthy",
            metavar="FROM..TO",
            help="When nothing was wrong, or `all`; may be repeated; default: until the first "
            "change of version.",
            show_default=False,
        ),
    ] = None,
    prompt: TracePrompt = "",
    env: Env = DEFAULT_ENVIRONMENT,
    as_json: Json = False,
) -> None:
    """Try a policy on recorded calls: what would have fired, and how much of it falsely.

    With --against two policies are shown side by side. Needs no server, and changes nothing.
    """
    from knowngood.sim.fired import Recording, stretch_of
    from knowngood.sim.fired import backtest as play

    stretches = [stretch_of(text) for text in healthy or ()]
    policies = [(name, _load(name)) for name in (policy, against) if name]
    recordings = [Recording(trace, prompt or name_of(trace)) for trace in traces]
    with bars() as begin:
        data = play(recordings, policies, stretches, env, begin)
    if as_json:
        print_json(data)
    else:
        _print(data)


def _load(name: str) -> "PolicyFile":
    from knowngood.server.policy_file import load_policy

    return load_policy(None if name == DEFAULT else name)


# --- For a person


def _print(data: dict[str, Any]) -> None:
    traces, policies = data["traces"], data["policies"]
    many = "1 trace" if len(traces) == 1 else f"{len(traces)} traces"
    say(f"{many}, {data['calls']:,} calls")
    _print_healthy(data)
    say()
    table(("", *(each["policy"] for each in policies)), _sums(policies))
    if any(each["healthy_hours"] < WEEK_HOURS for each in policies):
        say("Healthy calls of less than a week: trust `at most` (95%), not what was seen.")
    say()
    _print_fired(traces, policies)
    ignored = [f"{t['file']}: {why}: {n}" for t in traces for why, n in t["ignored"].items()]
    _print_list("Ignored", ignored)
    _print_list("Note", dict.fromkeys(note for each in policies for note in each["notes"]))


def _print_healthy(data: dict[str, Any]) -> None:
    by = "until the first change of version; --healthy FROM..TO says otherwise"
    say(f"healthy ({by if data['healthy_by'] == 'first version' else 'as declared'}):")
    for trace in data["traces"]:
        spans = ", ".join(f"{part['from']} – {part['to']}" for part in trace["healthy"])
        say(f"  {trace['file']}: {spans or 'nothing of it'}")


def _sums(policies: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    rows = [(name, *(_counted(each[group]) for each in policies)) for group, name in GROUPS]
    if any(each["dry_runs"]["count"] for each in policies):
        rows.append(("dry runs", *(_counted(each["dry_runs"]) for each in policies)))
    rows.append(("healthy hours", *(f"{each['healthy_hours']:.1f}" for each in policies)))
    rows += [(f"false {name} a week", *(_rate(each[g]) for each in policies)) for g, name in GROUPS]
    return rows


def _counted(group: dict[str, Any]) -> str:
    false = f" ({group['false_count']} false)" if group["count"] else ""
    return f"{group['count']}{false}"


def _rate(group: dict[str, Any]) -> str:
    if group["false_per_week"] is None:
        return NOTHING
    return f"{_few(group['false_per_week'])}, at most {_few(group['false_per_week_at_most'])}"


def _few(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.2g}"


def _print_fired(traces: list[dict[str, Any]], policies: list[dict[str, Any]]) -> None:
    """A line for each thing that fired, with the time after the deploy under each policy."""
    lines: dict[tuple[Any, ...], list[dict[str, Any] | None]] = {}
    for column, each in enumerate(policies):
        times: dict[tuple[Any, ...], int] = {}
        for fired in each["fired"]:
            what = (fired["trace"], fired["deployed_at"], fired["version"], fired["action"])
            same = (*what, ", ".join(fired["triggers"]))
            times[same] = times.get(same, 0) + 1  # the second question is held to the second
            lines.setdefault((*same, times[same]), [None] * len(policies))[column] = fired
    if not lines:
        say("Nothing would have fired.")
        return
    order = {trace["file"]: number for number, trace in enumerate(traces)}
    rows = [
        (order[key[0]], key[1], min(f["after_s"] for f in found if f), _row(found))
        for key, found in lines.items()
    ]
    names = [each["policy"] for each in policies]
    titles = ("DEPLOYED", "PROMPT", "VERSION", "WHAT", "TRIGGER", *names, "WHAT IT SAW")
    table(titles, [row for *_, row in sorted(rows, key=lambda r: r[:3])])


def _row(found: list[dict[str, Any] | None]) -> tuple[str, ...]:
    first = next(fired for fired in found if fired)
    what = WHAT.get(first["action"], first["action"])
    return (
        str(first["deployed_at"]),
        first["prompt"],
        first["version"],
        what,
        ", ".join(first["triggers"]),
        *(_after(fired) for fired in found),
        first["saw"],
    )


def _after(fired: dict[str, Any] | None) -> str:
    if fired is None:
        return NOTHING
    false = "  FALSE" if fired["false"] else ""
    return f"after {duration(1000 * fired['after_s'])}{false}"


def _print_list(title: str, lines: Any) -> None:
    lines = list(lines)
    if lines:
        say()
        say(heading(title))
    for line in lines:
        say(f"  {line}")

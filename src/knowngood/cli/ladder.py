"""A ladder as it is said on the command line, and as it is shown."""

from collections.abc import Iterable
from typing import Any

from knowngood.cli.output import say, table, verdict

ANSWERS = {"allow": "clear", "deny": "breach", "not_yet": "unsure"}  # their colours


def ladder_of(stages: str, hold: str, wait_at_most: str, timed: bool) -> dict[str, Any]:
    """The part of a body that says how a ladder differs from the policy's."""
    return {
        "stages": stages_of(stages),
        "hold": hold or None,
        "wait_at_most": wait_at_most or None,
        "timed": timed or None,
    }


def stages_of(text: str) -> list[str] | None:
    """`1%,5%,100%` as a list; None for nothing."""
    return [part.strip() for part in text.split(",")] if text else None


def print_gates(gates: Iterable[dict[str, Any]]) -> None:
    """A line for each gate: its answer, its name, its reason."""
    rows = [
        (
            verdict(ANSWERS[g["answer"]], words=g["answer"].replace("_", " ")),
            g["name"],
            g["because"],
        )
        for g in gates
    ]
    table(("", "", ""), rows, indent=2)


def print_rollout(rollout: dict[str, Any]) -> None:
    """What is under way, in one line."""
    shares = [f"{bp / 100:g}%" for bp in rollout["stages_bp"]]
    shares[rollout["stage"]] = f"[{shares[rollout['stage']]}]"
    way = f"{rollout['from_version']} -> {rollout['to_version']}"
    paused = f", paused by {rollout['paused']['actor']}" if rollout["paused"] else ""
    say(f"  {rollout['kind']} {way}: {' -> '.join(shares)}{paused}")

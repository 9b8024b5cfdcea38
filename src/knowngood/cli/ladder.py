"""A ladder as it is said on the command line, and as it is shown."""

from collections.abc import Iterable
from typing import Any

from rich.text import Text

from knowngood.cli.output import say, table, verdict, when
from knowngood.core.explain import duration

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


def print_comparison(compared: dict[str, Any] | None) -> None:
    """What the A/B gate says of each metric; nothing while it is not asked."""
    if compared is None:
        return
    say(f"A/B gate, at {compared['share']} since {when(compared['began_ms'])}")
    for line in compared["lines"]:
        say(f"  {line}")


def print_rollout(rollout: dict[str, Any]) -> None:
    """What is under way, since when and by whom, and what holds it."""
    say(f"  {_way(rollout)}")
    if pace := _pace(rollout):
        say(f"  {pace}")
    say(f"  begun {when(rollout['began_ms'])} by {rollout['actor']}: {rollout['because']}")
    if paused := rollout["paused"]:
        words = f"paused {when(paused['since_ms'])} by {paused['actor']}: {paused['because']}"
        say(Text(f"  ! {words}", style="yellow"))


def is_climbing(rollout: dict[str, Any] | None) -> bool:
    """Whether the gates of a stage are what it waits on: a bake and a way down have none."""
    return bool(rollout and rollout["kind"] == "canary" and not rollout["is_baking"])


def _way(rollout: dict[str, Any]) -> str:
    old, new = rollout["from_version"], rollout["to_version"]
    shares = [_share(bp) for bp in rollout["stages_bp"]]
    shares[rollout["stage"]] = f"[{shares[rollout['stage']]}]"
    stages = " -> ".join(shares)
    if rollout["kind"] == "gradual":
        return f"gradual rollback {old} -> {new}, left on {old}: {stages}"
    if not rollout["is_baking"]:
        return f"canary of {new} beside {old}: {stages}"
    if rollout["holdback_bp"]:
        return f"bake of {new}: {_share(rollout['holdback_bp'])} stay on {old} as its control"
    return f"bake of {new}: it serves everybody, {old} serves nobody"


def _pace(rollout: dict[str, Any]) -> str:
    """What ends a stage; empty for a bake, whose time is waited on by its own words."""
    hold = duration(rollout["hold_ms"])
    if rollout["kind"] == "gradual":
        return f"{hold} each; it stops by itself while {rollout['to_version']} fails"
    if rollout["is_baking"]:
        return ""
    if rollout["timed"]:
        return f"{hold} each, on time alone: no proof is asked for, a breach still rolls back"
    wait = duration(rollout["wait_ms"])
    return f"{hold} each at least, and proof; after {wait} without it a person is asked"


def _share(bp: int) -> str:
    return f"{bp / 100:g}%"

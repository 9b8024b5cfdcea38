"""What a write asks for, and what it says when it is done: one form for all verbs.

With --dry-run it says what it would do.
"""

from typing import Any

from rich.text import Text

from knowngood.cli.errors import need_because
from knowngood.cli.output import print_json, say


def body_of(
    prompt: str, because: str, env: str, revision: int | None, dry_run: bool
) -> dict[str, Any]:
    """What every change of a prompt's state says. Raises Usage without a reason."""
    return {
        "prompt": prompt,
        "environment": env,
        "because": need_because(because),
        "revision": revision,
        "dry_run": dry_run or None,
    }


def print_change(answer: dict[str, Any], title: str, as_json: bool) -> None:
    """Print the answer of every write but the rollback."""
    if as_json:
        print_json(answer)
        return
    if answer["dry_run"]:
        print_would(title, answer["did"])
    elif answer["outcome"] == "unchanged":
        say(f"{title}: unchanged, it is so already")
    else:
        say(Text(f"{title}: done", style="bold green"))
        if answer["from_route"] != answer["route"]:
            say(f"  {answer['from_route']} -> {answer['route']}, generation {answer['generation']}")
        say(f"  revision {answer['revision']}{_line(answer)}")
        print_together(answer)


def print_together(answer: dict[str, Any], how: str = "together with") -> None:
    """Print which prompts of the same release went along, and which could not, and why."""
    if mates := answer.get("together_with"):
        say(f"  {how} what it was released with: {', '.join(mates)}")
    for prompt, why in (answer.get("why_left_behind") or {}).items():
        say(f"  NOT rolled back: {prompt}: {why}")


def print_would(title: str, actions: list[str]) -> None:
    """Print what a dry run found."""
    say(Text(f"{title}: dry run, nothing was changed", style="bold yellow"))
    for words in actions:
        say(f"  would {words}")
    if not actions:
        say("  would change nothing: it is so already")


def _line(answer: dict[str, Any]) -> str:
    return f", audit entry {answer['id']}" if answer["id"] is not None else ""

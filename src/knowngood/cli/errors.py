"""How a verb ends when something is wrong: one message on stderr and an exit code.

0 done, 1 refused or failed, 2 wrong usage (as Typer has it), 3 the server cannot be reached.
"""

from collections.abc import Iterable
from typing import Any

import typer

from knowngood.cli.output import complain
from knowngood.core.errors import KnowngoodError

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3


class Refused(KnowngoodError):
    """The server refused the request."""

    code = "refused"


class Unreachable(KnowngoodError):
    """The server cannot be reached."""

    code = "unreachable"


class Usage(KnowngoodError):
    """The command is used wrongly."""

    code = "usage"


def refusal(data: Any, status: int) -> Refused:
    """The error in the one error shape of the API, `{"error": {code, message, known, next}}`."""
    error = data.get("error") if isinstance(data, dict) else None
    if not isinstance(error, dict):
        return Refused(f"the server answered {status} without saying why")
    known = error.get("known")
    return Refused(
        str(error.get("message") or f"the server answered {status}"),
        known=[str(name) for name in known] if isinstance(known, list) else [],
        next_step=str(error.get("next") or ""),
    )


def need_because(because: str) -> str:
    """The reason, or Usage: history is read by people who were not there."""
    if not because.strip():
        raise Usage(
            "this needs a reason: the audit log keeps it",
            next_step="add --because '...'",
        )
    return because


def fail(error: KnowngoodError) -> typer.Exit:
    """Print the error; the exit to raise."""
    complain(error_lines(error))
    match error:
        case Usage():
            return typer.Exit(EXIT_USAGE)
        case Unreachable():
            return typer.Exit(EXIT_UNREACHABLE)
    return typer.Exit(EXIT_REFUSED)


def error_lines(error: KnowngoodError) -> Iterable[str]:
    """What was wrong, what exists, and what to do about it."""
    yield error.message
    if error.known:
        yield f"known: {', '.join(error.known)}"
    if error.next_step:
        yield f"next: {error.next_step}"

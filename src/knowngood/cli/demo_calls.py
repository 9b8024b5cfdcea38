"""What the demo's processes wrote down of their calls, and what follows from it.

Every process of these scenarios writes a line for each call that has ended: when it began, whose it
was, the generation and the version that it was served, and whether it failed. So the figures of a
story are counted where the users were, and not computed from the weights of a route.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

# Of each process; 10 minutes of the busiest scene in 6 MB. A story lasts about one.
CALLS_MAX = 150_000


class Call(NamedTuple):
    """One call as its process saw it."""

    at_ms: int
    user: str
    generation: int
    version: str
    failed: bool

    def line(self) -> str:
        """As it is written down."""
        return f"{self.at_ms} {self.user} {self.generation} {self.version} {int(self.failed)}\n"


def write_calls(file: Path, calls: Iterable[Call]) -> None:
    """Add calls to a process's file."""
    with file.open("a", encoding="utf-8") as out:
        out.write("".join(call.line() for call in calls))


def read_calls(files: Iterable[Path]) -> list[Call]:
    """Every call in the files, in the order of their beginnings; a half-written line is left."""
    found: list[Call] = []
    for file in files:
        if not file.exists():
            continue  # a process that has not called yet
        for line in file.read_text(encoding="utf-8").split("\n")[:-1]:
            at, user, generation, version, failed = line.split(" ")
            found.append(Call(int(at), user, int(generation), version, failed == "1"))
    found.sort()
    return found


def users_of(calls: Iterable[Call], version: str | None = None) -> set[str]:
    """The users that were served a version at least once; or that called at all."""
    return {call.user for call in calls if version in (None, call.version)}


def failed_count(calls: Iterable[Call], version: str) -> int:
    """How many calls of a version failed."""
    return sum(call.failed for call in calls if call.version == version)


def share_of(calls: Sequence[Call], version: str, generation: int) -> float | None:
    """The share of a generation's calls that a version served; None when there were none."""
    versions = Counter(call.version for call in calls if call.generation == generation)
    return versions[version] / versions.total() if versions else None


def moved_back(calls: Iterable[Call], good: str, bad: str, since: int) -> set[str]:
    """The users whom a route of generation `since` or later took from `good` to `bad`.

    Judged by the routes' order: a process that has not heard of the newest route yet serves the one
    before it, which is no move.
    """
    arrived: dict[str, int] = {}  # the first generation that gave a user the good version
    left: dict[str, int] = {}  # the last generation that gave a user the bad one
    for call in calls:
        if call.generation < since:
            continue
        if call.version == good:
            arrived[call.user] = min(arrived.get(call.user, call.generation), call.generation)
        elif call.version == bad:
            left[call.user] = max(left.get(call.user, 0), call.generation)
    return {user for user, last in left.items() if arrived.get(user, last) < last}


def flickered(calls: Iterable[Call], good: str, bad: str, since: int) -> set[str]:
    """The users who met `bad` after `good` in time, by whatever process, from `since` on.

    With one process a user this is nobody. With several it is who called two of them in the second
    in which one had heard of a stage and the other had not.
    """
    reached: set[str] = set()
    back: set[str] = set()
    for call in sorted(calls):
        if call.generation < since:
            continue
        if call.version == good:
            reached.add(call.user)
        elif call.version == bad and call.user in reached:
            back.add(call.user)
    return back

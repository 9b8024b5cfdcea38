"""The history as a chain: the hash of each line covers the line and the hash of the one before it.

Whoever changes, takes away or slips in a line breaks the chain there, unless all hashes after it
are made anew as well. That shows to whoever kept a hash elsewhere: it is no longer in the chain.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

from knowngood.core.history import AuditEntry

FIRST = ""  # what stands for the hash before the first line
COVERED = (
    "at_ms",
    "environment",
    "prompt",
    "kind",
    "because",
    "actor",
    "revision",
    "generation",
    "policy_revision",
    "detail",
)


def canonical_line(entry: AuditEntry) -> str:
    """The line as JSON in the one way that is hashed: keys sorted, no blanks, ASCII only.

    Without its id, which the database gives: a line's place in the chain is what counts.
    """
    covered = {name: getattr(entry, name) for name in COVERED}
    return json.dumps(covered, sort_keys=True, separators=(",", ":"))


def link(entry: AuditEntry, before: str) -> str:
    """The hash of a line that follows the one with the hash `before`; `detail` is plain data."""
    return sha256(f"{canonical_line(entry)}{before}".encode()).hexdigest()


def chained(entries: Iterable[AuditEntry], before: str) -> list[AuditEntry]:
    """The lines with their hashes, as they follow the one with the hash `before`."""
    found = []
    for entry in entries:
        before = link(entry, before)
        found.append(replace(entry, hash=before))
    return found


@dataclass(frozen=True, slots=True)
class Verified:
    """What following the chain has shown.

    `head` is the hash of the newest line that was read, and `broken_id` the first line that does
    not follow from the one before it. `expected_id` is the line with the hash that was asked for.
    """

    line_count: int
    head: str
    last_id: int
    broken_id: int | None = None
    why: str = ""
    expected_id: int | None = None


def verify(
    entries: Iterable[AuditEntry], before: str = FIRST, expected: str | None = None
) -> Verified:
    """Follow the chain over these lines, oldest first, up to the first break.

    `before` is the hash of the line before them.
    """
    count, last_id, expected_id = 0, 0, None
    for entry in entries:
        if entry.hash != link(entry, before):
            why = _why(entry, last_id)
            return Verified(count, before, last_id, entry.id, why, expected_id)
        count, last_id, before = count + 1, entry.id, entry.hash
        if entry.hash == expected:
            expected_id = entry.id
    return Verified(count, before, last_id, expected_id=expected_id)


def _why(entry: AuditEntry, last_id: int) -> str:
    if not entry.hash:
        return (
            f"line {entry.id} has no hash: it was written by hand, or by an older knowngood that "
            "was still running"
        )
    follows = f"line {last_id}" if last_id else "what was before it"
    return (
        f"line {entry.id} does not follow from {follows}: it was changed, or a line was removed or "
        "inserted just before it"
    )

"""Whoever changes the history breaks the chain, and is named by the line where it breaks."""

from dataclasses import replace

import pytest

from knowngood.core.chain import FIRST, Verified, chained, link, verify
from knowngood.core.history import AuditEntry

LINE = AuditEntry(1_000, "production", "support", "tick", "because", "ann", 3, 2, "p", {"n": 1})


def history(count: int = 6) -> list[AuditEntry]:
    lines = [replace(LINE, revision=n) for n in range(count)]
    return [replace(line, id=2 * n + 1) for n, line in enumerate(chained(lines, FIRST))]


def test_an_untouched_chain_is_whole():
    """Ids may have gaps, where a database gave one to a line that was never written."""
    lines = history()
    assert verify(lines) == Verified(6, lines[-1].hash, 11)
    assert verify([]) == Verified(0, FIRST, 0)


def test_a_chain_is_followed_in_parts():
    """From any line on, given the hash before it."""
    lines = history()
    first = verify(lines[:4])
    assert verify(lines[4:], first.head) == Verified(2, lines[-1].hash, 11)


@pytest.mark.parametrize(
    "change",
    [
        {"at_ms": 1_001},
        {"environment": "staging"},
        {"prompt": "tax"},
        {"kind": "tock"},
        {"because": "Because"},
        {"actor": "ben"},
        {"revision": 9},
        {"generation": 3},
        {"policy_revision": "q"},
        {"detail": {"n": 2}},
        {"detail": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_line_is_found(change):
    """Nothing that a line says can be changed: also not the last line, nor the first."""
    for place in (0, 3, 5):
        lines = history()
        lines[place] = replace(lines[place], **change)
        found = verify(lines)
        assert (found.broken_id, found.line_count) == (lines[place].id, place)
        assert f"line {lines[place].id} does not follow" in found.why


def test_a_removed_line_is_found():
    """By the line that came after it."""
    lines = history()
    found = verify(lines[:2] + lines[3:])
    assert (found.broken_id, found.last_id) == (7, 3)
    assert verify(lines[1:]).broken_id == 3


def test_an_inserted_line_is_found():
    """Whether it was given a hash that fits, or none."""
    lines = history()
    forged = replace(LINE, because="forged", id=4)
    fits = replace(forged, hash=link(forged, lines[1].hash))
    assert verify([*lines[:2], fits, *lines[2:]]).broken_id == 5
    bare = verify([*lines[:2], forged, *lines[2:]])
    assert bare.broken_id == 4
    assert "has no hash" in bare.why


def test_swapped_lines_are_found():
    """The order is part of the history."""
    lines = history()
    lines[2], lines[3] = lines[3], lines[2]
    assert verify(lines).broken_id == 7


def test_a_history_made_anew_lacks_the_hash_that_was_kept():
    """A chain that was cut, or forged from some line on, is whole, and no more the one of then."""
    lines = history()
    kept = lines[4].hash
    assert verify(lines, expected=kept).expected_id == 9
    assert verify(lines[:4], expected=kept).expected_id is None
    forged = chained([*lines[:3], replace(lines[3], actor="ben"), *lines[4:]], FIRST)
    found = verify(forged, expected=kept)
    assert (found.broken_id, found.expected_id) == (None, None)

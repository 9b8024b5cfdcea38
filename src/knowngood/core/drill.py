"""Drills: which fault, how it is marked, and how its times are held against their limits.

A drill is known by the version that it deploys: its name says so. So whatever is told, asked or
written about that version is about a drill, and nothing else has to be remembered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

DRILL_PREFIX = "drill-"
DRILL_AUDIENCE = "drill"
DRILL_MARK = "[DRILL]"
DIGEST_CHARS = 8

# The article's: from the decision to the good version served everywhere in under a minute; its
# metrics recover within five.
PROPAGATE_MS = 60_000
RECOVER_MS = 300_000


class Fault(StrEnum):
    """What goes wrong in a drill."""

    ERROR = "error"
    LATENCY = "latency"
    QUALITY = "quality"
    BLIND = "blind"


class Part(StrEnum):
    """The parts of an incident, each with its own clock."""

    DETECT = "detect"
    DECIDE = "decide"
    ACT = "act"
    PROPAGATE = "propagate"
    RECOVER = "recover"


# Without a trigger in the policy: from the fault to the switch, by the article's table. For a
# blindness it has none; a process counts as silent after 15 s, and two minutes is what it grants
# the worst of the others.
LIMITS_MS: Mapping[Fault, int] = {
    Fault.ERROR: 120_000,
    Fault.LATENCY: 600_000,
    Fault.QUALITY: 1_800_000,
    Fault.BLIND: 120_000,
}


@dataclass(frozen=True, slots=True)
class Timed:
    """How long a part took, and its limit where it has one of its own; None: it never ended."""

    part: Part
    took_ms: int | None
    limit_ms: int | None = None

    @property
    def kept(self) -> bool:
        """Whether it ended, and in time."""
        if self.took_ms is None:
            return False
        return self.limit_ms is None or self.took_ms <= self.limit_ms


def drill_version(fault: Fault, digest: str) -> str:
    """The name of the version that a drill deploys in the place of one with this digest."""
    return f"{DRILL_PREFIX}{fault.value}-{digest[:DIGEST_CHARS]}"


def is_drill(version: str) -> bool:
    """Whether a version belongs to a drill."""
    return version.startswith(DRILL_PREFIX)


def timed(fault: Fault, at_ms: Mapping[str, int], limit_ms: int, recover_ms: int) -> list[Timed]:
    """The parts of a drill from the instants at which each began or ended.

    `at_ms` has `fault` and, as far as it came, each part's end. From the fault to the act is the
    limit of the trigger; nothing is rolled back for a blindness, so there is nothing to decide.
    """
    parts = [Part.DETECT, Part.DECIDE, Part.ACT, Part.PROPAGATE, Part.RECOVER]
    if fault is Fault.BLIND:
        parts = [Part.DETECT, Part.RECOVER]
    limits = {Part.PROPAGATE: PROPAGATE_MS, Part.RECOVER: recover_ms}
    found: list[Timed] = []
    for part in parts:
        since = {Part.DETECT: "fault", Part.DECIDE: "detect", Part.ACT: "decide"}.get(part, "act")
        if fault is Fault.BLIND and part is Part.RECOVER:
            since = "repaired"
        began, ended = at_ms.get(since), at_ms.get(part.value)
        took = None if began is None or ended is None else max(0, ended - began)
        if part in (Part.DETECT, Part.DECIDE, Part.ACT):
            # One limit for the three together: what is left of it.
            left = None if began is None else max(0, limit_ms - began + at_ms["fault"])
            found.append(Timed(part, took, left))
        else:
            found.append(Timed(part, took, limits[part]))
    return found

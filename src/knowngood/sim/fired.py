"""What policies would have fired on recorded calls, side by side, and how much of it falsely.

On a healthy stretch whatever fires is false. The false ones are counted for a week, with the rate
they may have at most: a healthy hour without an alarm says little about a week.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from knowngood.core.errors import BadRequest
from knowngood.core.history import AuditEntry
from knowngood.core.model import (
    ScoreRange,
)
from knowngood.core.policy import PolicyFile
from knowngood.core.rate_bound import most_per_week, per_week
from knowngood.sim.backtest import SCORE, Progress, Replay, deploys, read_trace, replay
from knowngood.sim.trace import LAST_MS, Call, Trace, instant_ms

HOUR_MS = 3_600_000
# Nothing can fire in a silence. So much of one counts as watched: a call every hour is a prompt
# that is in use, and a night without calls is none.
SILENCE_COUNTED_MS = HOUR_MS
ALL = "all"
DOTS = ".."

# The lines of history that say that triggers fired, and what followed; an incident's own action is
# in its findings.
FIRED = {
    "rollback.confirmed": "rollback",
    "rollback.held": "held",
    "incident.opened": "ask",
    "incident.grown": "ask",
    "alert": "alert",
    "dry_run": "dry_run",
}
# What is counted together: what moves traffic, what a person has to answer, what a person reads.
# Before a trace's first version nothing was known to be good, and in life there usually is: a
# rollback that only wanted a target is counted as one.
GROUPS = {
    "rollbacks": ("rollback", "no_target"),
    "questions": ("held", "ask", "observe"),
    "alerts": ("alert",),
    "dry_runs": ("dry_run",),
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which nothing was wrong: from `from_ms`, until before `to_ms`."""

    from_ms: int
    to_ms: int

    def holds(self, at_ms: int) -> bool:
        """Whether the instant lies in it."""
        return self.from_ms <= at_ms < self.to_ms


@dataclass(frozen=True, slots=True)
class Firing:
    """What followed from triggers on a version that was deployed at `deployed_ms`.

    `action` is `rollback`, `no_target` (a rollback with nowhere to go), `held` (one that a brake
    held), `ask`, `observe`, `alert` or `dry_run`. `saw` are the findings in words.
    """

    action: str
    triggers: tuple[str, ...]
    version: str
    at_ms: int
    deployed_ms: int
    saw: str
    because: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A trace file and the prompt whose calls it holds."""

    file: Path
    prompt: str


def stretch_of(text: str) -> Stretch:
    """`FROM..TO` in the trace's own times, either end left out, or `all`. Raises BadRequest."""
    begin, dots, end = (DOTS if text.strip() == ALL else text).partition(DOTS)
    advice = f"write FROM{DOTS}TO, such as 2026-03-02{DOTS}2026-03-09, or {ALL}"
    if not dots:
        raise BadRequest(f"{text!r} is no stretch of time", next_step=advice)
    found = Stretch(
        instant_ms(begin) if begin.strip() else 0,
        instant_ms(end) if end.strip() else LAST_MS,
    )
    if found.from_ms >= found.to_ms:
        raise BadRequest(f"the stretch {text!r} ends before it begins", next_step=advice)
    return found


def first_version(calls: Sequence[Call]) -> Stretch:
    """From the first call to the first change of version: the first one is good as declared."""
    moves = deploys(calls)
    began_ms, _ = next(moves)
    second = next(moves, None)
    return Stretch(began_ms, second[0] if second else LAST_MS)


def watched_ms(calls: Sequence[Call], parts: Iterable[Stretch]) -> int:
    """How long calls were made in these parts of time; a long silence counts as an hour of it.

    The calls are in the order of their times, and the parts do not overlap.
    """
    watched = 0
    for part in parts:
        begin = bisect_left(calls, part.from_ms, key=_at_ms)
        end = bisect_left(calls, part.to_ms, key=_at_ms)
        gaps_ms = (later.at_ms - call.at_ms for call, later in pairwise(calls[begin:end]))
        watched += sum(min(gap_ms, SILENCE_COUNTED_MS) for gap_ms in gaps_ms)
    return watched


def _at_ms(call: Call) -> int:
    return call.at_ms


def joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The stretches without their overlaps, in order."""
    found: list[Stretch] = []
    for part in sorted(stretches, key=lambda s: s.from_ms):
        if found and part.from_ms <= found[-1].to_ms:
            found[-1] = Stretch(found[-1].from_ms, max(found[-1].to_ms, part.to_ms))
        else:
            found.append(part)
    return found


def judged(stretches: Iterable[Stretch], history: Iterable[AuditEntry]) -> list[Stretch]:
    """The parts of the stretches, joined, in which calls were judged.

    After a rollback the recorded calls go on and are nobody's, until the next deploy: in that time
    nothing can fire, and to count it as watched would flatter the policy.
    """
    parts, off_ms = joined(stretches), None
    for line in history:
        if line.kind == "rollback.switched":
            off_ms = line.at_ms
        elif line.kind == "route.moved" and off_ms is not None:
            parts, off_ms = _without(parts, Stretch(off_ms, line.at_ms)), None
    return parts if off_ms is None else _without(parts, Stretch(off_ms, LAST_MS))


def _without(parts: Iterable[Stretch], gone: Stretch) -> list[Stretch]:
    """The parts without what lies in `gone`."""
    left = [
        piece
        for part in parts
        for piece in (
            Stretch(part.from_ms, min(part.to_ms, gone.from_ms)),
            Stretch(max(part.from_ms, gone.to_ms), part.to_ms),
        )
    ]
    return [piece for piece in left if piece.from_ms < piece.to_ms]


def firings(history: Iterable[AuditEntry]) -> list[Firing]:
    """What fired, by the lines of history; a trigger that goes on firing is named once."""
    found: list[Firing] = []
    deployed_ms: dict[str, int] = {}
    named: set[tuple[str, str]] = set()  # incident, trigger
    for line in history:
        if line.kind == "route.moved":
            deployed_ms |= {version: line.at_ms for version, _ in line.detail["to"]}
        if line.kind not in FIRED or not (seen := line.detail.get("findings")):
            continue
        triggers = tuple(dict.fromkeys(finding["trigger"] for finding in seen))
        if line.kind == "incident.grown":
            triggers = tuple(t for t in triggers if (line.detail["incident"], t) not in named)
        if line.kind.startswith("incident."):
            named |= {(line.detail["incident"], trigger) for trigger in triggers}
        version = seen[0]["version"]
        since_ms = deployed_ms.get(version, line.at_ms)
        saw = "; ".join(finding["words"] for finding in seen)
        action = action_of(line.kind, line.detail)
        found.append(Firing(action, triggers, version, line.at_ms, since_ms, saw, line.because))
    return found


def action_of(kind: str, detail: Mapping[str, Any]) -> str:
    """What followed, by a line of history that says that triggers fired (`FIRED`)."""
    if kind == "rollback.held" and detail.get("brake") == "no_target":
        return "no_target"
    if FIRED[kind] == "ask" and all(f["response"] == "observe" for f in detail["findings"]):
        return "observe"
    return FIRED[kind]


# --- Several traces under several policies


def backtest(
    recordings: Sequence[Recording],
    policies: Sequence[tuple[str, PolicyFile]],
    declared: Sequence[Stretch],
    environment: str = "production",
    progress: Callable[[str], Progress | None] = lambda title: None,
) -> dict[str, Any]:
    """What each policy would have fired on the traces, as JSON data.

    `declared` are the healthy stretches of all traces; without any, each trace's first version is
    healthy. `progress` is asked for whom to tell of each replay, by its title. Raises BadRequest
    for a trace that cannot be played, or when no call lies in a declared stretch.
    """
    sums = [_Sum(name, policy) for name, policy in policies]
    traces = [_play(each, sums, declared, environment, progress) for each in recordings]
    if declared and not any(trace["healthy"] for trace in traces):
        spans = ", ".join(f"{t['file']}: {t['from']} to {t['to']}" for t in traces)
        raise BadRequest(
            f"no call lies in a healthy stretch ({spans})",
            next_step="name a stretch of the traces' own time",
        )
    return {
        "environment": environment,
        "calls": sum(trace["calls"] for trace in traces),
        "healthy_by": "declared" if declared else "first version",
        "traces": traces,
        "policies": [each.data() for each in sums],
    }


def _play(
    each: Recording,
    sums: Sequence["_Sum"],
    declared: Sequence[Stretch],
    environment: str,
    progress: Callable[[str], Progress | None],
) -> dict[str, Any]:
    """One trace under all policies, read once for each range that they declare of the score."""
    traces: dict[ScoreRange, Trace] = {}
    for under in sums:
        scale = under.policy.scores[SCORE]
        if scale not in traces:
            traces[scale] = read_trace(each.file, scale)
        trace = traces[scale]
        healthy = list(declared) or [first_version(trace.calls)]
        told = progress(f"{each.file.name} under {under.name}")
        found = replay(trace.calls, under.policy, each.prompt, told, environment, every_look=False)
        under.add(each, found, trace, healthy)
    calls, write = trace.calls, trace.style.write
    began_ms, ended_ms = calls[0].at_ms, calls[-1].at_ms
    return {
        "file": str(each.file),
        "prompt": each.prompt,
        "calls": len(calls),
        "from": write(began_ms),
        "to": write(ended_ms),
        "versions": list(dict.fromkeys(version for _, version in deploys(calls))),
        "healthy": [
            {"from": write(max(part.from_ms, began_ms)), "to": write(min(part.to_ms, ended_ms))}
            for part in joined(healthy)
            if part.from_ms <= ended_ms and part.to_ms > began_ms
        ],
        "ignored": trace.ignored,
    }


class _Sum:
    """What one policy fired so far, and for how long it judged healthy calls."""

    def __init__(self, name: str, policy: PolicyFile) -> None:
        self.name = name
        self.policy = policy
        self.healthy_ms = 0
        self.fired: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def add(self, each: Recording, found: Replay, trace: Trace, healthy: Sequence[Stretch]) -> None:
        write = trace.style.write
        self.healthy_ms += watched_ms(trace.calls, judged(healthy, found.decisions))
        self.notes += [f"{each.file.name}: {note}" for note in found.notes]
        self.fired += [
            {
                "trace": str(each.file),
                "prompt": each.prompt,
                "version": firing.version,
                "action": firing.action,
                "triggers": list(firing.triggers),
                "at": write(firing.at_ms),
                "deployed_at": write(firing.deployed_ms),
                "after_s": (firing.at_ms - firing.deployed_ms) // 1000,
                "false": any(part.holds(firing.at_ms) for part in healthy),
                "saw": firing.saw,
                "because": firing.because,
            }
            for firing in firings(found.decisions)
        ]

    def data(self) -> dict[str, Any]:
        """All of it, with the rates of what was false while healthy calls were judged."""
        return {
            "policy": self.name,
            "revision": self.policy.revision,
            "healthy_hours": round(self.healthy_ms / HOUR_MS, 3),
            **{group: self._counted(actions) for group, actions in GROUPS.items()},
            "fired": self.fired,
            "notes": self.notes,
        }

    def _counted(self, actions: tuple[str, ...]) -> dict[str, Any]:
        mine = [line for line in self.fired if line["action"] in actions]
        false_count, span_ms = sum(line["false"] for line in mine), self.healthy_ms
        return {
            "count": len(mine),
            "false_count": false_count,
            "false_per_week": per_week(false_count, span_ms) if span_ms else None,
            "false_per_week_at_most": most_per_week(false_count, span_ms) if span_ms else None,
        }

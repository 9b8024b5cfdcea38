"""What triggers in dry run would have done, whether that was right, and whether to trust them.

Hindsight is what others did. A would-be action was right if its version was taken off the route
within a day, or had an incident that stayed open; otherwise nobody else saw harm, and it was wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from knowngood.core.errors import KnowngoodError
from knowngood.core.explain import duration
from knowngood.core.history import AuditEntry
from knowngood.core.model import (
    State,
)
from knowngood.core.policy import PolicyFile, parse
from knowngood.core.rate_bound import WEEK_MS, most_per_week
from knowngood.core.rules import Trigger
from knowngood.core.units import duration_ms
from knowngood.server.desk import Desk
from knowngood.server.words import many, when

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
SINCE = "30d"
# Whoever sees harm acts within a day: the next morning at the latest.
HINDSIGHT_MS = DAY_MS
# The incident of a blip is closed one window after it, when its triggers were clear for so long.
# One that is open for three windows is of something that went on.
HARM_WINDOWS = 3
# A team that looks at each automatic rollback can bear a wrong one a week; with more of them it
# turns automation off. The upper 95 % limit has to lie below it: three weeks of calls without a
# wrong one, or nearly five with one.
WRONG_PER_WEEK_MAX = 1.0
LINES_MAX = 10_000  # of history in one report: some 30 MB
PROMPTS_MAX = 50  # in one report, as their calls are looked for; others are asked for by name
VERSIONS_MAX = 20  # whose calls are looked for: those that served last

OPENS = ("incident.opened", "rollback.held")
ENDS = (
    "incident.resolved",
    "incident.closed",
    "rollback.verified",
    "rollback.inconclusive",
)


def report(
    desk: Desk, environment: str, name: str | None, since: str, now_ms: int
) -> dict[str, Any]:
    """Each trigger in dry run, of one prompt or all: since when, what it would have done, advice.

    `since` is how far to look back, such as `30d`. Raises UnknownEnvironment, UnknownPrompt, or
    BadRequest for what is no duration.
    """
    desk.check_environment(environment)
    begin_ms = now_ms - duration_ms(since)
    states = [desk.state(environment, name)] if name else desk.store.states.all(environment)
    lines = desk.store.log.read(environment, name, limit=LINES_MAX)
    if len(lines) == LINES_MAX:
        begin_ms = max(begin_ms, lines[0].at_ms)
    policies = _Policies(desk, lines)  # which reads those of the other prompts, too
    mine = {key: list(group) for key, group in groupby(sorted(lines, key=_prompt), _prompt)}
    found = [
        _Dry(desk, state, trigger, mine.get(state.prompt, []), policies, begin_ms, now_ms)
        for state in states
        if state.route is not None
        for trigger in desk.policy.for_prompt(state.prompt).triggers
        if trigger.dry_run
    ]
    found.sort(key=lambda dry: (-len(dry.acts), dry.state.prompt, dry.trigger.name))
    prompts = list(dict.fromkeys(dry.state.prompt for dry in found))
    shown = prompts[:PROMPTS_MAX]
    return {
        "environment": environment,
        **when("from", begin_ms),
        "policy_revision": desk.policy.revision,
        "wrong_per_week_max": WRONG_PER_WEEK_MAX,
        "triggers": [dry.row() for dry in found if dry.state.prompt in shown],
        "unread_count": len(prompts) - len(shown),
    }


def _prompt(line: AuditEntry) -> str:
    return line.prompt


class _Policies:
    """Which policy was in force when, as far as the lines of history say by what they were judged.

    The time before the first line of a policy counts for nobody: it is not known.
    """

    def __init__(self, desk: Desk, lines: Sequence[AuditEntry]) -> None:
        self._store = desk.store
        self._known: dict[str, PolicyFile | None] = {desk.policy.revision: desk.policy}
        # One server has one policy: what it judged elsewhere tells of it as well.
        everyone = {line.id: line for line in (*lines, *desk.store.log.read(limit=LINES_MAX))}
        judged = [line for _, line in sorted(everyone.items()) if line.policy_revision]
        by_revision = groupby(judged, key=lambda line: line.policy_revision)
        self._spans = [(next(group).at_ms, revision) for revision, group in by_revision]

    def same_since_ms(self, prompt: str, trigger: Trigger) -> int | None:
        """Since when the trigger is in force for the prompt exactly as it is now; None: unknown."""
        since_ms = None
        for at_ms, revision in reversed(self._spans):
            policy = self._policy(revision)
            if policy is None or trigger not in policy.for_prompt(prompt).triggers:
                break
            since_ms = at_ms
        return since_ms

    def _policy(self, revision: str) -> PolicyFile | None:
        if revision not in self._known:
            data = self._store.policies.get(revision)
            try:
                self._known[revision] = None if data is None else parse(data)
            except KnowngoodError:
                self._known[revision] = None  # of an older format: another policy in any case
        return self._known[revision]


@dataclass(frozen=True, slots=True)
class _Act:
    """One would-be action with what became of it: `right`, `wrong`, or `pending`."""

    line: AuditEntry
    version: str
    hindsight: str
    words: str


class _Dry:
    """One trigger that runs dry on one prompt."""

    def __init__(
        self,
        desk: Desk,
        state: State,
        trigger: Trigger,
        lines: list[AuditEntry],
        policies: _Policies,
        begin_ms: int,
        now_ms: int,
    ) -> None:
        self.desk, self.state, self.trigger, self.now_ms = desk, state, trigger, now_ms
        known_ms = policies.same_since_ms(state.prompt, trigger)
        self.since_ms = None if known_ms is None else max(known_ms, begin_ms)
        harm_ms = HARM_WINDOWS * desk.policy.for_prompt(state.prompt).window_ms
        self.acts = [
            _in_hindsight(line, lines, state, harm_ms, now_ms)
            for line in lines
            if line.kind == "dry_run"
            and line.detail.get("trigger") == trigger.name
            and self.since_ms is not None
            and line.at_ms >= self.since_ms
        ]

    def row(self) -> dict[str, Any]:
        """The trigger's line of the report."""
        watched_ms = self._watched_ms()
        counts = dict.fromkeys(("right", "wrong", "pending"), 0)
        for act in self.acts:
            counts[act.hindsight] += 1
        most = most_per_week(counts["wrong"], watched_ms) if watched_ms else None
        not_yet = self._not_yet(counts, watched_ms)
        return {
            "prompt": self.state.prompt,
            "trigger": self.trigger.name,
            "when": self.trigger.when.text,
            "action": self.trigger.action,
            **when("since", self.since_ms),
            "days_watched": round(watched_ms / DAY_MS, 2),
            "acted_count": len(self.acts),
            **{f"{word}_count": count for word, count in counts.items()},
            "wrong_per_week_at_most": most,
            "ready": not not_yet,
            "words": f"not yet: {not_yet}" if not_yet else _ready_words(counts, watched_ms, most),
            "acts": [
                {
                    "id": act.line.id,
                    **when("at", act.line.at_ms),
                    "version": act.version,
                    "because": act.line.because,
                    "together_with": list(act.line.detail.get("together_with", ())),
                    "hindsight": act.hindsight,
                    "words": act.words,
                }
                for act in self.acts
            ],
        }

    def _not_yet(self, counts: dict[str, int], watched_ms: int) -> str:
        """Why the trigger should not act on its own yet; empty if it may."""
        if self.since_ms is None:
            return "the history has no line yet that was judged by this policy"
        if counts["pending"]:
            return f"{many(counts['pending'], 'would-be action')} of the last day may prove right"
        if counts["wrong"] > counts["right"]:
            return f"wrong {many(counts['wrong'], 'time')}, right {many(counts['right'], 'time')}"
        needed_ms = int(most_per_week(counts["wrong"], WEEK_MS) / WRONG_PER_WEEK_MAX * WEEK_MS)
        if watched_ms < needed_ms:
            left = duration(needed_ms - watched_ms)
            return (
                f"{_wrong_words(counts['wrong'])} in {_days(watched_ms)} with calls may still be "
                f"more than {WRONG_PER_WEEK_MAX:g} a week; {left} more without another would tell"
            )
        return ""

    def _watched_ms(self) -> int:
        """How long the trigger had calls to judge: the days on which there were any."""
        if self.since_ms is None:
            return 0
        begins = range(self.since_ms, self.now_ms, DAY_MS)
        days = [(begin_ms, min(begin_ms + DAY_MS, self.now_ms)) for begin_ms in begins]
        return sum(end_ms - begin_ms for begin_ms, end_ms in days if self._called(begin_ms, end_ms))

    def _called(self, begin_ms: int, end_ms: int) -> bool:
        """Whether there were calls in this stretch. Of a busy prompt a minute says so."""
        served = [e for e in self.state.ledger if e.routed_ms is not None and e.routed_ms < end_ms]
        served.sort(key=lambda entry: entry.routed_ms or 0, reverse=True)
        for length_ms in (MINUTE_MS, HOUR_MS, DAY_MS):
            for entry in served[:VERSIONS_MAX]:
                key = (self.state.environment, self.state.prompt, entry.version)
                until_ms = min(end_ms, begin_ms + length_ms)
                buckets = self.desk.store.series.read(key, begin_ms, until_ms)
                if any(bucket.window.call_count for bucket in buckets):
                    return True
        return False


def _ready_words(counts: dict[str, int], watched_ms: int, most: float | None) -> str:
    rest = "it has not shown yet that it finds harm" if not counts["right"] else "it found harm"
    return (
        f"ready to graduate: {_wrong_words(counts['wrong'])} in {_days(watched_ms)} with calls, at "
        f"most {most:.2g} a week (95%); {rest}. Take its dry_run out of the policy"
    )


def _wrong_words(count: int) -> str:
    return f"{count or 'none'} wrong"


def _days(span_ms: int) -> str:
    return f"{span_ms / DAY_MS:.1f} days"


# --- Hindsight


def _in_hindsight(
    act: AuditEntry, lines: Sequence[AuditEntry], state: State, harm_ms: int, now_ms: int
) -> _Act:
    """What others did about the version in the day after the would-be action."""
    findings = act.detail.get("findings") or [{}]
    version = str(findings[0].get("version", ""))
    until_ms = act.at_ms + HINDSIGHT_MS
    said = _taken_off(act, version, lines, until_ms)
    said = said or _stayed_open(act, version, lines, state, until_ms, harm_ms, now_ms)
    if said:
        return _Act(act, version, "right", said)
    if now_ms < until_ms:
        left = duration(until_ms - now_ms)
        return _Act(act, version, "pending", f"nobody else saw harm so far; {left} left")
    return _Act(act, version, "wrong", "nobody else saw harm")


def _taken_off(
    act: AuditEntry, version: str, lines: Sequence[AuditEntry], until_ms: int
) -> str | None:
    """That the version was rolled back, or a person went back to one that had served before it."""
    older: list[str] = []  # versions that came before it
    came = False
    for line in lines:
        after = line.id > act.id and line.at_ms <= until_ms
        took = duration(line.at_ms - act.at_ms)
        if after and line.kind == "rollback.switched" and line.detail.get("from") == version:
            return f"rolled back by {line.actor} {took} later"
        if line.kind != "route.moved":
            continue
        arms = [name for name, _ in line.detail["to"]]
        if after and version not in arms and (back := [name for name in arms if name in older]):
            return f"{line.actor} went back to {back[0]} {took} later"
        came = came or version in arms
        older += [] if came else arms
    return None


def _stayed_open(
    act: AuditEntry,
    version: str,
    lines: Sequence[AuditEntry],
    state: State,
    until_ms: int,
    harm_ms: int,
    now_ms: int,
) -> str | None:
    """That an incident of another trigger on the version was open for longer than a blip's is."""
    opened: dict[str, int] = {}
    ended: dict[str, int] = {}
    for line in lines:
        incident = line.detail.get("incident")
        if incident and line.kind in OPENS and _is_about(line, version):
            opened.setdefault(incident, line.at_ms)
        elif incident and line.kind in ENDS:
            ended[incident] = line.at_ms
    if state.incident is not None:
        ended[state.incident.id] = now_ms
    for incident, opened_ms in opened.items():
        open_ms = ended.get(incident, opened_ms) - max(opened_ms, act.at_ms)
        if opened_ms <= until_ms and open_ms >= harm_ms:
            return f"incident {incident} was open for {duration(open_ms)}"
    return None


def _is_about(line: AuditEntry, version: str) -> bool:
    findings: Iterable[dict[str, Any]] = line.detail.get("findings") or ()
    return any(finding.get("version") == version for finding in findings)

"""Recorded traffic through the very same engine, in virtual time: what would have happened.

The first version of a trace is good as declared, and a change of the version is a deploy at that
moment. Recorded calls cannot be re-routed: a rollback is written down, its verification waived, and
the calls that its version went on to get are counted and judged no more.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from knowngood import wire
from knowngood.core.errors import BadRequest
from knowngood.core.explain import finding_words, wait_words
from knowngood.core.history import AuditEntry
from knowngood.core.model import (
    Finding,
    Incident,
    Record,
    Response,
    SetIncident,
    Standing,
    Verdict,
    Verifying,
)
from knowngood.core.policy import PolicyFile
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps import operator
from knowngood.core.window import BUCKET_MS, quantile_ms
from knowngood.engine.ingest import WATERMARK_MS
from knowngood.engine.loop import TICK_MS
from knowngood.engine.reconcile import Look
from knowngood.sim.stage import Stage
from knowngood.sim.trace import SCORE as SCORE  # the command line's way to it
from knowngood.sim.trace import Call, Tally, Trace, window_of
from knowngood.sim.trace import read_trace as read_trace  # likewise

ACTOR = "replay"
CLIENT = "replay"
# Calls of the version that was just replaced go on for a while, because processes change over one
# by one. They are no deploy as long as the new version is called again within this.
OVERLAP_MS = 30_000
# After so long a silence nothing but the next call changes anything, unless the policy looks back
# further still: then its longest window counts.
LONGEST_SILENCE_MS = 2 * 3_600_000
LAST_TICKS_MAX = 10  # a breach in the last second is confirmed one tick later
LINES_MAX = 1_000_000  # of history; a trace makes a few per deploy and incident
NOT_VERIFIABLE = "recorded calls cannot be re-routed, so the recovery cannot be seen"
GUIDE = (
    "What would have happened: the first version is good as declared, a change of version is a "
    "deploy, and recorded calls cannot be re-routed"
)

Progress = Callable[[int, int], None]  # calls replayed, calls in all


@dataclass(frozen=True, slots=True)
class Rollback:
    """A rollback that would have happened at `at_ms`, of a version deployed at `deployed_ms`."""

    from_version: str
    to_version: str
    at_ms: int
    deployed_ms: int
    because: str


@dataclass(slots=True)
class Question:
    """An incident that people would have been asked about, or told to observe."""

    incident: Incident
    at_ms: int
    because: str
    ended_ms: int | None = None
    ended: str = "open"


@dataclass(slots=True)
class Judged:
    """One trigger's last finding on one version, as of the version's newest call."""

    finding: Finding
    newest_ms: int | None
    seen_ms: int
    generation: int
    breaching: bool = False  # whether it was in breach when it was last seen
    breach_from_ms: int | None = None  # when it was first seen in breach
    breach_ms: int = 0  # for how long it was seen in breach in all


@dataclass(slots=True)
class Replay:
    """What a replay found. Instants are milliseconds since the Unix epoch."""

    prompt: str
    environment: str
    call_count: int
    versions: list[Tally]
    judged: list[Judged]
    decisions: list[AuditEntry]
    rollbacks: list[Rollback]
    questions: list[Question]
    waiting_on: list[str]
    notes: list[str]
    began_ms: int
    ended_ms: int


def replay(
    calls: Iterable[Call],
    policy: PolicyFile,
    prompt: str,
    progress: Progress | None = None,
    environment: str = "production",
    every_look: bool = True,
) -> Replay:
    """Play the calls back under `policy` and tell what would have happened.

    Without `every_look` only the looks that acted are written down: the decisions are the same in
    half the time, and `judged` holds no more than what led to them. Raises BadRequest for no calls
    or an impossible name.
    """
    ordered = sorted(calls, key=itemgetter(0))
    if not ordered:
        raise BadRequest("there are no calls to replay")
    run = _Run(policy, prompt, environment, ordered, every_look)
    done = 0
    for second_ms, group in groupby(ordered, key=_second_ms):
        calls_of_second = list(group)
        run.second(second_ms, calls_of_second)
        done += len(calls_of_second)
        if progress is not None:
            progress(done, len(ordered))
    return run.finish(len(ordered))


def _second_ms(call: Call) -> int:
    return call.at_ms // BUCKET_MS * BUCKET_MS


def deploys(calls: Sequence[Call]) -> Iterator[tuple[int, str]]:
    """(second, version) of every deploy: the first version, then each change that is no overlap."""
    times: dict[str, array[int]] = {}
    for call in calls:
        times.setdefault(call.version, array("q")).append(call.at_ms)
    served, seen = "", set[str]()
    for call in calls:
        if call.version == served:
            continue
        if call.version in seen and _goes_on(times[served], call.at_ms):
            continue
        served = call.version
        seen.add(served)
        yield _second_ms(call), served


def _goes_on(times: Sequence[int], at_ms: int) -> bool:
    """Whether there is another call soon after `at_ms`."""
    later = bisect_right(times, at_ms)
    return later < len(times) and times[later] - at_ms <= OVERLAP_MS


class _Run:
    """One replay under way: a stage, the calls that are not reported yet, and what was seen."""

    def __init__(
        self,
        policy: PolicyFile,
        prompt: str,
        environment: str,
        calls: Sequence[Call],
        every_look: bool,
    ) -> None:
        self.stage = Stage(policy, prompt, environment, ACTOR, _second_ms(calls[0]))
        self.every_look = every_look
        self.scale = policy.scores.get(SCORE)
        self.began_ms, self.ended_ms = calls[0].at_ms, calls[-1].at_ms
        self.silence_ms = _silence_ms(self.stage.policy)
        self.deploys = deploys(calls)
        self.next_deploy = next(self.deploys, None)
        self.unreported: list[Call] = []
        self.leaving: set[str] = set()  # versions that a deploy of this second took off the route
        self.heard_ms = self.stage.now_ms  # where the newest second with calls begins
        self.tallies: dict[str, Tally] = {}
        self.judged: dict[tuple[str, str], Judged] = {}
        self.rollbacks: list[Rollback] = []
        self.questions: dict[str, Question] = {}
        self.notes: list[str] = []
        self.last: Look | None = None
        self.acted = False

    def second(self, at_ms: int, calls: list[Call]) -> None:
        """The calls of the second that begins at `at_ms`, which lies after all before it."""
        self._advance(at_ms)
        while self.next_deploy is not None and self.next_deploy[0] <= at_ms:
            self._deploy(self.next_deploy[1], at_ms)
            self.next_deploy = next(self.deploys, None)
        self.unreported = calls
        self.heard_ms = at_ms

    def finish(self, call_count: int) -> Replay:
        """Let the last calls be judged and what they began be ended, and tell."""
        self._advance(self.judged_until_ms)
        # Only what has begun is ended. To tick on would judge windows that the trace's end empties.
        for _ in range(LAST_TICKS_MAX):
            if not self.acted and not self._wants_a_look():
                break
            self._tick(self.stage.now_ms + TICK_MS)
        return self._told(call_count)

    def _wants_a_look(self) -> bool:
        return self.last is not None and any(
            wait.kind == "next_look" for wait in self.last.decision.waiting_on
        )

    # --- Time

    @property
    def judged_until_ms(self) -> int:
        """When the bucket of the newest calls is final and has been looked at."""
        return self.heard_ms + BUCKET_MS + WATERMARK_MS + TICK_MS

    def _advance(self, to_ms: int) -> None:
        """Tick every second while there is something to judge, else when the engine wants to."""
        while (at_ms := self._next_tick_ms()) is not None and at_ms <= to_ms:
            self._tick(at_ms)

    def _next_tick_ms(self) -> int | None:
        next_ms = self.stage.now_ms + TICK_MS
        if self.unreported:
            return max(next_ms, self.heard_ms + BUCKET_MS)
        # The bucket of the newest calls is final a little later, and then it is judged.
        if next_ms <= self.judged_until_ms:
            return next_ms
        due = self.stage.engine.reconciler.due
        if not due:
            return None
        at_ms = max(next_ms, -(-due[0][0] // TICK_MS) * TICK_MS)
        return at_ms if at_ms <= self.heard_ms + self.silence_ms else None

    def _tick(self, at_ms: int) -> None:
        """Report what came, let the engine tick, and write down what it saw and did."""
        self.stage.now_ms = at_ms
        self._report()
        acted = self.stage.tick(at_ms)
        for seen in acted:
            self._see(seen)
            self._follow(seen)
        self._waive()
        # In a silence nothing is learnt, unless a breach is there to end.
        breaching = any(line.breaching for line in self.judged.values())
        if self.every_look and (at_ms <= self.judged_until_ms or breaching):
            self._see(self.stage.look())
        self.acted = bool(acted)

    # --- Calls

    def _report(self) -> None:
        """One flush of the one client, empty if nothing was called: idle is not blind."""
        calls, self.unreported = self.unreported, []
        rows: list[wire.Row] = []
        route = self.stage.state().route
        calls.sort(key=itemgetter(1))
        for version, group in groupby(calls, key=itemgetter(1)):
            mine = list(group)
            # In the second of a deploy the version that leaves was still on the route at first.
            routed = version in self.leaving or bool(route and route.weight_bp(version))
            self.tallies[version].add(mine, routed)
            if routed:
                window = window_of(mine, self.scale)
                ago_ms = self.stage.now_ms - self.heard_ms
                rows.append(wire.Row(self.stage.prompt, version, ago_ms, window))
        self.leaving.clear()
        self.stage.report(CLIENT, rows)

    # --- Deploys and rollbacks

    def _deploy(self, version: str, at_ms: int) -> None:
        tally = self.tallies.setdefault(version, Tally(version))
        tally.deploys += 1
        state = self.stage.state()
        self.leaving |= {arm.version for arm in state.route.arms} if state.route else set()
        if state.standing(version) is Standing.QUARANTINED:
            self.notes.append(
                f"{version} was deployed again after it would have been rolled back; the replay "
                "overrides the quarantine, as whoever deployed it must have done"
            )
        self.stage.deploy(version, "deployed in the trace", at_ms)

    def _waive(self) -> None:
        state = self.stage.state()
        if isinstance(state.phase, Verifying):
            self.stage.apply(state, operator.waive_verification(state, NOT_VERIFIABLE))

    # --- What is written down

    def _see(self, seen: Look) -> None:
        """Keep each trigger's finding as of the version's newest call, and its time in breach."""
        route = seen.state.route
        generation = route.generation if route else 0
        for found in seen.decision.findings:
            newest_ms = seen.observed.evidence(found.version).last_ms
            key = (found.version, found.trigger)
            line = self.judged.get(key)
            if line is None:
                line = Judged(found, newest_ms, seen.now_ms, generation)
                self.judged[key] = line
            elif line.generation == generation and line.breaching:
                line.breach_ms += seen.now_ms - line.seen_ms
            # What a rollback cut off, or a silence emptied, says nothing new of the version.
            fresh = newest_ms is not None and newest_ms != line.newest_ms
            if fresh and newest_ms is not None and newest_ms >= found.since_ms:
                line.finding, line.newest_ms = found, newest_ms
            line.breaching = found.verdict is Verdict.BREACH
            if line.breaching and line.breach_from_ms is None:
                line.breach_from_ms = seen.now_ms
            line.seen_ms, line.generation = seen.now_ms, generation
        self.last = seen

    def _follow(self, seen: Look) -> None:
        """Keep the rollbacks and the questions among what was done."""
        because = ""
        route = seen.state.route
        for action in seen.decision.actions:
            match action:
                case Record(kind="rollback.switched", because=words, detail=detail):
                    assert route is not None
                    away, to = str(detail["from"]), str(detail["to"])
                    self.rollbacks.append(Rollback(away, to, seen.now_ms, route.since_ms, words))
                case Record(because=words):
                    because = because or words
        for action in seen.decision.actions:
            if isinstance(action, SetIncident):
                before = seen.state.incident
                self._ask(action.incident, before, because, seen.now_ms)

    def _ask(
        self, incident: Incident | None, before: Incident | None, because: str, now_ms: int
    ) -> None:
        if incident is not None and incident.response in (Response.ASK, Response.OBSERVE):
            asked = self.questions.setdefault(incident.id, Question(incident, now_ms, because))
            asked.incident = incident
            return
        name = incident.id if incident is not None else before.id if before is not None else ""
        open_one = self.questions.get(name)
        if open_one is not None and open_one.ended_ms is None:
            open_one.ended_ms = now_ms
            open_one.ended = "resolved" if incident is None else "superseded by a rollback"

    def _told(self, call_count: int) -> Replay:
        state = self.stage.state()
        for tally in self.tallies.values():
            tally.standing = state.standing(tally.version)
        self._note_calls_off_route()
        if refused := self.stage.engine.ingest.ignored_counts:
            words = ", ".join(f"{reason}: {n}" for reason, n in refused.items())
            self.notes.append(f"the intake refused some of it ({words})")
        return Replay(
            prompt=self.stage.prompt,
            environment=self.stage.environment,
            call_count=call_count,
            versions=sorted(self.tallies.values(), key=lambda t: t.first_ms or 0),
            judged=list(self.judged.values()),
            decisions=self._history(),
            rollbacks=self.rollbacks,
            questions=list(self.questions.values()),
            waiting_on=self._waiting_on(),
            notes=self.notes,
            began_ms=self.began_ms,
            ended_ms=self.ended_ms,
        )

    def _history(self) -> list[AuditEntry]:
        stage = self.stage
        return stage.store.log.read(stage.environment, stage.prompt, limit=LINES_MAX)

    def _note_calls_off_route(self) -> None:
        gone = {rollback.from_version for rollback in self.rollbacks}
        for tally in self.tallies.values():
            if tally.off_route:
                why = (
                    "would have gone to its rollback target"
                    if tally.version in gone
                    else "came while another version was deployed"
                )
                self.notes.append(
                    f"{tally.off_route} calls of {tally.version} {why} and are not judged"
                )

    def _waiting_on(self) -> list[str]:
        """What the last decision waits on, and the unsure findings on the version judged last."""
        if self.last is None or not self.judged:
            return []
        lines = list(self.judged.values())
        of_findings = {w for f in self.last.decision.findings for w in f.waiting_on}
        words = [wait_words(w) for w in self.last.decision.waiting_on if w not in of_findings]
        newest = max(lines, key=lambda line: line.newest_ms or 0).finding.version
        for found in (line.finding for line in lines if line.finding.version == newest):
            if found.verdict in (Verdict.UNSURE, Verdict.BLIND):
                waits = "; ".join(wait_words(w) for w in found.waiting_on)
                words.append(f"{found.trigger} on {found.version} is {found.verdict}: {waits}")
        return words


def _silence_ms(policy: PromptPolicy) -> int:
    spans = [t.window_ms for t in policy.triggers] + [t.for_ms or 0 for t in policy.triggers]
    return max(LONGEST_SILENCE_MS, policy.window_ms, policy.bake.for_ms, *spans) + 60_000


# --- The answer


def answer(found: Replay, trace: Trace) -> dict[str, Any]:
    """What was found as JSON data, with times as the trace writes them."""
    write = trace.style.write
    place = {"prompt": found.prompt, "environment": found.environment}
    notes = [GUIDE, *found.notes]
    if trace.unknown_columns:
        notes.append(f"columns that were not read: {', '.join(trace.unknown_columns)}")
    return {
        **place,
        "calls": found.call_count,
        "from": write(found.began_ms),
        "to": write(found.ended_ms),
        "versions": [_version_data(tally, trace) for tally in found.versions],
        "findings": [_finding_data(line, trace) for line in found.judged],
        "decisions": [
            {
                "at": write(line.at_ms),
                "kind": line.kind,
                "because": line.because,
                "actor": line.actor,
                "generation": line.generation,
            }
            for line in found.decisions
        ],
        "rollbacks": [
            {
                **place,
                "from_version": back.from_version,
                "to_version": back.to_version,
                "at": write(back.at_ms),
                "because": back.because,
                "deployed_at": write(back.deployed_ms),
                "after_s": (back.at_ms - back.deployed_ms) // 1000,
            }
            for back in found.rollbacks
        ],
        "questions": [_question_data(question, trace) for question in found.questions],
        "waiting_on": found.waiting_on,
        "ignored": trace.ignored,
        "note": "; ".join(notes),
    }


def _version_data(tally: Tally, trace: Trace) -> dict[str, Any]:
    judged, write = tally.ok + tally.failed, trace.style.write
    return {
        "version": tally.version,
        "standing": tally.standing,
        "calls": judged + tally.excluded,
        "failed": tally.failed,
        "excluded": tally.excluded,
        "error_rate": tally.failed / judged if judged else None,
        "latency_p50_ms": quantile_ms(tally.latency, 0.5),
        "latency_p99_ms": quantile_ms(tally.latency, 0.99),
        "scores": tally.score_count,
        "score_mean": tally.score_sum / tally.score_count if tally.score_count else None,
        "off_route": tally.off_route,
        "deploys": tally.deploys,
        "first_at": None if tally.first_ms is None else write(tally.first_ms),
        "last_at": None if tally.last_ms is None else write(tally.last_ms),
    }


def _finding_data(line: Judged, trace: Trace) -> dict[str, Any]:
    found, write = line.finding, trace.style.write
    first_ms = line.breach_from_ms
    return {
        "version": found.version,
        "trigger": found.trigger,
        "verdict": found.verdict,
        "words": finding_words(found),
        "metric": found.metric,
        "comparison": found.comparison,
        "limit": found.limit,
        "severity": found.severity,
        "action": found.response,
        "n": found.n,
        "bad": found.bad,
        "estimate": found.estimate,
        "baseline": found.baseline,
        "baseline_source": found.baseline_source,
        "at": write(found.until_ms),
        "first_breach_at": write(first_ms) if first_ms is not None else None,
        "breach_s": line.breach_ms // 1000,
        "waiting_on": [wait_words(wait) for wait in found.waiting_on],
    }


def _question_data(question: Question, trace: Trace) -> dict[str, Any]:
    incident, write = question.incident, trace.style.write
    return {
        "id": incident.id,
        "version": incident.version,
        "action": incident.response,
        "severity": incident.severity,
        "triggers": list(incident.triggers),
        "because": question.because,
        "at": write(question.at_ms),
        "ended": question.ended,
        "ended_at": write(question.ended_ms) if question.ended_ms is not None else None,
    }

"""A policy's tests, run: a story played on the production engine, in virtual time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from knowngood import wire
from knowngood.core.explain import decision_words, duration, finding_words, route_words, wait_words
from knowngood.core.model import WHOLE_BP, Finding, Route, Verdict
from knowngood.core.policy import PolicyFile
from knowngood.core.window import BUCKET_MS, Window
from knowngood.engine.reconcile import Look
from knowngood.ports import Delivered, Page
from knowngood.sim.behaviour import Behaviour
from knowngood.sim.fired import FIRED, action_of
from knowngood.sim.series import Gap, Rounder, Sample, Series
from knowngood.sim.stage import Stage
from knowngood.sim.story import CALLS_MAX, NOBODY, NONE, OPEN, Expectation
from knowngood.sim.story import Story as Story  # the command line's way to it
from knowngood.sim.story import policy_named as policy_named  # likewise
from knowngood.sim.story import stories as stories  # likewise

START_MS = 1_767_225_600_000  # a test has no date; what it says is in times since its beginning
ACTOR = "test"
LINES_MAX = 1_000_000  # of history: a test makes a few dozen
ENDINGS = {
    "blind": "blind",
    "rollback.switched": "rollback",
    "rollback.verified": "recovered",
    "rollback.not_recovered": "not_recovered",
    "rollback.inconclusive": "inconclusive",
    "incident.resolved": "resolved",
    "version.good": "good",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that was expected and did not hold, with what was seen and decided then."""

    path: str
    at_ms: int
    what: str
    expected: str
    seen: str
    findings: tuple[Finding, ...]
    decided: str
    waiting_on: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """The failure as JSON data."""
        return {
            "path": self.path,
            "at_s": self.at_ms // 1000,
            "what": self.what,
            "expected": self.expected,
            "seen": self.seen,
            "findings": [
                {
                    "version": f.version,
                    "trigger": f.trigger,
                    "verdict": f.verdict,
                    "words": finding_words(f),
                    "waiting_on": [wait_words(wait) for wait in f.waiting_on],
                }
                for f in self.findings
            ],
            "decided": self.decided,
            "waiting_on": list(self.waiting_on),
        }


def run(story: Story, policy: PolicyFile) -> list[Failure]:
    """Play the story under the policy; what did not hold, in the order of time."""
    return _Play(story, policy).run()


@dataclass(frozen=True, slots=True)
class _Flush:
    """What is under way from the processes to the server."""

    arrives_ms: int
    made_ms: int
    process_count: int
    windows: Mapping[str, Window]


@dataclass(slots=True)
class _Pager:
    """Who was told, and when."""

    stage: Stage | None = None
    told: list[tuple[int, str]] = field(default_factory=list)

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered:
        """See ports.Notifier."""
        assert self.stage is not None
        self.told.append((self.stage.now_ms, page.audience))
        return Delivered("noted")


class _Play:
    """One story under way."""

    def __init__(self, story: Story, policy: PolicyFile) -> None:
        self.story = story
        self.pager = _Pager()
        first_ms = START_MS - story.served_ms
        self.stage = Stage(
            policy, story.prompt, story.environment, ACTOR, first_ms, {"test": self.pager}
        )
        self.pager.stage = self.stage
        self.stage.deploy(next(iter(story.versions)), "the test begins", first_ms)
        self.behaviours = {
            version: Behaviour(lines, policy.scores) for version, lines in story.versions.items()
        }
        self.rounders: dict[str, Rounder] = defaultdict(Rounder)
        self.under_way: list[_Flush] = []
        self.alive: set[str] = set()  # processes that reported and said no goodbye
        self.moved_ms = first_ms  # when a person last moved the route

    def run(self) -> list[Failure]:
        failures: list[Failure] = []
        events = list(self.story.events)
        for at_ms in range(0, self.story.length_ms + 1, BUCKET_MS):
            now_ms = START_MS + at_ms
            self._second(now_ms)
            for expectation in self.story.expectations:
                if expectation.at_ms == at_ms:
                    failures += self._check(expectation, at_ms)
            while events and events[0].at_ms == at_ms:
                self.stage.split(events.pop(0).arms, "deployed in the test", now_ms)
                self.moved_ms = now_ms
            self._call(at_ms)
        for expectation in self.story.expectations:
            if expectation.at_ms is None:
                failures += self._check(expectation, self.story.length_ms)
        return failures

    # --- What the processes do

    def _call(self, at_ms: int) -> None:
        """The calls of the second that begins now are on their way to the server."""
        step = at_ms // self.story.step_ms
        sample = self.story.calls.at(step)
        if sample is Gap.STALE:
            for process in sorted(self.alive):
                self.stage.report(process, closing=True)
            self.alive.clear()
            return
        process_count = int(_value(self.story.processes, step))
        made_ms = START_MS + at_ms
        if isinstance(sample, Sample) and process_count:
            n = self.rounders["calls"].take(sample.value, CALLS_MAX)
            windows = dict(self._windows(n, step))
            if windows:
                arrives_ms = made_ms + BUCKET_MS + int(_value(self.story.late, step))
                self.under_way.append(_Flush(arrives_ms, made_ms, process_count, windows))

    def _windows(self, n: int, step: int) -> Iterator[tuple[str, Window]]:
        """What each version on the route shows of `n` calls; nothing of those that are silent."""
        route = self.stage.state().route
        assert route is not None
        left = n
        for arm in reversed(route.arms):  # the candidate's share is exact, the control has the rest
            share = Fraction(n * arm.weight_bp, WHOLE_BP)
            mine = left if arm is route.control else self.rounders[arm.version].take(share, n)
            left -= mine
            window = self.behaviours[arm.version].window(mine, step)
            if window is not None:
                yield arm.version, window

    def _second(self, now_ms: int) -> None:
        """What arrives is taken in, and the engine ticks."""
        self.stage.now_ms = now_ms
        arrived = [flush for flush in self.under_way if flush.arrives_ms <= now_ms]
        self.under_way = [flush for flush in self.under_way if flush.arrives_ms > now_ms]
        rows = [
            wire.Row(self.stage.prompt, version, now_ms - flush.made_ms, window)
            for flush in arrived
            for version, window in flush.windows.items()
            if window != Window()
        ]
        for number in range(max((flush.process_count for flush in arrived), default=0)):
            process = f"process-{number + 1}"
            self.alive.add(process)
            self.stage.report(process, rows if number == 0 else ())
        self.stage.tick(now_ms)

    # --- What was expected

    def _check(self, expectation: Expectation, at_ms: int) -> Iterator[Failure]:
        seen = self.stage.look()
        for key, wanted in expectation.checks.items():
            for what, expected, saw in _Seen(self, seen, expectation).differences(key, wanted):
                of_trigger = what.removeprefix("verdict.")
                findings = tuple(
                    f
                    for f in seen.decision.findings
                    if f.trigger == of_trigger or f.verdict is Verdict.BREACH
                )
                yield Failure(
                    path=f"{expectation.path}.{key}",
                    at_ms=at_ms,
                    what=what,
                    expected=expected,
                    seen=saw,
                    findings=findings,
                    decided=decision_words(seen.state, seen.decision),
                    waiting_on=tuple(wait_words(wait) for wait in seen.decision.waiting_on),
                )

    def history(self, since_ms: int) -> list[tuple[int, str]]:
        """What the system did after that, in the words of expectations, by the time of the test."""
        stage = self.stage
        lines = stage.store.log.read(stage.environment, stage.prompt, limit=LINES_MAX)
        done = []
        for line in lines:
            word = ENDINGS.get(line.kind)
            if line.kind in FIRED and line.kind != "rollback.confirmed":
                word = action_of(line.kind, line.detail)
            if word is not None and line.at_ms > since_ms:
                done.append((line.at_ms - START_MS, "held" if word == "no_target" else word))
        return done


Difference = tuple[str, str, str]  # what, expected, seen


@dataclass(slots=True)
class _Seen:
    """What there is to be compared with an expectation."""

    play: _Play
    look: Look
    expectation: Expectation

    def differences(self, key: str, wanted: Any) -> Iterator[Difference]:
        """What differs from the expectation."""
        state = self.look.state
        match key:
            case "verdict":
                yield from self._verdicts(wanted)
            case "route":
                yield from _differ(key, route_words(Route(wanted)), route_words(state.route))
            case "action":
                yield from self._done(wanted)
            case "never":
                since_ms = START_MS - self.play.story.served_ms
                for at_ms, word in self.play.history(since_ms):
                    if word in wanted:
                        yield f"never {word}", "none", f"{word} at {duration(at_ms)}"
            case "paged":
                yield from self._paged(wanted)
            case "waiting_on":
                yield from self._waits(wanted)
            case "standing":
                for version, words in wanted.items():
                    standing = state.standing(version) or "unknown"
                    yield from _among(f"standing.{version}", words, standing)
            case "phase":
                yield from _differ(key, wanted, type(state.phase).__name__.lower())
            case "incident":
                severity = state.incident.severity.value if state.incident else NONE
                is_met = wanted == OPEN and state.incident is not None
                yield from () if is_met else _differ(key, wanted, severity)

    def _verdicts(self, wanted: Mapping[str, tuple[str, ...]]) -> Iterator[Difference]:
        route = self.look.state.route
        assert route is not None
        version = self.expectation.version or route.suspect.version
        for trigger, verdicts in wanted.items():
            seen = [
                f.verdict.value
                for f in self.look.decision.findings
                if f.trigger == trigger and f.version == version
            ]
            yield from _among(
                f"verdict.{trigger}", verdicts, seen[0] if seen else f"not judged on {version}"
            )

    def _done(self, wanted: tuple[str, ...]) -> Iterator[Difference]:
        done = list(dict.fromkeys(word for _, word in self.play.history(self.play.moved_ms)))
        if wanted == (NONE,):
            yield from _differ("action", NONE, ", ".join(done) or NONE)
        else:
            yield from _contain("action", wanted, done, NONE)

    def _paged(self, wanted: tuple[str, ...]) -> Iterator[Difference]:
        told = list(dict.fromkeys(w for at, w in self.play.pager.told if at > self.play.moved_ms))
        if wanted == (NOBODY,):
            yield from _differ("paged", NOBODY, ", ".join(told) or NOBODY)
        else:
            yield from _contain("paged", wanted, told, NOBODY)

    def _waits(self, wanted: tuple[str, ...]) -> Iterator[Difference]:
        waits = self.look.decision.waiting_on
        words = [wait_words(wait) for wait in waits]
        for text in wanted:
            if not any(text == wait.kind for wait in waits) and not any(text in w for w in words):
                yield "waiting_on", text, "; ".join(words) or "nothing"


def _differ(what: str, expected: str, seen: str) -> Iterator[Difference]:
    if expected != seen:
        yield what, expected, seen


def _among(what: str, expected: tuple[str, ...], seen: str) -> Iterator[Difference]:
    if seen not in expected:
        yield what, " or ".join(expected), seen


def _contain(
    what: str, expected: tuple[str, ...], seen: list[str], nothing: str
) -> Iterator[Difference]:
    missing = [word for word in expected if word not in seen]
    if missing:
        yield what, ", ".join(missing), ", ".join(seen) or nothing


def _value(series: Series, step: int) -> Fraction:
    found = series.at(step)
    assert isinstance(found, Sample)  # its unit has no gaps
    return found.value

"""States, observations and calls in few words, and the little world that the laws are tried in.

What a test reads must be there, or the test fails: so much here is `Any` on purpose.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from knowngood.core.decide import decide
from knowngood.core.evolve import evolve, moves_route
from knowngood.core.look import evidence_since_ms, plan_for, split_at
from knowngood.core.model import (
    FLEET,
    Action,
    Arm,
    Census,
    Change,
    Decision,
    Entry,
    Evidence,
    MoveRoute,
    Notify,
    Observed,
    Record,
    Related,
    Route,
    Sibling,
    Standing,
    State,
    whole,
)
from knowngood.core.policy import parse
from knowngood.core.rules import PromptPolicy
from knowngood.core.track import Plan, Track
from knowngood.core.unit_sums import Arms
from knowngood.core.watch import watches
from knowngood.core.window import EMPTY, Bucket, Window, from_row, latency_bucket, to_row

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NOW = 1_800_000_000_000
PROMPT = "cs"


def policy(**defaults: Any) -> PromptPolicy:
    """The default policy with these sections of `defaults` laid over it."""
    return parse({"defaults": defaults}).for_prompt(PROMPT)


DEFAULT = policy()


def latencies(ms: float, count: int, slow_ms: float = 0, slow: int = 0) -> dict[int, int]:
    """`count` calls that took `ms`, and `slow` ones that took `slow_ms`."""
    bins: dict[int, int] = {}
    for value, times in ((ms, count), (slow_ms, slow)):
        if times:
            bins[latency_bucket(value)] = bins.get(latency_bucket(value), 0) + times
    return bins


def labels(*values: float, times: int = 1, name: str = "quality") -> dict[str, dict[int, int]]:
    """Scores of the range 0 to 1, each given `times`."""
    bins: dict[int, int] = {}
    for value in values:
        index = round(value * 100)
        bins[index] = bins.get(index, 0) + times
    return {name: bins}


def calls(
    ok: int = 0,
    errors: int = 0,
    *,
    kind: str = "provider",
    p99: float | None = None,
    latency: Mapping[int, int] | None = None,
    quality: float | None = None,
    n_labels: int = 0,
    scores: Mapping[str, Mapping[int, int]] | None = None,
    **more: Any,
) -> Window:
    """A window: so many calls went well, so many failed, all took `p99` ms.

    Labels spread two bins around `quality`.
    """
    if p99 is not None:
        latency = latencies(p99, ok + errors)
    if quality is not None:
        share = n_labels // 2
        scores = labels(quality - 0.02, quality + 0.02, times=share)
    return Window(
        ok=ok,
        errors={kind: errors} if errors else {},
        latency=latency or {},
        scores=scores or {},
        **more,
    )


HEALTHY_DAY = calls(ok=19_900, errors=100, p99=800, quality=0.80, n_labels=400)


def entry(
    version: str,
    standing: str = "good",
    routed: int | None = -2 * DAY,
    baseline: Window | None = None,
) -> Entry:
    """A line of the ledger; `routed` is relative to NOW."""
    routed_ms = None if routed is None else NOW + routed
    since_ms = NOW - 3 * DAY if routed_ms is None else routed_ms
    return Entry(version, Standing(standing), since_ms, routed_ms, baseline=baseline)


def state(
    serving: str = "v2",
    *ledger: Entry,
    trial: tuple[str, int] | None = None,
    since: int = -10 * MINUTE,
    **more: Any,
) -> Any:
    """`serving` has all traffic, or what the `trial` (version, basis points) leaves of it.

    Without a ledger v1 is good since days, and v2 a candidate since the route moved.
    """
    if not ledger:
        ledger = (
            entry("v1", "good", -2 * DAY, HEALTHY_DAY),
            entry("v2", "candidate", since),
        )
    arms = whole(serving)
    if trial is not None:
        arms = (Arm(serving, 10_000 - trial[1]), Arm(*trial))
    fields = {"environment": "production", "prompt": PROMPT, "revision": 7, **more}
    return State(route=Route(arms, "salt", 5, NOW + since), ledger=tuple(ledger), **fields)


ALL_HERE = Census(live_count=4, current_count=4)
ALL_SILENT = Census(silent=("web-1", "web-2"))
NOBODY = Census()


SPREAD_MS = 50 * SECOND


def spread(window: Window, until_ms: int, over_ms: int = SPREAD_MS) -> tuple[Bucket, ...]:
    """The window's calls as they come in: a bucket a second, evenly, and none without a call."""
    count = max(1, over_ms // SECOND)
    begins_ms = until_ms - count * SECOND
    row = to_row(window)
    buckets = (Bucket(begins_ms + i * SECOND, from_row(_part(row, i, count))) for i in range(count))
    return tuple(b for b in buckets if b.window != EMPTY)


def _part(data: Any, i: int, count: int) -> Any:
    """The i-th of `count` parts of every number in a window's row; all parts add up to it."""
    match data:
        case int():
            return data * (i + 1) // count - data * i // count
        case list():
            return [_part(item, i, count) for item in data]
    parts = {name: _part(item, i, count) for name, item in data.items()}
    return {name: part for name, part in parts.items() if part}


def observed(
    until: Any = NOW,
    *,
    over: Any = SPREAD_MS,
    at: Any = None,
    census: Any = ALL_HERE,
    fleet: Any = None,
    provider: Any = "acme",
    siblings: Any = (),
    related: Any = (),
    unrelated_clear: Any = (),
    **versions: Window,
) -> Observed:
    """What each version's calls were, spread over the last `over` ms or all in the bucket `at`.

    It says nothing of detectors: `read` works out what they show, for it takes a state to know what
    they are held against.
    """
    evidence = {
        version: Evidence(spread(window, until, over) if at is None else (Bucket(at, window),))
        for version, window in versions.items()
    }
    return Observed(
        until_ms=until,
        versions=evidence,
        census=census,
        fleet=fleet or State("production", FLEET),
        siblings=siblings,
        provider=provider,
        related=related,
        unrelated_clear=unrelated_clear,
    )


class Detectors:
    """The detectors of the versions on one route, kept up as the engine keeps them."""

    def __init__(self, rules: PromptPolicy) -> None:
        """None yet; they watch what these rules ask for."""
        self.rules, self.watches = rules, watches(rules)
        self.tracks: dict[str, Track] = {}
        self.plans: dict[str, Plan] = {}

    def read(self, where: State, seen: Observed) -> Observed:
        """What was seen, with what the detectors of the versions on the route show of it."""
        if where.route is None:
            return seen
        versions = dict(seen.versions)
        for arm in where.route.arms:
            track = self._track(where, arm.version, seen.until_ms)
            self._fold(where, arm.version, track, seen)
            reading = track.read(self.rules.window_ms, seen.until_ms)
            buckets = seen.evidence(arm.version).buckets
            versions[arm.version] = Evidence(buckets, track.lifetime, reading)
        return replace(seen, versions=versions)

    def _track(self, where: State, version: str, until_ms: int) -> Track:
        begins_ms = evidence_since_ms(where, version)
        plan = plan_for(where, version, self.rules, self.watches)
        track = self.tracks.get(version)
        if track is None or track.since_ms != begins_ms:
            track = self.tracks[version] = Track(begins_ms)
            track.until_ms = max(begins_ms, until_ms - DAY)
            self.plans.pop(version, None)
        if self.plans.get(version) != plan:
            track.plan(plan)
            self.plans[version] = plan
        return track

    def _fold(self, where: State, version: str, track: Track, seen: Observed) -> None:
        other = self.plans[version].other
        own, theirs = _new(seen, version, track), _new(seen, other, track)
        for at_ms in sorted(own.keys() | theirs.keys()):
            mine, beside = own.get(at_ms, EMPTY), theirs.get(at_ms, EMPTY)
            track.add(at_ms, SECOND, mine, beside, split_at(where, at_ms, version))


def _new(seen: Observed, version: str, track: Track) -> dict[int, Window]:
    """The buckets that the track has not seen yet and that are final."""
    buckets = seen.evidence(version).buckets
    return {b.at_ms: b.window for b in buckets if track.until_ms <= b.at_ms < seen.until_ms}


def read(where: State, seen: Observed, rules: PromptPolicy = DEFAULT) -> Observed:
    """What was seen, with what the detectors of the versions on the route show of it."""
    return Detectors(rules).read(where, seen)


def decided(
    where: State, seen: Observed, rules: PromptPolicy = DEFAULT, now_ms: int = NOW
) -> Decision:
    """What is decided on what was seen."""
    return decide(where, read(where, seen, rules), rules, now_ms)


def changed(before: State, actions: tuple[Action, ...], now_ms: int, actor: str = "ann") -> Any:
    """The state after a person's or the system's actions."""
    change = Change(before.environment, before.prompt, before.revision, actions, actor)
    generation = before.route.generation if before.route else 0
    return evolve(before, change, generation + moves_route([change]), now_ms)


def after(before: State, decision: Decision, now_ms: int) -> Any:
    """The state after the decision was applied."""
    return changed(before, decision.actions, now_ms, "system")


MAX_ROUNDS = 8  # what one tick of the reconciler allows
SECONDS_MAX = 60  # that a story waits for something to happen


def settled(
    before: State,
    seen: Observed,
    rules: PromptPolicy = DEFAULT,
    now_ms: int = NOW,
    detectors: Detectors | None = None,
) -> tuple[Any, list[Any]]:
    """Decide and apply until nothing more is wanted, as one tick does; all that was done."""
    done: list[Any] = []
    detectors = detectors or Detectors(rules)
    for _ in range(MAX_ROUNDS):
        decision = decide(before, detectors.read(before, seen), rules, now_ms)
        if not decision.actions:
            return before, done
        done += decision.actions
        before = after(before, decision, now_ms)
    final = decide(before, detectors.read(before, seen), rules, now_ms)
    assert not final.actions, f"not a fixpoint after {MAX_ROUNDS} rounds: {final.actions}"
    return before, done


def kinds(actions: list[Action] | tuple[Action, ...]) -> list[str]:
    """The kinds of the audit lines, in order."""
    return [a.kind for a in actions if isinstance(a, Record)]


def pages(actions: list[Action] | tuple[Action, ...]) -> list[Notify]:
    """The messages to people."""
    return [a for a in actions if isinstance(a, Notify)]


def moves(actions: list[Action] | tuple[Action, ...]) -> list[str]:
    """The routes that were asked for, as the version that gets the most traffic."""
    return [
        max(a.arms, key=lambda arm: arm.weight_bp).version
        for a in actions
        if isinstance(a, MoveRoute)
    ]


class Story:
    """A prompt's life on virtual time: what is seen each second, and what was done."""

    def __init__(self, start: State | None = None, rules: PromptPolicy = DEFAULT) -> None:
        """It begins at NOW."""
        self.state: Any = start or state()
        self.policy = rules
        self.detectors = Detectors(rules)
        self.now_ms = NOW
        self.done: list[Any] = []
        self.census = ALL_HERE
        self.siblings: tuple[Sibling, ...] = ()
        self.related: tuple[Related, ...] = ()
        self.unrelated_clear: tuple[str, ...] = ()
        self.fleet: State | None = None
        self.arms: Arms | None = None
        self.buckets: dict[str, list[Bucket]] = {}

    def sees(self, after_ms: Any = SECOND, **versions: Window) -> list[Any]:
        """Let time pass, report these calls as the last closed bucket, decide; what was done."""
        self.now_ms += after_ms
        for version, window in versions.items():
            line = self.buckets.setdefault(version, [])
            line.append(Bucket(self.now_ms - SECOND, window))
        self.state, done = settled(
            self.state, self.seen(), self.policy, self.now_ms, self.detectors
        )
        self.done += done
        return done

    def goes_on(self, seconds: int, **versions: Window) -> list[Any]:
        """So many seconds, each with these calls; what was done in them."""
        return [action for _ in range(seconds) for action in self.sees(**versions)]

    def until(self, kind: str, **versions: Window) -> list[Any]:
        """Each second these calls, until a line of this kind is written; what that look did."""
        for _ in range(SECONDS_MAX):
            done = self.sees(**versions)
            if kind in kinds(done):
                return done
        raise AssertionError(f"no {kind} in {SECONDS_MAX} s, only {kinds(self.done)}")

    def seen(self) -> Observed:
        """Everything that was reported until now."""
        return Observed(
            until_ms=self.now_ms,
            versions={version: Evidence(tuple(line)) for version, line in self.buckets.items()},
            census=self.census,
            fleet=self.fleet or State("production", FLEET),
            siblings=self.siblings,
            provider="acme",
            related=self.related,
            unrelated_clear=self.unrelated_clear,
            arms=self.arms,
        )

    def observed(self) -> Observed:
        """Everything that was reported until now, and what the detectors show of it."""
        return self.detectors.read(self.state, self.seen())

    def decision(self) -> Decision:
        """What would be decided now."""
        return decide(self.state, self.observed(), self.policy, self.now_ms)

    def does(self, actions: tuple[Action, ...]) -> None:
        """A person does something."""
        self.done += actions
        self.state = changed(self.state, actions, self.now_ms)

    @property
    def serving(self) -> str:
        """The version that a rollback would take off the route."""
        assert self.state.route is not None
        return self.state.route.suspect.version

    def waits(self) -> set[str]:
        """The kinds of what is waited on."""
        return {wait.kind for wait in self.decision().waiting_on}


# What one second may bring.
BAD = calls(ok=80, errors=20)  # 20 % errors: found in the fourth second
FAIR = calls(ok=97, errors=3)  # 3 %: on-call is asked within seconds
FINE = calls(ok=100)

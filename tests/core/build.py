"""States, observations and calls in few words, and the little world that the laws are tried in.

What a test reads must be there, or the test fails: so much here is `Any` on purpose.
"""

from collections.abc import Mapping
from typing import Any

from knowngood.core.decide import decide
from knowngood.core.evolve import evolve, moves_route
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
    Route,
    Sibling,
    Standing,
    State,
    whole,
)
from knowngood.core.policy import parse
from knowngood.core.rules import PromptPolicy
from knowngood.core.window import Bucket, Window, latency_bucket, total

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


def observed(
    until: Any = NOW,
    *,
    at: Any = None,
    census: Any = ALL_HERE,
    siblings: Any = (),
    fleet: Any = None,
    lifetime: Any = None,
    provider: Any = "acme",
    **versions: Window,
) -> Observed:
    """What each version's calls were, all in the bucket `at` (default: the last closed one)."""
    at_ms = until - SECOND if at is None else at
    evidence = {
        version: Evidence((Bucket(at_ms, window),), (lifetime or {}).get(version, window))
        for version, window in versions.items()
    }
    for version, sum_ in (lifetime or {}).items():
        evidence.setdefault(version, Evidence((), sum_))
    fleet = fleet or State("production", FLEET)
    return Observed(until, evidence, census, fleet, siblings, provider)


def changed(before: State, actions: tuple[Action, ...], now_ms: int, actor: str = "ann") -> Any:
    """The state after a person's or the system's actions."""
    change = Change(before.environment, before.prompt, before.revision, actions, actor)
    generation = before.route.generation if before.route else 0
    return evolve(before, change, generation + moves_route([change]), now_ms)


def after(before: State, decision: Decision, now_ms: int) -> Any:
    """The state after the decision was applied."""
    return changed(before, decision.actions, now_ms, "system")


MAX_ROUNDS = 4  # what one tick of the reconciler allows


def settled(
    before: State, seen: Observed, rules: PromptPolicy = DEFAULT, now_ms: int = NOW
) -> tuple[Any, list[Any]]:
    """Decide and apply until nothing more is wanted, as one tick does; all that was done."""
    done: list[Any] = []
    for _ in range(MAX_ROUNDS):
        decision = decide(before, seen, rules, now_ms)
        if not decision.actions:
            return before, done
        done += decision.actions
        before = after(before, decision, now_ms)
    final = decide(before, seen, rules, now_ms)
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
        self.now_ms = NOW
        self.done: list[Any] = []
        self.census = ALL_HERE
        self.siblings: tuple[Sibling, ...] = ()
        self.fleet: State | None = None
        self.buckets: dict[str, list[Bucket]] = {}

    def sees(self, after_ms: Any = SECOND, **versions: Window) -> list[Any]:
        """Let time pass, report these calls as the last closed bucket, decide; what was done."""
        self.now_ms += after_ms
        for version, window in versions.items():
            line = self.buckets.setdefault(version, [])
            line.append(Bucket(self.now_ms - SECOND, window))
        self.state, done = settled(self.state, self.observed(), self.policy, self.now_ms)
        self.done += done
        return done

    def observed(self) -> Observed:
        """Everything that was reported until now."""
        versions = {
            version: Evidence(tuple(line), total(b.window for b in line))
            for version, line in self.buckets.items()
        }
        fleet = self.fleet or State("production", FLEET)
        return Observed(self.now_ms, versions, self.census, fleet, self.siblings, "acme")

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


BAD = calls(ok=80, errors=20)  # 20 % errors
FAIR = calls(ok=97, errors=3)  # 3 %: on-call is asked
FINE = calls(ok=100)

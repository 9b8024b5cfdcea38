"""Is everything in order? One answer to the question that is asked when nothing else answers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from knowngood.core.check import problems
from knowngood.core.explain import duration
from knowngood.core.history import Delivery, Outcome
from knowngood.core.model import FLEET, State
from knowngood.core.policy import own_warnings
from knowngood.server.desk import Desk
from knowngood.server.read import stamp
from knowngood.server.separable import CODE as NOT_SEPARABLE
from knowngood.server.separable import not_separable
from knowngood.server.words import iso, many

HEARTBEAT_MS = 10_000  # the engine ticks each second; ten missed in a row are no hiccup
BACKLOG_COUNT = 100  # a tick hands over a hundred messages: more than that are stuck
SKEW_MS = 5_000  # clocks of one machine do not run back; five seconds allow for a correction
DELIVERIES_READ = 200  # of the newest: the last word of every channel that is in use
NOT_TAKEN = (Outcome.RETRY, Outcome.REJECTED, Outcome.GAVE_UP)
SHOWN = 20  # lines of detail: enough to see a pattern


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `warning` is worth knowing and nothing is broken."""

    name: str
    verdict: str  # "ok", "warning" or "error"
    words: str
    detail: list[str] = field(default_factory=list)


def doctor(desk: Desk, now_ms: int, ticked_ms: int | None = None) -> dict[str, Any]:
    """Everything that was checked; `ok` unless something is broken.

    `ticked_ms` is when the engine last ticked; without a server there is none (`desk.live` says).
    """
    states = _all_states(desk)
    checks = [
        *_states(states),
        _contents(desk, states),
        _outbox(desk),
        _channels(desk),
        _schema(desk),
        _engine(desk, ticked_ms, now_ms),
        _clock(desk, now_ms),
        _policy(desk),
        *_tokens(desk),
        _thresholds(desk),
    ]
    return {
        "ok": all(check.verdict != "error" for check in checks),
        **stamp(now_ms),
        "checks": [
            {"name": c.name, "verdict": c.verdict, "words": c.words, "detail": c.detail}
            for c in checks
        ],
    }


def _all_states(desk: Desk) -> list[State]:
    store = desk.store.states
    return [*store.all(), *(store.get(name, FLEET) for name in store.environments())]


def _states(states: list[State]) -> Iterator[Check]:
    found = [problem for state in states for problem in problems(state)]
    for severity, words in (("error", "broken"), ("warning", "odd")):
        lines = [p.message for p in found if p.severity == severity]
        if lines:
            yield Check(
                "states", severity, f"{words} in {many(len(lines), 'place')}", lines[:SHOWN]
            )
    if not found:
        yield Check("states", "ok", f"sound: {many(len(states), 'state')}")


def _contents(desk: Desk, states: list[State]) -> Check:
    routed = {
        (state.prompt, arm.version): state.environment
        for state in states
        if state.route
        for arm in state.route.arms
    }
    there = {(v.prompt, v.version) for v in desk.store.registry.contents(routed)}
    missing = [f"{routed[key]}: {':'.join(key)}" for key in routed if key not in there]
    if missing:
        words = f"no content, so not served: {many(len(missing), 'routed version')}"
        return Check("contents", "error", words, missing[:SHOWN])
    return Check("contents", "ok", f"complete: {many(len(routed), 'routed version')}")


def _outbox(desk: Desk) -> Check:
    waiting = desk.store.outbox.waiting_count()
    verdict = "warning" if waiting > BACKLOG_COUNT else "ok"
    return Check("outbox", verdict, f"{many(waiting, 'message')} to people not sent yet")


def _channels(desk: Desk) -> Check:
    """What each channel answered last, of those that were asked lately or are declared."""
    last: dict[str, Delivery] = {}
    for delivery in desk.store.deliveries.recent(DELIVERIES_READ):
        last.setdefault(delivery.channel, delivery)
    declared = [channel.name for channel in desk.policy.channels]
    names = list(dict.fromkeys([*declared, *last]))
    lines = []
    for name in names:
        said = f"{last[name].outcome.value} ({last[name].answer})" if name in last else "not asked"
        lines.append(f"{name}: {said}")
    bad = [name for name in names if name in last and last[name].outcome in NOT_TAKEN]
    if bad:
        words = f"messages are not taken by {', '.join(bad)}: `knowngood notify test` says more"
        return Check("channels", "warning", words, lines[:SHOWN])
    words = many(len(names), "channel") + (" without a failure" if last else ", not used yet")
    return Check("channels", "ok", words, lines[:SHOWN])


def _schema(desk: Desk) -> Check:
    """A store brings its tables up to date when it is opened; what is left is that both answer."""
    try:
        desk.store.series.touched(2**62)
    except Exception as error:
        words = "the observations cannot be read: nothing is judged, a person's rollback works"
        return Check("tables", "error", words, [str(error)])
    return Check("tables", "ok", "control state and observations can be read")


def _engine(desk: Desk, ticked_ms: int | None, now_ms: int) -> Check:
    if desk.live is None:
        words = "no server runs here: nothing is judged and nobody is told"
        return Check("engine", "warning", words)
    if ticked_ms is None:
        return Check("engine", "error", "the engine has not ticked yet")
    ago_ms = now_ms - ticked_ms
    verdict = "error" if ago_ms > HEARTBEAT_MS else "ok"
    return Check("engine", verdict, f"the engine ticked {duration(max(0, ago_ms))} ago")


def _clock(desk: Desk, now_ms: int) -> Check:
    newest = desk.store.log.read(limit=1)
    ahead_ms = newest[-1].at_ms - now_ms if newest else 0
    if ahead_ms > SKEW_MS:
        words = (
            f"the newest line of history is of {iso(newest[-1].at_ms)}, "
            f"{duration(ahead_ms)} in the future: the clock went back"
        )
        return Check("clock", "error", words)
    return Check("clock", "ok", f"it is {iso(now_ms)}")


def _thresholds(desk: Desk) -> Check:
    """Limits that healthy traffic passes by chance, by what the prompts show today."""
    try:
        found = not_separable(desk, desk.policy)
    except Exception as error:  # without observations nothing is known of health
        return Check("thresholds", "warning", "health cannot be read", [str(error)])
    lines = [f"{f['environment']}/{f['prompt']} {f['trigger']}: {f['words']}" for f in found]
    if lines:
        words = f"{many(len(lines), 'limit')} cannot be told from health ({NOT_SEPARABLE})"
        return Check("thresholds", "warning", words, lines[:SHOWN])
    return Check("thresholds", "ok", "every limit can be told from health, as far as it is known")


def _tokens(desk: Desk) -> Iterator[Check]:
    desk.rolls.now()
    if desk.rolls.trouble:
        words = "the token file as it stands is not in force: the one before is"
        yield Check("tokens", "error", words, [desk.rolls.trouble])


def _policy(desk: Desk) -> Check:
    lines = own_warnings(desk.policy)
    revision = desk.policy.revision[:12]
    if lines:
        return Check("policy", "warning", f"policy {revision} has warnings", lines[:SHOWN])
    return Check("policy", "ok", f"policy {revision} is in force")

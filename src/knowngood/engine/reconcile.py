"""Observe, judge, act: one look at each prompt that is due. The choices are all in core."""

import heapq
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from zlib import crc32

from knowngood.core.decide import decide
from knowngood.core.errors import StaleState
from knowngood.core.fleet import breaching_since_ms
from knowngood.core.look import LOOKBACK_MS, is_elevated, is_well
from knowngood.core.model import (
    FLEET,
    Change,
    Decision,
    Observed,
    Partner,
    Related,
    Sibling,
    State,
)
from knowngood.core.news import with_news
from knowngood.core.policy import PolicyFile
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps.target import is_target_due
from knowngood.engine.observe import Others, Outlook, partners
from knowngood.ports import Store

ACTOR = "system"
# One look may want a follow-up on the state it made (a breach opens an incident, then alerts wait);
# after a long stall half a dozen things are due at once: a confirmation, blindness, a hold that has
# ended, a page that nobody took, a stage. A longer chain is a decision that is not a fixpoint, and
# is left to the next tick.
MAX_ROUNDS = 8
MAX_ENTRIES = 10_000  # lines of history in one tick; a release of all prompts writes fewer
RETRY_MS = 5_000  # a look that failed is made again after this
# Ten thousand quiet prompts that a server finds at its start would else be due together for ever.
SPREAD_FROM_MS = 60_000
SPREAD_OF = 2
MOOD_MS = 300_000  # how long it is good to know that another prompt was well
# Another server of the store that was held up may write seconds that were looked at long ago.
LOOK_BACK_EVERY_MS = 10_000
LOOK_BACK_MS = 300_000
WELL_MAX = 5  # names of them in a sentence

PromptKey = tuple[str, str]  # environment, prompt


@dataclass(slots=True)
class Look:
    """One look at one prompt: what it read and what it decided."""

    state: State
    observed: Observed
    policy: PromptPolicy
    decision: Decision
    now_ms: int


@dataclass(frozen=True, slots=True)
class Mood:
    """How a prompt was when it was last looked at."""

    provider: str | None
    elevated_since_ms: int | None  # it failed more often than 2 %, with evidence, since then
    is_well: bool
    seen_ms: int


@dataclass(slots=True)
class Reconciler:
    """What the loop remembers between ticks; all of it can be rebuilt from the store.

    `due` is a heap of (when, key); an entry that `next_ms` does not confirm was overtaken by an
    earlier one and goes when its time comes, so a key has at most one a tick of its recheck time.
    `siblings` are the prompts in critical breach, by environment and provider, `moods` how each
    prompt was last seen, and `seen` the last look itself, for whoever shows many prompts at once.
    `on_error` is told of a look that failed, so that one prompt never stops the others; without it
    the error is raised.
    """

    store: Store
    policy: PolicyFile
    outlook: Outlook
    due: list[tuple[int, PromptKey]] = field(default_factory=list)
    next_ms: dict[PromptKey, int] = field(default_factory=dict)
    touched_until_ms: int = 0
    looked_back_ms: int = 0
    until_ms: int | None = None  # the end of what the last tick found closed and written
    seen_entry_id: int = 0  # the newest line of history whose prompt was looked at
    siblings: dict[tuple[str, str], dict[str, Sibling]] = field(default_factory=dict)
    moods: dict[PromptKey, Mood] = field(default_factory=dict)
    seen: dict[PromptKey, Look] = field(default_factory=dict)
    acquainted: bool = False
    on_error: Callable[[PromptKey, Exception], None] | None = None

    def wake(self, key: PromptKey, at_ms: int) -> None:
        """Look at a prompt at `at_ms` or before."""
        if at_ms < self.next_ms.get(key, at_ms + 1):
            self.next_ms[key] = at_ms
            heapq.heappush(self.due, (at_ms, key))


def new_reconciler(store: Store, policy: PolicyFile, now_ms: int) -> Reconciler:
    """A reconciler that will look at every prompt once, and then where something happens."""
    made = Reconciler(store, policy, Outlook(store, now_ms), touched_until_ms=now_ms - LOOKBACK_MS)
    for entry in store.log.read(limit=1):
        made.seen_entry_id = entry.id
    for state in store.states.all():
        made.wake((state.environment, state.prompt), now_ms)
    return made


def tick_reconcile(reconciler: Reconciler, until_ms: int, now_ms: int) -> list[Look]:
    """Look at every prompt that is due, was reported on or was changed; do what core decides.

    `until_ms` ends the closed buckets. Returns the looks that wanted something done.
    """
    reconciler.until_ms = until_ms
    reconciler.outlook.begin_tick()
    _wake_touched(reconciler, until_ms, now_ms)
    _wake_changed(reconciler, now_ms)
    _acquaint(reconciler, until_ms, now_ms)
    acted: list[Look] = []
    while reconciler.due and reconciler.due[0][0] <= now_ms:
        at_ms, key = heapq.heappop(reconciler.due)
        if reconciler.next_ms.get(key) != at_ms:
            continue
        del reconciler.next_ms[key]
        acted += _guarded(reconciler, key, until_ms, now_ms)
    return acted


def _acquaint(reconciler: Reconciler, until_ms: int, now_ms: int) -> None:
    """Before the first deed see how all are: a failing provider shows in the siblings only."""
    if reconciler.acquainted:
        return
    reconciler.acquainted = True
    for key in list(reconciler.next_ms):
        with suppress(Exception):  # it is told when the prompt is looked at in earnest
            _remember(reconciler, look(reconciler, *key, until_ms, now_ms))


def _wake_touched(reconciler: Reconciler, until_ms: int, now_ms: int) -> None:
    since_ms = reconciler.touched_until_ms
    if now_ms - reconciler.looked_back_ms >= LOOK_BACK_EVERY_MS:
        since_ms = min(since_ms, until_ms - LOOK_BACK_MS)
        reconciler.looked_back_ms = now_ms
    for (environment, prompt, _version), _at_ms in reconciler.store.series.touched(since_ms):
        reconciler.wake((environment, prompt), now_ms)
    reconciler.touched_until_ms = max(reconciler.touched_until_ms, until_ms)


def _wake_changed(reconciler: Reconciler, now_ms: int) -> None:
    """What a person or another process changed is looked at now, reported on or not."""
    fresh = reconciler.store.log.read(after_id=reconciler.seen_entry_id, limit=MAX_ENTRIES)
    for entry in fresh:
        if entry.environment and entry.prompt and entry.prompt != FLEET:
            reconciler.wake((entry.environment, entry.prompt), now_ms)
        reconciler.seen_entry_id = entry.id


def look(reconciler: Reconciler, environment: str, prompt: str, until_ms: int, now_ms: int) -> Look:
    """Observe and decide, and change nothing."""
    state = reconciler.store.states.get(environment, prompt)
    policy = reconciler.policy.for_prompt(prompt)
    others = _others(reconciler, state, now_ms)
    observed = reconciler.outlook.observe(state, policy, others, until_ms, now_ms)
    return Look(state, observed, policy, decide(state, observed, policy, now_ms), now_ms)


def changes(seen: Look) -> tuple[Change, ...]:
    """The look's decision as changes to apply: the prompt's, and the fleet's with it."""
    state, decision = seen.state, seen.decision
    made = [
        Change(
            state.environment,
            state.prompt,
            state.revision,
            decision.actions,
            ACTOR,
            seen.policy.revision,
            decision.before_ms,
        )
    ]
    if decision.fleet_actions:
        fleet_revision = seen.observed.fleet.revision if seen.observed.fleet else 0
        made.append(
            Change(
                state.environment,
                FLEET,
                fleet_revision,
                decision.fleet_actions,
                ACTOR,
                seen.policy.revision,
            )
        )
    return (*made, *decision.companions)


def _guarded(reconciler: Reconciler, key: PromptKey, until_ms: int, now_ms: int) -> list[Look]:
    try:
        return _settle(reconciler, key, until_ms, now_ms)
    except Exception as error:
        if reconciler.on_error is None:
            raise
        reconciler.on_error(key, error)
        reconciler.wake(key, now_ms + RETRY_MS)
        return []


def _settle(reconciler: Reconciler, key: PromptKey, until_ms: int, now_ms: int) -> list[Look]:
    """Look and act until nothing more is wanted; a stale look is simply made again."""
    acted: list[Look] = []
    seen = None
    for _ in range(MAX_ROUNDS):
        seen = look(reconciler, *key, until_ms, now_ms)
        _remember(reconciler, seen)
        if not seen.decision.actions:
            break
        try:
            reconciler.store.states.apply(with_news(changes(seen), reconciler.policy), now_ms)
            acted.append(seen)
        except StaleState:
            reconciler.outlook.forget_fleet()
        else:
            if seen.decision.fleet_actions:
                reconciler.outlook.forget_fleet()
    if seen is not None:
        recheck_ms = seen.decision.recheck_after_ms
        reconciler.wake(key, now_ms + recheck_ms - _earlier_ms(key, recheck_ms))
    return acted


def _earlier_ms(key: PromptKey, recheck_ms: int) -> int:
    """How much earlier than it must be a prompt is looked at, so that not all are in one tick."""
    spread_ms = recheck_ms // SPREAD_OF if recheck_ms >= SPREAD_FROM_MS else 0
    return crc32("/".join(key).encode()) % spread_ms if spread_ms else 0


def _remember(reconciler: Reconciler, seen: Look) -> None:
    """Keep in mind how the prompt is, for the other prompts."""
    reconciler.seen[seen.state.environment, seen.state.prompt] = seen
    route, provider = seen.state.route, seen.observed.provider
    if route is None:
        return
    _remember_mood(reconciler, seen, route.suspect.version)
    if provider is None:
        return
    of_provider = reconciler.siblings.setdefault((seen.state.environment, provider), {})
    before = of_provider.pop(seen.state.prompt, None)
    known_ms = before.breaching_since_ms if before else None
    since_ms = breaching_since_ms(seen.state, seen.decision.findings, known_ms, seen.now_ms)
    if since_ms is not None:
        of_provider[seen.state.prompt] = Sibling(seen.state.prompt, since_ms, route.since_ms)


def _remember_mood(reconciler: Reconciler, seen: Look, suspect: str) -> None:
    key = (seen.state.environment, seen.state.prompt)
    reading = seen.observed.evidence(suspect).reading
    before = reconciler.moods.get(key)
    since_ms = None
    if is_elevated(reading, seen.policy):
        since_ms = before.elevated_since_ms if before else None
        since_ms = seen.now_ms if since_ms is None else since_ms
    is_fine = is_well(reading, seen.policy)
    reconciler.moods[key] = Mood(seen.observed.provider, since_ms, is_fine, seen.now_ms)


def _others(reconciler: Reconciler, state: State, now_ms: int) -> Others:
    """What was last seen of the other prompts of the environment."""
    provider = reconciler.outlook.provider(state)
    of_provider = reconciler.siblings.get((state.environment, provider or ""), {})
    siblings = [s for s in of_provider.values() if s.prompt != state.prompt]
    names = reconciler.policy.related_to(state.prompt)
    moods = {name: reconciler.moods.get((state.environment, name)) for name in names}
    related = tuple(
        Related(name, mood.elevated_since_ms)
        for name, mood in moods.items()
        if mood and mood.elevated_since_ms is not None
    )
    return Others(
        siblings=tuple(sorted(siblings, key=lambda s: s.prompt)),
        related=related,
        unrelated_clear=_well(reconciler, state, provider, names, now_ms) if related else (),
        partners=_partners(reconciler, state, now_ms),
    )


def _partners(reconciler: Reconciler, state: State, now_ms: int) -> tuple[Partner, ...]:
    """The partners, with who of them is looked at later in this tick."""
    found = partners(
        reconciler.store,
        reconciler.policy,
        state,
        now_ms,
        with_targets=is_target_due(state),
    )
    at_ms = {
        name: reconciler.next_ms.get((state.environment, name), now_ms + 1)
        for name in (each.state.prompt for each in found)
    }
    return tuple(replace(each, is_due=at_ms[each.state.prompt] <= now_ms) for each in found)


def _well(
    reconciler: Reconciler,
    state: State,
    provider: str | None,
    related: tuple[str, ...],
    now_ms: int,
) -> tuple[str, ...]:
    """Unrelated prompts of the same provider that were seen to be well a moment ago."""
    if provider is None:
        return ()
    return tuple(
        name
        for (environment, name), mood in sorted(reconciler.moods.items())
        if environment == state.environment
        and mood.provider == provider
        and mood.is_well
        and now_ms - mood.seen_ms <= MOOD_MS
        and name != state.prompt
        and name not in related
    )[:WELL_MAX]

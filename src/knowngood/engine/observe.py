"""Everything seen of one prompt, gathered through ports into one `Observed`."""

from bisect import bisect_left
from dataclasses import dataclass

from knowngood.core.look import look_since_ms
from knowngood.core.model import (
    FLEET,
    Census,
    ClientSeen,
    Observed,
    Partner,
    Related,
    Sibling,
    State,
    Verifying,
)
from knowngood.core.policy import PolicyFile
from knowngood.core.release import Release
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps.parts import parts
from knowngood.core.steps.target import asked_of, is_target_due, unfit_of
from knowngood.engine.compared import Comparisons
from knowngood.engine.recent import Recent
from knowngood.ports import Store

LIVE_MS = 15_000  # a process that was heard of within this is connected (definitions.md)
SILENT_MS = 3_600_000  # one that was not heard for longer than this is no longer expected
MAX_PARTNERS = 200  # four of the largest releases that overlap; whoever chains more has one product
MAX_PUSHED = 50_000  # remembered answers; more versions than this are not routed at once


@dataclass(frozen=True, slots=True)
class _Heard:
    """An environment's processes, sorted once for all its prompts' censuses."""

    live_ids: tuple[str, ...]  # by the generation they run
    generations: tuple[int, ...]
    silent: tuple[str, ...]

    def census(self, generation: int) -> Census:
        behind_count = bisect_left(self.generations, generation)
        behind = tuple(sorted(self.live_ids[:behind_count]))
        live_count = len(self.live_ids)
        return Census(live_count, live_count - behind_count, behind, self.silent)


def _heard(clients: list[ClientSeen], now_ms: int, listening_since_ms: int) -> _Heard:
    expected = [c for c in clients if not c.closed]
    heard_since_ms = now_ms - LIVE_MS
    live = [c for c in expected if max(c.seen_ms, listening_since_ms) >= heard_since_ms]
    silent = [c.id for c in expected if max(c.seen_ms, listening_since_ms) < heard_since_ms]
    live.sort(key=lambda client: client.generation)
    return _Heard(
        tuple(c.id for c in live), tuple(c.generation for c in live), tuple(sorted(silent))
    )


@dataclass(frozen=True, slots=True)
class _Pushed:
    """What of a version's push is looked at again and again."""

    provider: str | None
    author: str


@dataclass(frozen=True, slots=True)
class Others:
    """What is known of the other prompts: of the same provider, related, or released with it."""

    siblings: tuple[Sibling, ...] = ()
    related: tuple[Related, ...] = ()
    unrelated_clear: tuple[str, ...] = ()
    partners: tuple[Partner, ...] = ()


class Outlook:
    """Where looks get what they see; remembers within a tick what all prompts share."""

    def __init__(self, store: Store, listening_since_ms: int = 0) -> None:
        """An outlook over `store` that has seen nothing yet.

        Before `listening_since_ms` nobody could report, so nobody's silence counts.
        """
        self.store = store
        self.listening_since_ms = listening_since_ms
        self.recent = Recent(store.series, store.checkpoints)
        self.comparisons = Comparisons(store.series, store.units)
        self._heard: dict[str, _Heard] = {}
        self._fleets: dict[str, State] = {}
        self._pushed: dict[tuple[str, str], _Pushed] = {}

    def begin_tick(self) -> None:
        """Forget what was shared: the next look reads it afresh."""
        self._heard.clear()
        self.forget_fleet()

    def forget_fleet(self) -> None:
        """Read the fleets' states afresh: one was changed. A stale one only makes a stale apply."""
        self._fleets.clear()

    def observe(
        self,
        state: State,
        policy: PromptPolicy,
        others: Others,
        until_ms: int,
        now_ms: int,
    ) -> Observed:
        """Read what is known of the prompt at `now_ms`; buckets before `until_ms` are final."""
        route = state.route
        if route is None:
            return Observed(until_ms)
        since_ms = look_since_ms(state, policy, until_ms)
        versions = self.recent.evidence(state, policy, since_ms, until_ms)
        return Observed(
            until_ms=until_ms,
            versions=versions,
            census=self._heard_of(state.environment, now_ms).census(route.generation),
            fleet=self._fleet_of(state.environment),
            siblings=others.siblings,
            provider=self.provider(state),
            related=others.related,
            unrelated_clear=others.unrelated_clear,
            partners=others.partners,
            unfit=unfit(self.store, state, policy, now_ms) if is_target_due(state) else {},
            arms=self.comparisons.arms(state, until_ms, now_ms),
            authors=self._authors(state),
        )

    def _fleet_of(self, environment: str) -> State:
        if environment not in self._fleets:
            self._fleets[environment] = self.store.states.get(environment, FLEET)
        return self._fleets[environment]

    def _heard_of(self, environment: str, now_ms: int) -> _Heard:
        if environment not in self._heard:
            clients = self.store.clients.clients(environment, now_ms - SILENT_MS)
            self._heard[environment] = _heard(clients, now_ms, self.listening_since_ms)
        return self._heard[environment]

    def provider(self, state: State) -> str | None:
        """The provider that the suspect's configuration declares, if it does."""
        if state.route is None:
            return None
        return self._of(state.prompt, state.route.suspect.version).provider

    def _authors(self, state: State) -> dict[str, str]:
        """Who pushed the versions that a page may be about."""
        versions = [arm.version for arm in state.route.arms] if state.route else []
        if isinstance(state.phase, Verifying):
            versions.append(state.phase.from_version)
        if state.incident is not None:
            versions.append(state.incident.version)
        pushed = {v: self._of(state.prompt, v).author for v in dict.fromkeys(versions)}
        return {version: author for version, author in pushed.items() if author}

    def _of(self, prompt: str, version: str) -> _Pushed:
        key = (prompt, version)
        if key not in self._pushed:
            if len(self._pushed) >= MAX_PUSHED:
                self._pushed.clear()
            found = self.store.registry.get(prompt, version)
            declared = found.content.config.get("provider")
            provider = declared if isinstance(declared, str) else None
            self._pushed[key] = _Pushed(provider, found.author)
        return self._pushed[key]


def census(
    clients: list[ClientSeen], generation: int, now_ms: int, listening_since_ms: int = 0
) -> Census:
    """Who of the clients runs `generation` or a later one."""
    return _heard(clients, now_ms, listening_since_ms).census(generation)


def partners(
    store: Store,
    policy: PolicyFile,
    state: State,
    now_ms: int,
    *,
    with_targets: bool,
    besides: tuple[Release, ...] = (),
) -> tuple[Partner, ...]:
    """The prompts that still serve their part of what the prompt's versions were released with.

    Theirs may have been released with others, and so on. `with_targets` reads what evaluations say
    of their good versions; `besides` are releases whose members are wanted as well.
    """
    todo = [*parts(state).values(), *besides]
    seen: list[Release] = []
    found: dict[str, Partner] = {}
    while todo and len(found) < MAX_PARTNERS:
        release = todo.pop(0)
        if release in seen:
            continue
        seen.append(release)
        for member in release.besides(state.prompt):
            if member.prompt in found:
                continue
            other = store.states.get(state.environment, member.prompt)
            if release not in parts(other).values():
                continue
            rules = policy.for_prompt(member.prompt)
            poor = unfit(store, other, rules, now_ms) if with_targets else {}
            found[member.prompt] = Partner(other, poor, rules.verify.deadline_ms)
            todo += parts(other).values()
    return tuple(found[prompt] for prompt in sorted(found))


def unfit(store: Store, state: State, policy: PromptPolicy, now_ms: int) -> dict[str, str]:
    """The known-good versions that a recorded evaluation speaks against as targets, and why."""
    recorded = {v: store.evaluations.of(state.prompt, v) for v in asked_of(state, policy)}
    return unfit_of(policy, recorded, now_ms)

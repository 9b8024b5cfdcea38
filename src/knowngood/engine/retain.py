"""What is kept of versions: a prompt's shelf as the store has it, and the purge of what is free."""

from collections import deque
from dataclasses import dataclass, field

from knowngood.core.errors import StaleState, UnknownPrompt
from knowngood.core.model import State, Version
from knowngood.core.policy import PolicyFile
from knowngood.core.purge import purge_of
from knowngood.core.retention import Kept, Pin, Shelved, released_in, shelve
from knowngood.core.rules import PromptPolicy
from knowngood.ports import Store

ATTEMPTS = 3  # a purge loses a race against the engine once, hardly twice; then it can wait
# A server that has just been started, perhaps by mistake or with another policy, purges nothing
# before somebody could look.
SWEEP_AFTER_MS = 3_600_000
# In a report. A purge looks at all of them once more, so nothing depends on there being no more.
RELEASES_MAX = 10_000
SWEEP_EVERY_MS = 24 * 3_600_000
BECAUSE = "nothing refers to it, and it was not used for as long as the policy keeps it"


@dataclass(frozen=True, slots=True)
class Shelf:
    """All versions of a prompt, oldest first, and what is known of them."""

    versions: tuple[Version, ...]
    states: tuple[State, ...]
    shelved: tuple[Shelved, ...]

    @property
    def free(self) -> tuple[str, ...]:
        """The versions that may be purged."""
        return tuple(each.version for each in self.shelved if each.kept is Kept.PURGEABLE)


def shelf(store: Store, policy: PromptPolicy, prompt: str, now_ms: int) -> Shelf:
    """The prompt's shelf. Raises UnknownPrompt."""
    versions = tuple(store.registry.versions(prompt))
    states = tuple(states_of(store, prompt))
    pins = store.retention.pins(prompt)
    released = released_in(store.releases.all(RELEASES_MAX), prompt)

    def shelved(evaluated_ms: dict[str, int]) -> tuple[Shelved, ...]:
        return shelve(versions, states, pins, released, evaluated_ms, policy, now_ms)

    found = Shelf(versions, states, shelved({}))
    # Only of what would go: an evaluation says that somebody still thinks of a version.
    evaluated_ms = {
        version: newest.recorded_ms
        for version in found.free
        for newest in store.evaluations.of(prompt, version, limit=1)
    }
    return Shelf(versions, states, shelved(evaluated_ms)) if evaluated_ms else found


def states_of(store: Store, prompt: str) -> list[State]:
    """The prompt's written states, in all environments."""
    found = (store.states.get(name, prompt) for name in store.states.environments())
    return [state for state in found if state.revision]


def pins_by_prompt(store: Store) -> dict[str, list[Pin]]:
    """All pins, by prompt."""
    found: dict[str, list[Pin]] = {}
    for pin in store.retention.pins():
        found.setdefault(pin.prompt, []).append(pin)
    return found


def purge(
    store: Store, policy: PromptPolicy, prompt: str, because: str, actor: str, now_ms: int
) -> tuple[list[str], Shelf]:
    """Purge all that is free of a prompt: what went, and the shelf as it was before.

    A change in between is met by deciding anew. Raises UnknownPrompt, or StaleState when there are
    too many of them.
    """
    for attempt in range(ATTEMPTS):
        found = shelf(store, policy, prompt, now_ms)
        order = purge_of(
            prompt, found.versions, found.shelved, found.states, because, actor, policy.revision
        )
        if order is None:
            return [], found
        try:
            return store.retention.purge(order, now_ms), found
        except StaleState:
            if attempt + 1 == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


@dataclass(slots=True)
class Sweep:
    """The purge that happens by itself: each prompt once a day, one prompt a tick.

    It begins an hour after the first step. A prompt that changes all the while waits for the next
    day, as does one whose policy says `purge: manual`. The simulator's hours and days are shorter.
    """

    after_ms: int = SWEEP_AFTER_MS
    every_ms: int = SWEEP_EVERY_MS
    next_ms: int | None = None
    waiting: deque[str] = field(default_factory=deque)

    def step(self, store: Store, policy: PolicyFile, actor: str, now_ms: int) -> list[str]:
        """Purge the next prompt, if one is due; the versions that went."""
        if self.next_ms is None:
            self.next_ms = now_ms + self.after_ms
        # One that takes longer than that is ended first: the last prompt has its turn, too.
        if now_ms >= self.next_ms and not self.waiting:
            self.next_ms = now_ms + self.every_ms
            self.waiting = deque(store.registry.prompts())
        if not self.waiting:
            return []
        prompt = self.waiting.popleft()
        in_force = policy.for_prompt(prompt)
        if not in_force.purges_itself:
            return []
        try:
            return purge(store, in_force, prompt, BECAUSE, actor, now_ms)[0]
        except (StaleState, UnknownPrompt):
            return []

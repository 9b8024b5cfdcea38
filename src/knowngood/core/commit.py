"""What one `apply` writes, worked out before anything is written. Every store uses it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from knowngood.core.check import refuse
from knowngood.core.errors import StaleState
from knowngood.core.evolve import audit_entries, ended, evolve, moves_route, outgoing
from knowngood.core.history import AuditEntry, Outgoing
from knowngood.core.incident import Filing, filings
from knowngood.core.model import (
    Change,
    State,
)
from knowngood.core.news import news

StateKey = tuple[str, str]  # environment, prompt


@dataclass(frozen=True, slots=True)
class Commit:
    """All that a transaction writes; `generations` holds only the environments that moved on."""

    states: tuple[State, ...]
    generations: Mapping[str, int]
    audit: tuple[AuditEntry, ...]
    outgoing: tuple[Outgoing, ...]
    incidents: tuple[Filing, ...] = ()


def keys(changes: Sequence[Change]) -> list[StateKey]:
    """The states that the changes are about, in their order.

    Raises ValueError when there are two changes of one state: neither could see the other's result.
    """
    found = [(change.environment, change.prompt) for change in changes]
    if len(set(found)) != len(found):
        twice = next(key for key in found if found.count(key) > 1)
        raise ValueError(f"two changes of {'/'.join(twice)} in one apply")
    return found


def commit(
    changes: Sequence[Change],
    before: Mapping[StateKey, State],
    generations: Mapping[str, int],
    last_line: Callable[[str, str], AuditEntry | None],
    at_ms: int,
    now_ms: int,
) -> Commit:
    """The outcome of the changes on these states and generations.

    They were decided at `now_ms`, and it is `at_ms` now that they are written.

    `last_line` gives a state's newest line of history and is asked only to explain a refusal.
    Raises StaleState if a revision is not the one that was seen or a change comes too late,
    BadState if a result makes no sense.
    """
    _refuse_late(changes, at_ms)
    states, audit, messages, incidents = [], [], [], []
    for change in changes:
        state = before[change.environment, change.prompt]
        if state.revision != change.revision_seen:
            raise _stale(change, state, last_line(change.environment, change.prompt))
    risen = {
        environment: generation + 1
        for environment, generation in generations.items()
        if moves_route(change for change in changes if change.environment == environment)
    }
    for change in changes:
        generation = risen.get(change.environment, generations[change.environment])
        state = before[change.environment, change.prompt]
        after = evolve(state, change, generation, now_ms)
        refuse(after, before=state)
        states.append(after)
        audit.extend(audit_entries(change, after, generation, now_ms))
        messages.extend(outgoing(change, now_ms))
        messages.extend(ended(state, after, change, now_ms))
        messages.extend(news(state, after, change, now_ms))
        incidents.extend(filings(state, change, now_ms))
    return Commit(tuple(states), risen, tuple(audit), tuple(messages), tuple(incidents))


def _refuse_late(changes: Sequence[Change], at_ms: int) -> None:
    """What was decided before a change freeze is not put in force in it, however long it took."""
    for change in changes:
        if change.before_ms is not None and at_ms >= change.before_ms:
            raise StaleState(
                f"a change freeze of {change.environment}/{change.prompt} has begun since this was "
                "decided; nothing was changed",
                next_step="look again and decide anew",
            )


def _stale(change: Change, state: State, last: AuditEntry | None) -> StaleState:
    by = f" ({last.kind} by {last.actor or 'somebody'})" if last else ""
    return StaleState(
        f"{change.environment}/{change.prompt} has changed since it was read: "
        f"revision {change.revision_seen} was seen, it is at {state.revision} now{by}",
        next_step="look again and decide anew",
    )

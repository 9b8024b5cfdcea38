"""Whether a version is hot, archived or pinned, as the other answers say it in passing."""

from collections.abc import Callable, Mapping
from typing import Any

from knowngood.core.explain_retention import archived_words
from knowngood.core.model import State
from knowngood.core.retention import Kept, Pin, hot_versions
from knowngood.server.desk import Desk
from knowngood.server.words import when


def kept_of(
    desk: Desk, prompt: str, states: Mapping[str, State]
) -> Callable[[str], dict[str, Any]]:
    """For a version of a prompt: whether it is hot or archived, and its pin."""
    pins = {pin.version: pin for pin in desk.store.retention.pins(prompt)}
    policy = desk.policy.for_prompt(prompt)
    hot = {v for state in states.values() for v in hot_versions(state, policy, ())} | pins.keys()

    def of(version: str) -> dict[str, Any]:
        kept = Kept.HOT if version in hot else Kept.ARCHIVED
        return {"kept": kept, "pin": pin_data(pins.get(version))}

    return of


def note_of(desk: Desk, before: State, version: str) -> str | None:
    """What to know of a rollback to this version: none, if every process held it already."""
    pins = desk.store.retention.pins(before.prompt)
    policy = desk.policy.for_prompt(before.prompt)
    held = hot_versions(before, policy, [pin.version for pin in pins])
    return None if version in held else archived_words(version)


def pin_data(pin: Pin | None) -> dict[str, Any] | None:
    """A pin as data."""
    if pin is None:
        return None
    return {"because": pin.because, "actor": pin.actor, **when("at", pin.at_ms)}

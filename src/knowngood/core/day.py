"""The healthy day of a version, frozen when it leaves: what the next version is held against."""

from collections.abc import Iterable
from dataclasses import dataclass

from knowngood.core.model import Spell, Standing, State, Steady
from knowngood.core.rules import PromptPolicy
from knowngood.core.window import Bucket, Window, total


@dataclass(frozen=True, slots=True)
class Leaving:
    """A known-good version that is about to leave the whole of the traffic; its day's beginning."""

    version: str
    since_ms: int


def leaving(state: State, policy: PromptPolicy, now_ms: int) -> Leaving | None:
    """Whose day a move of the route would freeze, if anybody's.

    None where there is nothing to keep: a split route, an open incident, a version that is not
    known to be good.
    """
    route = state.route
    if route is None or route.candidate or state.incident or not isinstance(state.phase, Steady):
        return None
    entry = state.entry(route.control.version)
    if entry is None or entry.standing is not Standing.GOOD:
        return None
    since_ms = max(now_ms - policy.baseline.window_ms, entry.routed_ms or 0)
    return Leaving(entry.version, since_ms)


def healthy_day(state: State, policy: PromptPolicy, buckets: Iterable[Bucket]) -> Window:
    """The sum of the buckets in which the prompt had no trouble.

    An outage of yesterday is not what health looks like, and would hide the next bad deploy. It
    began before it was found, at most a window earlier.
    """
    spells = [Spell(s.since_ms - policy.window_ms, s.until_ms) for s in state.spells]
    return total(
        bucket.window
        for bucket in buckets
        if not any(
            s.since_ms < bucket.at_ms + bucket.width_ms and bucket.at_ms < s.until_ms
            for s in spells
        )
    )

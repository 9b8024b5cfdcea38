"""Change events: word of a moved route for whoever looks for what changed. They call nobody."""

from collections.abc import Sequence
from dataclasses import replace

from knowngood.core.asking import Purpose
from knowngood.core.explain import route_words
from knowngood.core.history import Outgoing
from knowngood.core.model import Change, MoveRoute, Record, Severity, State
from knowngood.core.people import CHANGES
from knowngood.core.policy import PolicyFile
from knowngood.core.steps.case import QUIET_ENVIRONMENTS

# The line of a change that says why the route moved; else it is the last one.
WHY = ("route.moved", "rollout.", "rollback.switched", "rollback.gradual")


def with_news(changes: Sequence[Change], policy: PolicyFile) -> tuple[Change, ...]:
    """The changes, of which those that move a route tell of it, where a channel takes that.

    Whoever applies changes of routes passes them through here.
    """
    if not policy.takers_of_changes:
        return tuple(changes)
    return tuple(
        replace(change, news_to=CHANGES)
        if change.environment not in QUIET_ENVIRONMENTS
        and any(isinstance(action, MoveRoute) for action in change.actions)
        else change
        for change in changes
    )


def news(before: State, after: State, change: Change, now_ms: int) -> list[Outgoing]:
    """The change event that a change queues: one, if it is to be told and the shares have moved."""
    old, new = before.route, after.route
    if not change.news_to or new is None or (old is not None and old.arms == new.arms):
        return []
    name = f"{change.prompt} ({change.environment})"
    return [
        Outgoing(
            key=news_key(after),
            environment=change.environment,
            prompt=change.prompt,
            audience=change.news_to,
            severity=Severity.LOW,
            subject=f"{name}: {route_words(old)} -> {route_words(new)}",
            body=f"{_why(change)}. By {change.actor}, generation {new.generation}.",
            created_ms=now_ms,
            next_try_ms=now_ms,
            purpose=Purpose.CHANGE,
        )
    ]


def news_key(after: State) -> str:
    """A route has one generation, so each move is told once."""
    generation = after.route.generation if after.route else 0
    return f"{after.environment}/{after.prompt}/g{generation}:moved"


def _why(change: Change) -> str:
    lines = [action for action in change.actions if isinstance(action, Record)]
    named = [line for line in lines if line.kind.startswith(WHY)] or lines[-1:]
    return named[0].because.rstrip(".") if named else "the route moved"

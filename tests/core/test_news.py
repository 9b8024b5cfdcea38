"""Change events: a route that moves is told where somebody keeps such, and never pages."""

from dataclasses import replace
from typing import Any

import pytest

from knowngood.core.addressing import channels_of
from knowngood.core.asking import Purpose
from knowngood.core.commit import commit
from knowngood.core.history import Outgoing
from knowngood.core.model import Change, MoveRoute, Record, State, whole
from knowngood.core.news import with_news
from knowngood.core.policy import PolicyFile, parse

PAGER = {"kind": "pagerduty", "routing_key": "env:KEY"}
CHAT = {"kind": "slack", "token": "env:TOKEN", "channel": "C1"}
HOOK = {"kind": "webhook", "url": "env:HOOK"}
FEED = {**CHAT, "purposes": ["change"]}


def policy(audiences: dict[str, list[str]] | None = None, **channels: Any) -> PolicyFile:
    return parse({"channels": channels, "audiences": audiences or {}})


def move(version: str, revision: int, environment: str = "production") -> Change:
    said = Record("route.moved", f"deploy {version}")
    return Change(environment, "cs", revision, (MoveRoute(whole(version)), said), "ann")


def told(change: Change, before: State, generation: int = 1) -> tuple[State, list[Outgoing]]:
    key = (change.environment, change.prompt)
    done = commit([change], {key: before}, {change.environment: generation}, lambda *_: None, 5, 5)
    return done.states[0], [each for each in done.outgoing if each.purpose is Purpose.CHANGE]


@pytest.mark.parametrize(
    ("given", "takers"),
    [
        pytest.param(policy(), "", id="no channel, no cost"),
        pytest.param(policy(chat=CHAT), "", id="not in a person's face"),
        pytest.param(policy(pager=PAGER, chat=CHAT, hook=HOOK), "pager hook", id="by their kind"),
        pytest.param(policy(feed=FEED), "feed", id="by their word"),
        pytest.param(
            policy({"changes": ["chat"]}, pager=PAGER, chat=CHAT), "chat", id="those listed"
        ),
        pytest.param(policy({"changes": []}, pager=PAGER), "", id="nobody is listed"),
        pytest.param(
            policy({"changes": ["mute"]}, mute={**PAGER, "purposes": ["page"]}),
            "",
            id="listed, and its own word says no",
        ),
    ],
)
def test_who_hears_of_moves(given, takers):
    """Whoever is listed for `changes`, else what keeps such by its kind or its word."""
    (change,) = with_news([move("v1", 0)], given)
    _, queued = told(change, State("production", "cs"))
    assert len(queued) == bool(takers)
    if queued:
        names = tuple(channel.name for channel in given.channels)
        assert sorted(channels_of(queued[0], given, names, {})) == sorted(takers.split())


def test_what_is_told():
    """From what to what, why, by whom; one key for each generation, no alarm and no thread."""
    rules = policy(pager=PAGER)
    begun, moved = with_news([move("v1", 0), move("v2", 1)], rules)
    state, (first,) = told(begun, State("production", "cs"))
    after, (second,) = told(moved, state, 2)
    assert second.subject == "cs (production): v1 100% -> v2 100%"
    assert second.body == "deploy v2. By ann, generation 3."
    assert (first.key, second.key) == ("production/cs/g2:moved", "production/cs/g3:moved")
    assert second.audience == "changes" and not second.thread and not after.alarms


def test_what_is_not_told():
    """Staging, what moves nothing, and a move that leaves all shares as they were."""
    rules = policy(pager=PAGER)
    (quiet,) = with_news([move("v1", 0, "staging")], rules)
    assert not quiet.news_to
    (idle,) = with_news([replace(move("v1", 0), actions=())], rules)
    assert not idle.news_to
    state, _ = told(move("v1", 0), State("production", "cs"))
    (same,) = with_news([move("v1", 1)], rules)
    assert told(same, state)[1] == []

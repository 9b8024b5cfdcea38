"""Whom a message goes to."""

import pytest

from knowngood.core.addressing import channels_of, people_of, reaching
from knowngood.core.asking import Purpose
from knowngood.core.history import Outgoing
from knowngood.core.model import Severity
from knowngood.core.policy import parse

POLICY = parse(
    {
        "people": {
            "ana": {"roles": ["on-call"]},
            "ben": {"roles": ["on-call", "product-owner"]},
            "cem": {},
            "dee": {"roles": ["author"]},
        },
        "channels": {
            "pager": {"kind": "pagerduty", "routing_key": "env:KEY"},
            "chat": {"kind": "slack", "token": "env:TOKEN", "channel": "C1"},
            "mail": {"kind": "email", "host": "mail", "from": "kg@example.com"},
            "hook": {"kind": "webhook", "url": "env:HOOK", "purposes": ["change"]},
        },
        "audiences": {"on-call": ["pager", "chat"], "product-owner": ["mail"]},
        "prompts": {"cs": {"authors": ["cem", "someone who left"]}},
    }
)
NAMES = ("log", "pager", "chat", "mail", "hook")


def message(purpose: Purpose = Purpose.PAGE, audience: str = "on-call", **fields) -> Outgoing:
    given = {"environment": "production", "prompt": "cs", "created_ms": 0, "next_try_ms": 0}
    return Outgoing(
        "key", audience=audience, severity=Severity.HIGH, subject="", body="", purpose=purpose,
        **{**given, **fields},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(message(), "log pager chat", id="those of its audience"),
        pytest.param(message(audience="team"), "log pager chat mail", id="all that are there"),
        pytest.param(message(channels=("mail",)), "log mail", id="its own"),
        pytest.param(message(channels=("gone",)), "log pager chat", id="its own are gone"),
        pytest.param(message(targets=("*",)), "log pager chat mail", id="everybody's"),
        pytest.param(message(Purpose.NOTE), "log chat", id="a pager is not for notes"),
        pytest.param(
            message(Purpose.CHANGE, "team"), "log pager hook", id="moves go to what keeps them"
        ),
    ],
)
def test_channels(given, expected):
    """The message's own, else its audience's, each for its purposes; what is undeclared always."""
    assert " ".join(channels_of(given, POLICY, NAMES, {})) == expected


@pytest.mark.parametrize("purpose", list(Purpose))
def test_what_follows_a_page_goes_where_that_one_went(purpose):
    """Whoever was told of it is told that it is over, and that somebody looks."""
    found = channels_of(message(purpose), POLICY, NAMES, {"mail": "<1@here>", "gone": "x"})
    assert ("mail" in found) == (purpose in (Purpose.ACKNOWLEDGED, Purpose.RESOLVED))


def test_without_declared_channels_everybody_gets_everything():
    """The server's own `--notify` is all there is."""
    for purpose in Purpose:
        given = message(purpose, channels=("pager",))
        assert channels_of(given, parse({}), ("log", "pager"), {}) == ("log", "pager")


def test_what_a_channel_takes_may_be_said():
    """By its own list; otherwise by its kind."""
    hook = next(channel for channel in POLICY.channels if channel.name == "hook")
    assert hook.takes == (Purpose.CHANGE,)
    chat = next(channel for channel in POLICY.channels if channel.name == "chat")
    assert chat.takes == (Purpose.PAGE, Purpose.NOTE, Purpose.ACKNOWLEDGED, Purpose.RESOLVED)


def test_a_log_wakes_nobody():
    """Unless it is all there is; what a policy calls `log` may be something else."""
    assert reaching(("log", "pager"), POLICY) == ("pager",)
    assert reaching(("log",), POLICY) == ("log",)
    named = parse({"channels": {"log": {"kind": "webhook", "url": "env:HOOK"},
                                "quiet": {"kind": "log"}}})  # fmt: skip
    assert reaching(("log", "quiet"), named) == ("log",)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (message(), "ana ben"),
        (message(audience="team"), ""),
        (message(targets=("ben", "on-call")), "ben ana"),
        (message(targets=("*",)), "ana ben cem dee"),
        (message(targets=("author",)), "dee cem"),
        (message(targets=("author",), prompt="other"), "dee"),
    ],
)
def test_people(given, expected):
    """Those of its targets, else of its audience, each once; authors by the prompt's policy too."""
    assert " ".join(person.name for person in people_of(given, POLICY)) == expected

"""Channels, audiences, escalation and approvals: what is refused, and what is meant."""

import pytest

from knowngood.core.policy import parse
from tests.core.policies import refused

PAGER = {"kind": "pagerduty", "routing_key": "env:KEY"}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"channels": {"pager": {"kind": "fax"}}}, "channels.pager.kind: unknown kind of channel"),
        ({"channels": {"pager": {"kind": "pagerduty"}}}, "channels.pager.routing_key: a channel"),
        (
            {"channels": {"pager": {**PAGER, "routing_key": "0123456789"}}},
            "channels.pager.routing_key: a policy holds no secrets",
        ),
        (
            {"channels": {"hook": {"kind": "webhook", "url": "ftp://example.com"}}},
            "channels.hook.url: 'ftp://example.com' is not a URL",
        ),
        (
            {"channels": {"pager": PAGER}, "audiences": {"on-call": ["pagr"]}},
            "audiences.on-call: unknown channel 'pagr'",
        ),
        (
            {"defaults": {"escalation": {"levels": [{"targets": ["a"], "channels": ["sms"]}]}}},
            "defaults.escalation.levels[0].channels: unknown channel 'sms'",
        ),
        ({"defaults": {"escalation": {"levels": []}}}, "an escalation has 1 to 10 levels"),
        ({"defaults": {"escalation": {"levels": [{}]}}}, "levels[0].targets: a level names whom"),
        ({"defaults": {"escalation": {"on_exhausted": "panic"}}}, "unknown end of an escalation"),
        ({"defaults": {"approvals": {"people": 0}}}, "0 is not between 1"),
    ],
)
def test_refused(file, message):
    """What would page nobody is found when the policy is loaded, not in the night."""
    assert message in refused(file).message


def test_who_is_called_by_whom():
    """Where a pager escalates by itself, we leave it to it, unless the policy wants both."""
    file = {
        "channels": {"pager": PAGER, "chat": {"kind": "slack_webhook", "url": "env:HOOK"}},
        "audiences": {"on-call": ["pager"], "team": ["chat"]},
    }
    policy = parse(file).for_prompt("cs")
    assert policy.delegated == ("on-call", "*")
    assert policy.escalation.delegates
    own = parse({**file, "defaults": {"escalation": {"delegate": "never"}}}).for_prompt("cs")
    assert not own.escalation.delegates

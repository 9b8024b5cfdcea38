"""Channels are made from the policy when the server starts, and mistakes stop it there."""

import json
from typing import Any

import pytest

from knowngood.adapters.catalog import MAKERS, Means, channels, paces
from knowngood.adapters.egress import Egress
from knowngood.adapters.notify.apprise import Apprise
from knowngood.adapters.secrets import Secret, resolve
from knowngood.core.errors import BadPolicy
from knowngood.core.policy import parse
from knowngood.core.policy_people import KINDS
from knowngood.ports import Delivered, Retry
from tests.adapters.vendors import LOCAL, NOW_MS, Reply, page, provider

# Apprise imports what Python is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

ENVIRON = {
    "PD_KEY": "0123456789abcdef0123456789abcdef",
    "SLACK": "xoxb-1",
    "HOOK": "https://hooks.example.com/services/very-secret",
    "SIGN": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "MAIL": "correct horse",
    "DISCORD": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
}
ALL: dict[str, dict[str, Any]] = {
    "lines": {"kind": "log"},
    "pager": {"kind": "pagerduty", "routing_key": "env:PD_KEY", "region": "eu"},
    "chat": {"kind": "slack", "token": "env:SLACK", "channel": "C1"},
    "hook": {"kind": "slack_webhook", "url": "env:HOOK"},
    "other": {"kind": "webhook", "url": "https://example.com/in", "secret": "env:SIGN"},
    "inner": {"kind": "webhook", "url": "http://10.0.0.7/in", "allow_private": True},
    "mail": {
        "kind": "email", "host": "mail.example.com", "from": "kg@example.com",
        "to": ["ops@example.com"], "username": "kg", "password": "env:MAIL",
    },
    "tail": {"kind": "apprise", "url": "env:DISCORD"},
}  # fmt: skip


def made(**declared):
    return channels(parse({"channels": declared}).channels, Means(ENVIRON))


def test_every_kind_of_a_policy_can_be_made():
    """What the policy knows the catalogue knows, and nothing else."""
    assert set(MAKERS) == set(KINDS) == {each["kind"] for each in ALL.values()}
    assert set(made(**ALL)) == set(ALL)
    assert paces(parse({"channels": ALL}).channels) == {
        "chat": 1, "hook": 1, "pager": 2, "tail": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("pager", {"routing_key": "env:GONE"}, "channels.pager.routing_key: the environment"),
        ("chat", {"token": "file:/nowhere/at/all"}, "channels.chat.token: cannot read"),
        ("other", {"secret": "env:MAIL"}, "channels.other: a webhook's secret is `whsec_`"),
        ("other", {"url": "http://example.com/in"}, "channels.other: its address: only https"),
        ("mail", {"security": "none"}, "channels.mail: a password would travel in the clear"),
        ("mail", {"from": "nobody"}, "channels.mail: 'nobody' is not the address"),
        ("tail", {"url": "env:HOOK"}, "channels.tail: 'https' is none of the services"),
    ],
)
def test_mistakes_name_the_channel(name, change, words):
    """What is wrong, where, and what to do; no secret is repeated."""
    with pytest.raises(BadPolicy) as refused:
        made(**{name: {**ALL[name], **change}})
    assert refused.value.message.startswith(words)
    said = refused.value.message + refused.value.next_step
    assert not any(secret in said for secret in ENVIRON.values())
    assert refused.value.next_step


def test_a_channel_shows_its_secret_nowhere():
    """Not even to who prints it."""
    assert str(Secret("hush")) == repr(Secret("hush")) == "Secret(***)"
    assert f"{Secret('hush')}" == "Secret(***)"


def test_secrets_in_files(tmp_path):
    """A line of a file, without its end."""
    file = tmp_path / "key"
    file.write_text("hush\n")
    assert resolve(f"file:{file}", "x", {}).reveal() == "hush"
    for wrong in ("", "two\nlines", "naïve", "x" * 9_000):
        file.write_text(wrong)
        with pytest.raises(BadPolicy):
            resolve(f"file:{file}", "x", {})
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BadPolicy, match="not a text file"):
        resolve(f"file:{file}", "x", {})


def test_the_long_tail():
    """Apprise's own notation, its own words, and no redirect."""
    with provider() as there:
        url = Secret(there.url.replace("http:", "json:") + "/in")
        service = Apprise(url, frozenset({"json"}))
        assert service.notify(page(), "", NOW_MS) == Delivered("taken by json")
        there.replies(Reply(302, headers={"Location": "/elsewhere"}))
        assert isinstance(service.notify(page(), "", NOW_MS), Retry)
        there.replies(Reply(500))
        assert isinstance(service.notify(page(), "", NOW_MS), Retry)
    assert [call.path for call in there.calls] == ["/in"] * 3
    said = json.loads(there.calls[0].body)
    assert said["type"] == "failure" and "v2 fails 6 %" in said["message"]


@pytest.mark.parametrize("url", ["json://10.0.0.1/x", "syslog://", "mailto://a:b@c", "x", ""])
def test_what_the_long_tail_does_not_reach(url):
    """Any address, this machine, a file: there are other channels, or none."""
    with pytest.raises(BadPolicy, match="is none of the services"):
        Apprise(Secret(url))


def test_an_address_that_apprise_does_not_understand():
    """Is told at the start."""
    with pytest.raises(BadPolicy, match="does not understand this `discord` address"):
        Apprise(Secret("discord://"))


def test_an_inner_address_is_reached_through_the_proxy_too():
    """Where everything leaves through one, this does: the proxy says who may be reached."""
    with provider() as there:
        rules = Egress(loopback=True, proxy=there.url)
        policy = parse({"channels": {"inner": ALL["inner"]}})
        inner = channels(policy.channels, Means(ENVIRON, rules))["inner"]
        assert isinstance(inner.notify(page(), "", NOW_MS), Delivered)
    assert [call.path for call in there.calls] == ["http://10.0.0.7/in"]


def test_the_way_out_is_the_servers(monkeypatch):
    """What a server may talk to holds for each of its channels."""
    with provider() as there:
        declared = {**ALL["pager"], "url": there.url}
        with pytest.raises(BadPolicy, match="only https"):
            made(pager=declared)
        policy = parse({"channels": {"pager": declared}})
        pager = channels(policy.channels, Means(ENVIRON, LOCAL))["pager"]
        assert isinstance(pager.notify(page(), "", NOW_MS), Delivered)

"""Webhooks, checked by the reference implementation of Standard Webhooks."""

import base64
import json

import pytest
from standardwebhooks.webhooks import Webhook as Reference
from standardwebhooks.webhooks import WebhookVerificationError

from knowngood.adapters.notify.webhook import Webhook, sign, signing_key
from knowngood.adapters.secrets import Secret
from knowngood.core.asking import Purpose
from knowngood.core.errors import BadPolicy
from knowngood.ports import Delivered
from tests.adapters.vendors import LOCAL, NOW_MS, page, provider

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def sent(now_ms: int = NOW_MS, secret: str | None = SECRET, **fields):
    with provider() as made:
        notifier = Webhook(LOCAL, Secret(made.url), Secret(secret) if secret else None)
        told = notifier.notify(page(**fields), "", now_ms)
    assert isinstance(told, Delivered), told
    return made.calls[0]


def test_the_reference_takes_our_signature(monkeypatch):
    """And refuses a changed body, another secret and another time."""
    import time

    call = sent(now_ms=int(time.time() * 1000))
    data = Reference(SECRET).verify(call.body, call.headers)
    assert data["data"]["thread"] == "production/cs/g3.1"
    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    for secret, body, headers in (
        (other, call.body, call.headers),
        (SECRET, call.body + b" ", call.headers),
        (SECRET, call.body, {**call.headers, "webhook-id": "msg_0"}),
        (SECRET, call.body, {**call.headers, "webhook-timestamp": "1"}),
    ):
        with pytest.raises(WebhookVerificationError):
            Reference(secret).verify(body, headers)


def test_signature_of_the_specification():
    """The worked example: these bytes, this id and this time."""
    key = signing_key(Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    body = b'{"test": 2432232314}'
    made = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_body_is_a_cloud_event():
    """All that CloudEvents 1.0 asks for, and where Standard Webhooks has type, timestamp, data."""
    call = sent()
    event = json.loads(call.body)
    assert call.headers["content-type"] == "application/cloudevents+json"
    assert event["specversion"] == "1.0" and event["id"] == call.headers["webhook-id"]
    assert event["source"] == "/knowngood/production" and event["subject"] == "production/cs"
    assert event["type"] == "io.knowngood.page"
    assert event["time"] == event["timestamp"] == "2026-01-01T00:00:00.000Z"
    assert event["data"]["question"] == 2 and event["data"]["people"] == ["ana", "ben"]
    assert event["data"]["answers"][0] == {
        "answer": "approve", "text": "Roll back", "url": "https://kg.example.com/answer/approve",
    }  # fmt: skip


@pytest.mark.parametrize("purpose", list(Purpose))
def test_each_purpose_is_a_type(purpose):
    """So that a receiver can choose."""
    assert json.loads(sent(purpose=purpose).body)["type"] == f"io.knowngood.{purpose.value}"


def test_a_message_stays_small():
    """Receivers are told to expect 20 kB."""
    assert len(sent(subject="s" * 99_999, body="b" * 99_999).body) < 20_000


def test_without_a_secret_nothing_is_signed():
    """Rather than signed with nothing."""
    assert "webhook-signature" not in sent(secret=None).headers


@pytest.mark.parametrize("wrong", ["", "secret", "whsec_", "whsec_###", "whsec_c2hvcnQ=",
                                   SECRET.removeprefix("whsec_")])  # fmt: skip
def test_a_secret_that_cannot_sign_stops_the_start(wrong):
    """And is not repeated."""
    with pytest.raises(BadPolicy) as refused:
        signing_key(Secret(wrong))
    assert "whsec_" in refused.value.message and "secrets.token_bytes" in refused.value.next_step

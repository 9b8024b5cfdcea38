"""What other systems send: who signed it, and what it says, whatever else is in it."""

import hashlib
import hmac
import json
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.adapters.inbound import alertmanager, fields, pagerduty, slack
from knowngood.core.asking import Answer
from knowngood.core.buttons import Choice, choice_of
from knowngood.core.errors import BadRequest
from knowngood.core.inbound import InboundRule, at_path
from knowngood.core.outside import AlertStatus

NOW = 1_767_225_600_000
BY_LABELS = InboundRule("alertmanager", "label:prompt", "label:env")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=15,
)


def hexed(secret, base):
    return hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


# --- PagerDuty

BODY = b'{"event":{"id":"E1"}}'


@pytest.mark.parametrize(
    ("header", "signed"),
    [
        (f"v1={hexed('new', BODY)}", True),
        (f"v1={hexed('old', BODY)}", True),
        (f"v1={'0' * 64},v1={hexed('new', BODY)}", True),
        (f"v1={'0' * 64}, v1={hexed('new', BODY)}", True),
        (f"v1={hexed('new', BODY + b' ')}", False),
        (f"v1={hexed('stranger', BODY)}", False),
        (f"v0={hexed('new', BODY)}", False),
        ("v1=", False),
        ("", False),
        ("v1=ü", False),
        (",".join([f"v1={'0' * 64}"] * 20 + [f"v1={hexed('new', BODY)}"]), False),
    ],
)
def test_pagerduty_signs_the_body(header, signed):
    """With one of the secrets, of which there are two while one is changed; never without."""
    assert pagerduty.is_signed(BODY, header, ("old", "new")) is signed
    assert not pagerduty.is_signed(BODY, header, ())


def test_pagerduty_s_own_example_is_read():
    """The event of its documentation, with the key that our page went out under."""
    event = {
        "id": "5ac64822-4adc-4fda-ade0-410becf0de4f",
        "event_type": "incident.acknowledged",
        "resource_type": "incident",
        "occurred_at": "2020-10-02T18:45:22.169Z",
        "agent": {"id": "PLH1HKV", "summary": "Ana", "type": "user_reference"},
        "client": {"name": "PagerDuty"},
        "data": {
            "id": "PGR0VU2",
            "type": "incident",
            "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2",
            "status": "acknowledged",
            "incident_key": "production/cs/g3.1:rollback-failed",
            "assignees": [],
            "priority": None,
        },
    }
    read = pagerduty.read(json.dumps({"event": event}).encode())
    assert (read.thread, read.agent_id, read.agent) == (
        "production/cs/g3.1:rollback-failed",
        "PLH1HKV",
        "Ana",
    )
    assert read.is_answer
    noted = {**event, "event_type": "incident.annotated", "agent": None}
    assert not pagerduty.read(json.dumps({"event": noted}).encode()).is_answer


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"event": 1}', b'{"event": {"id": ""}}'])
def test_what_is_no_event_is_refused(body):
    """Even when it is signed."""
    with pytest.raises(BadRequest):
        pagerduty.read(body)


# --- Slack


def press(value, action="knowngood:approve", kind="block_actions", user="U1"):
    payload = {
        "type": kind,
        "user": {"id": user, "username": "ana", "team_id": "T1"},
        "container": {"type": "message", "message_ts": "1.2", "channel_id": "C1"},
        "trigger_id": "12.34.abc",
        "response_url": "https://hooks.example.com/actions/1",
        "actions": [{"type": "button", "action_id": action, "value": value, "action_ts": "1.3"}],
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


@pytest.mark.parametrize(
    ("at_s", "secret", "says", "signed"),
    [
        (0, "ours", None, True),
        (-300, "ours", None, True),
        (300, "ours", None, True),
        (-301, "ours", None, False),
        (301, "ours", None, False),
        (0, "stranger", None, False),
        (0, "ours", "soon", False),
        (0, "ours", "", False),
        (0, "ours", "1_767_225_600", False),
        (0, "ours", "+1767225600", False),
        (0, "ours", "٢" * 10, False),
        (0, "ours", "9" * 500, False),
    ],
)
def test_slack_signs_the_body_with_its_time(at_s, secret, says, signed):
    """Five minutes apart at the most, and a time that is none is no time."""
    body = press("x")
    stamp = str(NOW // 1000 + at_s) if says is None else says
    signature = "v0=" + hexed(secret, b"v0:" + stamp.encode() + b":" + body)
    assert slack.is_signed(body, stamp, signature, ("ours",), NOW) is signed
    assert not slack.is_signed(body, stamp, signature, (), NOW)
    assert not slack.is_signed(body + b"&", stamp, signature, ("ours",), NOW)


@pytest.mark.parametrize("answer", list(Answer))
@pytest.mark.parametrize("question", [None, 0, 7])
def test_a_button_comes_back_as_it_was_drawn(answer, question):
    """What is drawn and what is read are one and the same."""
    choice = Choice(answer, "production/cs/g3.1", question)
    read = slack.read(press(choice.value, choice.action_id))
    assert read == slack.Press("U1", "ana", choice, "https://hooks.example.com/actions/1")
    assert len(choice.value) < 2_000 and len(choice.action_id) < 255


@pytest.mark.parametrize(
    "body",
    [
        press("x", kind="view_submission"),
        press("x", action="somebody-elses"),
        urlencode({"payload": '{"type": "block_actions", "actions": 3}'}).encode(),
        urlencode({"payload": '{"type": "block_actions"}'}).encode(),
    ],
)
def test_what_is_not_our_button_is_left_alone(body):
    """Slack sends all that happens in an app to one address."""
    assert slack.read(body) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=",
        b"payload=[]",
        b"other=1",
        b"\xff",
        press("no json"),
        press("{}"),
        press('{"answer": "explode", "thread": "t", "question": null}'),
        press('{"answer": "ack", "thread": "", "question": null}'),
        press('{"answer": "ack", "thread": 3, "question": null}'),
        press('{"answer": "ack", "thread": "t", "question": "1"}'),
        press('{"answer": "ack", "thread": "t", "question": true}'),
        press('{"answer": "ack", "thread": "t", "question": -1}'),
        urlencode(
            {"payload": '{"type": "block_actions", "actions": [{"action_id": "knowngood:x"}]}'}
        ).encode(),
    ],
)
def test_a_button_that_says_nothing_is_refused(body):
    """Whatever is wrong with it, and never with a fault of ours."""
    with pytest.raises(BadRequest):
        slack.read(body)


# --- Alertmanager and Grafana


def alert(**changes):
    return {
        "status": "firing",
        "labels": {"alertname": "EmptyAnswers", "prompt": "cs", "env": "production"},
        "annotations": {"summary": "The answers are  empty", "runbook_url": "x"},
        "startsAt": "2025-12-31T23:59:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.com/graph?g0",
        "fingerprint": "0b3b01d5e5c4a5cd",
        **changes,
    }


def read(*alerts, rule=BY_LABELS, **more):
    return alertmanager.read({"version": "4", "alerts": list(alerts), **more}, rule, "d", NOW)


def test_alertmanager_s_alert_is_read():
    """Told apart by fingerprint and beginning; mapped by its labels."""
    (found,) = read(alert()).alerts
    assert found.key == "0b3b01d5e5c4a5cd@2025-12-31T23:59:00.123456789Z"
    assert (found.prompt, found.environment) == ("cs", "production")
    assert (found.status, found.began_ms) == (AlertStatus.FIRING, NOW - 60_000 + 123)
    assert found.summary == "The answers are empty" and found.ended_ms is None
    assert found.url.startswith("http://prometheus.example.com")


def test_grafana_s_alert_is_read():
    """The same shape, and more fields: they are left alone."""
    more = {
        "silenceURL": "https://g.example.com/silence",
        "dashboardURL": "https://g.example.com/d/1",
        "panelURL": "https://g.example.com/d/1?p=2",
        "values": {"B": 44.2, "C": None},
        "valueString": "[ var='B' value=44.2 ]",
        "imageURL": "",
        "orgId": 1,
    }
    group = read(alert(**more), version="1", orgId=1, title="x", state="alerting", message="m")
    (found,) = group.alerts
    assert found.url == "https://g.example.com/d/1?p=2" and group.left_out_count == 0


def test_a_resolved_alert_has_an_end():
    """Its own, or when we heard of it."""
    (found,) = read(alert(status="resolved", endsAt="2026-01-01T00:00:01+00:00")).alerts
    assert (found.status, found.ended_ms) == (AlertStatus.RESOLVED, NOW + 1_000)
    (found,) = read(alert(status="resolved")).alerts
    assert found.ended_ms == NOW


def test_what_was_cut_off_is_counted():
    """So that nobody takes a part for the whole."""
    assert read(alert(), truncatedAlerts=7).left_out_count == 7
    assert read(alert(), truncatedAlerts="x").left_out_count == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fingerprint": None}, "fingerprint"),
        ({"fingerprint": ""}, "fingerprint"),
        ({"startsAt": None}, "startsAt"),
        ({"labels": []}, "labels"),
        ({"status": "pending"}, "'pending'"),
        ({"status": None}, "'None'"),
    ],
)
def test_an_alert_that_nothing_tells_apart_is_refused(changes, words):
    """With what it lacks."""
    with pytest.raises(BadRequest, match=words):
        read(alert(**changes))


@pytest.mark.parametrize("data", [None, [], {}, {"alerts": {}}, {"alerts": [1]}])
def test_what_is_no_message_is_refused(data):
    """Of any kind of JSON."""
    with pytest.raises(BadRequest):
        alertmanager.read(data, BY_LABELS, "d", NOW)
    with pytest.raises(BadRequest, match="limit"):
        read(*[alert()] * 1_001)


@given(ANYTHING)
def test_no_message_is_a_fault_of_ours(data):
    """Whatever JSON is sent, it is read or refused."""
    rule = InboundRule("mine", "field:a.b", key="field:c")
    for attempt in (
        lambda: alertmanager.read(data, BY_LABELS, "d", NOW),
        lambda: alertmanager.read({"alerts": [data]}, BY_LABELS, "d", NOW),
        lambda: read({**alert(), **(data if isinstance(data, dict) else {})}),
        lambda: fields.read(data, rule, "d", NOW),
        lambda: pagerduty.read(json.dumps({"event": data}).encode()),
        lambda: slack.read(urlencode({"payload": json.dumps(data)}).encode()),
        lambda: choice_of(json.dumps(data)),
    ):
        with suppress(BadRequest):
            attempt()


@given(st.dictionaries(st.sampled_from(["startsAt", "endsAt"]), st.datetimes().map(str)))
def test_any_time_is_read(times):
    """Also those before ours and far after it."""
    (found,) = read(alert(status="resolved", **times)).alerts
    assert found.began_ms > 0 and found.ended_ms is not None


# --- JSON of any shape

MINE = InboundRule(
    "billing",
    prompt="field:about.prompt",
    key="field:id",
    status="field:state",
    summary="field:title",
    url="field:links.0.href",
    resolved=("OK", "closed"),
)
THEIRS = {
    "id": 17,
    "state": "alarm",
    "title": "Refunds are up",
    "about": {"prompt": "refunds"},
    "links": [{"href": "https://billing.example.com/17"}],
    "note": "<b>x</b>",
}


def test_the_policy_says_which_field_means_what():
    """A plain text means itself, and numbers are texts."""
    found = fields.read(THEIRS, MINE, "d", NOW)
    assert (found.key, found.prompt, found.environment) == ("17", "refunds", "production")
    assert (found.summary, found.url) == ("Refunds are up", "https://billing.example.com/17")
    assert found.status is AlertStatus.FIRING
    assert found.labels == {"id": "17", "state": "alarm", "title": "Refunds are up",
                            "note": "<b>x</b>"}  # fmt: skip


@pytest.mark.parametrize(
    ("state", "status"),
    [("ok", "resolved"), (" Closed ", "resolved"), ("alarm", "firing"), (None, "firing")],
)
def test_the_words_for_the_end_are_the_policy_s(state, status):
    """However they are written."""
    assert fields.read({**THEIRS, "state": state}, MINE, "d", NOW).status.value == status


@pytest.mark.parametrize("data", [{}, {"id": ""}, {"id": "x" * 201}, [], "x", None])
def test_an_alert_without_a_key_is_refused(data):
    """Its end could not be told from another's."""
    with pytest.raises(BadRequest):
        fields.read(data, MINE, "d", NOW)


def test_a_link_is_a_web_address():
    """Anything else could do harm where it is shown."""
    data = {**THEIRS, "links": [{"href": "javascript:alert(1)"}]}
    assert fields.read(data, MINE, "d", NOW).url == ""


@pytest.mark.parametrize(
    ("path", "found"),
    [("a.0.b", 1), ("a.1.b", None), ("a.x", None), ("a", [{"b": 1}]), ("c.d", None), ("e", None)],
)
def test_a_path_leads_somewhere_or_nowhere(path, found):
    """And never to an error."""
    assert at_path({"a": [{"b": 1}], "c": "text"}, path) == found

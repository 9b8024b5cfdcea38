"""What other systems hand in: signatures, people, alerts as evidence, and nothing more."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from knowngood.core.asking import Answer, Purpose, Question, Stage
from knowngood.core.buttons import Choice
from knowngood.core.errors import BadPolicy
from knowngood.core.model import (
    Change,
    Incident,
    Notify,
    Response,
    SetIncident,
    SetQuestion,
    Severity,
)
from knowngood.core.policy import parse
from knowngood.server.hooks import hooks_of
from tests.adapters.vendors import Reply, closed_port, provider
from tests.server.doors import House, house
from tests.server.world import PROMPT, START_MS, World, error_of
from tests.server.world import world as new_world

PAGER_SECRET, SLACK_SECRET, SOURCE_SECRET = "pager-secret", "slack-secret", "source-secret"
THREAD = f"production/{PROMPT}/g1.1"
INCIDENT = Incident(THREAD, "v2", 1, Severity.HIGH, Response.ASK, ("error_high",), START_MS)
QUESTION = Question(
    1, Stage.ASKED, "error_high", "v2", "v1", False, "on-call", START_MS, START_MS + 300_000
)
POLICY = """
people:
  Ana: {slack: U1, pagerduty: P1, roles: [on-call]}
  Otto: {slack: U2, roles: [author]}
  vera: {slack: U3, roles: [on-call]}
channels:
  pager: {kind: pagerduty, routing_key: "env:PAGER_KEY", webhook_secret: "env:PAGER_SECRET",
          url: "http://127.0.0.1:9/"}
  chat: {kind: slack, token: "env:SLACK_TOKEN", channel: C1, signing_secret: "env:SLACK_SECRET",
         url: "http://127.0.0.1:9/"}
inbound:
  alertmanager: {prompt: "label:prompt", environment: "label:env"}
  grafana: {prompt: "label:prompt", secret: "env:SOURCE_SECRET"}
  billing: {prompt: "field:about.prompt", key: "field:id", status: "field:state",
            secret: "env:SOURCE_SECRET"}
"""


@dataclass
class Street:
    """A server with a page that waits, and everybody who writes to it from outside."""

    world: World
    house: House

    def pager(self, secret: str = PAGER_SECRET, **event: Any) -> Any:
        data = {"incident_key": event.pop("thread", THREAD), "type": "incident"}
        told = {
            "id": "E1",
            "event_type": "incident.acknowledged",
            "agent": {"id": "P1", "summary": "Ana of PagerDuty"},
            "data": data,
            **event,
        }
        body = json.dumps({"event": told}).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "X-PagerDuty-Signature": f"v1={'0' * 64},v1={signature}",
            "Content-Type": "application/json",
        }
        return self.world.client.post("/hooks/pagerduty", content=body, headers=headers)

    def press(
        self,
        answer: Answer = Answer.ACK,
        thread: str = THREAD,
        question: int = 1,
        user: str = "U1",
        secret: str = SLACK_SECRET,
        at_ms: int | None = None,
        trigger: str = "1",
        response_url: str = "",
    ) -> Any:
        choice = Choice(answer, thread, None if answer is Answer.ACK else question)
        payload = {
            "type": "block_actions",
            "trigger_id": trigger,
            "user": {"id": user, "username": "somebody"},
            "actions": [{"action_id": choice.action_id, "value": choice.value}],
            **({"response_url": response_url} if response_url else {}),
        }
        body = urlencode({"payload": json.dumps(payload)}).encode()
        at_s = (self.world.clock.ms if at_ms is None else at_ms) // 1000
        signed = hmac.new(secret.encode(), f"v0:{at_s}:".encode() + body, hashlib.sha256)
        headers = {
            "X-Slack-Signature": f"v0={signed.hexdigest()}",
            "X-Slack-Request-Timestamp": str(at_s),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self.world.client.post("/hooks/slack", content=body, headers=headers)

    def alarm(self, thread: str = THREAD) -> Any:
        alarms = self.world.state().alarms
        return next((alarm for alarm in alarms if alarm.thread == thread), None)

    def page(self, thread: str = THREAD) -> None:
        """A page goes out and waits for somebody."""
        told = Notify(
            key=thread,
            audience="on-call",
            severity=Severity.HIGH,
            subject="roll back, or investigate?",
            body="errors",
            purpose=Purpose.PAGE,
            thread=thread,
        )
        states = self.world.runtime.store.states
        state = states.get("production", PROMPT)
        opened = () if state.incident else (SetIncident(INCIDENT), SetQuestion(QUESTION))
        change = Change("production", PROMPT, state.revision, (*opened, told), "knowngood")
        states.apply([change], self.world.clock.ms)


@contextmanager
def street(tmp_path, monkeypatch, **settings: Any) -> Iterator[Street]:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    for name, secret in (("PAGER", PAGER_SECRET), ("SLACK", SLACK_SECRET)):
        monkeypatch.setenv(f"{name}_SECRET", secret)
    monkeypatch.setenv("SOURCE_SECRET", SOURCE_SECRET)
    monkeypatch.setenv("PAGER_KEY", "k" * 32)
    monkeypatch.setenv("SLACK_TOKEN", "xoxb-token")
    given = {"policy": str(policy), "egress_loopback": True, **settings}
    with house(("robot", "vera", "ana", "ben"), **given) as made:
        made.ana.post(f"/api/prompts/{PROMPT}/versions", 201, version="v1", text="One.")
        found = Street(made.world, made)
        found.page()
        yield found


@pytest.fixture
def outside(tmp_path, monkeypatch) -> Iterator[Street]:
    with street(tmp_path, monkeypatch) as made:
        yield made


def kinds(outside):
    entries = outside.house.vera.get("/api/audit", prompt=PROMPT)["entries"]
    return [(entry["kind"], entry["actor"]) for entry in entries]


# --- PagerDuty


@pytest.mark.parametrize("kind", ["incident.acknowledged", "incident.resolved"])
def test_an_acknowledgement_in_pagerduty_is_one_here(outside, kind):
    """By the person whom the policy knows by their id; nobody else is told after it."""
    assert outside.pager(event_type=kind).json()["outcome"] == "acknowledged"
    alarm = outside.alarm()
    assert (alarm.acked_by, alarm.acked_ms) == ("Ana via PagerDuty", outside.world.clock.ms)
    assert ("page.acknowledged", "Ana via PagerDuty") in kinds(outside)


def test_the_same_event_changes_nothing_twice(outside):
    """PagerDuty delivers at least once; a copy by somebody else is as harmless."""
    outside.pager()
    before = outside.world.state()
    assert outside.pager().json()["outcome"] == "unchanged"
    assert outside.pager(id="E2").json()["outcome"] == "unchanged"
    assert outside.world.state() == before


def test_somebody_whom_the_policy_does_not_know_acknowledges_too(outside):
    """PagerDuty's word is enough for that, and its name for the history."""
    outside.pager(agent={"id": "P9", "summary": "Zoe"})
    assert outside.alarm().acked_by == "Zoe via PagerDuty"
    outside.page(f"{THREAD}:rollback-failed")
    outside.pager(id="E2", thread=f"{THREAD}:rollback-failed", agent=None)
    assert outside.alarm(f"{THREAD}:rollback-failed").acked_by == "somebody via PagerDuty"


def test_an_acknowledged_page_does_not_swallow_another(outside):
    """Each thread waits for its own word."""
    outside.page(f"{THREAD}:rollback-failed")
    outside.pager()
    assert outside.alarm(f"{THREAD}:rollback-failed").acked_ms is None


@pytest.mark.parametrize(
    "event",
    [
        {"event_type": "incident.triggered"},
        {"event_type": "pagey.ping", "data": {"type": "ping"}},
        {"event_type": "service.updated", "agent": None},
        {"thread": "another-tools-key"},
        {"thread": PROMPT},
        {"thread": "production/nothing/g1.1"},
        {"thread": f"mars/{PROMPT}/g1.1"},
        {"thread": f"production/{PROMPT}/g9.9"},
        {"thread": None},
    ],
)
def test_what_is_not_for_us_is_taken_and_left_alone(outside, event):
    """A refusal would be dropped for good, and three of them silence PagerDuty for a day."""
    answer = outside.pager(**event)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "left_alone")
    assert outside.alarm().acked_ms is None


def test_a_store_that_is_away_makes_pagerduty_try_again(outside, monkeypatch):
    """5xx, with nothing taken: the next try goes through."""
    from knowngood.core.errors import StoreUnavailable

    states = outside.world.runtime.store.states

    def away(*_: Any) -> Any:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(type(states), "apply", away)
        assert error_of(outside.pager(), 503)
    assert outside.pager().json()["outcome"] == "acknowledged"


@pytest.mark.parametrize("headers", [{}, {"X-PagerDuty-Signature": f"v1={'0' * 64}"}])
def test_without_a_signature_nobody_is_pagerduty(outside, headers):
    """401, whatever token comes with it."""
    nothing: dict[str, str] = {}
    for more in (nothing, outside.house.ana.headers):
        answer = outside.world.client.post("/hooks/pagerduty", json={}, headers={**headers, **more})
        assert error_of(answer, 401)["code"] == "unauthorized"
    assert error_of(outside.pager(secret="wrong"), 401)


# --- Slack


def test_a_press_in_slack_is_the_person_s_word(outside):
    """Whoever the policy knows by the member id, and whoever it says may decide."""
    done = outside.press().json()
    assert done == {"outcome": "changed", "answer": "ack", "actor": "Ana via Slack"}
    assert outside.alarm().acked_by == "Ana via Slack"


def test_an_approval_in_slack_rolls_back_what_was_asked(outside):
    """Bound to the question that the message asked: another one by now refuses it."""
    for version in ("v2",):
        outside.house.ana.post(f"/api/prompts/{PROMPT}/versions", 201, version=version, text="2")
    stale = error_of(outside.press(Answer.APPROVE, question=7), 409)
    assert stale["code"] == "stale_answer" and "question 1" in stale["message"]
    done = outside.press(Answer.DECLINE).json()
    assert (done["outcome"], done["actor"]) == ("changed", "Ana via Slack")
    assert outside.world.state().question.answered_by == "Ana via Slack"


def test_a_press_is_taken_once(outside):
    """The same body again, signed and in time, is somebody's copy."""
    outside.press()
    assert "taken already" in error_of(outside.press(), 403)["message"]
    assert outside.press(trigger="2").json()["outcome"] == "unchanged"


@pytest.mark.parametrize("apart_ms", [-301_000, 301_000])
def test_a_press_of_another_time_is_refused(outside, apart_ms):
    """A recorded one cannot be played back later."""
    at_ms = outside.world.clock.ms + apart_ms
    assert "five minutes" in error_of(outside.press(at_ms=at_ms), 401)["message"]
    assert outside.alarm().acked_ms is None


def test_a_press_signed_by_somebody_else_is_refused(outside):
    """And so is one that is not signed, or not in Slack's form."""
    assert error_of(outside.press(secret="wrong"), 401)
    client = outside.world.client
    assert error_of(client.post("/hooks/slack", data={"payload": "{}"}), 401)
    assert error_of(client.post("/hooks/slack", json={}), 415)["known"] == [
        "application/x-www-form-urlencoded"
    ]


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("U9", "knows nobody with the Slack member id U9 (somebody)"),
        ("U2", "Otto is not among those who decide"),
        ("U3", "vera may look and not decide: their token has the role viewer"),
    ],
)
def test_who_may_not_decide_presses_in_vain(outside, user, words):
    """With what it would take, and nothing changed."""
    error = error_of(outside.press(user=user), 403)
    assert words in error["message"] and error["next"]
    assert outside.alarm().acked_ms is None


def test_a_press_for_what_is_over_is_refused(outside):
    """Slack shows it beside the button."""
    error = error_of(outside.press(thread=f"production/{PROMPT}/g0.1"), 409)
    assert error["code"] == "stale_answer" and THREAD in error["known"]
    assert error_of(outside.press(thread=PROMPT, trigger="2"), 409)["code"] == "nothing_asked"


# --- Alerts


def alert(**changes: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "EmptyAnswers", "prompt": PROMPT, "env": "production"},
        "annotations": {"summary": "The answers are empty"},
        "startsAt": "2025-12-31T23:59:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "f1",
        **changes,
    }


def message(*alerts: Any, **more: Any) -> dict[str, Any]:
    return {"version": "4", "alerts": list(alerts), "truncatedAlerts": 0, **more}


def test_an_alert_is_evidence(outside):
    """Shown beside the prompt, written into its history, and followed by nothing."""
    before = outside.world.state()
    done = outside.house.robot.post("/hooks/alertmanager", **message(alert()))
    assert (done["received"], done["news"], done["unmapped_count"]) == (1, 1, 0)
    path = f"/api/prompts/{PROMPT}/explain"
    (shown,) = outside.house.vera.get(path)["outside"]
    assert shown["words"] == "alertmanager: The answers are empty"
    assert (shown["status"], shown["began"]) == ("firing", "2025-12-31T23:59:00.000Z")
    (said,) = [
        entry
        for entry in outside.house.vera.get("/api/audit", prompt=PROMPT)["entries"]
        if entry["kind"] == "evidence.received"
    ]
    assert said["because"] == "alertmanager: The answers are empty (firing)"
    assert len(said["detail"]["sha256"]) == 64
    assert outside.world.state() == before


def test_a_repeated_alert_is_no_second_one(outside):
    """And its end is told once."""
    for each, news in ((alert(), 1), (alert(), 0), (alert(status="resolved"), 1),
                       (alert(status="resolved"), 0), (alert(), 0)):  # fmt: skip
        assert outside.house.robot.post("/hooks/alertmanager", **message(each))["news"] == news
    (shown,) = outside.house.vera.get(f"/api/prompts/{PROMPT}/explain")["outside"]
    assert shown["status"] == "resolved"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({}, "label:prompt says nothing"),
        ({"prompt": "no-such"}, "there is no prompt 'no-such' in ''"),
        ({"prompt": PROMPT, "env": "mars"}, f"there is no prompt '{PROMPT}' in 'mars'"),
        ({"prompt": "\x00", "env": "\ud800"}, "there is no prompt"),
    ],
)
def test_an_alert_that_names_nothing_here_is_taken_and_said(outside, labels, words):
    """The sender is not at fault, and whoever set the labels finds out."""
    sent = json.dumps(message(alert(labels=labels)))
    answer = outside.house.robot.ask(
        "POST", "/hooks/alertmanager", content=sent, headers={"Content-Type": "application/json"}
    )
    done = answer.json()
    assert (done["received"], done["unmapped_count"]) == (1, 1)
    assert words in done["unmapped"][0]


def test_what_alertmanager_cut_off_is_said(outside):
    """In the answer and in the log."""
    done = outside.house.robot.post("/hooks/alertmanager", **message(alert(), truncatedAlerts=4))
    assert done["left_out_count"] == 4


def test_a_source_proves_itself_by_its_own_secret(outside):
    """Which travels in a header and never in an address; a wrong one is refused."""
    client = outside.world.client
    good = {"X-Knowngood-Secret": SOURCE_SECRET}
    body = message(alert(), title="x", orgId=1)
    assert client.post("/hooks/grafana", json=body, headers=good).status_code == 200
    bad = {"X-Knowngood-Secret": "guess"}
    assert (
        "not the secret"
        in error_of(client.post("/hooks/grafana", json=body, headers=bad), 401)["message"]
    )
    assert error_of(client.post("/hooks/grafana", json=body), 401)
    # Alertmanager has none in this policy, so it needs a token.
    error = error_of(client.post("/hooks/alertmanager", json=body, headers=good), 401)
    assert "no secret of its own" in error["message"]
    assert outside.house.vera.ask("POST", "/hooks/grafana", json=body).status_code == 403
    assert outside.house.robot.post("/hooks/grafana", **body)["received"] == 1


def test_json_of_any_shape_is_evidence_too(outside):
    """As the policy explains it."""
    headers = {"X-Knowngood-Secret": SOURCE_SECRET}
    for state, news in (("alarm", 1), ("alarm", 0), ("ok", 1), ("alarm", 1)):
        outside.world.clock.ms += 1_000
        body = {"id": 1, "state": state, "about": {"prompt": f"{PROMPT}:v1"}}
        answer = outside.world.client.post("/hooks/json/billing", json=body, headers=headers)
        assert (answer.status_code, answer.json()["news"]) == (200, news), answer.text


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/hooks/json/unknown", {}, 404, "does not know 'unknown'"),
        ("/hooks/json/grafana", {}, 404, "address of its own"),
        ("/hooks/json/billing", {}, 422, "tells this alert from others"),
        ("/hooks/json/billing", [], 422, "no JSON object"),
        ("/hooks/alertmanager", {}, 422, "no list of `alerts`"),
        ("/hooks/alertmanager", {"alerts": [{}]}, 422, "fingerprint"),
    ],
)
def test_what_cannot_be_read_is_refused(outside, path, body, status, words):
    """With what is wrong, and nothing kept."""
    answer = outside.house.robot.ask("POST", path, json=body)
    assert words in error_of(answer, status)["message"]


def test_ended_alerts_stay_beside_their_incident(outside):
    """One around an open incident is still shown; without one it is history after an hour."""
    outside.house.robot.post("/hooks/alertmanager", **message(alert()))
    outside.house.robot.post("/hooks/alertmanager", **message(alert(status="resolved")))
    path = f"/api/prompts/{PROMPT}/explain"
    assert len(outside.house.vera.get(path)["outside"]) == 1
    outside.world.clock.ms += 61 * 60_000
    assert len(outside.house.vera.get(path)["outside"]) == 1
    revision = outside.world.state().revision
    over = Change("production", PROMPT, revision, (SetIncident(None),), "knowngood")
    outside.world.runtime.store.states.apply([over], outside.world.clock.ms)
    assert outside.house.vera.get(path)["outside"] == []


@pytest.mark.parametrize(
    ("pressed", "words", "command"),
    [
        ({"user": "U9"}, "nobody with the Slack member id U9", "slack: &quot;U9&quot;"),
        ({"user": "U3"}, "their token has the role viewer", "knowngood token make"),
        ({"answer": Answer.APPROVE, "question": 7}, "question 1", ""),
        ({"answer": Answer.DECLINE, "thread": THREAD.replace("g1", "g9")}, "is over; now", ""),
    ],
)
def test_a_refusal_is_told_to_who_pressed(outside, pressed, words, command):
    """Slack is told that the press came in, and that person alone why nothing came of it."""
    with provider(lambda call: Reply(200, b"ok")) as there:
        answer = outside.press(**pressed, response_url=f"{there.url}/actions/T1/1/x")
    assert answer.status_code == 200 and answer.json()["outcome"] == "refused"
    (call,) = there.calls
    assert (call.method, call.path) == ("POST", "/actions/T1/1/x")
    assert call.headers["content-type"].startswith("application/json")
    said = call.json
    assert set(said) == {"response_type", "replace_original", "text"}
    assert said["response_type"] == "ephemeral" and said["replace_original"] is False
    assert said["text"].startswith("Nothing was changed: ") and words in said["text"]
    assert command.replace("&quot;", '"') in said["text"]
    assert outside.alarm().acked_ms is None


def test_what_is_told_is_text(outside):
    """A name of somebody in Slack calls nobody there."""
    with provider() as there:
        outside.press(user="<!channel>", response_url=there.url)
    assert "<!channel>" not in there.calls[0].json["text"]
    assert "&lt;!channel&gt;" in there.calls[0].json["text"]


def test_what_is_done_is_told_by_the_message_itself(outside):
    """The page is updated in its place; nothing more is said of it."""
    with provider() as there:
        assert outside.press(response_url=there.url).json()["outcome"] == "changed"
    assert there.calls == []


def test_a_copy_of_a_press_is_told_nobody(outside):
    """Whoever sends it again is not Slack, and makes us write to nobody."""
    with provider() as there:
        outside.press(response_url=there.url)
        assert "taken already" in error_of(outside.press(response_url=there.url), 403)["message"]
    assert there.calls == []


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/x", "https://169.254.169.254/x", "ftp://x", "gone", "broken"]
)
def test_a_refusal_that_cannot_be_told(outside, url, capsys):
    """The egress rules hold for this address too; the press is answered all the same."""
    with provider(lambda call: Reply(500)) as there:
        where = {"gone": f"http://127.0.0.1:{closed_port()}/", "broken": there.url}.get(url, url)
        answer = outside.press(user="U9", response_url=where)
    assert answer.status_code == 200 and answer.json()["outcome"] == "refused"
    assert len(there.calls) == (url == "broken")
    assert "not_told" in capsys.readouterr().out


# --- The secrets, and the local mode


def test_a_secret_that_is_not_there_stops_the_start(tmp_path):
    """Not the first message at night; the place in the policy is named, the secret is not."""
    policy = parse({"inbound": {"grafana": {"prompt": "cs", "secret": "env:MISSING"}}})
    with pytest.raises(
        BadPolicy, match=r"inbound.grafana.secret: the environment variable MISSING"
    ):
        hooks_of(policy, {})
    file = tmp_path / "secret"
    of_file = parse({"inbound": {"grafana": {"prompt": "cs", "secret": f"file:{file}"}}})
    with pytest.raises(BadPolicy, match="No such file"):
        hooks_of(of_file, {})
    file.write_text("  from-a-file\n")
    assert hooks_of(of_file, {}).is_from("grafana", "from-a-file")


def test_without_a_secret_nobody_is_listened_to(world):
    """A signature that nothing can check is none."""
    for path in ("/hooks/pagerduty", "/hooks/slack"):
        kind = "application/json" if path.endswith("duty") else "application/x-www-form-urlencoded"
        answer = world.client.post(path, content=b"payload=x", headers={"Content-Type": kind})
        assert "not listened to" in error_of(answer, 401)["message"]


def test_on_this_machine_alerts_need_no_token(tmp_path, monkeypatch):
    """As all else in the local mode; a source that has a secret sends it all the same."""
    monkeypatch.setenv("S", SOURCE_SECRET)
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        'inbound: {alertmanager: {prompt: "label:prompt"}, grafana: {prompt: x, secret: "env:S"}}'
    )
    with new_world(policy=str(policy)) as made:
        made.push("v1")
        assert made.post("/hooks/alertmanager", **message(alert()))["unmapped_count"] == 0
        assert made.client.post("/hooks/grafana", json=message()).status_code == 401
        headers = {"X-Knowngood-Secret": SOURCE_SECRET}
        assert made.post("/hooks/grafana", headers=headers, **message())["received"] == 0
        # Through a proxy comes what is signed, and nothing else.
        proxied = {"X-Forwarded-For": "203.0.113.9"}
        assert made.client.post("/hooks/alertmanager", json=message(), headers=proxied
                                ).status_code == 403  # fmt: skip
        assert made.client.post("/hooks/pagerduty", json={}, headers=proxied).status_code == 401

"""PagerDuty's Events API v2, held against the rules that its documentation states."""

import re
from typing import Any

import pytest

from knowngood.adapters.notify.pagerduty import HOSTS, PagerDuty, dedup_key
from knowngood.adapters.secrets import Secret
from knowngood.core.asking import Purpose
from knowngood.core.model import Severity
from knowngood.ports import Delivered, Rejected
from tests.adapters.vendors import LOCAL, NOW_MS, THREAD, Call, Reply, page, provider

KEY = "0123456789abcdef0123456789abcdef"
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)")


class Service:
    """A service with its alerts, as PagerDuty keeps them."""

    def __init__(self) -> None:
        self.alerts: dict[str, str] = {}  # by key: triggered, acknowledged; gone when resolved
        self.told: list[str] = []  # keys for which somebody was called
        self.changes: list[dict[str, Any]] = []

    def __call__(self, call: Call) -> Reply:
        try:
            return self._take(call)
        except AssertionError as error:
            return Reply(400, f'{{"message": "Event object is invalid", "errors": ["{error}"]}}'
                         .encode())  # fmt: skip

    def _take(self, call: Call) -> Reply:
        event = call.json
        assert call.method == "POST" and call.headers["content-type"] == "application/json"
        assert len(call.body) <= 512 * 1024, "too large"
        assert re.fullmatch("[0-9a-zA-Z]{32}", event["routing_key"]), "routing_key"
        if event["routing_key"] != KEY:
            return Reply(202, b'{"status": "success"}')  # taken, and nothing happens
        if call.path == "/v2/change/enqueue":
            assert set(event) <= {"routing_key", "payload", "links", "images"}, "unknown field"
            assert len(event["payload"]["summary"]) <= 1024, "summary"
            assert ISO.fullmatch(event["payload"]["timestamp"]), "timestamp"
            self.changes.append(event)
            return Reply(202, b'{"status": "success", "message": "Change event processed"}')
        assert call.path == "/v2/enqueue", "path"
        key, action = event["dedup_key"], event["event_action"]
        assert 0 < len(key) <= 255, "dedup_key"
        if action == "trigger":
            self._check_payload(event)
            if key not in self.alerts:  # one that is there takes it in, and calls nobody again
                self.alerts[key] = "triggered"
                self.told.append(key)
        elif action == "acknowledge":
            if key in self.alerts:
                self.alerts[key] = "acknowledged"
        else:
            assert action == "resolve", "event_action"
            self.alerts.pop(key, None)
        return Reply(202, f'{{"status": "success", "message": "Event processed", "dedup_key": '
                     f'"{key}"}}'.encode())  # fmt: skip

    def _check_payload(self, event: dict[str, Any]) -> None:
        fields = {"routing_key", "event_action", "dedup_key", "payload", "images", "links",
                  "client", "client_url"}  # fmt: skip
        assert set(event) <= fields, "unknown field"
        payload = event["payload"]
        assert 0 < len(payload["summary"]) <= 1024, "summary"
        assert payload["source"], "source"
        assert payload["severity"] in ("critical", "error", "warning", "info"), "severity"
        assert ISO.fullmatch(payload["timestamp"]), "timestamp"
        assert isinstance(payload["custom_details"], dict), "custom_details"
        for link in event.get("links", []):
            assert link["href"].startswith("https://") and link["text"], "links"


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def pager(service):
    with provider(service) as made:
        yield PagerDuty(LOCAL, Secret(KEY), url=made.url), made


def follow(purpose: Purpose, **fields):
    return page(key=f"{THREAD}:{purpose.value}", purpose=purpose, buttons=(), **fields)


def test_a_page_is_one_alert_from_its_trigger_to_its_end(pager, service):
    """Triggered, acknowledged and resolved under one key: the thread's."""
    notifier, _ = pager
    receipt = ""
    for purpose, state in (
        (Purpose.PAGE, {THREAD: "triggered"}),
        (Purpose.ACKNOWLEDGED, {THREAD: "acknowledged"}),
        (Purpose.RESOLVED, {}),
    ):
        told = notifier.notify(follow(purpose), receipt, NOW_MS)
        assert isinstance(told, Delivered) and told.answer == "202: Event processed"
        assert service.alerts == state
        receipt = told.receipt
    assert KEY not in receipt and service.told == [THREAD]


def test_a_failed_rollback_is_heard_behind_an_acknowledged_page(pager, service):
    """A key of its own, because PagerDuty calls nobody again for an acknowledged one."""
    notifier, _ = pager
    second = f"{THREAD}:rollback-failed"
    notifier.notify(page(), "", NOW_MS)
    notifier.notify(follow(Purpose.ACKNOWLEDGED), "", NOW_MS)
    notifier.notify(page(), "", NOW_MS)
    assert service.told == [THREAD]
    notifier.notify(page(thread=second), "", NOW_MS)
    assert service.told == [THREAD, second]


@pytest.mark.parametrize(
    ("severity", "theirs"),
    list(zip(Severity, ("critical", "error", "warning", "info"), strict=True)),
)
def test_severities(pager, severity, theirs):
    """Each of ours is one of theirs."""
    notifier, made = pager
    notifier.notify(page(severity=severity), "", NOW_MS)
    assert made.calls[0].json["payload"]["severity"] == theirs


def test_what_a_trigger_says(pager):
    """What it is about, where, in words, and links to the answers."""
    notifier, made = pager
    notifier.notify(page(url="https://kg.example.com/i/1"), "", NOW_MS)
    event = made.calls[0].json
    payload = event["payload"]
    assert (payload["component"], payload["group"], payload["class"]) == (
        "cs", "production", "incident",
    )  # fmt: skip
    assert payload["timestamp"] == "2026-01-01T00:00:00.000Z"
    assert payload["custom_details"]["body"].startswith("v2 fails 6 %")
    assert [link["text"] for link in event["links"]] == [
        "Roll back", "Do not, I investigate", "I am looking", "Show more",
    ]  # fmt: skip
    assert event["client_url"] == "https://kg.example.com/i/1"


@pytest.mark.parametrize("purpose", [Purpose.CHANGE, Purpose.NOTE])
def test_context_calls_nobody(pager, service, purpose):
    """A route that moved is a change event: beside the alerts, and no alert."""
    notifier, _ = pager
    assert isinstance(notifier.notify(follow(purpose), "", NOW_MS), Delivered)
    assert service.alerts == {} and len(service.changes) == 1


def test_an_end_under_another_key_is_not_pretended(pager, service):
    """PagerDuty would drop it and say 202; who changed the key closes the alert there."""
    notifier, made = pager
    told = notifier.notify(page(), "", NOW_MS)
    assert isinstance(told, Delivered)
    renewed = PagerDuty(LOCAL, Secret("f" * 32), url=made.url)
    refused = renewed.notify(follow(Purpose.RESOLVED), told.receipt, NOW_MS)
    assert isinstance(refused, Rejected) and "close it there" in refused.error
    assert len(made.calls) == 1
    assert isinstance(renewed.notify(page(), told.receipt, NOW_MS), Delivered)


def test_what_is_too_long_is_cut(pager):
    """A page that PagerDuty would refuse for its length is worse than a shorter one."""
    notifier, made = pager
    told = notifier.notify(
        page(subject="s" * 5_000, body="b" * 600_000, thread="t" * 400), "", NOW_MS
    )
    assert isinstance(told, Delivered), told
    payload = made.calls[0].json["payload"]
    assert payload["custom_details"] == {"note": "left out: it was too large"}
    assert dedup_key("t" * 400) != dedup_key("t" * 401) and len(dedup_key("t" * 400)) == 255


def test_what_pagerduty_says_of_a_bad_event_is_kept(pager):
    """Its own words say what is wrong with the event."""
    notifier, made = pager
    made.replies(
        Reply(400, b'{"message": "Event object is invalid", "errors": ["\'severity\' x"]}')
    )
    told = notifier.notify(page(), "", NOW_MS)
    assert told == Rejected("400: Event object is invalid 'severity' x")


def test_a_drill_says_so(pager):
    """Before everything else."""
    notifier, made = pager
    for subject in ("customer-support fails", "[DRILL] customer-support fails"):
        notifier.notify(page(drill=True, subject=subject), "", NOW_MS)
        said = made.calls[-1].json["payload"]["summary"]
        assert said == "[DRILL] customer-support fails"


def test_regions():
    """Each has its own address."""
    assert HOSTS == {
        "us": "https://events.pagerduty.com", "eu": "https://events.eu.pagerduty.com"
    }  # fmt: skip

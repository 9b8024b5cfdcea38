"""What became of messages, and whether a channel works: asked of a server with real channels."""

import pytest

from knowngood.core.asking import Purpose
from knowngood.core.model import Change, Notify, Severity
from tests.adapters.vendors import Reply, closed_port, provider
from tests.server.world import world as new_world

POLICY = """
people:
  ana: {{mail: ana@example.com, slack: U1ANA, roles: [on-call]}}
channels:
  pager: {{kind: pagerduty, routing_key: "env:PD_KEY", url: "{url}"}}
  hook: {{kind: webhook, url: "{url}/hook", allow_private: true}}
"""
THREAD = "production/cs/g1.1"


@pytest.fixture
def vendor():
    with provider() as made:
        made.replies(Reply(202, b'{"message": "Event processed"}'))
        yield made


@pytest.fixture
def paged(vendor, tmp_path, monkeypatch):
    """A server that tells two channels and its log."""
    monkeypatch.setenv("PD_KEY", "0123456789abcdef0123456789abcdef")
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.format(url=vendor.url))
    with new_world(policy=str(file), egress_loopback=True) as made:
        yield made


def queue(world, key: str = "a", purpose: Purpose = Purpose.PAGE) -> None:
    states = world.runtime.store.states
    note = Notify(key, "on-call", Severity.HIGH, f"subject {key}", "", purpose, THREAD)
    seen = states.get("production", "cs").revision
    states.apply([Change("production", "cs", seen, (note,), "system")], world.clock.ms)


def answers(found) -> dict[str, tuple[str, str]]:
    return {each["channel"]: (each["outcome"], each["answer"]) for each in found["deliveries"]}


def test_a_test_shows_what_each_channel_answers(paged, vendor):
    """Marked as a drill, for those who are on call; each channel by itself."""
    found = paged.post("/api/notify/test")
    assert found["ok"] and answers(found) == {
        "log": ("delivered", "written to the log"),
        "pager": ("delivered", "202: Event processed"),
        "hook": ("delivered", "202"),
    }
    pager = next(call.json for call in vendor.calls if call.path == "/v2/enqueue")
    assert pager["payload"]["summary"] == "[DRILL] Test of the channel pager"
    hook = next(call.json for call in vendor.calls if call.path == "/hook")
    assert hook["data"]["drill"] is True and hook["data"]["people"] == ["ana"]
    (entry,) = [e for e in paged.get("/api/audit")["entries"] if e["kind"] == "notify.tested"]
    assert "pager: delivered" in entry["because"]


def test_one_channel_alone(paged, vendor):
    """The others hear nothing."""
    assert list(answers(paged.post("/api/notify/test", channel="hook"))) == ["hook"]
    assert [call.path for call in vendor.calls] == ["/hook"]


def test_a_channel_that_is_not_there(paged):
    """Is refused, with those that are."""
    error = paged.refused("/api/notify/test", 422, channel="pagr")
    assert error["known"] == ["log", "hook", "pager"]


def test_a_test_that_fails_says_so(paged, vendor):
    """As do the doctor and the log; nothing waits to be tried again."""
    vendor.replies(Reply(401))
    found = paged.post("/api/notify/test", channel="pager")
    assert not found["ok"]
    assert answers(found) == {"pager": ("rejected", "401 (it does not know our credentials)")}
    (check,) = [c for c in paged.get("/api/doctor")["checks"] if c["name"] == "channels"]
    assert check["verdict"] == "warning" and "not taken by pager" in check["words"]
    assert check["detail"][1].startswith("pager: rejected (401")
    assert paged.runtime.store.outbox.waiting_count() == 0
    vendor.replies(Reply(202))
    paged.post("/api/notify/test", channel="pager")
    (check,) = [c for c in paged.get("/api/doctor")["checks"] if c["name"] == "channels"]
    assert check["verdict"] == "ok"


def test_the_log_of_a_thread(paged, vendor):
    """Try by try, newest first, with what comes next."""
    vendor.replies(Reply(202), Reply(503), Reply(202))
    queue(paged)
    paged.tick()
    found = paged.get("/api/notify/log", thread=THREAD)["deliveries"]
    assert [(each["channel"], each["outcome"]) for each in found] == [
        ("pager", "retry"), ("hook", "delivered"), ("log", "delivered"),
    ]  # fmt: skip
    assert found[0]["next_ms"] == paged.clock.ms + 5_000
    paged.tick(5)
    newest = paged.get("/api/notify/log", limit=1)["deliveries"]
    assert [(each["channel"], each["outcome"]) for each in newest] == [("pager", "delivered")]
    assert paged.get("/api/notify/log", thread="other")["deliveries"] == []
    text = paged.client.get("/metrics").text
    assert "knowngood_outbox_waiting 0.0" in text


def test_what_was_paged_is_resolved_on_the_same_channels(paged, vendor):
    """Whoever was told is told that it is over, under the same key."""
    queue(paged)
    queue(paged, "over", Purpose.RESOLVED)
    paged.tick()
    events = [call.json for call in vendor.calls if call.path == "/v2/enqueue"]
    assert [(e["event_action"], e["dedup_key"]) for e in events] == [
        ("trigger", THREAD), ("resolve", THREAD),
    ]  # fmt: skip


def test_a_channel_that_takes_pages_and_drops_them_does_not_end_an_escalation(tmp_path):
    """Nobody acknowledges what nobody sees: the next level is told when the time is up."""
    with provider() as dropping:
        file = tmp_path / "policy.yaml"
        file.write_text(
            "people: {ben: {roles: [author]}}\n"
            f"channels: {{hook: {{kind: webhook, url: '{dropping.url}', allow_private: true}}}}\n"
        )
        with new_world(policy=str(file)) as made:
            made.route_two()
            made.live(90, "v2.0.0", ok=290, bad=10)
            for _ in range(120):
                if made.state().alarms:
                    break
                made.live(1, "v2.0.0", ok=290, bad=10)
            (alarm,) = made.state().alarms
            made.live(310, "v2.0.0", ok=290, bad=10)
            assert "page.escalated" in made.kinds()
    pages = [c.json["data"] for c in dropping.calls if c.json["type"] == "io.knowngood.page"]
    told = [page for page in pages if page["thread"] == alarm.thread]
    assert [page["people"] for page in told] == [[], ["ben"]]
    assert not made.state().alarms[0].undelivered


def test_a_server_whose_secret_is_missing_does_not_start(tmp_path, monkeypatch):
    """Rather than at three in the morning."""
    from knowngood.core.errors import BadPolicy

    monkeypatch.delenv("PD_KEY", raising=False)
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.format(url=f"http://127.0.0.1:{closed_port()}"))
    with (
        pytest.raises(BadPolicy, match=r"channels.pager.routing_key: the environment variable"),
        new_world(policy=str(file), egress_loopback=True),
    ):
        pass

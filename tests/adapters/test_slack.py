"""Slack: a message per thread, kept up to date in place, with buttons that say what they answer."""

import json
from itertools import count
from typing import Any

import pytest

from knowngood.adapters.blocks import escaped
from knowngood.adapters.notify.slack import Slack
from knowngood.adapters.notify.slack_webhook import SlackWebhook
from knowngood.adapters.secrets import Secret
from knowngood.core.asking import Answer, Purpose
from knowngood.core.buttons import Choice, choice_of, is_ours
from knowngood.core.people import Person
from knowngood.ports import Delivered, Rejected, Retry
from tests.adapters.vendors import LOCAL, NOW_MS, THREAD, Call, Reply, page, provider

TOKEN = "xoxb-1-abc"
NASTY = "<!channel> & <https://evil.example|click> `*_~"


class Workspace:
    """One channel of a workspace, with the checks that Slack's reference states."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self._ts = count(1)

    def __call__(self, call: Call) -> Reply:
        return Reply(200, json.dumps(self._take(call)).encode())

    def _take(self, call: Call) -> dict[str, Any]:
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        assert call.headers["content-type"].startswith("application/json")
        body = call.json
        if error := wrong(body["blocks"]):
            return {"ok": False, "error": "invalid_blocks", "errors": [error]}
        if call.path == "/chat.postMessage":
            if body["channel"] not in ("C1", "#ops"):
                return {"ok": False, "error": "channel_not_found"}
            ts = f"1767225600.{next(self._ts):06}"
            self.messages[ts] = body
            return {"ok": True, "channel": "C1", "ts": ts}
        assert call.path == "/chat.update"
        if body["channel"] != "C1":  # an update takes the id, never the name
            return {"ok": False, "error": "channel_not_found"}
        if body["ts"] not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        self.messages[body["ts"]] = body
        return {"ok": True, "channel": "C1", "ts": body["ts"]}


def wrong(blocks: list[dict[str, Any]]) -> str:
    """What Slack would refuse in the blocks; empty when it takes them."""
    if not 0 < len(blocks) <= 50:
        return "number of blocks"
    actions = []
    for block in blocks:
        if block["type"] == "section" and not 0 < len(block["text"]["text"]) <= 3000:
            return "text of a section"
        if block["type"] == "context" and not 0 < len(block["elements"]) <= 10:
            return "elements of a context"
        for element in block.get("elements", []) if block["type"] == "actions" else []:
            actions.append(element["action_id"])
            if len(element["text"]["text"]) > 75 or len(element.get("value", "")) > 2000:
                return "a button"
            if len(element.get("url", "")) > 3000 or len(element["action_id"]) > 255:
                return "a button"
    return "action_id twice" if len(actions) != len(set(actions)) else ""


@pytest.fixture
def workspace():
    return Workspace()


@pytest.fixture
def chat(workspace):
    with provider(workspace) as made:
        yield Slack(LOCAL, Secret(TOKEN), "#ops", made.url), made


def buttons(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [e for b in message["blocks"] if b["type"] == "actions" for e in b["elements"]]


def words(message: dict[str, Any]) -> str:
    return json.dumps(message["blocks"], ensure_ascii=False)


def follow(purpose: Purpose, **fields):
    return page(key=f"{THREAD}:{purpose.value}", purpose=purpose, **fields)


def test_a_thread_is_one_message_that_is_kept_up_to_date(chat, workspace):
    """Its end takes the page's place, without buttons and with what it was about."""
    notifier, _ = chat
    told = notifier.notify(page(), "", NOW_MS)
    assert isinstance(told, Delivered) and told.answer == "chat.postMessage: ok"
    assert len(buttons(*workspace.messages.values())) == 3
    ended = notifier.notify(
        follow(Purpose.RESOLVED, subject="customer-support recovered"), told.receipt, NOW_MS
    )
    assert isinstance(ended, Delivered) and ended.receipt == told.receipt
    (message,) = workspace.messages.values()
    assert buttons(message) == []
    assert ":white_check_mark: *Resolved: customer-support recovered*" in words(message)
    assert "before: customer-support: 6 % of calls fail" in words(message)


def test_buttons_say_what_they_answer_and_nothing_else(chat, workspace):
    """Thread and question; whoever presses one is looked up by the server."""
    notifier, _ = chat
    notifier.notify(page(), "", NOW_MS)
    (message,) = workspace.messages.values()
    made = buttons(message)
    assert [each["action_id"] for each in made] == [
        "knowngood:approve", "knowngood:decline", "knowngood:ack",
    ]  # fmt: skip
    assert all(is_ours(each["action_id"]) and "url" not in each for each in made)
    assert [choice_of(each["value"]) for each in made] == [
        Choice(answer, THREAD, 2) for answer in Answer
    ]


def test_the_next_level_is_called_in_the_thread_and_the_channel(chat, workspace):
    """An edit calls nobody; a reply that the channel sees does."""
    notifier, _ = chat
    told = notifier.notify(page(people=()), "", NOW_MS)
    again = notifier.notify(
        page(key="second", people=(Person("cem", slack="U2CEM"),)), told.receipt, NOW_MS
    )
    assert isinstance(again, Delivered) and again.receipt == told.receipt
    first, second = workspace.messages
    assert workspace.messages[second]["thread_ts"] == first
    assert workspace.messages[second]["reply_broadcast"] is True
    assert "<@U2CEM>" in words(workspace.messages[second])
    assert "<@U2CEM>" in workspace.messages[second]["text"]


def test_a_note_is_a_quiet_reply(chat, workspace):
    """It stands in the thread, and calls nobody."""
    notifier, _ = chat
    told = notifier.notify(page(), "", NOW_MS)
    notifier.notify(follow(Purpose.NOTE, buttons=()), told.receipt, NOW_MS)
    reply = list(workspace.messages.values())[1]
    assert reply["reply_broadcast"] is False and "<@" not in words(reply)


def test_a_page_whose_message_is_gone_is_told_anew(chat, workspace):
    """Somebody deleted it; the end of the thread is news all the same."""
    notifier, _ = chat
    told = notifier.notify(page(), "", NOW_MS)
    workspace.messages.clear()
    ended = notifier.notify(follow(Purpose.RESOLVED), told.receipt, NOW_MS)
    assert isinstance(ended, Delivered) and ended.receipt != told.receipt
    assert len(workspace.messages) == 1


@pytest.mark.parametrize("receipt", ["garbage", "[]", '{"channel": "C1"}', "null"])
def test_a_receipt_of_another_kind_is_none(chat, workspace, receipt):
    """Such as one that another kind of channel of this name has left behind."""
    notifier, _ = chat
    assert isinstance(notifier.notify(follow(Purpose.RESOLVED), receipt, NOW_MS), Delivered)
    assert len(workspace.messages) == 1


@pytest.mark.parametrize("through", ["app", "webhook"])
def test_what_a_page_says_is_text(chat, workspace, through):
    """Whatever it holds calls nobody, links nowhere and ends no block."""
    notifier, made = chat
    nasty = page(subject=NASTY, body=NASTY * 200, prompt="<!here>", people=())
    if through == "webhook":
        notifier = SlackWebhook(LOCAL, Secret(made.url))
    notifier.notify(nasty, "", NOW_MS)
    body = made.calls[0].json
    assert wrong(body["blocks"]) == ""
    said = words(body) + body["text"]
    assert "<" not in said.replace("&lt;", "") and "&lt;!channel&gt; &amp; " in said


@pytest.mark.parametrize("length", [1, 4, 5, 50, 299])
def test_no_escape_is_cut_in_half(length):
    """What is cut is shorter than asked for, never broken."""
    made = escaped("<&>" * 100, length)
    assert len(made) <= length
    rest = made.replace("&lt;", "").replace("&amp;", "").replace("&gt;", "")
    assert rest in ("", "…")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("ratelimited", Retry),
        ("internal_error", Retry),
        ("service_unavailable", Retry),
        ("channel_not_found", Rejected),
        ("not_in_channel", Rejected),
        ("token_revoked", Rejected),
        ("is_archived", Rejected),
    ],
)
def test_what_slack_refuses_with_200(error, expected):
    """`ok` says what became of it, not the status."""
    with provider() as made:
        made.replies(Reply(200, json.dumps({"ok": False, "error": error}).encode()))
        told = Slack(LOCAL, Secret(TOKEN), "C1", made.url).notify(page(), "", NOW_MS)
    assert told == expected(f"chat.postMessage: {error}")


def test_a_limited_rate_is_kept(chat):
    """As long as Slack asks for."""
    notifier, made = chat
    made.replies(Reply(429, b'{"ok": false, "error": "ratelimited"}', {"Retry-After": "30"}))
    assert notifier.notify(page(), "", NOW_MS) == Retry("429: ratelimited", 30_000)


def test_a_wrong_token_is_told(chat):
    """In Slack's word, without ours."""
    _, made = chat
    told = Slack(LOCAL, Secret("xoxb-old"), "C1", made.url).notify(page(), "", NOW_MS)
    assert told == Rejected("chat.postMessage: invalid_auth")


def test_a_webhook_answers_by_links():
    """It cannot take clicks; without links there are no buttons."""
    with provider() as made:
        notifier = SlackWebhook(LOCAL, Secret(made.url))
        notifier.notify(page(), "", NOW_MS)
        notifier.notify(page(buttons=()), "", NOW_MS)
    first, second = (call.json for call in made.calls)
    assert wrong(first["blocks"]) == "" == wrong(second["blocks"])
    assert buttons(first)[0]["url"] == "https://kg.example.com/answer/approve"
    assert buttons(second) == []


def test_a_webhook_that_slack_refuses():
    """Its one word is told."""
    with provider() as made:
        made.replies(Reply(403, b"channel_is_archived"))
        told = SlackWebhook(LOCAL, Secret(made.url)).notify(page(), "", NOW_MS)
    assert told == Rejected("403: channel_is_archived")

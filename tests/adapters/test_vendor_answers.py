"""One table of answers for everybody who speaks HTTP: what is tried again, and what never is."""

from collections.abc import Callable

import pytest

from knowngood.adapters.notify.pagerduty import PagerDuty
from knowngood.adapters.notify.slack import Slack
from knowngood.adapters.notify.slack_webhook import SlackWebhook
from knowngood.adapters.notify.webhook import Webhook
from knowngood.adapters.secrets import Secret
from knowngood.ports import Delivered, Notifier, Rejected, Retry
from tests.adapters.vendors import LOCAL, NOW_MS, Reply, closed_port, page, provider

KEY = "R" * 32
PATH = "/services/T1/B1/very-secret"
VENDORS: dict[str, Callable[[str], Notifier]] = {
    "pagerduty": lambda url: PagerDuty(LOCAL, Secret(KEY), url=url),
    "slack": lambda url: Slack(LOCAL, Secret("xoxb-very-secret"), "C1", url),
    "slack_webhook": lambda url: SlackWebhook(LOCAL, Secret(url + PATH)),
    "webhook": lambda url: Webhook(LOCAL, Secret(url + PATH)),
}
SECRETS = (KEY, "very-secret")
SLACK_OK = b'{"ok": true, "channel": "C1", "ts": "17.5"}'

ANSWERS = [
    pytest.param(Reply(200, SLACK_OK), Delivered, None, id="200"),
    pytest.param(Reply(202, SLACK_OK), Delivered, None, id="202"),
    pytest.param(Reply(400), Rejected, None, id="400"),
    pytest.param(Reply(401), Rejected, None, id="401"),
    pytest.param(Reply(403), Rejected, None, id="403"),
    pytest.param(Reply(404), Rejected, None, id="404"),
    pytest.param(Reply(410), Rejected, None, id="410"),
    pytest.param(Reply(413), Rejected, None, id="413"),
    pytest.param(Reply(429), Retry, None, id="429"),
    pytest.param(Reply(429, headers={"Retry-After": "17"}), Retry, 17_000, id="429 in seconds"),
    pytest.param(
        Reply(429, headers={"Retry-After": "Thu, 01 Jan 2026 00:01:00 GMT"}), Retry, 60_000,
        id="429 until a date",
    ),
    pytest.param(
        Reply(429, headers={"Retry-After": "9" * 30}), Retry, 86_400_000, id="429 for ever"
    ),
    pytest.param(Reply(429, headers={"Retry-After": "soon"}), Retry, None, id="429 in words"),
    pytest.param(Reply(500), Retry, None, id="500"),
    pytest.param(Reply(502), Retry, None, id="502"),
    pytest.param(Reply(503, headers={"Retry-After": "2"}), Retry, 2_000, id="503"),
    pytest.param(Reply(301, headers={"Location": "/elsewhere"}), Rejected, None, id="301"),
    pytest.param(Reply(307, headers={"Location": "/elsewhere"}), Rejected, None, id="307"),
    pytest.param(Reply(hang=True), Retry, None, id="no answer"),
    pytest.param(Reply(200, b"{" * 50, drip_s=0.05), Retry, None, id="an answer that trickles"),
]  # fmt: skip


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(("reply", "expected", "pause_ms"), ANSWERS)
def test_what_an_answer_means(vendor, reply, expected, pause_ms):
    """The same for all; nobody follows a redirect, and no answer tells a secret."""
    with provider() as made:
        made.replies(reply)
        told = VENDORS[vendor](made.url).notify(page(), "", NOW_MS)
    assert type(told) is expected, told
    if isinstance(told, Retry):
        assert told.after_ms == pause_ms
    assert [call.path == "/elsewhere" for call in made.calls] == [False]
    assert not any(secret in repr(told) for secret in SECRETS)


@pytest.mark.parametrize("vendor", VENDORS)
def test_where_nothing_listens(vendor):
    """It may come back, and is asked again."""
    told = VENDORS[vendor](f"http://127.0.0.1:{closed_port()}").notify(page(), "", NOW_MS)
    assert told == Retry("no connection: Connection refused")


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>secret inner page</html>" * 5_000, id="a large page"),
        pytest.param(b"\xff\x00\x1b[31m\n\nred" * 9, id="what is no text"),
        pytest.param(b'{"error": "' + b"x" * 5_000 + b'"}', id="long words"),
        pytest.param(b"[1, 2]", id="another shape"),
    ],
)
def test_an_answer_is_never_shown_whole(vendor, body):
    """A line that fits and prints, whatever somebody else's program says."""
    with provider() as made:
        made.replies(Reply(400, body))
        told = VENDORS[vendor](made.url).notify(page(), "", NOW_MS)
    assert isinstance(told, Rejected)
    assert len(told.error) < 250 and told.error.isprintable()


def test_an_inner_service_says_nothing_through_a_webhook():
    """Its words stay where they are: an address is easily set to somebody else's."""
    with provider() as made:
        made.replies(Reply(400, b"internal: root:x:0:0"))
        told = Webhook(LOCAL, Secret(made.url)).notify(page(), "", NOW_MS)
    assert told == Rejected("400 (it does not understand the message)")


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_same_page_again_is_the_same_to_the_provider(vendor):
    """After a crash it may come twice: what is deduplicated by does not change."""
    with provider() as made:
        made.replies(Reply(503))
        notifier = VENDORS[vendor](made.url)
        for later_ms in (0, 5_000):
            notifier.notify(page(), "", NOW_MS + later_ms)
    first, second = made.calls
    assert first.body == second.body
    assert first.headers.get("webhook-id") == second.headers.get("webhook-id")

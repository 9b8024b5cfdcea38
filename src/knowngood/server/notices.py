"""What became of messages, channel by channel, and whether a channel works."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from knowngood.core.addressing import people_of
from knowngood.core.asking import Purpose
from knowngood.core.errors import BadRequest
from knowngood.core.history import AuditEntry, Delivery, Outcome, Outgoing
from knowngood.core.model import Severity
from knowngood.engine.deliver import Post
from knowngood.ports import Delivered, Notifier, Page, Rejected, Retry
from knowngood.server.desk import Desk
from knowngood.server.words import when

LOG_MAX = 1_000
AUDIENCE = "on-call"  # whose people a test is for: it is they who have to hear it


def log(desk: Desk, thread: str | None = None, limit: int = 100) -> dict[str, Any]:
    """The newest tries, of a thread or of all, newest first."""
    found = desk.store.deliveries.recent(min(int(limit), LOG_MAX), thread)
    return {"deliveries": [_data(each) for each in found]}


def try_out(post: Post, desk: Desk, channel: str | None, actor: str, now_ms: int) -> dict[str, Any]:
    """Send a page that is marked as a drill to one channel, or to all; what each answered.

    Straight to the channels: nothing is queued, and nothing is tried again. Raises BadRequest for a
    channel that is not there.
    """
    names = list(post.notifiers) if channel is None else [channel]
    for name in names:
        if name not in post.notifiers:
            raise BadRequest(f"there is no channel {name!r}", known=list(post.notifiers))
    if not names:
        raise BadRequest("there is no channel", next_step="declare one in the policy: channels:")
    pages = [_page(post, name, actor, now_ms) for name in names]
    with ThreadPoolExecutor(len(names)) as pool:
        told = list(
            pool.map(_tell, (post.notifiers[n] for n in names), pages, [now_ms] * len(pages))
        )
    made = [_delivery(*each, now_ms) for each in zip(names, pages, told, strict=True)]
    for delivery in made:
        desk.store.deliveries.add(delivery)
    ok = all(each.outcome is Outcome.DELIVERED for each in made)
    desk.store.log.append([_line(desk, made, actor, now_ms)])
    return {"ok": ok, "deliveries": [_data(each) for each in made]}


def _page(post: Post, channel: str, actor: str, now_ms: int) -> Page:
    subject = f"Test of the channel {channel}"
    body = (
        f"{actor or 'Somebody'} asked for this with `knowngood notify test`. Nothing is wrong, and "
        "nothing has to be done. Where it opened an alert, close it there."
    )
    key = f"test/{channel}/{now_ms}"
    message = Outgoing(key, "", "", AUDIENCE, Severity.LOW, subject, body, now_ms, now_ms)
    return Page(
        key,
        AUDIENCE,
        Severity.LOW,
        subject,
        body,
        "none",
        "none",
        purpose=Purpose.PAGE,
        people=people_of(message, post.policy),
        created_ms=now_ms,
        drill=True,
    )


def _tell(notifier: Notifier, page: Page, now_ms: int) -> Delivered | Retry | Rejected:
    try:
        return notifier.notify(page, "", now_ms)
    except Exception as error:
        return Retry(f"{type(error).__name__}: {error}"[:300])


def _delivery(
    channel: str, page: Page, told: Delivered | Retry | Rejected, now_ms: int
) -> Delivery:
    outcome, said = Outcome.DELIVERED, getattr(told, "answer", "")
    if not isinstance(told, Delivered):
        outcome = Outcome.RETRY if isinstance(told, Retry) else Outcome.REJECTED
        said = told.error
    return Delivery(0, page.key, "", channel, outcome, said, now_ms)


def _line(desk: Desk, made: Sequence[Delivery], actor: str, now_ms: int) -> AuditEntry:
    said = "; ".join(f"{each.channel}: {each.outcome.value} ({each.answer})" for each in made)
    return AuditEntry(
        now_ms, "", "", "notify.tested", said, actor, 0, 0, policy_revision=desk.policy.revision
    )


def _data(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "message": delivery.message_id or None,
        "key": delivery.key,
        "thread": delivery.thread or None,
        "channel": delivery.channel,
        "outcome": delivery.outcome.value,
        "answer": delivery.answer,
        **when("at", delivery.at_ms),
        "next_ms": delivery.next_ms or None,
    }

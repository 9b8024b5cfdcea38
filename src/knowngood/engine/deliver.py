"""Messages on their way out: from the outbox to the notifiers, at least once, never in the way."""

from collections.abc import Mapping

from knowngood.core.history import Outgoing
from knowngood.ports import Delivered, Notifier, Page, Rejected, Retry, Store

BATCH_COUNT = 100  # a tick hands over this many at most, so that a flood delays nothing else
FIRST_RETRY_MS = 2_000
MAX_RETRY_MS = 300_000
MAX_ATTEMPTS = 50  # about four hours of trying

Receipts = dict[int, dict[str, Delivered | Rejected]]  # by message and notifier, the last word


def tick_deliver(
    store: Store,
    notifiers: Mapping[str, Notifier],
    now_ms: int,
    receipts: Receipts | None = None,
) -> int:
    """Hand every due message to all notifiers; how many were delivered.

    One that fails keeps the message from no other. `receipts` remembers between ticks who has taken
    a message that others have not, so that only those are asked again.
    """
    delivered = 0
    receipts = {} if receipts is None else receipts
    for message in store.outbox.due(now_ms, BATCH_COUNT):
        delivered += _deliver(store, notifiers, message, receipts, now_ms)
    return delivered


def _deliver(
    store: Store,
    notifiers: Mapping[str, Notifier],
    message: Outgoing,
    receipts: Receipts,
    now_ms: int,
) -> bool:
    answers = receipts.setdefault(message.id, {})
    failed: list[str] = []
    wait_ms = 0
    for name, notifier in notifiers.items():
        if name in answers:
            continue
        match _notify(notifier, _page(message), now_ms):
            case Retry(error, after_ms):
                failed.append(f"{name}: {error}")
                wait_ms = max(wait_ms, _back_off_ms(message) if after_ms is None else after_ms)
            case answer:
                answers[name] = answer
    failed += [f"{n}: {a.error}" for n, a in answers.items() if isinstance(a, Rejected)]
    unasked = len(answers) < len(notifiers)
    if unasked and message.attempt_count + 1 < MAX_ATTEMPTS:
        store.outbox.retry(message.id, now_ms + wait_ms, "; ".join(failed))
        return False
    del receipts[message.id]
    if failed:
        store.outbox.gave_up(message.id, "; ".join(failed), now_ms)
        return False
    taken = (f"{n}: {a.answer}" for n, a in answers.items() if isinstance(a, Delivered))
    store.outbox.sent(message.id, "; ".join(taken), now_ms)
    return True


def _notify(notifier: Notifier, page: Page, now_ms: int) -> Delivered | Retry | Rejected:
    try:
        return notifier.notify(page, "", now_ms)
    except Exception as error:  # a faulty notifier must not stand before all other messages
        return Retry(f"{type(error).__name__}: {error}")


def _back_off_ms(message: Outgoing) -> int:
    doublings = min(message.attempt_count, 16)
    return min(MAX_RETRY_MS, FIRST_RETRY_MS << doublings)


def _page(message: Outgoing) -> Page:
    return Page(
        message.key,
        message.audience,
        message.severity,
        message.subject,
        message.body,
        message.environment,
        message.prompt,
    )

"""Messages on their way out: at least once, each notifier for itself, never in the way."""

import pytest

from knowngood.core.model import Change, Notify, Severity
from knowngood.engine.deliver import (
    BATCH_COUNT,
    FIRST_RETRY_MS,
    MAX_ATTEMPTS,
    MAX_RETRY_MS,
    Receipts,
    tick_deliver,
)
from knowngood.ports import Delivered, Page, Rejected, Retry
from knowngood.store.memory import open_memory
from tests.core.build import NOW


class Pager:
    """Answers from a list, and then takes everything."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.keys: list[str] = []

    def notify(self, page: Page, receipt: str, now_ms: int):
        self.keys.append(page.key)
        answer = self.answers.pop(0) if self.answers else Delivered("ok")
        if isinstance(answer, Exception):
            raise answer
        return answer


def queued(*keys: str):
    """A store with these messages in its outbox."""
    store = open_memory()
    queue(store, *keys)
    return store


def queue(store, *keys: str) -> None:
    notes = tuple(Notify(key, "on-call", Severity.CRITICAL, "subject", "body") for key in keys)
    revision = store.states.get("production", "cs").revision
    store.states.apply([Change("production", "cs", revision, notes, "system")], NOW)


def test_a_message_is_sent_once():
    """Delivered by all: it is gone, and no later tick sends it again."""
    store, one, two = queued("a"), Pager(), Pager()
    pagers = {"one": one, "two": two}
    assert tick_deliver(store, pagers, NOW) == 1
    assert tick_deliver(store, pagers, NOW + 1) == 0
    assert (one.keys, two.keys, store.outbox.waiting_count()) == (["a"], ["a"], 0)


def test_the_same_key_is_queued_once():
    """Once per key, for ever: also after it was sent."""
    store, pager = queued("a"), Pager()
    tick_deliver(store, {"one": pager}, NOW)
    queue(store, "a")
    assert tick_deliver(store, {"one": pager}, NOW + 1) == 0
    assert pager.keys == ["a"]


@pytest.mark.parametrize(
    ("answer", "wait_ms"),
    [
        pytest.param(Retry("503"), FIRST_RETRY_MS, id="our own pace"),
        pytest.param(Retry("429", 30_000), 30_000, id="the provider's pace"),
        pytest.param(RuntimeError("a bug"), FIRST_RETRY_MS, id="a notifier that raises"),
    ],
)
def test_a_failed_delivery_is_tried_again(answer, wait_ms):
    """Never lost: it waits, and goes out as soon as the provider takes it."""
    store, pager = queued("a"), Pager(answer)
    assert tick_deliver(store, {"one": pager}, NOW) == 0
    assert tick_deliver(store, {"one": pager}, NOW + wait_ms - 1) == 0
    assert tick_deliver(store, {"one": pager}, NOW + wait_ms) == 1


def test_pauses_grow_and_the_trying_ends():
    """Twice as long each time, five minutes at most; after 50 attempts it is given up."""
    store, pager, now_ms, waits = queued("a"), Pager(*[Retry("down")] * 99), NOW, []
    while store.outbox.waiting_count():
        tick_deliver(store, {"one": pager}, now_ms)
        if due := store.outbox.due(now_ms + MAX_RETRY_MS, 1):
            waits.append(due[0].next_try_ms - now_ms)
            now_ms = due[0].next_try_ms
    assert len(pager.keys) == MAX_ATTEMPTS
    assert waits[:4] == [2_000, 4_000, 8_000, 16_000] and max(waits) == MAX_RETRY_MS
    assert now_ms - NOW < 5 * 3_600_000


def test_a_rejected_message_is_given_up():
    """What the provider will never take is not tried again."""
    store, pager = queued("a"), Pager(Rejected("400"))
    assert tick_deliver(store, {"one": pager}, NOW) == 0
    assert store.outbox.waiting_count() == 0 and pager.keys == ["a"]


@pytest.mark.parametrize("answer", [Retry("down"), Rejected("never"), RuntimeError("a bug")])
def test_one_broken_notifier_silences_no_other(answer):
    """Every notifier gets the message in the same tick, whatever the others answer."""
    store, broken, well = queued("a"), Pager(answer), Pager()
    tick_deliver(store, {"broken": broken, "well": well}, NOW)
    assert well.keys == ["a"]


def test_who_has_it_is_not_told_again():
    """Only the notifier that failed is asked again."""
    store, broken, well = queued("a"), Pager(Retry("down"), Retry("down")), Pager()
    receipts: Receipts = {}
    pagers = {"well": well, "broken": broken, "refuses": Pager(Rejected("400"))}
    for later in (0, FIRST_RETRY_MS, 3 * FIRST_RETRY_MS):
        tick_deliver(store, pagers, NOW + later, receipts)
    assert (well.keys, broken.keys) == (["a"], ["a"] * 3)
    assert pagers["refuses"].keys == ["a"]
    assert store.outbox.waiting_count() == 0 and receipts == {}


def test_a_broken_message_stands_before_no_other():
    """The messages behind one that fails go out in the same tick."""
    store, pager = queued("a", "b", "c"), Pager(RuntimeError("a bug"))
    assert tick_deliver(store, {"one": pager}, NOW) == 2
    assert pager.keys == ["a", "b", "c"]


def test_a_flood_is_sent_in_portions():
    """A tick hands over a bounded number, oldest first."""
    keys = [f"k{number:03}" for number in range(BATCH_COUNT + 5)]
    store, pager = queued(*keys), Pager()
    assert tick_deliver(store, {"one": pager}, NOW) == BATCH_COUNT
    assert tick_deliver(store, {"one": pager}, NOW) == 5
    assert pager.keys == keys

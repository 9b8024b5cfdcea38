"""The laws of the delivery log."""

from dataclasses import replace
from functools import partial

from knowngood.conformance.examples import AWKWARD, NOW_MS, together
from knowngood.core.history import Delivery, Outcome
from knowngood.ports import Store

THREAD = "production/support/g3.1"


def tried(message_id: int = 1, channel: str = "pager", **fields: object) -> Delivery:
    """A try that is to be repeated."""
    given = Delivery(
        message_id,
        f"key of {message_id}",
        THREAD,
        channel,
        Outcome.RETRY,
        "503",
        NOW_MS,
        NOW_MS + 1,
    )
    return replace(given, **fields)  # type: ignore[arg-type]


def taken(message_id: int = 1, channel: str = "pager", **fields: object) -> Delivery:
    """A try that was taken."""
    return tried(message_id, channel, outcome=Outcome.DELIVERED, next_ms=0, **fields)


class DeliveriesConformance:
    """What each channel answered, try by try."""

    def test_everything_of_a_try_survives(self, store: Store) -> None:
        """With any string in what a provider said."""
        given = taken(answer=AWKWARD, receipt=AWKWARD)
        store.deliveries.add(given)
        (kept,) = store.deliveries.recent(10)
        assert replace(kept, id=0) == given and kept.id > 0
        assert store.deliveries.of([1]) == {1: [kept]}

    def test_tries_are_kept_by_message_oldest_first(self, store: Store) -> None:
        """Also of messages that nobody has tried yet, which have none."""
        for number in range(3):
            store.deliveries.add(tried(1, at_ms=NOW_MS + number))
        store.deliveries.add(tried(2, "chat"))
        found = store.deliveries.of([1, 2, 3])
        assert [each.at_ms - NOW_MS for each in found[1]] == [0, 1, 2]
        assert [each.channel for each in found[2]] == ["chat"] and found[3] == []
        assert store.deliveries.of([]) == {}

    def test_a_last_word_is_the_last(self, store: Store) -> None:
        """For its channel and its message alone; whoever comes late changes nothing."""
        store.deliveries.add(taken())
        for late in (tried(), taken(receipt="another"), tried(outcome=Outcome.EXPIRED)):
            store.deliveries.add(late)
        store.deliveries.add(tried(1, "chat"))
        store.deliveries.add(taken(2))
        assert [(t.channel, t.outcome.value) for t in store.deliveries.of([1])[1]] == [
            ("pager", "delivered"),
            ("chat", "retry"),
        ]
        assert len(store.deliveries.of([2])[2]) == 1

    def test_of_many_last_words_one_is_kept(self, store: Store) -> None:
        """Two servers that asked the same channel at once do not both write what it said."""
        words = [partial(store.deliveries.add, taken(receipt=f"r{n}")) for n in range(6)]
        assert together(words) == [None] * 6
        assert len(store.deliveries.of([1])[1]) == 1

    def test_a_test_of_a_channel_has_no_last_word(self, store: Store) -> None:
        """It belongs to no message, and may be made as often as one likes."""
        for _ in range(2):
            store.deliveries.add(taken(0, thread=""))
        assert len(store.deliveries.recent(10)) == 2

    def test_receipts_of_a_thread(self, store: Store) -> None:
        """By channel the newest that says anything; a message without thread goes on with none."""
        store.deliveries.add(taken(1, receipt="first"))
        store.deliveries.add(taken(2, receipt="second"))
        store.deliveries.add(taken(3, receipt=""))
        store.deliveries.add(taken(4, "chat", receipt="C1:17.5"))
        store.deliveries.add(taken(5, "mail", thread="other", receipt="<1@here>"))
        store.deliveries.add(taken(6, "mail", thread="", receipt="<2@here>"))
        assert store.deliveries.receipts(THREAD) == {"pager": "second", "chat": "C1:17.5"}
        assert store.deliveries.receipts("") == {} == store.deliveries.receipts("unknown")

    def test_the_newest_come_first(self, store: Store) -> None:
        """Of all threads, or of one; never more than was asked for."""
        for number in (1, 2, 3):
            store.deliveries.add(taken(number, thread=f"t{number % 2}"))
        recent = store.deliveries.recent
        assert [each.message_id for each in recent(2)] == [3, 2]
        assert [each.message_id for each in recent(10, "t1")] == [3, 1]
        assert recent(0) == [] == recent(10, "t9")

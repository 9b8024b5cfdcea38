"""The courier: each channel in a thread of its own, and nothing of it only in memory."""

from dataclasses import replace
from threading import Event

import pytest

from knowngood.core.asking import Purpose
from knowngood.core.history import Delivery
from knowngood.core.model import Change, Notify, Severity
from knowngood.core.policy import parse
from knowngood.engine.deliver import Post
from knowngood.ports import Delivered, Rejected, Retry
from knowngood.server.courier import Courier, NothingGoesOut
from knowngood.sim.passing import PassingDeliveries
from knowngood.store.memory import open_memory
from tests.server.process import eventually
from tests.server.world import Clock

THREAD = "production/cs/g1.1"
WAIT_S = 30.0  # two busy cores


class Channel:
    """Answers from a list, then takes everything; `waits` until it is let go."""

    def __init__(self, *answers, waits: bool = False):
        self.answers = list(answers)
        self.keys: list[str] = []
        self.asked, self.free = Event(), Event()
        if not waits:
            self.free.set()

    def notify(self, page, receipt, now_ms):
        self.asked.set()
        self.free.wait(WAIT_S)
        self.keys.append(page.key)
        return self.answers.pop(0) if self.answers else Delivered("ok")


class Office:
    """A store with a courier over it."""

    def __init__(self, store=None, **channels):
        self.store = store or open_memory()
        self.clock = Clock()
        self.told: list[Delivery] = []
        self.channels = channels
        self.courier = Courier(self.clock, self.told.append)
        self.post = Post(self.store, parse({}), channels)

    def queue(self, *keys: str, purpose: Purpose = Purpose.PAGE) -> None:
        revision = self.store.states.get("production", "cs").revision
        notes = tuple(
            Notify(key, "on-call", Severity.HIGH, key, "", purpose=purpose, thread=THREAD)
            for key in keys
        )
        change = Change("production", "cs", revision, notes, "system")
        self.store.states.apply([change], self.clock.ms)

    def tick(self) -> None:
        self.clock.ms += 1_000
        self.courier.tick(self.post, self.clock.ms)

    def trouble(self) -> str:
        """Tick; why nothing goes out, empty when something does."""
        try:
            self.tick()
        except NothingGoesOut as error:
            return error.message
        return ""

    def until(self, look) -> None:
        def ticked() -> bool:
            self.trouble()
            return bool(look())

        eventually(ticked, WAIT_S)


@pytest.fixture
def office():
    made: list[Office] = []

    def open_office(store=None, **channels) -> Office:
        made.append(Office(store, **channels))
        return made[-1]

    yield open_office
    for each in made:
        for channel in each.channels.values():
            channel.free.set()
        each.courier.stop()


def test_a_channel_that_hangs_delays_no_other(office):
    """Nor does it delay the tick, which is where rollbacks are decided."""
    hangs, well = Channel(waits=True), Channel()
    desk = office(hangs=hangs, well=well)
    desk.queue("a")
    desk.tick()
    assert hangs.asked.wait(WAIT_S)
    desk.queue("b")
    desk.until(lambda: well.keys == ["a", "b"])
    assert hangs.keys == [] and desk.store.outbox.waiting_count() == 2
    hangs.free.set()
    desk.until(lambda: desk.store.outbox.waiting_count() == 0)
    assert hangs.keys == ["a", "b"] and well.keys == ["a", "b"]


def test_what_hangs_is_left_to_the_next_server(office):
    """It stops without waiting for ever; what was not answered is asked again, and nobody else."""
    hangs, well = Channel(waits=True), Channel()
    first = office(hangs=hangs, well=well)
    first.queue("a")
    first.until(lambda: well.keys == ["a"] and hangs.asked.is_set())
    second = office(first.store, hangs=Channel(), well=Channel())
    second.clock.ms = first.clock.ms
    second.until(lambda: first.store.outbox.waiting_count() == 0)
    assert second.channels["hangs"].keys == ["a"] and second.channels["well"].keys == []


def test_after_the_stop_nothing_is_handed_over(office):
    """A message waits in the outbox rather than in a thread that is about to end."""
    desk = office(one=Channel())
    desk.tick()
    desk.courier.stop()
    desk.queue("a")
    desk.tick()
    assert desk.channels["one"].keys == [] and desk.store.outbox.waiting_count() == 1
    assert all(each.thread is not None and not each.thread.is_alive()
               for each in desk.courier._rounds.values())  # fmt: skip


def test_every_try_is_told(office):
    """With the channel, and how it ended."""
    desk = office(one=Channel(Retry("503")))
    desk.queue("a")
    desk.until(lambda: len(desk.told) == 2)
    assert [(t.channel, t.outcome.value) for t in desk.told] == [
        ("one", "retry"), ("one", "delivered"),
    ]  # fmt: skip


@pytest.mark.parametrize("answer", [Retry("503"), Rejected("404")])
def test_that_nothing_goes_out_is_trouble(office, answer):
    """While every channel that could wake somebody fails; one that takes a message ends it."""
    desk = office(one=Channel(answer), two=Channel(answer))
    desk.queue("a")

    said = eventually(desk.trouble, WAIT_S)
    assert "one: " in said and "two: " in said
    desk.queue("b")
    eventually(lambda: not desk.trouble(), WAIT_S)


def test_a_note_that_is_refused_is_no_trouble(office):
    """Nobody was to be woken by it; whether pages go out is not known from it."""
    made = office(one=Channel(Rejected("no notes here")))
    made.queue("a", purpose=Purpose.NOTE)
    made.until(lambda: made.told)
    assert made.trouble() == ""


def test_one_channel_that_works_is_enough(office):
    """Then people are told, and the log says what is wrong with the other."""
    bad, good = Channel(*[Rejected("404")] * 5), Channel()
    desk = office(bad=bad, good=good)
    desk.queue("a", "b")
    desk.until(lambda: len(desk.told) == 4)
    desk.tick()


def test_a_line_in_the_log_is_nobody_told(office):
    """Where there is a pager, a log that works does not hide that it does not."""
    desk = office(log=Channel(), pager=Channel(*[Rejected("404")] * 5))
    desk.queue("a")

    assert eventually(desk.trouble, WAIT_S) == "pager: 404"


class Broken(PassingDeliveries):
    """A delivery log that cannot be written."""

    works = False

    def add(self, delivery):
        if not self.works:
            raise OSError("the disk is full")
        self.inner.add(delivery)


def test_a_store_that_fails_is_trouble_and_ends_no_thread(office):
    """A channel goes on as soon as its answers can be written."""
    store = open_memory()
    log = Broken(store.deliveries)
    desk = office(replace(store, deliveries=log), one=Channel())
    desk.queue("a")

    eventually(lambda: "the disk is full" in desk.trouble(), WAIT_S)
    log.works = True
    eventually(lambda: not desk.trouble() and desk.store.outbox.waiting_count() == 0, WAIT_S)

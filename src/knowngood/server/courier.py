"""The courier: a thread for each channel, so that one that hangs delays neither another channel nor
a rollback.

The engine's tick settles what needs no network and wakes the threads. What they do is in the outbox
and the delivery log alone: a server that is killed forgets nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

import structlog

from knowngood.core.addressing import reaching
from knowngood.core.asking import Purpose
from knowngood.core.errors import KnowngoodError
from knowngood.core.history import Delivery, Outcome, Outgoing
from knowngood.engine.deliver import Post, hand_over_due, settle
from knowngood.ports import Clock

STOP_WAIT_S = 5.0  # a request has 15 s; what is under way is asked again by the next server
FAILING = (Outcome.RETRY, Outcome.REJECTED, Outcome.GAVE_UP)

log = structlog.get_logger("knowngood.courier")


class NothingGoesOut(KnowngoodError):
    """No message reaches anybody."""

    code = "nothing_goes_out"


@dataclass(slots=True)
class _Round:
    """One channel's thread, and what was wrong last: with a page there, and with the store."""

    wake: Event = field(default_factory=Event)
    thread: Thread | None = None
    refused: str = ""
    broken: str = ""


class Courier:
    """Hands messages over, each channel in a thread of its own."""

    def __init__(self, clock: Clock, told: Callable[[Delivery], None] | None = None) -> None:
        """`told` hears of every try, in the channels' threads."""
        self._clock = clock
        self._told = told
        self._post: Post | None = None
        self._rounds: dict[str, _Round] = {}
        self._lock = Lock()
        self._stop = Event()

    def tick(self, post: Post, now_ms: int) -> None:
        """Settle what has ended, and wake every channel (engine.loop.Engine.deliver).

        Raises what the store raises, and NothingGoesOut while no channel that could wake somebody
        takes a page.
        """
        if self._stop.is_set():  # what is due is in the outbox, for the next server
            return
        self._post = post
        with self._lock:
            for name in post.notifiers:
                if name not in self._rounds:
                    self._rounds[name] = self._begin(name)
            rounds = list(self._rounds.values())
        try:
            settle(post, now_ms)
        finally:
            for each in rounds:
                each.wake.set()
        self._check(post)

    def stop(self) -> None:
        """End the threads after what they have in hand; one that hangs is left behind."""
        self._stop.set()
        with self._lock:
            rounds = dict(self._rounds)
        for each in rounds.values():
            each.wake.set()
        for name, each in rounds.items():
            assert each.thread is not None
            each.thread.join(STOP_WAIT_S)
            if each.thread.is_alive():
                log.warning("a channel did not stop in time", channel=name, wait_s=STOP_WAIT_S)

    def _begin(self, channel: str) -> _Round:
        made = _Round()
        made.thread = Thread(
            target=self._run, args=(channel, made), daemon=True, name=f"knowngood-{channel}"
        )
        made.thread.start()
        return made

    def _run(self, channel: str, mine: _Round) -> None:
        while True:
            mine.wake.wait()
            mine.wake.clear()
            if self._stop.is_set():
                return
            try:
                self._hand_over(channel, mine)
                mine.broken = ""
            except Exception as error:  # the store: nothing is lost, and the next tick wakes us
                mine.broken = f"{channel}: {type(error).__name__}: {error}"
                log.error("failed", part="courier", channel=channel, error=str(error))

    def _hand_over(self, channel: str, mine: _Round) -> None:
        post = self._post
        if post is None or channel not in post.notifiers:
            return

        def goes_on() -> bool:
            return not self._stop.is_set()

        hand_over_due(post, channel, self._clock.now_ms, goes_on, self._note(mine))

    def _note(self, mine: _Round) -> Callable[[Delivery, Outgoing], None]:
        def note(delivery: Delivery, message: Outgoing) -> None:
            # A note that is refused wakes nobody either way.
            if delivery.outcome in FAILING and message.purpose is Purpose.PAGE:
                mine.refused = f"{delivery.channel}: {delivery.answer}"
            elif delivery.outcome is Outcome.DELIVERED:
                mine.refused = ""
            if self._told is not None:
                self._told(delivery)

        return note

    def _check(self, post: Post) -> None:
        """Raises NothingGoesOut."""
        awake = reaching(tuple(post.notifiers), post.policy)
        with self._lock:
            rounds = [self._rounds[name] for name in awake if name in self._rounds]
        wrong = [each.broken or each.refused for each in rounds]
        if wrong and all(wrong):
            raise NothingGoesOut(
                "; ".join(wrong), next_step="knowngood notify test; knowngood notify log"
            )

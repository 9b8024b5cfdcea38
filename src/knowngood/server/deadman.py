"""A sign of life to somebody else's watchdog: it calls people when the sign stays away.

It is given only while everything is as it should be, so that a server that runs and does nothing is
found out, too.
"""

from threading import Lock, Thread

import structlog

from knowngood.adapters.egress import Egress, Failed, Refused
from knowngood.core.asking import Purpose
from knowngood.engine.deliver import WAITING_MAX
from knowngood.engine.loop import Engine

EVERY_MS = 60_000
# How late something may be before it counts: a tick takes a second, a slow store ten.
OVERDUE_MS = 60_000

log = structlog.get_logger("knowngood.heartbeat")


class DeadMan:
    """Pings an address once a minute, never in anybody's way."""

    def __init__(self, egress: Egress, url: str) -> None:
        """Raises Refused for an address that is not talked to."""
        egress.check(url)
        self._egress, self._url = egress, url
        self._lock = Lock()
        self._sent_ms: int | None = None
        self._troubled = False
        self.thread: Thread | None = None

    def trouble(self) -> None:
        """Something failed in the tick that is under way: there is no sign after it."""
        self._troubled = True

    def after_tick(self, engine: Engine, now_ms: int) -> bool:
        """Ping if all is well and a minute has gone by; whether a ping is on its way."""
        troubled, self._troubled = self._troubled, False
        if self._sent_ms is not None and now_ms - self._sent_ms < EVERY_MS:
            return False
        if troubled or engine.failing or is_overdue(engine, now_ms):
            return False
        if not self._lock.acquire(blocking=False):
            return False  # the last one still waits for its answer
        self._sent_ms = now_ms
        self.thread = Thread(target=self._ping, daemon=True, name="knowngood-heartbeat")
        self.thread.start()
        return True

    def _ping(self) -> None:
        try:
            answer = self._egress.get(self._url)
            if not 200 <= answer.status < 300:
                log.warning("the heartbeat was not taken", status=answer.status)
        except (Failed, Refused) as error:
            log.warning("the heartbeat did not arrive", error=str(error))
        finally:
            self._lock.release()


def is_overdue(engine: Engine, now_ms: int) -> bool:
    """Whether a page or a look at a prompt should have had its turn a minute ago."""
    before_ms = now_ms - OVERDUE_MS
    late = engine.store.outbox.due(before_ms, WAITING_MAX)
    if any(message.purpose is Purpose.PAGE for message in late):
        return True
    due = engine.reconciler.due
    return bool(due) and due[0][0] < before_ms

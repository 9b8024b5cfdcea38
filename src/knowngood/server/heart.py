"""The engine's thread: one tick a second, for as long as the server lives."""

import time
from threading import Event, Thread

import structlog

from knowngood.core.model import FLEET
from knowngood.engine.loop import TICK_MS, Engine
from knowngood.ports import Clock
from knowngood.server.metrics import Metrics

STOP_WAIT_S = 10.0  # a tick takes milliseconds; one that hangs on a database is left behind
# Lines of history read in a tick; people and other engines write a few. What is beyond waits for
# the look that is due anyway.
NEWS_COUNT = 1_000

log = structlog.get_logger("knowngood.engine")


class Heart:
    """Ticks the engine by the clock, and never stops because one tick failed."""

    def __init__(self, engine: Engine, clock: Clock, metrics: Metrics) -> None:
        """A heart that does not beat yet."""
        self.engine = engine
        self._clock = clock
        self._metrics = metrics
        self._seen_id: int | None = None
        self._stop = Event()
        self._thread: Thread | None = None

    def beat(self) -> None:
        """One tick, now."""
        now_ms = self._clock.now_ms()
        began_s = time.perf_counter()
        try:
            self._wake_changed(now_ms)
            for seen in self.engine.tick(now_ms):
                state = seen.state
                actions = [type(action).__name__ for action in seen.decision.actions]
                self._metrics.count_actions(actions)
                log.info(
                    "acted", environment=state.environment, prompt=state.prompt, actions=actions
                )
        except Exception as error:
            told(log, "tick", error)
        self._metrics.tick_seconds.observe(time.perf_counter() - began_s)

    def start(self) -> None:
        """Begin to tick, in a thread of its own."""
        self._thread = Thread(target=self._run, daemon=True, name="knowngood-engine")
        self._thread.start()

    def stop(self) -> None:
        """Tick a last time, so that nothing that came in is lost, and end the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_WAIT_S)
            if self._thread.is_alive():
                log.error("the engine did not stop in time", wait_s=STOP_WAIT_S)
                return
        self.beat()

    def _run(self) -> None:
        tick_s = TICK_MS / 1000
        next_s = time.monotonic()
        while not self._stop.is_set():
            self.beat()
            # By the monotonic clock, and without catching up: a tick missed is a tick not needed.
            next_s = max(next_s + tick_s, time.monotonic())
            self._stop.wait(next_s - time.monotonic())

    def _wake_changed(self, now_ms: int) -> None:
        """Look at once at what was changed: by a person here, by another server, by break-glass.

        The history tells of every change, whoever made it.
        """
        try:
            log_port = self.engine.store.log
            if self._seen_id is None:  # the engine looks at every prompt when it starts
                newest = log_port.read(limit=1)
                self._seen_id = newest[-1].id if newest else 0
                return
            for entry in log_port.read(after_id=self._seen_id, limit=NEWS_COUNT):
                self._seen_id = entry.id
                if entry.environment and entry.prompt != FLEET:
                    self.engine.reconciler.wake((entry.environment, entry.prompt), now_ms)
        except Exception as error:
            told(log, "news", error)


def told(logger: structlog.stdlib.BoundLogger, part: str, error: Exception) -> None:
    """Write down that a part of the engine failed; the others go on."""
    logger.error("failed", part=part, error=str(error), kind=type(error).__name__, exc_info=error)

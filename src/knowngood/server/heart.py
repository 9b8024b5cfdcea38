"""The engine's thread: one tick a second, for as long as the server lives."""

import time
from threading import Event, Thread

import structlog

from knowngood.engine.loop import TICK_MS, Engine
from knowngood.ports import Clock
from knowngood.server.deadman import DeadMan
from knowngood.server.metrics import Metrics

STOP_WAIT_S = 10.0  # a tick takes milliseconds; one that hangs on a database is left behind

log = structlog.get_logger("knowngood.engine")


class Heart:
    """Ticks the engine by the clock, and never stops because one tick failed."""

    def __init__(
        self, engine: Engine, clock: Clock, metrics: Metrics, deadman: DeadMan | None = None
    ) -> None:
        """A heart that does not beat yet; `deadman` is given a sign after each good beat."""
        self.engine = engine
        self._deadman = deadman
        self._clock = clock
        self._metrics = metrics
        self._stop = Event()
        self._thread: Thread | None = None

    def beat(self) -> None:
        """One tick, now."""
        now_ms = self._clock.now_ms()
        began_s = time.perf_counter()
        try:
            for seen in self.engine.tick(now_ms):
                state = seen.state
                actions = [type(action).__name__ for action in seen.decision.actions]
                self._metrics.count_actions(actions)
                log.info(
                    "acted", environment=state.environment, prompt=state.prompt, actions=actions
                )
            if self._deadman is not None:
                self._deadman.after_tick(self.engine, now_ms)
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


def told(logger: structlog.stdlib.BoundLogger, part: str, error: Exception) -> None:
    """Write down that a part of the engine failed; the others go on."""
    logger.error("failed", part=part, error=str(error), kind=type(error).__name__, exc_info=error)

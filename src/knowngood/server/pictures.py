"""The chart that a page about an incident comes with, where a channel carries images.

A page is worth more than its picture. It is drawn when a channel asks, in that channel's thread and
a process of its own, within a limit, and not for every page of a storm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import structlog

from knowngood.core.evolve import incident_of
from knowngood.core.history import Outgoing
from knowngood.core.incident_record import first_trigger
from knowngood.ports import Picture
from knowngood.server import renderer
from knowngood.server.charts import LIGHT, Spec
from knowngood.server.desk import Desk
from knowngood.server.incident_charts import charts_of
from knowngood.server.incidents import record

LIMIT_S = 5.0  # about one on an idle machine; without a picture a page is a page all the same
FRESH_MS = 60_000  # for a second channel, and for the next level of an escalation
# Between two drawings, so that a storm of pages is no slower than it would be without them.
PAUSE_MS = 10_000
FAILED_PAUSE_MS = 300_000

# What an incident is about, by the metric of its trigger; else its errors.
ABOUT = {"latency_p99": "p99", "quality": "quality"}

log = structlog.get_logger("knowngood.pictures")


@dataclass(frozen=True, slots=True)
class _Drawn:
    incident: str
    at_ms: int
    picture: Picture | None


class Pictures:
    """Draws the first chart of the incident that a page is about."""

    def __init__(self, desk: Desk, draw: Callable[[Spec, float], bytes] = renderer.png) -> None:
        """`draw` makes a PNG image of a specification within so many seconds, or raises."""
        self._desk, self._draw = desk, draw
        self._lock = Lock()
        self._last: _Drawn | None = None
        self._next_ms = 0

    def of(self, message: Outgoing, now_ms: int) -> Picture | None:
        """The chart, unless it cannot be had in time; never raises."""
        incident = incident_of(message.thread)
        if not incident or not self._lock.acquire(timeout=LIMIT_S):
            return None
        try:
            return self._of(incident, now_ms)
        finally:
            self._lock.release()

    def _of(self, incident: str, now_ms: int) -> Picture | None:
        last = self._last
        if last and last.incident == incident and 0 <= now_ms - last.at_ms < FRESH_MS:
            return last.picture
        if now_ms < self._next_ms:
            return None
        self._next_ms = now_ms + PAUSE_MS
        picture = None
        try:
            picture = self._drawn(incident, now_ms)
        except Exception as error:  # whatever is wrong with a picture, the page goes out
            self._next_ms = now_ms + FAILED_PAUSE_MS
            log.warning("a page goes out without its chart", incident=incident, error=str(error))
        self._last = _Drawn(incident, now_ms, picture)
        return picture

    def _drawn(self, incident: str, now_ms: int) -> Picture | None:
        found = record(self._desk, incident, now_ms)
        trigger = first_trigger(found.facts)
        about = ABOUT.get(trigger.when.metric if trigger else "", "error-rate")
        drawn = charts_of(self._desk, found, LIGHT)
        chart = next((c for c in drawn if c.name == about), drawn[0] if drawn else None)
        if chart is None:
            return None
        return Picture(self._draw(chart.spec, LIMIT_S), str(chart.spec["description"]))

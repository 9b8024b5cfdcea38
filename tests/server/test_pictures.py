"""The chart of a page: drawn where it can be had in time, and never in the way of the page."""

from threading import Event, Thread
from typing import Any

import pytest

from knowngood.core.asking import Purpose
from knowngood.core.history import Outgoing
from knowngood.core.model import Severity
from knowngood.engine.deliver import Post, page_of
from knowngood.server import pictures
from knowngood.server.pictures import FAILED_PAUSE_MS, FRESH_MS, PAUSE_MS, Pictures
from knowngood.server.renderer import RendererFailed
from tests.server.world import PROMPT, World, world

INCIDENT = f"production/{PROMPT}/g2.1"
WAIT_S = 30.0


@pytest.fixture(scope="module")
def shop():
    """12 % of the calls of v2.0.0 have failed, and it was rolled back."""
    with world() as made:
        made.push("v1.9.0")
        made.push("v2.0.0")
        made.promote("v1.9.0")
        made.live(30, "v1.9.0", 50)
        made.promote("v2.0.0")
        made.live(9, "v2.0.0", 44, 6)
        yield made


def message(thread: str = INCIDENT, purpose: Purpose = Purpose.PAGE) -> Outgoing:
    return Outgoing(
        "key", "production", PROMPT, "on-call", Severity.CRITICAL, "it fails", "", 0, 0,
        purpose=purpose, thread=thread,
    )  # fmt: skip


class Painter:
    """Draws at once, fails, or waits until it is let go."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.wrong: Exception | None = None
        self.asked, self.free = Event(), Event()
        self.free.set()

    def __call__(self, spec: dict[str, Any], limit_s: float) -> bytes:
        self.asked.set()
        self.free.wait(WAIT_S)
        self.titles.append(spec["title"]["text"])
        if self.wrong:
            raise self.wrong
        return b"PNG"


def test_a_page_has_the_chart_of_its_incident(shop):
    """What was breached, with words that say what it shows."""
    painter = Painter()
    found = Pictures(shop.runtime.desk, painter).of(message(), shop.clock.ms)
    assert found is not None and found.png == b"PNG"
    assert "v2.0.0: 12.0%" in found.words and "limit 5.0%" in found.words
    assert painter.titles == ["Error rate of each version"]


def test_what_was_drawn_serves_the_next_channel(shop):
    """For a minute; and a storm of other incidents does not wait for theirs."""
    painter, now_ms = Painter(), shop.clock.ms
    drawing = Pictures(shop.runtime.desk, painter)
    first = drawing.of(message(), now_ms)
    assert drawing.of(message(f"{INCIDENT}:asked"), now_ms + FRESH_MS - 1) is first
    assert len(painter.titles) == 1
    assert drawing.of(message(), now_ms + FRESH_MS) is not None and len(painter.titles) == 2
    assert drawing.of(message("production/x/g1.1"), now_ms + FRESH_MS + PAUSE_MS - 1) is None


def test_a_page_goes_out_without(shop):
    """Whatever is wrong: the renderer, the incident's name, or that there is no incident."""
    painter, now_ms = Painter(), shop.clock.ms
    painter.wrong = RendererFailed("timed out")
    drawing = Pictures(shop.runtime.desk, painter)
    assert drawing.of(message(), now_ms) is None
    assert drawing.of(message(), now_ms + FAILED_PAUSE_MS - 1) is None
    assert len(painter.titles) == 1
    painter.wrong = None
    assert drawing.of(message(), now_ms + FAILED_PAUSE_MS) is not None
    assert Pictures(shop.runtime.desk, painter).of(message(""), now_ms) is None
    assert Pictures(shop.runtime.desk, painter).of(message("production/x/g9.9"), now_ms) is None


def test_nobody_waits_for_a_drawing_that_hangs(shop, monkeypatch):
    """Another channel that asks meanwhile goes on without."""
    monkeypatch.setattr(pictures, "LIMIT_S", 0.01)
    painter = Painter()
    painter.free.clear()
    drawing = Pictures(shop.runtime.desk, painter)
    first = Thread(target=drawing.of, args=(message(), shop.clock.ms))
    first.start()
    assert painter.asked.wait(WAIT_S)
    assert drawing.of(message(), shop.clock.ms) is None
    painter.free.set()
    first.join(WAIT_S)
    assert painter.titles


def test_only_pages_have_a_picture(shop):
    """A word that it is over needs none, and nothing is drawn before a channel asks."""
    painter = Painter()
    picture = Pictures(shop.runtime.desk, painter).of
    post = Post(shop.runtime.store, shop.runtime.desk.policy, {}, picture=picture)
    page = page_of(post, message(), shop.clock.ms)
    assert not painter.titles and page.picture is not None
    assert page.picture() is not None
    assert page_of(post, message(purpose=Purpose.RESOLVED), shop.clock.ms).picture is None


def test_a_server_has_pictures(shop: World):
    """Its engine hands them to the channels."""
    assert shop.runtime.engine.post.picture is not None

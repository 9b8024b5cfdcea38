"""The page of the processes: who is behind, who is silent, and thousands of them."""

import re
import time
from html import unescape

import pytest

from knowngood.core.model import ClientSeen
from tests.web.world import page


def words(text):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def hear(world, who, generation, **more):
    """A process reports that it runs a generation."""
    body = world.batch(who, rows=[], generation=generation, **more)
    world.post("/api/observations", **body)


def shown(text):
    return re.findall(r'<th scope="row"><code>([^<]*)</code>', text)


def test_nobody_is_said(pages):
    """An empty census is no error."""
    assert "no process reports" in words(page(pages, "/processes")).lower()


def test_those_in_need_come_first(pages):
    """Behind, silent, current: each with its sign, its generation and when it was heard of."""
    pages.route_two()
    hear(pages, "gone", 1)
    pages.tick(20)
    hear(pages, "current", 2)
    hear(pages, "late", 1)
    pages.tick(2)
    text = page(pages, "/processes")
    assert shown(text) == ["late", "gone", "current"]
    read = words(text)
    assert "1 of 2 on generation 2" in read and "1 still runs an older generation" in read
    assert "1 was there and is silent now" in read and "1 behind" in read


def test_thousands_stay_quick(pages, monkeypatch):
    """A page at a time; the numbers are of all, and the rest can be found by name."""
    pages.route_two()
    heard = [
        ClientSeen(f"web-{i:05}", "production", "b", 1, 2 - (i == 7_777), pages.clock.ms)
        for i in range(10_000)
    ]
    monkeypatch.setattr(type(pages.runtime.store.clients), "clients", lambda *_: heard)
    began = time.process_time()
    text = page(pages, "/processes")
    assert time.process_time() - began < 2
    assert len(shown(text)) == 100 and shown(text)[0] == "web-07777"
    read = words(text)
    assert "9999 of 10000 on generation 2" in read and "Page 1 of 100: 100 of 10,000" in read
    assert shown(page(pages, "/processes", text="WEB-0123")) == [f"web-0123{i}" for i in range(10)]
    assert shown(page(pages, "/processes", only="behind")) == ["web-07777"]


def test_names_of_processes_are_text(pages):
    """Whatever a process calls itself."""
    hear(pages, "<script>alert(1)</script>", 0)
    pages.tick(2)
    text = page(pages, "/processes")
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text


@pytest.mark.parametrize(
    "query", [{"page": "²"}, {"page": "9" * 30}, {"page": "-3"}, {"only": "<b>"}, {"text": "\x00"}]
)
def test_absurd_questions_have_an_answer(pages, query):
    """None of them is an error of the server."""
    page(pages, "/processes", **query)


def test_an_unknown_environment_is_no_page(pages):
    """And says which there are."""
    assert "production" in page(pages, "/processes", 404, environment="nowhere")

"""The pages of the history: its lines, their frozen evidence, the chain, and judging again."""

import re
from dataclasses import replace
from html import unescape

import pytest

from tests.server.history import change, without_evidence
from tests.server.world import PROMPT
from tests.web.world import page


def words(text):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def ids(text):
    """The lines on a page."""
    return [int(found) for found in re.findall(r'href="/history/(\d+)', text)]


@pytest.fixture
def harmed(pages):
    """v2.0.0 fails half of its calls, is rolled back, and v1.9.0 recovers."""
    pages.route_two()
    pages.live(10, "v2.0.0", ok=10, bad=10)
    pages.report("v1.9.0", ok=10)
    pages.live(20, "v1.9.0", ok=10)
    return pages


def line_of(world, kind):
    entries = world.get("/api/audit", prompt=PROMPT, limit=1000)["entries"]
    return next(e["id"] for e in entries if e["kind"] == kind)


def test_lines_come_newest_first_page_by_page(pages):
    """Each of them once, over all pages."""
    pages.route_two()
    for i in range(60):
        state = "off" if i % 2 else "on"
        more = {"for": "1h"} if i % 2 else {}
        pages.post("/api/automation", prompt=PROMPT, state=state, because=f"n{i}", **more)
    seen, where = [], "/history?where=all"
    while where:
        text = page(pages, where)
        seen += ids(text)
        onward = re.search(r'rel="next" href="([^"]+)"', text)
        where = unescape(onward[1]) if onward else ""
    everything = [e["id"] for e in pages.get("/api/audit", limit=1000)["entries"]]
    assert seen == everything[::-1] and len(seen) > 50


def test_lines_are_sifted(harmed):
    """By prompt, by environment, and by words of their kind."""
    text = page(harmed, "/history", kind="rollback", prompt=PROMPT)
    assert ids(text) and "rollback.switched" in text and "<b>route.moved</b>" not in text
    assert "version.pushed</b>" not in page(harmed, "/history")
    assert "version.pushed</b>" in page(harmed, "/history", where="all")
    assert "Nothing of this kind" in page(harmed, "/history", kind="no such kind")
    assert not ids(page(harmed, "/history", environment="staging"))


def test_a_line_shows_what_was_frozen_in_it(harmed):
    """Findings, windows, the look, and the hash; all of it as data as well."""
    entry = line_of(harmed, "rollback.confirmed")
    text = page(harmed, f"/history/{entry}")
    read = words(text)
    assert harmed.get(f"/api/audit/{entry}")["hash"] in read
    assert "The windows it read" in read and "The frozen look" in read
    assert "v2.0.0" in read and "error_critical" in read and "since its deploy" in read
    assert "Everything that is kept of it" in read


def test_a_decision_is_made_again_from_the_page(harmed, monkeypatch):
    """The same comes out, or the page says that it does not, or why it cannot be."""
    entry = line_of(harmed, "rollback.confirmed")
    assert "The same verdict." in page(harmed, f"/history/{entry}", again="yes")
    assert "The same verdict." not in page(harmed, f"/history/{entry}")
    change(monkeypatch, harmed.runtime.store.log, entry, without_evidence)
    assert "Another verdict." in page(harmed, f"/history/{entry}", again="yes")
    pushed = harmed.get("/api/audit", limit=1000)["entries"][0]["id"]
    assert "cannot be made again" in page(harmed, f"/history/{pushed}", again="yes")


def test_the_chain_is_followed_on_demand(harmed):
    """Whole, broken at a line, or not the history that somebody kept a hash of."""
    assert "chain" not in page(harmed, "/history").split("<ol")[0].replace("Follow the chain", "")
    text = page(harmed, "/history", verify="yes")
    assert "The chain is whole." in text
    entry = line_of(harmed, "rollback.switched")
    head = harmed.get(f"/api/audit/{entry}")["hash"]
    assert f"Line {entry} is in it" in page(harmed, "/history", verify="yes", expect=head)
    assert "Not the same history" in page(harmed, "/history", verify="yes", expect="0" * 64)
    kept = harmed.runtime.store.log._data.log
    kept[entry - 1] = replace(kept[entry - 1], because="nothing happened")
    assert "The chain is broken." in page(harmed, "/history", verify="yes")
    page(harmed, "/history", 422, verify="yes", expect="no hash")


def test_a_long_chain_is_followed_bite_by_bite(harmed, monkeypatch):
    """Each answer says how far it holds, and leads on."""
    monkeypatch.setattr("knowngood.server.read.audit_verify.__defaults__", (0, "", None, 5))
    text = page(harmed, "/history", verify="yes")
    while "Whole so far." in text:
        onward = re.search(r'<a href="([^"]+)">Follow the next ones', text)
        assert onward
        text = page(harmed, unescape(onward[1]))
    total = len(harmed.get("/api/audit", limit=1000)["entries"])
    assert "The chain is whole." in text and f"{total} lines follow" in text


def test_reasons_are_shown_as_text(pages):
    """Whatever somebody writes."""
    pages.route_two()
    nasty = "<script>alert(1)</script> \u202egnp.exe \x1b[31m"
    pages.post("/api/automation", prompt=PROMPT, state="off", because=nasty, **{"for": "1h"})
    text = page(pages, "/history")
    entry = ids(text)[0]
    for shown in (text, page(pages, f"/history/{entry}")):
        assert "<script>alert" not in shown and "\u202e" not in shown and "\x1b" not in shown
        assert "&lt;script&gt;" in shown and "U+202E" in shown


@pytest.mark.parametrize(
    "path",
    ["/history/0", "/history/999999", "/history/abc", "/history/-1", "/history/²",
     "/history/" + "9" * 400, "/history/1%00", "/history?prompt=nobody", "/history?environment=x"],
)  # fmt: skip
def test_what_is_not_there(pages, path):
    """Is said on a page."""
    assert "That did not work" in page(pages, path, 404)


@pytest.mark.parametrize(
    "query",
    [{"before": "²"}, {"before": "-5"}, {"before": "9" * 50}, {"kind": "\x00"}, {"kind": "%" * 900},
     {"where": "<b>"}, {"verify": "yes", "after": "x"}, {"before": "0"}],
)  # fmt: skip
def test_absurd_questions_have_an_answer(pages, query):
    """None of them is an error of the server."""
    pages.push("v1")
    page(pages, "/history", **query)


def test_frozen_evidence_in_a_format_of_tomorrow(harmed, monkeypatch):
    """Is shown as data, and the rest of the line is read all the same."""
    entry = line_of(harmed, "rollback.confirmed")
    change(monkeypatch, harmed.runtime.store.log, entry, lambda d: d["frozen"].update(format=99))
    text = page(harmed, f"/history/{entry}")
    assert "The frozen look" not in text and "As data" in text

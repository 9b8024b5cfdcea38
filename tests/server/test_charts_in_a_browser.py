"""Charts in a real browser, on a page whose policy forbids evaluated code."""

import json
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from knowngood.server import charts
from knowngood.server.bundle import bundle
from tests.browser import program
from tests.server.test_charts import every, sheet

POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'"
WIDTH_PX = 700
OPTIONS = {"ast": True, "renderer": "canvas", "actions": False, "defaultStyle": False}
# The bundle's own names are global: a page's script keeps to itself.
SCRIPT = """(() => {
const specs = %s;
Promise.all(specs.map((spec, n) => vegaEmbed(`#chart-${n}`, spec, %s)))
  .then(all => { document.body.dataset.drawn = all.length })
  .catch(error => { document.body.dataset.drawn = `failed: ${error}` });
})()"""
PAGE = """<!doctype html><script src="/bundle.js"></script><script src="/page.js" defer></script>
<body style="width: %dpx; margin: 0">%s</body>"""


class Files(BaseHTTPRequestHandler):
    """A page with a policy, and its two scripts."""

    def __init__(self, files: dict[str, tuple[str, bytes]], *args: Any) -> None:
        self.files = files
        super().__init__(*args)

    def do_GET(self) -> None:
        kind, body = self.files.get(self.path, ("text/plain", b""))
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = program()
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def opened(browser: Any, specs: list[dict[str, Any]]) -> Iterator[tuple[Page, list[str]]]:
    holes = "".join(f'<div id="chart-{n}" style="width: 100%"></div>' for n in range(len(specs)))
    script = SCRIPT % (json.dumps(specs), json.dumps(OPTIONS))
    files = {
        "/": ("text/html", (PAGE % (WIDTH_PX, holes)).encode()),
        "/bundle.js": ("text/javascript", bundle()[0]),
        "/page.js": ("text/javascript", script.encode()),
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, files))
    Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page(viewport={"width": 800, "height": 1600})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    page.wait_for_selector("body[data-drawn]")
    yield page, said
    page.close()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", params=charts.THEMES)
def page(browser: Any, request: Any) -> Iterator[tuple[Page, list[str]]]:
    yield from opened(browser, list(every(sheet(theme=request.param, is_wide=True)).values()))


@pytest.mark.slow
def test_every_chart_is_drawn_without_a_complaint(page):
    """All of them, and neither the policy nor the drawing script has anything to say."""
    shown, said = page
    assert shown.locator("body").get_attribute("data-drawn") == "5"
    assert said == []


@pytest.mark.slow
def test_charts_are_as_wide_as_what_they_stand_in(page):
    """A page decides how wide its charts are."""
    shown, _ = page
    widths = shown.evaluate("[...document.querySelectorAll('canvas')].map(c => c.clientWidth)")
    assert len(widths) == 5 and all(abs(width - WIDTH_PX) < 20 for width in widths)


@pytest.mark.slow
def test_a_chart_is_described(page):
    """A screen reader says what it shows."""
    shown, _ = page
    label = shown.locator("#chart-0 [aria-label], #chart-0[aria-label]").first
    assert "v2.0.0: 12.0% (6 of 50)" in label.get_attribute("aria-label")


@pytest.mark.slow
def test_a_pointer_is_answered(page):
    """Near a point: when, which version, and the exact figures."""
    shown, _ = page
    box = shown.locator("#chart-0 canvas").bounding_box()
    text = "(document.querySelector('#vg-tooltip-element.visible') || {}).innerText"
    told = None
    for down in range(100, 150, 8):  # a line of points is somewhere there
        for right in range(300, 380, 8):
            shown.mouse.move(box["x"] + right, box["y"] + down)
            told = told or shown.evaluate(text)
    assert told and "12.0% (6 of 50)" in told

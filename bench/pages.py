"""The dashboard over 1,000 prompts: its first view, its weight, and how soon it shows a verdict."""

import contextlib
import gzip
import http.client
import json
import os
import re
import shutil
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from common import Row, post, server, wait_until
from playwright.sync_api import Page, sync_playwright

PROMPTS, ACTIVE = 1_000, 100
VIEWS = 30
CHANGES = 8  # verdicts that turn to a breach, one after another
CALLS = 60  # a second and active prompt
BROKEN = 3  # of them fail
VIEW_MS_MAX, VIEW_BYTES_MAX, LIVE_MS_MAX = 300, 500_000, 1_000
WITHIN_S = 60
# Notes when a row says for the first time that its prompt is in an incident.
WATCH = """() => {
  window.seen = {};
  const look = () => {
    for (const row of document.querySelectorAll("#rows tr"))
      if (!(row.id in seen) && row.querySelector(".flag.bad")) seen[row.id] = Date.now();
  };
  look();
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true });
}"""


def main() -> list[Row]:
    """A real server on SQLite, and a real browser in front of it."""
    with server() as (url, _):
        fill(url)
        traffic = Traffic(url)
        with traffic.flowing():
            wait_until(lambda: f"Page 1 of {PROMPTS // 100}" in view(url)[1], WITHIN_S, "the fleet")
            times = [view(url)[0] for _ in range(VIEWS)]
            plain, packed = weight(url)
            idle = min(healthz_ms(url) for _ in range(VIEWS))
            delays = live_ms(url, traffic)
            tick = tick_ms(url)
    usual, worst = statistics.median(times), max(times)
    late = statistics.median(delays)
    what = f"fleet page, {PROMPTS:,} prompts, {ACTIVE} active"
    return [
        Row(f"{what}: answered in", f"{usual:.0f} ms ({worst:.0f} at most)",
            f"`/healthz`: {idle:.1f} ms", f"{usual / idle:.0f}", f"≤ {VIEW_MS_MAX} ms",
            usual <= VIEW_MS_MAX),
        Row(f"{what}: page, style and script, packed", f"{packed / 1000:.0f} KB",
            f"the page unpacked: {plain / 1000:.0f} KB", f"{packed / plain:.2f}",
            f"≤ {VIEW_BYTES_MAX // 1000} KB", packed <= VIEW_BYTES_MAX),
        Row(f"{what}: a verdict on the open page after the tick that gave it",
            f"{late:.0f} ms ({max(delays):.0f} at most)", f"a tick: {tick:.0f} ms",
            f"{late / tick:.1f}",
            f"≤ {LIVE_MS_MAX:,} ms", late <= LIVE_MS_MAX),
    ]  # fmt: skip


def name(number: int) -> str:
    return f"prompt-{number:04}"


def fill(url: str) -> None:
    """Prompts with one version each, which serves everybody."""
    for number in range(PROMPTS):
        body: dict[str, Any] = {"version": "v1.0.0", "text": f"You are {name(number)}."}
        post(url, f"/api/prompts/{name(number)}/versions", body)
        order = {"prompt": name(number), "version": "v1.0.0", "now": True, "because": "first"}
        post(url, "/api/promote", order)


class Traffic:
    """One process that reports the active prompts once a second; `broken` are those that fail."""

    def __init__(self, url: str) -> None:
        self.broken: set[str] = set()
        self._url = url
        self._seq = 0
        self._stop = threading.Event()

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(WITHIN_S)

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self._stop.wait(max(0.0, next_s - time.monotonic())):
            next_s += 1
            self._seq += 1
            rows = [self._row(name(number)) for number in range(ACTIVE)]
            client = {"id": "bench:1:a", "boot": "b"}
            batch = {"v": 1, "client": client, "seq": self._seq, "environment": "production",
                     "generation": 10**6, "rows": rows}  # fmt: skip
            post(self._url, "/api/observations", batch)

    def _row(self, prompt: str) -> dict[str, Any]:
        bad = BROKEN if prompt in self.broken else 0
        errors = {"prompt": bad} if bad else {}
        return {"prompt": prompt, "version": "v1.0.0", "ago_ms": 0, "ok": CALLS - bad,
                "errors": errors, "latency": {"500": CALLS}}  # fmt: skip


def view(url: str) -> tuple[float, str]:
    """How long the server takes for the page, in ms, and what it says."""
    where = urlsplit(url)
    line = http.client.HTTPConnection(where.hostname or "", where.port, timeout=WITHIN_S)
    try:
        line.connect()
        began = time.perf_counter()
        line.request("GET", "/", headers={"Accept-Encoding": "gzip"})
        body = line.getresponse().read()
        took_ms = (time.perf_counter() - began) * 1_000
    finally:
        line.close()
    return took_ms, gzip.decompress(body).decode()


def healthz_ms(url: str) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(f"{url}/healthz", timeout=WITHIN_S) as answer:
        answer.read()
    return (time.perf_counter() - began) * 1_000


def weight(url: str) -> tuple[int, int]:
    """The bytes of the page, and of it and all that it brings along as they travel."""
    text = view(url)[1]
    files = set(re.findall(r'(?:href|src)="(/assets/[^"]+)"', text))
    return len(text.encode()), sum(travelled(url, path) for path in ("/", *files))


def travelled(url: str, path: str) -> int:
    request = urllib.request.Request(url + path, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
        return len(answer.read())


def tick_ms(url: str) -> float:
    """How long the engine's ticks took so far, on average."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=WITHIN_S) as answer:
        text = answer.read().decode()
    found = dict(re.findall(r"^knowngood_tick_seconds_(sum|count) (\S+)$", text, re.MULTILINE))
    return float(found["sum"]) / float(found["count"]) * 1_000


def live_ms(url: str, traffic: Traffic) -> list[int]:
    """From the tick that opened an incident to its row on the page, in ms, for some of them.

    Server and browser read the same machine's clock. The tick's own work is included.
    """
    chromium = os.environ.get("KNOWNGOOD_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page()
        page.goto(url)
        page.evaluate(WATCH)
        delays = [one_ms(url, page, traffic, name(number)) for number in range(CHANGES)]
        browser.close()
    return delays


def one_ms(url: str, page: Page, traffic: Traffic, prompt: str) -> int:
    traffic.broken = {prompt}
    key = f"rows:{prompt}"
    wait_until(
        lambda: page.evaluate("(key) => key in seen", key), WITHIN_S, f"{prompt} on the page"
    )
    shown_ms: int = page.evaluate("(key) => seen[key]", key)
    with urllib.request.urlopen(f"{url}/api/audit?prompt={prompt}&limit=100") as answer:
        entries = json.load(answer)["entries"]
    opened = [e["at_ms"] for e in entries if e["kind"] == "incident.opened"]
    return shown_ms - int(opened[0])

"""The machine's own Chromium, for tests that look at pages as people do."""

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

VARIABLE = "KNOWNGOOD_CHROMIUM"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
INSTALL = "apt-get install chromium"
# A bound for a busy machine; what is waited for takes a fraction of a second.
WAIT_MS = 30_000
# What people with disabilities need of a page: every rule of these, and the good practice beside.
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

# A chart that is neither drawn nor left out; `.loading` is its word where there are no scripts.
NOT_DRAWN = "[data-chart]:not([hidden]):not(:has(canvas))"


def program() -> str:
    """Where the browser is. Skips without one, and says how to get it; on CI it has to be there."""
    named = os.environ.get(VARIABLE)
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        looked = named or ", ".join(PROGRAMS)
        words = f"no Chromium is here ({looked}): {INSTALL}, or name one in {VARIABLE}"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return found


@dataclass
class Chromium:
    """One browser process, for all tests of this one.

    Playwright's event loop stands still between its calls, yet counts as running in its thread.
    So it is put away between tests: others of the same process run loops of their own.
    """

    browser: Browser
    loop: Any

    @contextmanager
    def awake(self) -> Iterator[Browser]:
        """The browser for one test."""
        asyncio._set_running_loop(self.loop)
        try:
            yield self.browser
        finally:
            asyncio._set_running_loop(None)


@contextmanager
def chromium() -> Iterator[Chromium]:
    """Start the browser, without a window."""
    where = program()
    expect.set_options(timeout=WAIT_MS)
    playwright = sync_playwright().start()
    loop = asyncio._get_running_loop()
    try:
        browser = playwright.chromium.launch(executable_path=where, args=["--hide-scrollbars"])
        asyncio._set_running_loop(None)
        yield Chromium(browser, loop)
        asyncio._set_running_loop(loop)
        browser.close()
    finally:
        asyncio._set_running_loop(loop)
        playwright.stop()
        asyncio._set_running_loop(None)


@dataclass
class Visitor:
    """Somebody in front of a page; `trouble` is what the browser complains of."""

    page: Page
    url: str
    trouble: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", lambda said: self._hear(said.type, said.text))
        self.page.on("pageerror", lambda error: self.trouble.append(f"thrown: {error}"))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning", "assert"):
            self.trouble.append(f"{kind}: {text}")

    def to(self, path: str) -> Page:
        """Open a page of the site, and wait until its charts are drawn."""
        self.page.goto(self.url + path)
        expect(self.page.locator(NOT_DRAWN)).to_have_count(0)
        return self.page

    def excuse(self, pattern: str, sure: bool = True) -> None:
        """Complaints that belong to what the test does; there has to be one, if it is `sure`."""
        excused = [each for each in self.trouble if re.search(pattern, each)]
        assert excused or not sure, (pattern, self.trouble)
        self.trouble = [each for each in self.trouble if each not in excused]

    def evaluate(self, script: str) -> Any:
        """What a script finds on the page."""
        return self.page.evaluate(script)


@contextmanager
def visitor(browser: Browser, url: str, **options: Any) -> Iterator[Visitor]:
    """A new person, with no cookie; the options are Playwright's for a context.

    Whatever the browser complained of and nobody excused fails the test.
    """
    context = browser.new_context(**options)
    try:
        found = Visitor(context.new_page(), url)
        yield found
        assert not found.trouble, found.trouble
    finally:
        context.close()


def hindrances(page: Page) -> list[str]:
    """What axe-core finds on the page: rule, impact, and the first place of each."""
    options = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": AXE_RULES}}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:200]} {node['failureSummary'][:300]}"
        for each in found
        for node in each["nodes"][:3]
    ]

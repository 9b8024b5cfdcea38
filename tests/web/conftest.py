"""Servers with pages, and people in front of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser import Chromium, Visitor, chromium, visitor
from tests.server.conftest import plain_logs
from tests.web.opened import Opened, opened
from tests.web.stage import set_stage
from tests.web.world import pages

__all__ = ["pages", "plain_logs"]

Come = Callable[..., Visitor]


@pytest.fixture(scope="session")
def the_chromium() -> Iterator[Chromium]:
    """One browser process."""
    with chromium() as found:
        yield found


@pytest.fixture
def browser(the_chromium: Chromium) -> Iterator[Browser]:
    """It, for one test."""
    with the_chromium.awake() as found:
        yield found


@pytest.fixture
def come(browser: Browser) -> Iterator[Come]:
    """`come(site)`: somebody new in front of a site."""
    with ExitStack() as stack:

        def arrive(site: Opened, **options: Any) -> Visitor:
            return stack.enter_context(visitor(browser, site.url, **options))

        yield arrive


@pytest.fixture
def site() -> Iterator[Opened]:
    """A server in local mode that browsers can come to, over an empty memory store."""
    with opened() as made:
        yield made


@pytest.fixture(scope="session")
def stage() -> Iterator[Opened]:
    """A fleet with something of everything on it. Whoever visits looks, and changes nothing."""
    with opened(environments=("production", "staging")) as made:
        set_stage(made)
        yield made

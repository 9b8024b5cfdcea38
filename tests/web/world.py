"""A server with its pages, on a clock that the test moves, and who visits them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

import pytest

from knowngood.web import install
from tests.server.world import World
from tests.server.world import world as new_world

FORM_KIND = {"Content-Type": "application/x-www-form-urlencoded"}


@contextmanager
def site(**settings: Any) -> Iterator[World]:
    """The server of `tests.server.world`, with pages."""
    with new_world(pages=install, **settings) as made:
        yield made


@pytest.fixture
def pages() -> Iterator[World]:
    """A server in local mode with pages, over an empty memory store."""
    with site() as made:
        yield made


def page(world: World, path: str, status: int = 200, **query: Any) -> str:
    """A page's text."""
    answer = world.client.get(path, params=query or None, follow_redirects=False)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html"), answer.headers
    return answer.text


def form_of(text: str) -> dict[str, str]:
    """The hidden fields of the page's form."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', text)
    return {name: unescape(value) for name, value in found}


def send(world: World, path: str, fields: dict[str, str], status: int = 303, **more: str) -> Any:
    """A form sent as a browser sends it."""
    answer = world.client.post(
        path, data={**fields, **more}, headers=FORM_KIND, follow_redirects=False
    )
    assert answer.status_code == status, answer.text
    return answer

"""Servers for tests."""

from collections.abc import Iterator

import pytest
import structlog

from tests.server.world import World
from tests.server.world import world as new_world


@pytest.fixture(autouse=True, scope="session")
def plain_logs() -> Iterator[None]:
    """Log lines without structlog's framed tracebacks, which take seconds to draw."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        cache_logger_on_first_use=False,
    )
    yield
    structlog.reset_defaults()


@pytest.fixture
def world() -> Iterator[World]:
    """A server in local mode over an empty memory store."""
    with new_world() as made:
        yield made

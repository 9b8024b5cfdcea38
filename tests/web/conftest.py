"""Servers with pages."""

from tests.server.conftest import plain_logs
from tests.web.world import pages

__all__ = ["pages", "plain_logs"]

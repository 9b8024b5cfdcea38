"""What the tests of the command line share."""

import pytest

from tests.cli.world import World


@pytest.fixture
def world(tmp_path, monkeypatch):
    """An empty folder with a running server, ended with the test."""
    found = World(tmp_path, monkeypatch)
    found.server_starts()
    yield found
    found.server_stops()

"""The hot path's budget, with room for slow machines; bench/ measures it properly."""

import json
import timeit

import pytest

from knowngood.sdk.client import Client
from knowngood.wire import encode_snapshot
from tests.sdk.server import snapshot


@pytest.fixture
def client(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(encode_snapshot(snapshot(candidate_bp=500))))
    client = Client(path)
    client._recorder.recording = True
    return client


def best_us(function, clear) -> float:
    """The best of many short runs: what the code costs when nobody else is running."""
    return min(timeit.repeat(function, setup=clear, number=1_000, repeat=30)) * 1_000


@pytest.mark.slow
def test_get_costs_microseconds(client):
    """get + split <= 1 us, + render and a recorded call <= 3 us; five times that fails the test."""

    def whole() -> None:
        prompt = client.get("bot", unit="user-1234")
        prompt.render(name="Ada")
        with prompt.call():
            pass

    clear = client._recorder.calls.clear
    assert best_us(lambda: client.get("chat"), clear) < 5
    assert best_us(lambda: client.get("bot", unit="user-1234"), clear) < 5
    assert best_us(whole, clear) < 15

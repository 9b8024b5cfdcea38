"""A server of the test's own, a clock it moves, and clients that are closed after it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from knowngood.sdk.client import Client
from tests.sdk.server import Clock, TinyServer


@pytest.fixture
def server() -> Iterator[TinyServer]:
    server = TinyServer()
    yield server
    server.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_client(server: TinyServer) -> Iterator[Callable[..., Client]]:
    """Makes clients of the server; `start=False` leaves the timetable to `step`."""
    made: list[Client] = []

    def make(source: Any = None, **options: object) -> Client:
        options.setdefault("snapshot_file", False)
        given: Any = options
        client = Client(source or server.url, **given)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def stepped(make_client: Callable[..., Client], clock: Clock) -> Callable[..., Client]:
    """Makes clients without a thread, on the test's clock, with 1,700,000,000 on the wall."""

    def make(**options: object) -> Client:
        client = make_client(
            start=False, clock=clock, wall_s=lambda: 1_700_000_000.0 + clock() - 1000.0, **options
        )
        client._recorder.wake = None  # nobody starts the thread: the test steps
        return client

    return make


@pytest.fixture
def step(clock: Clock) -> Callable[[Client, float], None]:
    """Lets time pass and the worker do whatever is due, each quarter second."""

    def pass_time(client: Client, seconds: float = 0.0) -> None:
        assert client._worker is not None
        client._worker.step()
        for _ in range(round(seconds * 4)):
            clock.advance(0.25)
            client._worker.step()

    return pass_time

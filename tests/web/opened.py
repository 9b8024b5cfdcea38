"""A server with pages on a real port, still on a clock that the test moves."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from knowngood.server.app import create_app
from knowngood.server.runtime import Lanes
from knowngood.server.settings import Settings
from knowngood.web import install
from tests.server.process import eventually
from tests.server.world import Clock, World

STOP_S = 30.0


@dataclass
class Opened(World):
    """A server that browsers can come to. It can be stopped, and started again as it was."""

    app: FastAPI = field(default_factory=FastAPI)
    port: int = 0
    _server: uvicorn.Server | None = None
    _thread: Thread | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the port of the last time if there was one."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        self.runtime.is_ending = False
        # The store outlives a stop, so the application's own beginning and end are left out.
        config = uvicorn.Config(
            self.app, lifespan="off", log_config=None, access_log=False, proxy_headers=False
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._run, args=(self._server, listening), daemon=True)
        self._thread.start()
        eventually(lambda: self._server is not None and self._server.started, STOP_S)

    def _run(self, server: uvicorn.Server, listening: socket.socket) -> None:
        async def main() -> None:
            self.runtime.lanes = Lanes()
            await server.serve(sockets=[listening])

        asyncio.run(main())

    def stop(self) -> None:
        """End as a server does: streams are closed, and nobody listens any more."""
        if self._server is None or self._thread is None:
            return
        self.client.close()
        self.runtime.is_ending = True
        self._server.should_exit = True
        self._thread.join(STOP_S)
        assert not self._thread.is_alive()
        self._server = self._thread = None
        self.client = new_client(self.url)


def new_client(url: str) -> httpx2.Client:
    """Programs that talk to the server."""
    return httpx2.Client(base_url=url, trust_env=False, timeout=STOP_S)


@contextmanager
def opened(**settings: Any) -> Iterator[Opened]:
    """A server in this process with its pages, for browsers."""
    clock = Clock()
    app = create_app(Settings(**{"db": "memory:", **settings}), clock, ticking=False, pages=install)
    runtime = app.state.runtime
    made = Opened(new_client("http://127.0.0.1"), clock, runtime, app=app)
    try:
        made.start()
        made.client.close()
        made.client = new_client(made.url)
        yield made
    finally:
        made.stop()
        made.client.close()
        runtime.store.close()

"""The engine's thread: it ticks, it goes on when something fails, it ends in order."""

import threading

from starlette.testclient import TestClient

from knowngood.engine.loop import Engine
from knowngood.server.app import create_app
from knowngood.server.settings import Settings
from tests.server.world import PROMPT, URL, world


def test_a_server_ticks_by_itself_until_it_is_stopped(tmp_path, monkeypatch):
    """The thread lives as long as the application."""
    app = create_app(Settings(db=str(tmp_path / "k.db")))
    ticked, tick = threading.Event(), Engine.tick

    def ticking(engine, now_ms):
        ticked.set()
        return tick(engine, now_ms)

    monkeypatch.setattr(Engine, "tick", ticking)
    with TestClient(app, base_url=URL):
        assert ticked.wait(30)
        names = [thread.name for thread in threading.enumerate()]
        assert "knowngood-engine" in names
    names = [thread.name for thread in threading.enumerate()]
    assert "knowngood-engine" not in names


def test_what_came_in_last_is_written_at_the_end(tmp_path):
    """A proper end loses no second."""
    db = str(tmp_path / "k.db")
    app = create_app(Settings(db=db))
    with TestClient(app, base_url=URL) as client:
        path = "/api/prompts/cs/versions"
        assert client.post(path, json={"version": "v1", "text": "x"}).status_code == 201
        report = {
            "v": 1,
            "client": {"id": "a", "boot": "b"},
            "seq": 1,
            "environment": "production",
            "generation": 0,
            "rows": [{"prompt": "cs", "version": "v1", "ago_ms": 0, "ok": 7}],
        }
        assert client.post("/api/observations", json=report).json()["accepted"] == 1
    with world(db=db) as again:
        buckets = again.runtime.store.series.read(("production", "cs", "v1"), 0, 2**60)
        assert sum(bucket.window.ok for bucket in buckets) == 7


def test_a_tick_that_fails_does_not_end_the_heart(world, monkeypatch):
    """It is written down, and the next tick comes."""
    engine, ticks = world.runtime.engine, []

    def fail(now_ms):
        ticks.append(now_ms)
        raise RuntimeError("out of memory, say")

    monkeypatch.setattr(type(engine), "tick", lambda self, now_ms: fail(now_ms))
    world.tick(2)
    assert len(ticks) == 2


def test_what_the_engine_does_is_counted(world):
    """By kind of action, for the figures."""
    world.route_two()
    world.live(8, "v2.0.0", ok=10, bad=10)
    assert 'knowngood_actions_total{kind="MoveRoute"} 1.0' in world.client.get("/metrics").text


def test_what_somebody_else_changes_is_looked_at_at_once(tmp_path):
    """A rollback by break-glass, or by another server, is verified from the next tick on."""
    db = str(tmp_path / "k.db")
    with world(db=db) as here:
        here.route_two()
        here.tick(3)
        with world(db=db) as there:
            there.clock.ms = here.clock.ms
            there.post("/api/rollback", prompt=PROMPT)
        here.tick()
        assert here.kinds()[-1] == "rollback.propagated"

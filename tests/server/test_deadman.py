"""Signs of life to a watchdog elsewhere: once a minute, and only while all is well."""

import pytest

from knowngood.core.asking import Purpose
from knowngood.core.model import Change, Notify, Severity
from knowngood.server.deadman import EVERY_MS, DeadMan
from knowngood.server.settings import BadSettings
from tests.adapters.vendors import LOCAL, Reply, closed_port, provider
from tests.server.world import world as new_world


@pytest.fixture
def watchdog():
    with provider() as made:
        yield made


@pytest.fixture
def alive(watchdog):
    """A server that gives signs of life."""
    with new_world(heartbeat_url=watchdog.url + "/beat", egress_loopback=True) as made:
        yield made


def beat(world, count: int = 1) -> None:
    """Ticks, each with its ping answered."""
    for _ in range(count):
        world.tick()
        deadman = world.runtime.heart._deadman
        if deadman.thread is not None:
            deadman.thread.join(30)


def test_once_a_minute(alive, watchdog):
    """A GET, at the first good tick and then every sixty seconds."""
    beat(alive, 121)
    assert [(call.method, call.path) for call in watchdog.calls] == [("GET", "/beat")] * 3


def test_not_while_a_part_fails(alive, watchdog, monkeypatch):
    """The process lives, and does not do its work."""
    from knowngood.store.memory import MemorySeries

    monkeypatch.setattr(MemorySeries, "compact", lambda *_: 1 / 0)
    alive.clock.ms += EVERY_MS
    beat(alive, 5)
    assert watchdog.calls == []
    monkeypatch.undo()
    alive.clock.ms += EVERY_MS
    beat(alive)
    assert len(watchdog.calls) == 1


def test_not_while_a_prompt_cannot_be_looked_at(alive, watchdog):
    """One look that fails stops no tick, and the sign stays away all the same."""
    alive.runtime.engine.reconciler.on_error(("production", "cs"), ValueError("broken"))
    beat(alive)
    assert watchdog.calls == []
    beat(alive)
    assert len(watchdog.calls) == 1


@pytest.mark.parametrize(("purpose", "signs"), [(Purpose.PAGE, 1), (Purpose.NOTE, 4)])
def test_not_while_a_page_is_overdue(alive, watchdog, purpose, signs):
    """A page that nobody takes from the outbox; what wakes nobody may wait."""
    engine = alive.runtime.engine
    engine.deliver = lambda post, now_ms: None
    note = Notify("a", "on-call", Severity.HIGH, "", "", purpose)
    seen = Change("production", "cs", 0, (note,), "system")
    engine.store.states.apply([seen], alive.clock.ms)
    beat(alive)
    assert len(watchdog.calls) == 1
    beat(alive, 180)
    assert len(watchdog.calls) == signs


@pytest.mark.parametrize("reply", [Reply(500), Reply(hang=True)])
def test_a_watchdog_that_fails_is_in_nobodys_way(alive, watchdog, reply):
    """The tick does not wait for its answer."""
    watchdog.replies(reply)
    alive.tick()
    assert alive.runtime.engine.ticked_ms == alive.clock.ms
    alive.clock.ms += EVERY_MS
    alive.tick()


def test_where_nothing_listens():
    """It is asked again a minute later."""
    made = DeadMan(LOCAL, f"http://127.0.0.1:{closed_port()}")
    with new_world() as world:
        for _ in range(2):
            assert made.after_tick(world.runtime.engine, world.clock.ms)
            assert made.thread is not None
            made.thread.join(30)
            assert not made.after_tick(world.runtime.engine, world.clock.ms + 1)
            world.clock.ms += EVERY_MS


def test_an_address_that_is_not_talked_to_stops_the_start():
    """As for every other way out."""
    with pytest.raises(BadSettings, match="heartbeat"), new_world(heartbeat_url="http://x"):
        pass

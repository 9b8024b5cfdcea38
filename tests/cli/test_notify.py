"""`knowngood notify`: does each channel work, and what became of each message?"""

import json

import pytest

from knowngood.adapters.notify.log import LogNotifier
from knowngood.core.asking import Purpose
from knowngood.core.model import Change, Notify, Severity
from knowngood.ports import Delivered, Rejected


@pytest.fixture
def answers(monkeypatch):
    """What the log answers, in turn."""
    left = [Delivered("written to the log")]
    monkeypatch.setattr(LogNotifier, "notify", lambda *_: left.pop(0))
    return left


def test_a_test_of_all_channels(world, answers):
    """What each answered, and the exit code of a script."""
    done = world.run("notify", "test")
    assert done.exit_code == 0, done.output
    assert "✓ delivered  log      written to the log" in done.stdout
    assert done.stdout.endswith("every channel took it\n")


def test_a_test_that_fails(world, answers):
    """The provider's word, and exit code 1; as JSON the same."""
    answers[:] = [Rejected("401 (it does not know our credentials)")] * 2
    done = world.run("notify", "test", "log")
    assert done.exit_code == 1
    assert "✗ rejected  log      401 (it does not know our credentials)" in done.stdout
    done = world.run("notify", "test", "log", "--json")
    assert done.exit_code == 1 and json.loads(done.stdout)["ok"] is False


def test_a_channel_that_is_not_there(world):
    """Is refused, with those that are."""
    done = world.run("notify", "test", "pager")
    assert done.exit_code == 1 and "there is no channel 'pager'" in done.stderr
    assert "log" in done.stderr


def test_the_log(world, answers):
    """Nothing yet; then each try with its message, also while the server is down."""
    assert "no channel was asked" in world.run("notify", "log").stdout
    states = world.api.app.state.runtime.store.states
    note = Notify("the-key", "on-call", Severity.HIGH, "", "", Purpose.PAGE, "a/b/g1.1")
    states.apply([Change("production", "b", 0, (note,), "system")], world.clock.ms)
    world.wait("1")
    shown = world.run("notify", "log", "--thread", "a/b/g1.1").stdout
    assert "✓ delivered  log" in shown and "the-key" in shown
    assert world.run("notify", "log", "--thread", "other").stdout.startswith("no channel")
    world.server_stops()
    assert world.run("notify", "log", "--thread", "a/b/g1.1", "--db", "kg.db").stdout == shown
    assert "server" in world.run("notify", "test").stderr

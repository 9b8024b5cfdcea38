"""The purge that happens by itself: one prompt a tick, once a day, never in the way."""

from dataclasses import replace

from knowngood.core.errors import StaleState
from knowngood.engine.retain import RELEASES_MAX, SWEEP_AFTER_MS, SWEEP_EVERY_MS, Sweep, shelf
from tests.engine.shop import DAY, HOUR, SECOND, START, Shop, stocked

LATER = START + 400 * DAY


def left(store, *prompts: str) -> str:
    return " ".join(str(len(store.registry.versions(prompt))) for prompt in prompts)


def test_one_prompt_a_tick_once_a_day():
    """A fleet's purge takes a second a prompt, so that no tick is long; then a day of rest."""
    shop = Shop("a", "b")
    sweep = Sweep()
    for ms, expected in (
        (0, "3 3"),
        (SWEEP_AFTER_MS - 1, "3 3"),
        (SWEEP_AFTER_MS, "1 3"),
        (SWEEP_AFTER_MS + SECOND, "1 1"),
    ):
        sweep.step(shop.store, shop.policy, "system", LATER + ms)
        assert left(shop.store, "a", "b") == expected
    assert sweep.next_ms == LATER + SWEEP_AFTER_MS + SWEEP_EVERY_MS
    assert sweep.step(shop.store, shop.policy, "system", LATER + SWEEP_AFTER_MS + HOUR) == []


def test_a_prompt_that_changes_all_the_while_waits():
    """So does one that vanished: the others go on, and no part of the engine fails."""
    shop = Shop("a", "b")

    class Busy:
        def __getattr__(self, name):
            return getattr(shop.store.retention, name)

        def purge(self, order, now_ms):
            raise StaleState

    sweep = Sweep(next_ms=LATER)
    busy = replace(shop.store, retention=Busy())
    assert sweep.step(busy, shop.policy, "system", LATER) == []
    sweep.waiting.appendleft("nobody")
    assert sweep.step(shop.store, shop.policy, "system", LATER) == []
    assert sweep.step(shop.store, shop.policy, "system", LATER) == ["v1", "v2"]
    assert left(shop.store, "a", "b") == "3 1"


def test_a_sweep_that_takes_long_is_ended_before_the_next():
    """However many prompts there are, the last one's turn comes."""
    shop = Shop("a", "b")
    sweep = Sweep(every_ms=1, next_ms=LATER)
    for ms in range(2):
        sweep.step(shop.store, shop.policy, "system", LATER + ms)
    assert left(shop.store, "a", "b") == "1 1"


def test_a_store_that_fails_is_told_and_stops_nothing_else():
    """The purge is a part of the tick like any other."""
    shop = Shop()
    shop.promotes("v1")

    class Down:
        def __getattr__(self, name):
            raise OSError(f"{name} is away")

    shop.engine.store = replace(shop.store, retention=Down())
    shop.engine.sweep = Sweep(next_ms=START)
    shop.second(ok=10)
    assert [name for name, _ in shop.errors] == ["purge"]
    assert shop.engine.ticked_ms == shop.now_ms


def test_what_serves_and_what_follows_it_is_kept():
    """After a year of one version: it stays, and so does the newest; the other may go."""
    store = stocked()
    shop = Shop(store=store)
    shop.promotes("v1")
    found = shelf(store, shop.policy.for_prompt("cs"), "cs", LATER)
    assert found.free == ("v2",)
    assert RELEASES_MAX > 100

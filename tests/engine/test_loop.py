"""The tick: its parts are apart, and one that fails stops no other."""

from dataclasses import replace

import pytest

from knowngood.engine.loop import COMPACT_EVERY_MS, begin_ms
from knowngood.engine.reconcile import look
from tests.engine.shop import HOUR, SECOND, START, Shop, batch, row

BAD = {"ok": 80, "errors": 20}


class Down:
    """Everything raises."""

    def __getattr__(self, name):
        def fail(*_):
            raise OSError(f"{name} is away")

        return fail


def deployed() -> Shop:
    """v2 came a moment ago, after an hour of v1."""
    shop = Shop()
    shop.promotes("v1")
    shop.now_ms += HOUR
    shop.promotes("v2")
    return shop


def running() -> Shop:
    """It serves well so far."""
    shop = deployed()
    shop.seconds(3, ok=100)
    return shop


def test_a_notifier_that_fails_delays_no_rollback():
    """The route moves; the words wait in the outbox until somebody takes them."""
    shop = running()
    shop.engine.notifiers = {"pager": Down()}
    shop.until("rollback.switched", **BAD)
    assert shop.serving() == "v1"
    waiting = shop.store.outbox.waiting_count()
    assert waiting >= 2 and not shop.pager.subjects
    shop.engine.notifiers = {"pager": shop.pager}
    shop.seconds(10, ok=100)
    assert shop.store.outbox.waiting_count() == 0 and len(shop.pager.subjects) >= waiting


def test_an_outbox_that_fails_delays_no_rollback():
    """Also the outbox itself is only the last part of a tick."""
    shop = running()
    shop.engine.store = replace(shop.store, outbox=Down())
    shop.until("rollback.switched", **BAD)
    assert shop.serving() == "v1"
    assert {name for name, _ in shop.errors} == {"deliver"}


def test_a_store_that_takes_no_observations_stops_no_look():
    """Judging goes on over what is there; nothing is lost, and it is written later."""
    shop = running()
    series = shop.store.series
    shop.ingest._store = replace(shop.store, series=Down())
    shop.seconds(8, **BAD)
    assert {name for name, _ in shop.errors} == {"ingest"}
    assert shop.serving() == "v2" and shop.engine.ticked_ms == shop.now_ms
    shop.ingest._store = replace(shop.store, series=series)
    shop.until("rollback.switched", **BAD)
    assert shop.serving() == "v1"


def test_what_came_while_the_store_was_away_is_judged():
    """The closed border waits for the store, so that no bucket is read before it is whole."""
    shop = running()
    series = shop.store.series
    shop.ingest._store = replace(shop.store, series=Down())
    shop.seconds(10, ok=0, errors=400)
    shop.seconds(10)
    shop.ingest._store = replace(shop.store, series=series)
    shop.seconds(2)
    assert "rollback.suspected" in shop.kinds()


def test_checkpoints_that_cannot_be_written_delay_no_rollback():
    """Where the detectors stand is in memory; what is not put away is put away later."""
    shop = running()
    checkpoints = shop.store.checkpoints
    shop.engine.reconciler.outlook.recent._checkpoints = Down()
    shop.seconds(61, ok=100)
    assert {name for name, _ in shop.errors} == {"checkpoint"}
    shop.until("rollback.switched", **BAD)
    assert shop.serving() == "v1"
    shop.engine.reconciler.outlook.recent._checkpoints = checkpoints
    shop.seconds(2, ok=100)
    assert checkpoints.load(("production", "cs", "v2")) is not None
    assert not shop.engine.failing


def test_without_anybody_to_tell_an_error_is_raised():
    """An error is never swallowed: it is told, or raised."""
    shop = running()
    shop.engine.on_error = None
    shop.engine.store = replace(shop.store, outbox=Down())
    with pytest.raises(OSError, match="due is away"):
        shop.second()


def test_old_seconds_are_rolled_up_once_a_minute(monkeypatch):
    """Compaction comes once a minute, and a window's totals stay."""
    shop, calls = running(), []

    def compact(_, now_ms: int) -> int:
        calls.append(now_ms)
        return 0

    monkeypatch.setattr(type(shop.store.series), "compact", compact)
    for _ in range(5):
        shop.now_ms += COMPACT_EVERY_MS // 2
        shop.second()
    assert len(calls) == 2


def test_what_is_left_to_roll_up_is_done_by_the_next_ticks(monkeypatch):
    """A backlog is worked off in portions, so that no tick keeps a rollback waiting."""
    shop, left = running(), [2, 1, 0, 0]
    monkeypatch.setattr(type(shop.store.series), "compact", lambda *_: left.pop(0))
    shop.now_ms += COMPACT_EVERY_MS
    shop.seconds(10)
    assert left == [0]


def test_the_tick_writes_before_it_judges():
    """What came in before a tick is judged by the first tick after its bucket closed."""
    shop = deployed()
    shop.seconds(3, **BAD)
    shop.now_ms += SECOND
    shop.ingest.take(batch(99, row("v2", 0, errors={"provider": 900})), {}, shop.now_ms)
    shop.engine.tick(shop.now_ms)
    assert "rollback.suspected" not in shop.kinds()
    shop.engine.tick(shop.now_ms + 3 * SECOND)
    assert "rollback.suspected" in shop.kinds()


def test_an_engine_that_stays_blind_pages():
    """Reports that cannot be written for a minute reach on-call through the control store (P6)."""
    shop = running()
    shop.ingest._store = replace(shop.store, series=Down())
    shop.seconds(70, ok=100)
    assert "ingest" in shop.engine.failing
    assert any("fails at `ingest`" in subject for subject in shop.pager.subjects)
    shop.ingest._store = shop.store
    shop.seconds(3, ok=100)
    assert not shop.engine.failing
    told = [e.kind for e in shop.store.log.read(environment="production", prompt="*")]
    assert told == ["engine.failing", "engine.working"]


def test_an_engine_begins_where_the_stores_time_has_come_to():
    """A wall clock that was set back reopens no second that was judged, and hides no history."""
    shop = running()
    reported_ms = shop.now_ms // SECOND * SECOND - SECOND
    assert begin_ms(shop.store, shop.now_ms) == shop.now_ms
    begun_ms = begin_ms(shop.store, shop.now_ms - HOUR)
    assert shop.now_ms - 2 * SECOND <= begun_ms <= shop.now_ms + 3 * SECOND
    assert begun_ms >= reported_ms
    blind = replace(shop.store, series=Down())
    assert begin_ms(blind, shop.now_ms - HOUR) == shop.store.log.read(limit=1)[0].at_ms


def test_what_comes_after_the_clock_was_set_back_is_judged():
    """The restarted engine counts what is reported from then on, to the last call."""
    shop = running()
    shop.engine.reconciler.outlook.recent.save(idle_before_ms=shop.now_ms)
    shop.now_ms = begin_ms(shop.store, shop.now_ms - 5 * SECOND)
    shop.open()
    shop.seconds(5, ok=100)
    reconciler, until_ms = shop.engine.reconciler, shop.engine.until_ms
    seen = look(reconciler, "production", "cs", until_ms, shop.now_ms)
    stored = shop.store.series.read(("production", "cs", "v2"), START, until_ms)
    assert seen.observed.evidence("v2").lifetime.ok == sum(b.window.ok for b in stored) > 500

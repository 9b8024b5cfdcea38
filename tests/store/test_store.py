"""The one suite of laws, on every store we ship."""

import pytest

from knowngood.conformance import StoreConformance
from knowngood.core.errors import StaleState
from knowngood.core.model import Change, MoveRoute, Record, whole


class TestStore(StoreConformance):
    """Runs on the `store` of conftest.py: memory, SQLite, PostgreSQL."""

    def test_a_change_that_comes_too_late_is_refused(self, store):
        """By the clock at its write, not by the time of its decision; nothing is written."""
        moved = (MoveRoute(whole("v1")), Record("route.moved", "first"))
        change = Change("production", "cs", 0, moved, "ann", before_ms=2_000)
        for late_ms in (2_000, 2_500):
            store.timekeeper.now_ms = lambda late_ms=late_ms: late_ms
            with pytest.raises(StaleState, match="change freeze of production/cs has begun"):
                store.states.apply([change], 1_000)
        assert store.states.get("production", "cs").revision == 0 and store.log.read() == []
        store.timekeeper.now_ms = lambda: 1_999
        assert store.states.apply([change], 1_000)[0].revision == 1
        assert store.log.read()[0].at_ms == 1_000

"""The laws of series, clients and checkpoints."""

from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowngood.conformance.examples import (
    AWKWARD,
    DAY_MS,
    HOUR_MS,
    KEY,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    bucket,
    client,
    together,
    windows,
)
from knowngood.core.window import Bucket, Window, total
from knowngood.ports import Store, VersionKey

_fresh = count()
_sparingly = settings(
    max_examples=20,
    deadline=None,
    # Each example uses names of its own in the one store.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
_numbers = st.integers() | st.floats(allow_nan=False)
_leaves = st.none() | st.booleans() | st.text() | st.just(AWKWARD) | _numbers
_json = st.recursive(
    _leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
SECOND_KEY: VersionKey = ("production", "support", "v2")


class SeriesConformance:
    """Observations add up, and growing older changes no total."""

    def test_rows_of_a_bucket_add_up(self, store: Store) -> None:
        """Rows of one version and bucket are one bucket, whenever they came."""
        rows = [(KEY, bucket(2_000, 5)), (KEY, bucket(1_000, 1)), (KEY, bucket(2_000, 7))]
        store.series.append(rows, [], {})
        store.series.append([(KEY, bucket(1_000, 2))], [], {})
        assert store.series.read(KEY, 0, 9_000) == [bucket(1_000, 3), bucket(2_000, 12)]

    def test_read_is_cut_at_its_borders(self, store: Store) -> None:
        """From `since_ms` on, before `until_ms`, of this version only."""
        store.series.append([(KEY, bucket(s * 1_000)) for s in range(5)], [], {})
        store.series.append([(("staging", *KEY[1:]), bucket(2_000))], [], {})
        assert [b.at_ms for b in store.series.read(KEY, 1_000, 3_000)] == [1_000, 2_000]
        assert store.series.read(("production", "support", "v9"), 0, NOW_MS) == []
        store.series.append([], [], {})

    def test_many_rows_at_once(self, store: Store) -> None:
        """2,000 rows go in together and come back exactly, in order."""
        window = Window(ok=4, errors={"timeout": 1}, latency={400: 3, -2: 1}, counters={"x": 9})
        buckets = [Bucket(s * 1_000, replace(window, units=s)) for s in range(2_000)]
        store.series.append([(KEY, b) for b in reversed(buckets)], [], {})
        assert store.series.read(KEY, 0, NOW_MS) == buckets

    def test_touched_names_who_was_heard(self, store: Store) -> None:
        """Each version with its newest bucket, if that is young enough; sorted."""
        second = ("production", "support", "v2")
        store.series.append([(second, bucket(5_000)), (KEY, bucket(2_000))], [], {})
        store.series.append([(KEY, bucket(7_000)), (KEY, bucket(6_000))], [], {})
        assert store.series.touched(0) == [(KEY, 7_000), (second, 5_000)]
        assert store.series.touched(5_001) == [(KEY, 7_000)]
        assert store.series.touched(7_001) == []

    def test_concurrent_appends_all_arrive(self, store: Store) -> None:
        """Nothing is lost when many append to the same buckets, clients and scores."""

        def append_10(name: int) -> None:
            for seq in range(10):
                heard = [client(f"c{(name + i) % 4}", boot=str(name), seq=seq) for i in range(4)]
                scored = {(f"call {(name + i) % 4}", "quality"): (i, NOW_MS) for i in range(4)}
                store.series.append([(KEY, bucket(1_000))], heard, scored)

        assert together([partial(append_10, n) for n in range(8)]) == [None] * 8
        assert store.series.read(KEY, 0, 2_000) == [bucket(1_000, 80)]
        assert len(store.clients.clients("production", 0)) == 4

    def test_old_buckets_grow_coarser(self, store: Store) -> None:
        """Seconds for 2 hours, minutes for 30 days, hours for 13 months, then nothing."""
        at_ms = NOW_MS - NOW_MS % HOUR_MS
        rows = [(KEY, bucket(at_ms + s * 1_000)) for s in range(0, 7_200, 10)]
        store.series.append(rows, [], {})

        def widths(now_ms: int) -> list[tuple[int, int]]:
            store.series.compact(now_ms)
            return [(b.width_ms, b.window.ok) for b in store.series.read(KEY, 0, 2 * NOW_MS)]

        assert widths(at_ms + 2 * HOUR_MS) == [(SECOND_MS, 1)] * 720
        half = widths(at_ms + 3 * HOUR_MS)
        assert half == [(MINUTE_MS, 6)] * 60 + [(SECOND_MS, 1)] * 360
        assert widths(at_ms + 4 * HOUR_MS) == [(MINUTE_MS, 6)] * 120
        assert widths(at_ms + 30 * DAY_MS) == [(MINUTE_MS, 6)] * 120
        assert widths(at_ms + 30 * DAY_MS + 2 * HOUR_MS) == [(HOUR_MS, 360)] * 2
        assert store.series.touched(0) == [(KEY, at_ms + HOUR_MS)]
        assert widths(at_ms + 395 * DAY_MS) == [(HOUR_MS, 360)] * 2
        assert widths(at_ms + 397 * DAY_MS) == []

    def test_late_row_still_counts(self, store: Store) -> None:
        """A row that comes after its minute was rolled up is added to it."""
        at_ms = NOW_MS - NOW_MS % MINUTE_MS
        for second in (0, 5, 0, 7):
            store.series.append([(KEY, bucket(at_ms + second * 1_000))], [], {})
            store.series.compact(at_ms + DAY_MS)
        assert store.series.read(KEY, 0, 2 * NOW_MS) == [bucket(at_ms, 4, MINUTE_MS)]

    @_sparingly
    @given(
        rows=st.lists(st.tuples(st.integers(0, 400 * DAY_MS), windows), max_size=20),
        age_ms=st.integers(0, 390 * DAY_MS),
    )
    def test_compaction_changes_no_total(
        self, store: Store, rows: list[tuple[int, Window]], age_ms: int
    ) -> None:
        """Whatever the ages: sums stay exact and in order, and compacting again does nothing."""
        key = ("production", "support", f"compacted {next(_fresh)}")
        now_ms = NOW_MS
        oldest_ms = now_ms - 390 * DAY_MS
        buckets = [
            Bucket(oldest_ms + ms % (390 * DAY_MS) // 1_000 * 1_000, window) for ms, window in rows
        ]
        store.series.append([(key, b) for b in buckets], [], {})
        for at in (now_ms - min(age_ms, 390 * DAY_MS), now_ms):
            store.series.compact(at)
            found = store.series.read(key, 0, 2 * NOW_MS)
            assert total(b.window for b in found) == total(b.window for b in buckets)
            assert [b.at_ms for b in found] == sorted({b.at_ms for b in found})
            assert store.series.compact(at) == 0
            assert store.series.read(key, 0, 2 * NOW_MS) == found

    def test_last_score_of_a_call_wins(self, store: Store) -> None:
        """One value for each call and score name: the one that arrived last."""
        store.series.append([], [], {("c1", "quality"): (70, 10), ("c1", "tone"): (1, 10)})
        store.series.append([], [], {("c1", "quality"): (80, 20), ("c2", "quality"): (5, 20)})
        store.series.append([], [], {("c1", "quality"): (60, 15)})
        assert store.series.scores(["c1", "c3"]) == {("c1", "quality"): 80, ("c1", "tone"): 1}
        many = [f"c{i}" for i in range(1_200)]
        assert len(store.series.scores(many)) == 3
        assert store.series.scores([]) == {}

    def test_scores_and_clients_are_forgotten(self, store: Store) -> None:
        """After a day, a score may count again and a silent process is gone."""
        scored = {("c1", "q"): (1, NOW_MS), ("c2", "q"): (2, NOW_MS + 1_000)}
        heard = [client("a"), client("b", seen_ms=NOW_MS + 1_000)]
        store.series.append([], heard, scored)
        assert store.series.compact(NOW_MS + DAY_MS) == 0
        assert store.series.compact(NOW_MS + DAY_MS + 1) == 2
        assert store.series.scores(["c1", "c2"]) == {("c2", "q"): 2}
        assert [c.id for c in store.clients.clients("production", 0)] == ["b"]


class ClientsConformance:
    """What is known of the processes that report."""

    def test_sequence_only_rises(self, store: Store) -> None:
        """A late message of the same process changes nothing; a restarted one begins anew."""
        store.series.append([], [client(seq=5, generation=2)], {})
        store.series.append([], [client(seq=4, generation=1)], {})
        assert store.clients.client("host:1") == client(seq=5, generation=2)
        store.series.append([], [client(seq=5, generation=3), client(seq=6, closed=True)], {})
        assert store.clients.client("host:1") == client(seq=6, closed=True)
        store.series.append([], [client(boot="b2", seq=1)], {})
        assert store.clients.client("host:1") == client(boot="b2", seq=1)

    def test_clients_of_an_environment(self, store: Store) -> None:
        """Those heard since a moment, by id; the others are not forgotten."""
        heard = [client("b", seen_ms=5), client("a", seen_ms=9), client("c", seen_ms=4)]
        store.series.append([], [*heard, client("d", environment="staging")], {})
        assert [c.id for c in store.clients.clients("production", 5)] == ["a", "b"]
        assert store.clients.client("c") == client("c", seen_ms=4)
        assert store.clients.client("x") is None


class CheckpointsConformance:
    """Where the folds over observations stood."""

    def test_last_fold_of_a_version_is_kept(self, store: Store) -> None:
        """Each version has one fold, the newest; a version without one has none."""
        store.checkpoints.save({KEY: (1_000, {"n": 1}), SECOND_KEY: (3_000, {"n": 2})})
        store.checkpoints.save({KEY: (2_000, {"m": [1, None]})})
        store.checkpoints.save({})
        assert store.checkpoints.load(KEY) == (2_000, {"m": [1, None]})
        assert store.checkpoints.load(SECOND_KEY) == (3_000, {"n": 2})
        for other in (("staging", *KEY[1:]), ("production", "tax", "v1")):
            assert store.checkpoints.load(other) is None

    @pytest.mark.parametrize(
        ("until_ms", "kept"),
        [
            pytest.param(1_999, "first", id="older"),
            pytest.param(2_000, "second", id="as old"),
            pytest.param(2_001, "second", id="newer"),
        ],
    )
    def test_older_fold_replaces_no_newer_one(self, store: Store, until_ms: int, kept: str) -> None:
        """The slower of two engines undoes nothing; what it has read further still counts."""
        store.checkpoints.save({KEY: (2_000, {"by": "first"}), SECOND_KEY: (500, {"by": "first"})})
        store.checkpoints.save({KEY: (until_ms, {"by": "second"}), SECOND_KEY: (600, {})})
        assert store.checkpoints.load(KEY) == (max(until_ms, 2_000), {"by": kept})
        assert store.checkpoints.load(SECOND_KEY) == (600, {})

    @_sparingly
    @given(state=st.dictionaries(st.text(), _json))
    def test_state_comes_back_to_the_last_bit(self, store: Store, state: dict[str, Any]) -> None:
        """Any JSON data, in its order; of floats also the sign of zero, and infinity."""
        exact = [-0.0, 5e-324, 0.1 + 0.2, 1e308, float("inf"), float("-inf"), -1e-7, 10**30]
        fold = (NOW_MS, {**state, "exact": exact, AWKWARD: AWKWARD})
        store.checkpoints.save({KEY: fold})
        # Compared as text, for 0.0 == -0.0 and 1 == 1.0 == True.
        assert repr(store.checkpoints.load(KEY)) == repr(fold)

    def test_kept_state_is_a_copy(self, store: Store) -> None:
        """A fold that goes on after it was saved or loaded changes nothing of what is kept."""
        bins = [1, 2]
        store.checkpoints.save({KEY: (1_000, {"bins": bins, "sums": {"a": 0.5}})})
        bins.append(3)
        loaded = store.checkpoints.load(KEY)
        assert loaded is not None
        loaded[1]["sums"]["a"] = 9.0
        assert store.checkpoints.load(KEY) == (1_000, {"bins": [1, 2], "sums": {"a": 0.5}})

    @pytest.mark.parametrize("wrong", [{"x": {1, 2}}, {"x": b"1"}, {"x": [{1: 2}]}], ids=repr)
    def test_what_json_cannot_say_is_refused(self, store: Store, wrong: dict[str, Any]) -> None:
        """With one such state, nothing of the same save is kept."""
        with pytest.raises(TypeError):
            store.checkpoints.save({KEY: (1_000, {"n": 1}), SECOND_KEY: (1_000, wrong)})
        assert store.checkpoints.load(KEY) is None

    def test_old_folds_are_forgotten(self, store: Store) -> None:
        """Those that ended before the moment go; the version may begin again, however early."""
        store.checkpoints.save({KEY: (1_000, {"n": 1}), SECOND_KEY: (2_000, {"n": 2})})
        assert store.checkpoints.forget(1_000) == 0
        assert store.checkpoints.forget(2_000) == 1
        assert store.checkpoints.load(KEY) is None
        assert store.checkpoints.load(SECOND_KEY) == (2_000, {"n": 2})
        store.checkpoints.save({KEY: (500, {"n": 3})})
        assert store.checkpoints.load(KEY) == (500, {"n": 3})
        assert store.checkpoints.forget(NOW_MS) == 2

    def test_many_folds_at_once(self, store: Store) -> None:
        """2,000 versions go in together, are replaced together and go together."""
        keys = [("production", f"p{i}", "v1") for i in range(2_000)]
        for until_ms in (1, 2):
            store.checkpoints.save({key: (until_ms, {"of": key[1]}) for key in keys})
        assert store.checkpoints.load(keys[-1]) == (2, {"of": "p1999"})
        assert store.checkpoints.forget(3) == 2_000

    def test_concurrent_saves_keep_the_newest(self, store: Store) -> None:
        """Whoever comes in between, in whatever order, the newest fold of each version is left."""
        keys = [("production", "support", f"v{i}") for i in range(40)]

        def save_10(name: int) -> None:
            mine = keys if name % 2 else keys[::-1]
            for step in range(10):
                until_ms = 100 + (7 * step + name) % 80
                store.checkpoints.save({key: (until_ms, {"end": until_ms}) for key in mine})
                store.checkpoints.forget(100 + step)

        assert together([partial(save_10, n) for n in range(8)]) == [None] * 8
        assert {str(store.checkpoints.load(key)) for key in keys} == {"(170, {'end': 170})"}

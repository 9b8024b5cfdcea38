"""The laws of what single units have shown."""

from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowngood.conformance.examples import KEY, bucket, client, together
from knowngood.core.unit_sums import CALLS, Tally
from knowngood.ports import Store, UnitArm, UnitKey

ARM: UnitArm = (KEY, 7)
LAST = (1 << 64) - 1  # a hash has 64 bits, and no sign
_units = st.integers(0, LAST)
_sums = st.dictionaries(
    st.tuples(_units, st.sampled_from([CALLS, "quality"])),
    st.tuples(st.integers(0, 5), st.integers(0, 5)),
    max_size=20,
)


def add(store: Store, sums: dict[tuple[int, str], tuple[int, int]], arm: UnitArm = ARM) -> None:
    """Add to an arm's units, and to nothing else."""
    units: dict[UnitKey, tuple[int, int]] = {(arm, u, name): s for (u, name), s in sums.items()}
    store.series.append([], [], {}, units)


class UnitsConformance:
    """Sums of units add up, arm by arm, and go when nobody compares any more."""

    def test_sums_of_a_unit_add_up(self, store: Store) -> None:
        """Whenever they came; a total may fall again, when a score is corrected."""
        add(store, {(1, CALLS): (2, 1), (LAST, CALLS): (1, 0), (1, "quality"): (1, 9_000)})
        add(store, {(1, CALLS): (3, 0), (1, "quality"): (0, -1_000), (2, CALLS): (1, 0)})
        assert store.units.tally(ARM) == [
            Tally(CALLS, 1, 0, 2),
            Tally(CALLS, 5, 1, 1),
            Tally("quality", 1, 8_000, 1),
        ]

    def test_arms_are_apart(self, store: Store) -> None:
        """Another version, environment or generation of the route is another arm."""
        others = [
            (KEY, 8),
            (("production", "support", "v2"), 7),
            (("staging", *KEY[1:]), 7),
        ]
        for number, arm in enumerate((ARM, *others), start=1):
            add(store, {(5, CALLS): (number, 0)}, arm)
        assert store.units.arms() == sorted((ARM, *others))
        assert store.units.tally(ARM) == [Tally(CALLS, 1, 0, 1)]
        assert store.units.tally((KEY, 9)) == []

    def test_units_come_with_their_batch(self, store: Store) -> None:
        """Rows, sequence numbers and units are one write."""
        units: dict[UnitKey, tuple[int, int]] = {(ARM, 3, CALLS): (1, 1)}
        store.series.append([(KEY, bucket(1_000))], [client()], {}, units)
        assert store.units.tally(ARM) == [Tally(CALLS, 1, 1, 1)]
        assert store.series.read(KEY, 0, 9_000) == [bucket(1_000)]

    def test_what_is_over_is_forgotten(self, store: Store) -> None:
        """Portion by portion until nothing is left; the other arms stay."""
        other = (KEY, 8)
        add(store, {(unit, CALLS): (1, 0) for unit in range(30_000)})
        add(store, {(1, CALLS): (1, 0)}, other)
        gone = 0
        while more := store.units.forget(ARM):
            gone += more
        assert gone == 30_000
        assert store.units.arms() == [other] and store.units.tally(ARM) == []
        assert store.units.forget(ARM) == 0
        add(store, {(2, CALLS): (4, 0)})
        assert store.units.tally(ARM) == [Tally(CALLS, 4, 0, 1)]

    def test_concurrent_sums_all_arrive(self, store: Store) -> None:
        """Nothing is lost when many add to the same units, in whatever order."""

        def add_10(name: int) -> None:
            units = list(range(40))[:: 1 if name % 2 else -1]
            for _ in range(10):
                add(store, {(unit, CALLS): (1, 1) for unit in units})

        assert together([partial(add_10, n) for n in range(6)]) == [None] * 6
        assert store.units.tally(ARM) == [Tally(CALLS, 60, 60, 40)]

    @settings(
        max_examples=15,
        deadline=None,
        # Each example forgets what it wrote in the one store.
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(first=_sums, second=_sums)
    def test_tallies_count_each_unit_once(
        self,
        store: Store,
        first: dict[tuple[int, str], tuple[int, int]],
        second: dict[tuple[int, str], tuple[int, int]],
    ) -> None:
        """As many units as were named, with the totals that were sent; sorted."""
        add(store, first)
        add(store, second)
        found = store.units.tally(ARM)
        assert found == sorted(found)
        assert sum(t.unit_count for t in found) == len(first.keys() | second.keys())
        for part, of in ((0, "count"), (1, "total")):
            sent = sum(s[part] for s in (*first.values(), *second.values()))
            assert sum(getattr(t, of) * t.unit_count for t in found) == sent
        while store.units.forget(ARM):
            pass
        store.units.forget(ARM)

"""The laws of pins and purges."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from knowngood.conformance.evaluations import evaluation
from knowngood.conformance.examples import AWKWARD, NOW_MS, change, together, version
from knowngood.core.errors import (
    BadRequest,
    ContentConflict,
    InUse,
    StaleState,
    UnknownPrompt,
    UnknownVersion,
)
from knowngood.core.model import Arm, Change, MoveRoute, Stand, Standing, whole
from knowngood.core.purge import PINNED, PURGED, STRUCK, UNPINNED, Purge
from knowngood.core.release import Member, Release
from knowngood.core.retention import PINS_MAX, Pin
from knowngood.ports import Store

GOOD = Standing.GOOD


def stock(store: Store, *names: str) -> None:
    """Push versions, each a millisecond after the one before; digest and text are the name."""
    for number, name in enumerate(names):
        store.registry.put(version(name, text=name, ms=number))


def pin(name: str = "v1", prompt: str = "support", because: str = "legal") -> Pin:
    """A pin by `ann`."""
    return Pin(prompt, name, because, "ann", NOW_MS)


def purge(versions: Mapping[str, int], **revisions: int) -> Purge:
    """An order of `ann`: versions with the time of their push, and the revisions seen."""
    return Purge("support", versions, revisions, "old", "ann", "policy-1")


def names(store: Store) -> list[str]:
    """What is left of the prompt."""
    return [each.version for each in store.registry.versions("support")]


def history(store: Store) -> list[tuple[str, str, dict[str, Any]]]:
    """The prompt's history in all environments."""
    lines = store.log.read(prompt="support", limit=1000)
    return [(line.environment, line.kind, dict(line.detail)) for line in lines]


class RetentionConformance:
    """What a person keeps, and what goes."""

    def test_pin_is_kept_with_its_reason(self, store: Store) -> None:
        """Any string survives; pins are sorted and of one prompt if asked."""
        stock(store, "v1", "v2")
        store.registry.put(version(prompt="other"))
        pins = [pin("v2"), pin("v1", because=AWKWARD), pin(prompt="other")]
        assert [store.retention.pin(each, "policy-1") for each in pins] == [True] * 3
        assert store.retention.pins() == [pins[2], pins[1], pins[0]]
        assert store.retention.pins("support") == [pins[1], pins[0]]
        assert store.retention.pins("nobody") == []

    def test_pins_are_history(self, store: Store) -> None:
        """A pin and its end are lines; what changes nothing is none."""
        stock(store, "v1")
        assert store.retention.pin(pin(), "policy-1") is True
        assert store.retention.pin(pin(because="again"), "policy-1") is False
        assert store.retention.pins() == [pin()]
        assert store.retention.unpin(pin(because="enough"), "policy-1") is True
        assert store.retention.unpin(pin(), "policy-1") is False
        assert store.retention.pins() == []
        lines = store.log.read(prompt="support")
        assert [(line.kind, line.because) for line in lines] == [
            (PINNED, "legal"), (UNPINNED, "enough"),
        ]  # fmt: skip
        assert {(line.actor, line.at_ms, line.policy_revision) for line in lines} == {
            ("ann", NOW_MS, "policy-1")
        }

    def test_what_is_not_there_is_not_pinned(self, store: Store) -> None:
        """A mistyped name is told what there is."""
        stock(store, "v1")
        with pytest.raises(UnknownVersion, match="v9") as wrong:
            store.retention.pin(pin("v9"), "")
        assert wrong.value.known == ["v1"]
        assert store.retention.pins() == [] == store.log.read()

    def test_pins_of_a_prompt_are_few(self, store: Store) -> None:
        """Every process holds them all, so there is a limit."""
        stock(store, *(f"v{i:02}" for i in range(PINS_MAX + 1)))
        for i in range(PINS_MAX):
            store.retention.pin(pin(f"v{i:02}"), "")
        with pytest.raises(BadRequest, match="the limit"):
            store.retention.pin(pin(f"v{PINS_MAX}"), "")
        store.retention.unpin(pin("v00"), "")
        assert store.retention.pin(pin(f"v{PINS_MAX}"), "") is True

    def test_purged_versions_are_gone(self, store: Store) -> None:
        """From every list, with one line of history each; the others and evaluations stay."""
        stock(store, "v1", "v2", "v3")
        kept = store.evaluations.record(evaluation("v1"), "")
        assert store.retention.purge(purge({"v2": 1, "v1": 0}), NOW_MS) == ["v1", "v2"]
        assert names(store) == ["v3"]
        assert store.registry.contents([("support", "v1"), ("support", "v3")]) == [
            version("v3", text="v3", ms=2)
        ]
        with pytest.raises(UnknownVersion, match="v1"):
            store.registry.get("support", "v1")
        assert store.evaluations.of("support") == [kept.head()]
        assert history(store)[1:] == [
            ("", PURGED, {"version": "v1", "digest": "v1"}),
            ("", PURGED, {"version": "v2", "digest": "v2"}),
        ]
        (line,) = store.log.read(prompt="support", limit=1)
        assert (line.because, line.actor, line.at_ms) == ("old", "ann", NOW_MS)

    def test_purging_twice_is_purging_once(self, store: Store) -> None:
        """What went already is left out, and so is what was pushed again since."""
        stock(store, "v1", "v2", "v3")
        order = purge({"v1": 0})
        assert store.retention.purge(order, NOW_MS) == ["v1"]
        before = history(store)
        assert store.retention.purge(order, NOW_MS) == []
        assert store.registry.put(version("v1", text="v1", ms=NOW_MS)) is True
        assert store.retention.purge(order, NOW_MS) == []
        assert names(store) == ["v2", "v3", "v1"] and history(store) == before

    def test_purge_strikes_the_ledger(self, store: Store) -> None:
        """No line speaks of a version that is gone; the state's revision rises with it."""
        stock(store, "v1", "v2", "v3")
        for seen, name in enumerate(("v1", "v2", "v3")):
            store.states.apply([change(MoveRoute(whole(name)), seen=seen)], NOW_MS)
        order = purge({"v2": 1}, production=3)
        assert store.retention.purge(order, NOW_MS) == ["v2"]
        state = store.states.get("production", "support")
        assert [entry.version for entry in state.ledger] == ["v1", "v3"]
        assert state.revision == 4
        assert store.states.generation("production") == 3
        assert history(store)[0] == ("production", STRUCK, {"versions": ["v2"]})

    def test_purge_on_an_old_view_does_nothing(self, store: Store) -> None:
        """A state that changed, that is new, or that is unknown: nothing goes."""
        stock(store, "v1", "v2")
        for revisions in ({"production": 1}, {"staging": 0}):
            with pytest.raises(StaleState):
                store.retention.purge(purge({"v1": 0}, **revisions), NOW_MS)
        store.states.apply([change(Stand("v2", GOOD, "mine"), environment="staging")], NOW_MS)
        for revisions in ({}, {"staging": 2}, {"production": 1}):
            with pytest.raises(StaleState, match="support"):
                store.retention.purge(purge({"v1": 0}, **revisions), NOW_MS)
        assert names(store) == ["v1", "v2"] and history(store) == []

    def test_what_was_pinned_meanwhile_stays(self, store: Store) -> None:
        """With one such version, nothing of the order goes."""
        stock(store, "v1", "v2", "v3")
        store.retention.pin(pin("v2"), "")
        with pytest.raises(StaleState, match="v2 was pinned"):
            store.retention.purge(purge({"v1": 0, "v2": 1}), NOW_MS)
        assert names(store) == ["v1", "v2", "v3"]

    def test_what_is_referred_to_is_never_purged(self, store: Store) -> None:
        """Whoever orders it: not on a route, not good or quarantined, not the newest."""
        stock(store, "v1", "v2", "v3", "v4", "v5")
        arms = (Arm("v1", 9_000), Arm("v2", 1_000))
        store.states.apply(
            [change(MoveRoute(arms), Stand("v3", Standing.QUARANTINED, "bad"))], NOW_MS
        )
        store.states.apply([change(Stand("v4", GOOD, "mine"), environment="staging")], NOW_MS)
        for ms in range(5):
            order = purge({f"v{ms + 1}": ms}, production=1, staging=1)
            with pytest.raises(InUse, match=f"v{ms + 1}"):
                store.retention.purge(order, NOW_MS)
        assert names(store) == ["v1", "v2", "v3", "v4", "v5"] and history(store) == []

    def test_a_release_and_its_versions_stay_together(self, store: Store) -> None:
        """What a release names is not purged, and what was purged is in no new release."""
        stock(store, "v1", "v2", "v3")
        members = (Member("other", "v1"), Member("support", "v1"))
        store.releases.put(Release("spring", members))
        with pytest.raises(InUse, match="spring"):
            store.retention.purge(purge({"v1": 0}), NOW_MS)
        assert store.retention.purge(purge({"v2": 1}), NOW_MS) == ["v2"]
        with pytest.raises(UnknownVersion, match="support:v2 was purged"):
            store.releases.put(Release("late", (Member("other", "v1"), Member("support", "v2"))))
        assert [release.name for release in store.releases.all()] == ["spring"]

    def test_a_purged_name_never_means_another_content(self, store: Store) -> None:
        """The same content brings the version back; other content under its name is refused."""
        stock(store, "v1", "v2")
        store.retention.purge(purge({"v1": 0}), NOW_MS)
        with pytest.raises(ContentConflict, match="support:v1 was purged"):
            store.registry.put(version("v1", text="other"))
        assert names(store) == ["v2"]
        assert store.registry.put(version("v1", text="v1", ms=9)) is True
        assert names(store) == ["v2", "v1"]
        store.states.apply([change(MoveRoute(whole("v1")))], NOW_MS)

    def test_what_was_purged_is_not_routed(self, store: Store) -> None:
        """Whoever looked before the purge and acts after it is refused, and nothing is written."""
        stock(store, "v1", "v2")
        store.retention.purge(purge({"v1": 0}), NOW_MS)
        before = history(store)
        arms = (Arm("v2", 9_000), Arm("v1", 1_000))
        for action in (MoveRoute(whole("v1")), MoveRoute(arms), Stand("v1", GOOD, "mine")):
            with pytest.raises(UnknownVersion, match="support:v1 was purged"):
                store.states.apply([change(action)], NOW_MS)
        assert store.states.all() == [] and history(store) == before
        store.states.apply([change(MoveRoute(whole("v1")), prompt="other")], NOW_MS)

    def test_what_was_decided_long_before_a_purge_is_stale(self, store: Store) -> None:
        """An engine that was held meanwhile looks again, as after any other change."""
        stock(store, "v1", "v2")
        store.states.apply([change(MoveRoute(whole("v2")))], NOW_MS)
        store.retention.purge(purge({"v1": 0}, production=1), NOW_MS)
        with pytest.raises(StaleState):
            store.states.apply([change(MoveRoute(whole("v1")), seen=0)], NOW_MS)

    @pytest.mark.parametrize("place", ["production", "eu-{}"])
    def test_racing_promotion_and_purge(self, store: Store, place: str) -> None:
        """One of them wins, also in an environment just added: a route never lacks its version."""
        for attempt in range(12):
            environment, old = place.format(attempt), f"old {attempt}"
            store.registry.put(version(old, text=old, ms=attempt))
            store.registry.put(version(f"new {attempt}", text="new", ms=1_000 + attempt))
            seen = {state.environment: state.revision for state in store.states.all()}
            order = Purge("support", {old: attempt}, seen, "", "ann")

            move = MoveRoute(whole(old))
            moved = change(move, seen=seen.get(environment, 0), environment=environment)

            def promote(moved: Change = moved) -> object:
                store.states.environments(add=moved.environment)
                return store.states.apply([moved], NOW_MS)

            promoted, purged = together([promote, partial(store.retention.purge, order, NOW_MS)])
            assert isinstance(promoted, UnknownVersion) == (purged == [old])
            assert isinstance(promoted, list) == isinstance(purged, StaleState)
            for state in store.states.all():
                assert state.route
                store.registry.get("support", state.route.control.version)

    def test_racing_pin_and_purge(self, store: Store) -> None:
        """One of them wins: a pin is never of a version that is gone."""
        for attempt in range(8):
            old = f"old {attempt}"
            store.registry.put(version(old, text=old, ms=attempt))
            store.registry.put(version("newest", text="new", ms=1_000))
            pinned, purged = together(
                [
                    partial(store.retention.pin, pin(old), ""),
                    partial(store.retention.purge, purge({old: attempt}), NOW_MS),
                ]
            )
            assert isinstance(pinned, UnknownVersion) == (purged == [old])
            assert (pinned is True) == isinstance(purged, StaleState)

    def test_racing_purges_have_one_winner(self, store: Store) -> None:
        """Of many purges at once, each version goes with one line of history."""
        stock(store, *(f"v{i}" for i in range(10)))
        order = purge({f"v{i}": i for i in range(9)})
        results = together([partial(store.retention.purge, order, NOW_MS)] * 6)
        assert sorted(map(len, results)) == [0, 0, 0, 0, 0, 9]
        assert names(store) == ["v9"] and len(history(store)) == 9

    def test_purge_of_an_unknown_prompt(self, store: Store) -> None:
        """Nothing is there, so nothing goes."""
        assert store.retention.purge(purge({"v1": 0}), NOW_MS) == []
        with pytest.raises(UnknownPrompt):
            store.registry.versions("support")

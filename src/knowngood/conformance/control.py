"""The laws of registry, states, log, outbox and policies."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from knowngood.conformance.examples import (
    AWKWARD,
    DAY_MS,
    NOW_MS,
    change,
    notify,
    together,
    version,
)
from knowngood.core.asking import Purpose
from knowngood.core.chain import FIRST, Verified, link, verify
from knowngood.core.check import BadState
from knowngood.core.errors import (
    BadWeights,
    ContentConflict,
    StaleState,
    UnknownEntry,
    UnknownEnvironment,
    UnknownPrompt,
    UnknownVersion,
)
from knowngood.core.history import AuditEntry
from knowngood.core.model import (
    FLEET,
    Action,
    Arm,
    Content,
    CountRollback,
    Enter,
    Freeze,
    Hold,
    Incident,
    Message,
    MoveRoute,
    Notify,
    Outcome,
    Record,
    Response,
    SetAutomation,
    SetIncident,
    Severity,
    Stand,
    Standing,
    State,
    Told,
    Verifying,
    Version,
    whole,
)
from knowngood.core.window import Window
from knowngood.ports import Store


class RegistryConformance:
    """Versions are immutable."""

    def test_version_is_added_once(self, store: Store) -> None:
        """The same content under the same name again is no news and no error."""
        assert store.registry.put(version()) is True
        assert store.registry.put(version()) is False
        assert store.registry.put(replace(version(), author="bob", note="again")) is False
        assert store.registry.versions("support") == [version()]

    def test_version_never_changes(self, store: Store) -> None:
        """Other content under a name that is taken is refused, and what was there stays."""
        store.registry.put(version())
        with pytest.raises(ContentConflict, match="support:v1"):
            store.registry.put(version(text="Bonjour"))
        assert store.registry.get("support", "v1") == version()

    def test_racing_pushes_have_one_winner(self, store: Store) -> None:
        """Of many who push different content under one name at once, one succeeds."""
        pushes = [version(text=f"text {i}") for i in range(8)]
        results = together([partial(store.registry.put, push) for push in pushes])
        assert results.count(True) == 1
        assert sum(isinstance(result, ContentConflict) for result in results) == 7
        assert store.registry.get("support", "v1") == pushes[results.index(True)]

    def test_versions_come_oldest_first(self, store: Store) -> None:
        """A prompt's versions are listed by age; of equal age, by arrival."""
        for name, ms in (("b", 20), ("c", 10), ("a", 20)):
            store.registry.put(version(name, ms=ms))
        assert [v.version for v in store.registry.versions("support")] == ["c", "b", "a"]

    def test_prompts_are_sorted(self, store: Store) -> None:
        """Names are sorted as Python sorts them, whatever language the database speaks."""
        for prompt in ("b", "a.2", "a-1", "a1"):
            store.registry.put(version(prompt=prompt))
        assert store.registry.prompts() == ["a-1", "a.2", "a1", "b"]

    def test_unknown_names_list_the_known(self, store: Store) -> None:
        """Whoever mistypes a name is told which names there are."""
        store.registry.put(version("v1"))
        store.registry.put(version("v2"))
        with pytest.raises(UnknownPrompt, match="suport") as wrong:
            store.registry.get("suport", "v1")
        assert wrong.value.known == ["support"]
        with pytest.raises(UnknownPrompt):
            store.registry.versions("suport")
        with pytest.raises(UnknownVersion, match="v3") as wrong_version:
            store.registry.get("support", "v3")
        assert wrong_version.value.known == ["v1", "v2"]

    def test_contents_are_read_together(self, store: Store) -> None:
        """Many versions come in one read, each once; unknown ones are left out."""
        for i in range(3):
            store.registry.put(version(f"v{i}"))
        many = [("support", f"v{i}") for i in range(1200)] + [("nobody", "v1"), ("support", "v1")]
        found = store.registry.contents(many)
        assert sorted(v.version for v in found) == ["v0", "v1", "v2"]
        assert store.registry.contents([]) == []

    def test_content_comes_back_exactly(self, store: Store) -> None:
        """Messages, nested configuration and any string survive."""
        content = Content(
            messages=(Message("system", AWKWARD), Message("user", "{{question}}")),
            config={"model": "m", "temperature": 0.1, "stop": ["\n", None], "deep": {"n": 2**53}},
        )
        put = Version("support", "v1", content, "d", AWKWARD, 5, AWKWARD)
        store.registry.put(put)
        assert store.registry.get("support", "v1") == put


class StatesConformance:
    """One fenced revision for each prompt and environment."""

    def test_fresh_state(self, store: Store) -> None:
        """A prompt that nobody touched is at revision 0, and it is not listed."""
        assert store.states.get("production", "support") == State("production", "support")
        assert store.states.generation("production") == 0
        assert store.states.all() == []

    def test_environments(self, store: Store) -> None:
        """Production and staging always exist; others are added, once; the list is sorted."""
        assert store.states.environments() == ["production", "staging"]
        assert store.states.environments(add="eu") == ["eu", "production", "staging"]
        store.states.apply([change(MoveRoute(whole("v1")), environment="eu")], NOW_MS)
        assert store.states.environments(add="eu") == ["eu", "production", "staging"]
        assert store.states.generation("eu") == 1

    def test_unknown_environment_lists_the_known(self, store: Store) -> None:
        """An environment that was never added is nowhere taken for an empty one."""
        for ask in (
            lambda: store.states.get("prod", "support"),
            lambda: store.states.generation("prod"),
            lambda: store.states.apply([change(environment="prod")], NOW_MS),
        ):
            with pytest.raises(UnknownEnvironment, match="prod") as wrong:
                ask()
            assert wrong.value.known == ["production", "staging"]

    def test_apply_returns_what_is_kept(self, store: Store) -> None:
        """The new states come in the order of the changes, and reading gives the same."""
        changes = [change(Told("x"), prompt=name) for name in ("b", "a", "c")]
        states = store.states.apply(changes, NOW_MS)
        assert [(s.prompt, s.revision, s.told) for s in states] == [
            ("b", 1, ("x",)), ("a", 1, ("x",)), ("c", 1, ("x",)),
        ]  # fmt: skip
        assert [store.states.get("production", s.prompt) for s in states] == states
        assert store.states.apply([], NOW_MS) == []

    def test_everything_in_a_state_survives(self, store: Store) -> None:
        """Each part of a state comes back exactly, however full it is."""
        incident = Incident(
            "production/support/g1.1", "v2", 1, Severity.CRITICAL, Response.ROLLBACK,
            ("error_critical",), NOW_MS, Outcome.INCONCLUSIVE,
        )  # fmt: skip
        healthy = Window(ok=5, errors={"prompt": 1}, latency={-3: 4}, scores={"quality": {90: -1}})
        store.states.apply([change(MoveRoute(whole("v1")))], NOW_MS)
        (state,) = store.states.apply(
            [
                change(
                    MoveRoute((Arm("v1", 9_000), Arm("v2", 1_000)), "salt"),
                    Freeze("v1", healthy),
                    Stand("v2", Standing.QUARANTINED, AWKWARD),
                    SetIncident(replace(incident, id="production/support/g2.1", generation=2)),
                    Told(AWKWARD),
                    SetAutomation(Hold(NOW_MS, AWKWARD, "ann")),
                    CountRollback(),
                    Enter(Verifying("v2", "v1", ("a", "b"), 1, 2, AWKWARD, True, 3, 4)),
                    seen=1,
                )
            ],
            NOW_MS + 1,
        )
        assert state.entry("v1") and state.ledger[0].baseline == healthy
        assert state.rollbacks_ms == (NOW_MS + 1,)
        assert store.states.get("production", "support") == state
        assert store.states.all() == [state]

    def test_all_is_sorted_and_without_the_fleet(self, store: Store) -> None:
        """Listing skips the environment's own state and can be cut to one environment."""
        for environment, prompt in (
            ("staging", "a"), ("production", "b"), ("production", FLEET), ("production", "a-1"),
            ("production", "a.1"),
        ):  # fmt: skip
            store.states.apply([change(environment=environment, prompt=prompt)], NOW_MS)
        listed = [(s.environment, s.prompt) for s in store.states.all()]
        assert listed == [
            ("production", "a-1"), ("production", "a.1"), ("production", "b"), ("staging", "a"),
        ]  # fmt: skip
        assert [s.prompt for s in store.states.all("staging")] == ["a"]
        assert store.states.get("production", FLEET).revision == 1

    def test_stale_change_does_nothing_at_all(self, store: Store) -> None:
        """One stale change undoes the whole apply: no state, history, message or generation."""
        first = change(MoveRoute(whole("v1")), Record("promote", "go"), prompt="b")
        (seen,) = store.states.apply([first], NOW_MS)
        fine = change(MoveRoute(whole("v1")), Record("promote", "x"), notify("n1"), prompt="a")
        with pytest.raises(StaleState) as stale:
            store.states.apply([fine, change(notify("n2"), seen=7, prompt="b")], NOW_MS)
        for words in ("production/b", "revision 7 was seen", "it is at 1 now", "promote by ann"):
            assert words in stale.value.message
        assert store.states.all() == [seen]
        assert store.states.generation("production") == 1
        assert [entry.prompt for entry in store.log.read()] == ["b"]
        assert store.outbox.waiting_count() == 0

    @pytest.mark.parametrize(
        ("actions", "error"),
        [
            ((MoveRoute((Arm("v1", 9_000),)),), BadWeights),
            ((Enter(Verifying("v2", "v1", (), 1, 2, "ann", False)),), BadState),
        ],
    )
    def test_impossible_change_does_nothing_at_all(
        self, store: Store, actions: tuple[Action, ...], error: type[Exception]
    ) -> None:
        """A state that breaks its invariants is never written, nor what came with it."""
        fine = change(MoveRoute(whole("v1")), Record("promote", "x"), notify("n1"), prompt="a")
        with pytest.raises(error):
            store.states.apply([fine, change(*actions, prompt="b")], NOW_MS)
        assert store.states.all() == [] == store.log.read()
        assert store.states.generation("production") == 0 == store.outbox.waiting_count()

    def test_a_state_changes_once_in_an_apply(self, store: Store) -> None:
        """Two changes of one state in one apply are a mistake of the caller."""
        with pytest.raises(ValueError, match="production/support"):
            store.states.apply([change(), change(seen=1)], NOW_MS)

    def test_generation_counts_applies_that_move_a_route(self, store: Store) -> None:
        """It rises by one for all the routes of an apply, in their environment only."""
        pair = [change(MoveRoute(whole("v1")), prompt=name) for name in ("a", "b")]
        aside = change(Told("x"), environment="staging")
        states = store.states.apply([*pair, aside], NOW_MS)
        assert [s.route.generation for s in states if s.route] == [1, 1]
        assert store.states.generation("production") == 1
        assert store.states.generation("staging") == 0
        still = change(
            Stand("v1", Standing.GOOD, "baked"), Record("bake", "done"), seen=1, prompt="a"
        )
        store.states.apply([still], NOW_MS)
        assert store.states.generation("production") == 1
        (moved,) = store.states.apply([change(MoveRoute(whole("v2")), seen=2, prompt="a")], NOW_MS)
        assert moved.route and moved.route.generation == 2 == store.states.generation("production")

    @pytest.mark.parametrize("seen", [0, 1])
    def test_racing_changes_have_one_winner(self, store: Store, seen: int) -> None:
        """Of 20 who act on the same revision at once, one acts; the first write is no exception."""
        if seen:
            store.states.apply([change()], NOW_MS)
        racers = [
            change(MoveRoute(whole(f"v{i}")), Record("promote", ""), notify(f"n{i}"), seen=seen)
            for i in range(20)
        ]
        results = together([partial(store.states.apply, [c], NOW_MS) for c in racers])
        assert sum(isinstance(result, StaleState) for result in results) == 19
        assert sum(isinstance(result, list) for result in results) == 1
        assert store.states.get("production", "support").revision == seen + 1
        assert store.states.generation("production") == 1
        assert len(store.log.read()) == 1 == store.outbox.waiting_count()

    def test_racing_routes_have_generations_of_their_own(self, store: Store) -> None:
        """Changes of different prompts do not conflict, and each moves the generation on."""
        moves = [change(MoveRoute(whole("v1")), prompt=f"p{i}") for i in range(8)]
        results = together([partial(store.states.apply, [c], NOW_MS) for c in moves])
        assert sorted(states[0].route.generation for states in results) == list(range(1, 9))
        assert store.states.generation("production") == 8

    def test_every_update_arrives(self, store: Store) -> None:
        """400 concurrent updates, each tried again when it was stale, are 400 revisions."""

        def update_100() -> None:
            for _ in range(100):
                for _ in range(10_000):
                    seen = store.states.get("production", "support").revision
                    try:
                        store.states.apply([change(Record("tick", ""), seen=seen)], NOW_MS)
                        break
                    except StaleState:
                        continue

        assert together([update_100] * 4) == [None] * 4
        assert store.states.get("production", "support").revision == 400
        lines = store.log.read(limit=1000)
        assert [line.revision for line in lines] == list(range(1, 401))


class LogConformance:
    """History only ever grows."""

    def test_apply_writes_history(self, store: Store) -> None:
        """Each record becomes a line, in order, with what it followed from."""
        detail = {"n": 312, "rate": 0.112, "words": [AWKWARD, None, True]}
        move = change(
            MoveRoute(whole("v1")), Record("promote", AWKWARD, detail), Record("bake", "")
        )
        store.states.apply([move], NOW_MS)
        first, second = store.log.read()
        assert first == AuditEntry(
            NOW_MS, "production", "support", "promote", AWKWARD, "ann", 1, 1, "policy-1", detail,
            first.id,
        )  # fmt: skip
        assert (second.kind, second.id > first.id) == ("bake", True)
        assert store.log.get(first.id) == first

    def test_read_selects_the_newest(self, store: Store) -> None:
        """Reading gives the last `limit` lines that match, oldest first."""
        line = AuditEntry(NOW_MS, "production", "a", "push", "", "ann", 0, 0)
        store.log.append(replace(line, prompt="ab"[i % 2], because=str(i)) for i in range(6))
        store.log.append([replace(line, environment="staging", because="6")])
        store.log.append([])

        def read(*args: Any, **kwargs: Any) -> str:
            return "".join(entry.because for entry in store.log.read(*args, **kwargs))

        assert read() == "0123456"
        assert read(limit=2) == "56"
        assert read(limit=0) == ""
        assert read("production", "a") == "024"
        assert read("production", limit=2) == "45"
        assert read(prompt="a") == "0246"
        assert read(prompt="a", after_id=store.log.read()[2].id) == "46"

    def test_read_goes_back_page_by_page(self, store: Store) -> None:
        """Before a line, and of some kinds only, whatever characters they are asked for with."""
        line = AuditEntry(NOW_MS, "production", "a", "route.moved", "", "ann", 0, 0)
        kinds = ("route.moved", "rollback.switched", "rollback.verified")
        store.log.append(replace(line, kind=kinds[i % 3], because=str(i)) for i in range(7))

        def read(**kwargs: Any) -> str:
            return "".join(entry.because for entry in store.log.read(**kwargs))

        ids = [entry.id for entry in store.log.read()]
        assert read(before_id=ids[3]) == "012"
        assert read(before_id=ids[6], limit=2) == "45"
        assert read(before_id=ids[0]) == ""
        assert read(after_id=ids[1], before_id=ids[4]) == "23"
        assert read(kind="rollback") == "1245"
        assert read(kind="rollback.v", before_id=ids[5]) == "2"
        assert read(kind="moved", prompt="a", limit=1) == "6"
        assert read(kind="%") == read(kind="_") == read(kind="ROLLBACK") == ""

    def test_ids_rise_while_many_write(self, store: Store) -> None:
        """Lines of concurrent writers all arrive, each with an id of its own."""

        def write_20(name: str) -> None:
            for i in range(20):
                store.log.append([AuditEntry(i, "production", name, "push", "", "", 0, 0)])

        together([partial(write_20, f"p{n}") for n in range(4)])
        lines = store.log.read(limit=1000)
        assert len(lines) == 80
        assert [line.id for line in lines] == sorted({line.id for line in lines})
        assert [line.at_ms for line in lines if line.prompt == "p2"] == list(range(20))

    def test_every_line_is_chained_to_the_one_before(self, store: Store) -> None:
        """Whoever wrote them: the hash of each line covers it and the hash before it."""
        detail = {"b": [1.5, -0.0, 1e300, None], "a": {"z": AWKWARD, "y": True}, "n": 2**60}
        store.states.apply([change(Record("one", AWKWARD, detail), Record("two", ""))], NOW_MS)
        store.log.append([AuditEntry(NOW_MS, "", "a", "push", AWKWARD, "ann", 0, 0)])

        def write_20(name: str) -> None:
            for i in range(20):
                store.log.append([AuditEntry(i, "production", name, "push", "", "", 0, 0)] * 2)

        together([partial(write_20, f"p{n}") for n in range(4)])
        lines = store.log.follow(limit=1000)
        assert len({line.hash for line in lines}) == 163
        assert verify(lines) == Verified(163, lines[-1].hash, lines[-1].id)
        assert lines[1].hash == link(lines[1], lines[0].hash)
        assert store.log.get(lines[0].id).hash == lines[0].hash == link(lines[0], FIRST)

    def test_following_and_looking_between(self, store: Store) -> None:
        """The oldest lines after an id, and those of one state between two instants, both kept."""
        line = AuditEntry(NOW_MS, "production", "a", "push", "", "ann", 0, 0)
        store.log.append(replace(line, because=str(i), at_ms=NOW_MS + i) for i in range(5))
        store.log.append([replace(line, prompt="b"), replace(line, environment="staging")])
        lines = store.log.follow()
        assert [each.because for each in lines] == ["0", "1", "2", "3", "4", "", ""]
        assert store.log.follow(lines[2].id, 1) == [lines[3]]
        assert store.log.follow(lines[-1].id) == [] == store.log.follow(limit=0)
        of_a = ("production", "a")
        assert store.log.between(*of_a, NOW_MS + 1, NOW_MS + 3, 9) == lines[1:4]
        assert store.log.between(*of_a, NOW_MS, NOW_MS + 9, 2) == lines[:2]
        store.log.append([replace(line, kind="note", at_ms=NOW_MS + 2)])
        (note,) = store.log.between(*of_a, NOW_MS, NOW_MS + 9, 9, ("note", "role"))
        assert (note.kind, store.log.get(note.id)) == ("note", note)
        assert store.log.between("production", "c", 0, NOW_MS + 9, 9) == []

    def test_unknown_line(self, store: Store) -> None:
        """A line that is not there is not made up."""
        with pytest.raises(UnknownEntry, match="7"):
            store.log.get(7)


class OutboxConformance:
    """Messages are queued with their reason and leave once."""

    def test_message_waits_until_it_is_sent(self, store: Store) -> None:
        """Looking does not take: a message stays due until somebody says what became of it."""
        store.states.apply([change(notify("n1"), notify("n2"))], NOW_MS)
        assert store.outbox.due(NOW_MS - 1, 10) == []
        first, second = store.outbox.due(NOW_MS, 10)
        assert store.outbox.due(NOW_MS, 10) == [first, second]
        assert store.outbox.due(NOW_MS, 1) == [first]
        assert (first.key, first.audience, first.severity) == ("n1", "on-call", Severity.HIGH)
        assert (first.subject, first.body) == ("subject of n1", "body")
        assert (first.environment, first.prompt, first.created_ms) == (
            "production", "support", NOW_MS,
        )  # fmt: skip
        store.outbox.sent(first.id, AWKWARD, NOW_MS)
        assert store.outbox.due(NOW_MS, 10) == [second]
        assert store.outbox.waiting_count() == 1

    def test_everything_of_a_message_survives(self, store: Store) -> None:
        """What it is for, what it asks, and whom and where it is for."""
        store.states.apply(
            [
                change(
                    Notify(
                        "n1",
                        "on-call",
                        Severity.CRITICAL,
                        AWKWARD,
                        AWKWARD,
                        purpose=Purpose.PAGE,
                        thread="production/support/g1.1",
                        question=0,
                        targets=("ana", "on-call"),
                        channels=("pager",),
                    )
                )
            ],
            NOW_MS,
        )
        (message,) = store.outbox.due(NOW_MS, 10)
        assert (message.subject, message.body) == (AWKWARD, AWKWARD)
        assert message.purpose is Purpose.PAGE and message.severity is Severity.CRITICAL
        assert (message.thread, message.question) == ("production/support/g1.1", 0)
        assert (message.targets, message.channels) == (("ana", "on-call"), ("pager",))

    def test_key_is_queued_once(self, store: Store) -> None:
        """The same key is never queued again: not in the same apply, nor after it was sent."""
        store.states.apply([change(notify("n1"), notify("n1"))], NOW_MS)
        (message,) = store.outbox.due(NOW_MS, 10)
        store.outbox.sent(message.id, "", NOW_MS)
        store.states.apply([change(notify("n1"), notify("n2"), prompt="other")], NOW_MS)
        assert [m.key for m in store.outbox.due(NOW_MS, 10)] == ["n2"]

    def test_failure_is_tried_again_later(self, store: Store) -> None:
        """A retry counts the attempt and waits for its time."""
        store.states.apply([change(notify("n1"), notify("n2"))], NOW_MS)
        first, second = store.outbox.due(NOW_MS, 10)
        store.outbox.retry(first.id, NOW_MS + 500, AWKWARD)
        assert store.outbox.due(NOW_MS + 499, 10) == [second]
        again = replace(first, attempt_count=1, next_try_ms=NOW_MS + 500)
        assert store.outbox.due(NOW_MS + 500, 10) == [again, second]
        assert store.outbox.waiting_count() == 2

    def test_end_is_final(self, store: Store) -> None:
        """Once sent or given up, a message never comes back, whatever is said afterwards."""
        store.states.apply([change(notify("n1"), notify("n2"))], NOW_MS)
        first, second = store.outbox.due(NOW_MS, 10)
        store.outbox.gave_up(first.id, AWKWARD, NOW_MS)
        store.outbox.sent(second.id, "receipt", NOW_MS)
        store.outbox.retry(first.id, NOW_MS, "late")
        store.outbox.retry(second.id, NOW_MS, "late")
        assert store.outbox.due(NOW_MS + DAY_MS, 10) == []
        assert store.outbox.waiting_count() == 0


class PoliciesConformance:
    """Every policy that was ever in force."""

    def test_policy_is_kept_by_digest(self, store: Store) -> None:
        """A policy comes back exactly; the same digest again changes nothing."""
        policy = {"policy": 1, "people": {"ann": AWKWARD}, "limits": [0.05, None, True]}
        store.policies.put("d1", policy, NOW_MS)
        store.policies.put("d1", {"other": 1}, NOW_MS + 1)
        assert store.policies.get("d1") == policy
        assert store.policies.get("d2") is None

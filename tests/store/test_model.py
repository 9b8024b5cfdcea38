"""SQLite does what memory does, in whatever order it is asked."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from knowngood.conformance.examples import DAY_MS, NOW_MS, notify, version, windows
from knowngood.core.errors import KnowngoodError
from knowngood.core.history import AuditEntry, Outgoing
from knowngood.core.model import (
    FLEET,
    Action,
    Arm,
    Change,
    ClientSeen,
    CountRollback,
    MoveRoute,
    Record,
    Stand,
    Standing,
    Told,
    whole,
)
from knowngood.core.window import Bucket
from knowngood.ports import Store, VersionKey
from knowngood.store.memory import open_memory
from knowngood.store.sqlite import open_sqlite

few = st.integers(0, 2)
environments = st.sampled_from(["production", "staging", "nowhere"])
prompts = st.sampled_from(["cs", "tax", FLEET])
versions = st.sampled_from(["v1", "v2", "v3"])
actions = st.one_of(
    versions.map(lambda v: MoveRoute(whole(v))),
    st.just(MoveRoute((Arm("v1", 9_000), Arm("v2", 1_000)), "salt")),
    st.builds(Stand, versions, st.sampled_from(Standing), st.just("because")),
    st.builds(Told, st.sampled_from(["a", "b"]), st.booleans()),
    st.just(CountRollback()),
    few.map(lambda n: notify(f"n{n}")),
    few.map(lambda n: Record(f"kind {n}", "because", {"n": n})),
)
changes = st.tuples(environments, prompts, few, st.lists(actions, max_size=3))
rows = st.tuples(
    st.tuples(environments, prompts, versions),
    # Now, hours ago and months ago.
    st.builds(
        lambda s, ago: NOW_MS - s * 1_000 - ago, few, st.sampled_from([0, DAY_MS, 40 * DAY_MS])
    ),
    windows,
)
heard = st.builds(
    ClientSeen,
    id=st.sampled_from(["c1", "c2"]),
    environment=environments,
    boot=st.sampled_from(["b1", "b2"]),
    seq=few,
    generation=few,
    seen_ms=few.map(lambda n: NOW_MS - n * DAY_MS),
    closed=st.booleans(),
)
scored = st.dictionaries(
    st.tuples(st.sampled_from(["call 1", "call 2"]), st.just("quality")),
    st.tuples(st.integers(0, 100), few.map(lambda n: NOW_MS - n * DAY_MS)),
)
fold = st.tuples(
    few.map(lambda n: NOW_MS - n * DAY_MS),
    st.fixed_dictionaries({"n": few, "level": st.floats(allow_nan=False)}),
)


class SqliteIsMemory(RuleBasedStateMachine):
    """Every rule is obeyed by both stores, and both must answer the same."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        for part in self.template.parent.glob("*.db"):
            (Path(self.folder.name) / part.name).write_bytes(part.read_bytes())
        self.memory, self.sqlite = open_memory(), self.open()

    def open(self) -> Any:
        return open_sqlite(Path(self.folder.name) / self.template.name)

    def teardown(self) -> None:
        self.sqlite.close()
        self.folder.cleanup()

    def same(self, ask: Callable[[Store], Any]) -> Any:
        expected, got = (outcome(ask, store) for store in (self.memory, self.sqlite))
        assert got == expected
        return expected

    @rule(name=versions, text=st.sampled_from(["Hello", "Bonjour"]), ms=few)
    def push(self, name: str, text: str, ms: int) -> None:
        self.same(lambda store: store.registry.put(version(name, text=text, ms=ms)))
        self.same(lambda store: store.registry.versions("support"))

    @rule(wanted=st.lists(changes, max_size=3), wrong=st.sampled_from([0, 0, 0, 0, -1, 1]), now=few)
    def apply(self, wanted: list[tuple[str, str, int, list[Action]]], wrong: int, now: int) -> None:
        """Mostly on the revision that is there, sometimes on one before or after it."""

        def ask(store: Store) -> Any:
            return store.states.apply(
                [
                    Change(
                        environment,
                        prompt,
                        seen(store, environment, prompt) + wrong,
                        tuple(done),
                        f"actor {n}",
                    )
                    for environment, prompt, n, done in wanted
                ],
                NOW_MS + now,
            )

        self.same(ask)

    @rule(kind=st.sampled_from(["push", "policy"]), count=few)
    def log(self, kind: str, count: int) -> None:
        line = AuditEntry(NOW_MS, "production", "cs", kind, "", "ann", 0, 0)
        self.same(lambda store: store.log.append([line] * count))

    @rule(which=few, verb=st.sampled_from(["sent", "retry", "gave_up"]), later=few)
    def deliver(self, which: int, verb: str, later: int) -> None:
        def ask(store: Store) -> Any:
            due = store.outbox.due(NOW_MS + later, 10)
            if which < len(due):
                message = due[which]
                match verb:
                    case "sent":
                        store.outbox.sent(message.id, "receipt", NOW_MS)
                    case "retry":
                        store.outbox.retry(message.id, NOW_MS + later, "error")
                    case _:
                        store.outbox.gave_up(message.id, "error", NOW_MS)
            return messages(store.outbox.due(NOW_MS + later, 10)), store.outbox.waiting_count()

        self.same(ask)

    @rule(new=st.lists(rows, max_size=4), clients=st.lists(heard, max_size=3), late=scored)
    def observe(self, new: Any, clients: list[ClientSeen], late: Any) -> None:
        buckets = [(key, Bucket(at_ms, window)) for key, at_ms, window in new]
        self.same(lambda store: store.series.append(buckets, clients, late))

    @rule(folds=st.dictionaries(st.tuples(environments, prompts, versions), fold, max_size=3))
    def save(self, folds: dict[VersionKey, tuple[int, dict[str, Any]]]) -> None:
        self.same(lambda store: store.checkpoints.save(folds))
        self.same(lambda store: [repr(store.checkpoints.load(key)) for key in folds])

    @rule(days=few)
    def forget(self, days: int) -> None:
        self.same(lambda store: store.checkpoints.forget(NOW_MS - days * DAY_MS))

    @rule(days=few)
    def compact(self, days: int) -> None:
        for store in (self.memory, self.sqlite):
            store.series.compact(NOW_MS + days * DAY_MS)
            assert store.series.compact(NOW_MS + days * DAY_MS) == 0
        touched = self.same(lambda store: store.series.touched(0))
        self.same(lambda store: [store.series.read(key, 0, 2 * NOW_MS) for key, _ in touched])
        self.same(lambda store: store.series.scores(["call 1", "call 2"]))

    @rule()
    def restart(self) -> None:
        """What was answered is on the disk."""
        self.sqlite.close()
        self.sqlite = self.open()

    @invariant()
    def agree(self) -> None:
        self.same(lambda store: store.states.all())
        self.same(lambda store: store.states.generation("production"))
        self.same(lambda store: store.log.read(limit=1000))
        self.same(lambda store: messages(store.outbox.due(2 * NOW_MS, 100)))
        self.same(lambda store: store.series.touched(NOW_MS - DAY_MS))
        self.same(lambda store: store.clients.clients("production", NOW_MS - DAY_MS))
        self.same(lambda store: store.checkpoints.load(("production", "cs", "v1")))


def seen(store: Store, environment: str, prompt: str) -> int:
    known = environment in store.states.environments()
    return store.states.get(environment, prompt).revision if known else 0


def messages(due: list[Outgoing]) -> list[Outgoing]:
    """Without ids: a store may leave gaps between them."""
    return [replace(message, id=0) for message in due]


def outcome(ask: Callable[[Store], Any], store: Store) -> Any:
    try:
        return ask(store)
    except (KnowngoodError, ValueError) as error:
        return type(error), str(error), getattr(error, "known", None)


@pytest.mark.slow
def test_sqlite_does_what_memory_does(new_sqlite, tmp_path):
    """No sequence of requests tells the stores apart."""
    machine = type("Machine", (SqliteIsMemory,), {"template": new_sqlite(tmp_path)})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=25, deadline=None)
    )

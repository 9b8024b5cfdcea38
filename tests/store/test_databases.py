"""What only databases have: files, locks, damage, and history that SQL cannot change either."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from knowngood.conformance.evaluations import evaluation
from knowngood.conformance.examples import KEY, NOW_MS, bucket, change, notify, together
from knowngood.core.errors import StaleState, StoreUnavailable
from knowngood.core.model import Record, Told
from knowngood.core.rollup import DAY_MS
from knowngood.ports import VersionKey
from knowngood.store import observations
from knowngood.store.opened import OpenStore
from knowngood.store.postgres import open_postgres
from knowngood.store.sqlite import open_sqlite


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def opened(request: pytest.FixtureRequest, tmp_path: Path):
    """A store on a database and a plain engine beside it."""
    if request.param == "sqlite":
        place = str(request.getfixturevalue("new_sqlite")(tmp_path))
        url = f"sqlite:///{place}"
        store = open_sqlite(place)
    else:
        place = request.getfixturevalue("postgres_url")
        url = place.replace("postgresql:", "postgresql+psycopg:")
        store = open_postgres(place)
    engine = create_engine(url)
    with store:
        yield store, engine
    engine.dispose()


def test_history_cannot_be_changed_by_sql(opened):
    """Also somebody with the database's password can only add to the audit log."""
    store, engine = opened
    store.states.apply([change(Record("promote", "because"))], NOW_MS)
    statements = ["UPDATE audit SET body = '{}'", "DELETE FROM audit"]
    if engine.dialect.name == "postgresql":
        statements.append("TRUNCATE audit")
    for statement in statements:
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text(statement))
    assert [line.kind for line in store.log.read()] == ["promote"]


def test_failure_while_writing_undoes_everything(opened):
    """When the last statement of an apply fails, the first has not happened."""
    store, engine = opened
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE outbox"))
    notice = change(Told("x"), Record("ask", "because"))
    store.states.apply([notice], NOW_MS)
    with pytest.raises(Exception, match="outbox"):
        store.states.apply(
            [replace(notice, revision_seen=1, actions=(*notice.actions, notify("n1")))], NOW_MS
        )
    assert store.states.get("production", "support").revision == 1
    assert len(store.log.read()) == 1


def open_another(engine: Engine, folder: Path) -> OpenStore:
    """A second store on the database of `opened`, as another server has it."""
    if engine.dialect.name == "sqlite":
        return open_sqlite(folder / "knowngood.db")
    return open_postgres(engine.url.render_as_string(hide_password=False))


def test_two_stores_on_one_database_fence_each_other(opened, tmp_path):
    """Two servers on one database: each revision has one winner, and no history is lost."""
    store, engine = opened
    other = open_another(engine, tmp_path)

    def race(mine) -> int:
        won = 0
        for seen in range(30):
            try:
                mine.states.apply([change(Record("tick", ""), seen=seen)], NOW_MS)
                won += 1
            except StaleState:
                continue
        return won

    with other:
        won = together([lambda: race(store), lambda: race(other)])
        assert sum(won) == store.states.get("production", "support").revision
        assert len(other.log.read()) == sum(won)


def test_two_engines_keep_the_newest_folds(opened, tmp_path):
    """Two servers that save on one database: the one that has read further is never undone."""
    store, engine = opened
    keys = [("production", f"p{i}", "v1") for i in range(100)]

    def end_of(mine, key: VersionKey) -> int:
        until_ms, state = mine.checkpoints.load(key)
        assert state == {"end": until_ms}
        return until_ms

    def save(mine, ends_ms: range, order: int) -> list[int]:
        seen_ms = []
        for end_ms in ends_ms:
            mine.checkpoints.save({key: (end_ms, {"end": end_ms}) for key in keys[::order]})
            seen_ms.append(end_of(mine, keys[0]))
            assert seen_ms[-1] >= end_ms
        return seen_ms

    with open_another(engine, tmp_path) as other:
        for seen_ms in together(
            [lambda: save(store, range(101, 131), 1), lambda: save(other, range(91, 121), -1)]
        ):
            assert seen_ms == sorted(seen_ms)
        assert {end_of(other, key) for key in keys} == {130}


def test_half_a_save_is_none(opened):
    """When the database refuses one fold, those before it in the same save are not kept."""
    store, _ = opened
    with pytest.raises((OverflowError, DBAPIError)):
        store.checkpoints.save({KEY: (1, {}), ("production", "tax", "v1"): (2**63, {})})
    assert store.checkpoints.load(KEY) is None


def test_two_compactions_count_once(opened, tmp_path, monkeypatch):
    """Servers that compact at the same time neither lose nor double what they add up."""
    monkeypatch.setattr(observations, "BATCH_COUNT", 100)
    store, _ = opened
    store.series.append([(KEY, bucket(s * 1_000, ok=s)) for s in range(1_000)], [], {})
    gone = together([lambda: store.series.compact(DAY_MS)] * 4)
    found = store.series.read(KEY, 0, DAY_MS)
    assert sum(b.window.ok for b in found) == sum(range(1_000))
    assert [b.width_ms for b in found] == [60_000] * 17
    assert sum(gone) > 900
    assert store.series.compact(DAY_MS) == 0


def test_files_are_private(tmp_path):
    """Prompts and history are for the owner's eyes: every file has the mode 0600."""
    with open_sqlite(tmp_path / "knowngood.db") as store:
        store.states.environments(add="eu")
        store.series.append([(KEY, bucket(1))], [], {})
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert {"knowngood.db", "knowngood.db-wal", "knowngood-observations.db"} <= modes.keys()
    assert set(modes.values()) == {"0o600"}


def test_commits_are_as_safe_as_they_must_be(tmp_path):
    """Control commits wait for the disk, observations do not, both write ahead."""
    with open_sqlite(tmp_path / "it's 100% odd?.db") as store:
        ports: list[tuple[Any, int]] = [(store.states, 2), (store.series, 1)]  # FULL, NORMAL
        for port, synchronous in ports:
            with port._db.reading() as connection:
                assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_readers_do_not_wait_for_a_writer(tmp_path, new_sqlite, monkeypatch):
    """While another process holds the write lock, reading goes on; a write says who to look for."""
    monkeypatch.setattr("knowngood.store.sqlite.LOCK_WAIT_MS", 50)
    path = new_sqlite(tmp_path)
    with open_sqlite(path) as store:
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        assert store.states.get("production", "support").revision == 0
        with pytest.raises(StoreUnavailable, match=r"knowngood\.db stayed locked by another"):
            store.states.apply([change()], NOW_MS)
        with open_sqlite(path) as another:
            assert another.states.all() == []
        writer.close()
        assert store.states.apply([change()], NOW_MS)[0].revision == 1


def test_many_threads_share_a_store(tmp_path, new_sqlite):
    """More threads than connections wait for their turn; nothing fails."""
    with open_sqlite(new_sqlite(tmp_path)) as store, ThreadPoolExecutor(64) as pool:
        asks = [pool.submit(store.states.get, "production", f"p{i}") for i in range(400)]
        assert {ask.result().revision for ask in asks} == {0}


@pytest.mark.parametrize("name", ["knowngood.db", "knowngood-observations.db"])
def test_damaged_file_is_named(tmp_path, new_sqlite, name):
    """A file that is no database is refused with its name and what to do."""
    path = new_sqlite(tmp_path)
    (tmp_path / name).write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreUnavailable, match=rf"{name} is damaged .* restore it from a backup"):
        open_sqlite(path)


def test_damaged_observations_are_named_when_asked(tmp_path, new_sqlite):
    """Who needs the control database only gets it; each question to the other says why not."""
    path = new_sqlite(tmp_path)
    (tmp_path / "knowngood-observations.db").write_bytes(b"not a database at all" * 100)
    with open_sqlite(path, observations_needed=False) as store:
        assert store.states.apply([change()], NOW_MS)[0].revision == 1
        questions: list[Callable[[], Any]] = [
            lambda: store.series.read(KEY, 0, NOW_MS),
            lambda: store.clients.client("a"),
            lambda: store.checkpoints.save({}),
            lambda: store.checkpoints.load(KEY),
            lambda: store.checkpoints.forget(NOW_MS),
        ]
        for ask in questions:
            with pytest.raises(StoreUnavailable, match=r"knowngood-observations\.db is damaged"):
                ask()


def test_foreign_database_is_left_alone(tmp_path):
    """Somebody else's database gets none of our tables."""
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE orders (id INTEGER)")
    theirs.close()
    with pytest.raises(StoreUnavailable, match=r"theirs\.db is a database of another program"):
        open_sqlite(path)
    with sqlite3.connect(path) as theirs:
        tables = theirs.execute("SELECT name FROM sqlite_master").fetchall()
    theirs.close()
    assert tables == [("orders",)]


def test_missing_folder_is_named(tmp_path):
    """A path into nowhere is refused in words."""
    with pytest.raises(
        StoreUnavailable, match=r"nowhere/knowngood\.db: No such file or directory"
    ) as no:
        open_sqlite(tmp_path / "nowhere" / "knowngood.db")
    assert no.value.next_step == f"mkdir -p {tmp_path / 'nowhere'}"
    with pytest.raises(StoreUnavailable, match="Is a directory"):
        open_sqlite(tmp_path)


def test_unreachable_server_is_named_without_its_password():
    """The address is shown, the secret in it is not."""
    with pytest.raises(
        StoreUnavailable, match=r"cannot use postgresql://ann:\*\*\*@127\.0\.0\.1:1/kg"
    ) as no:
        open_postgres("postgres://ann:sesame@127.0.0.1:1/kg")
    assert "sesame" not in no.value.message


@pytest.mark.parametrize("url", ["sesame@", "mysql://ann:sesame@localhost/kg"])
def test_wrong_address_is_refused(url):
    """What is no PostgreSQL address is refused, without repeating what may be a secret."""
    with pytest.raises(StoreUnavailable) as no:
        open_postgres(url)
    assert "sesame" not in no.value.message


def test_an_evaluation_is_recorded_with_its_history_or_not_at_all(opened):
    """When the line cannot be written, the evaluation is not there either."""
    store, engine = opened
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit RENAME TO elsewhere"))
    with pytest.raises(Exception, match="audit"):
        store.evaluations.record(evaluation(), "policy-1")
    assert store.evaluations.of("support") == []

"""The tables come up to date by themselves, whoever opens first, and never the wrong way."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from knowngood.conformance.deliveries import taken
from knowngood.conformance.evaluations import evaluation
from knowngood.conformance.examples import (
    AWKWARD,
    KEY,
    NOW_MS,
    bucket,
    change,
    client,
    notify,
    version,
)
from knowngood.conformance.incidents import OPENED, opened
from knowngood.conformance.retention import pin, purge
from knowngood.core.asking import Purpose
from knowngood.core.chain import verify
from knowngood.core.errors import NewerSchema
from knowngood.core.history import AuditEntry
from knowngood.core.model import MoveRoute, Record, SetIncident, Severity, whole
from knowngood.store.migrate import MIGRATIONS, move, revision
from knowngood.store.postgres import open_postgres
from knowngood.store.sqlite import observations_path, open_sqlite
from knowngood.store.tables import CONTROL_SCHEMA, OBSERVATIONS_SCHEMA, Schema

SCHEMAS = [CONTROL_SCHEMA, OBSERVATIONS_SCHEMA]
OPEN = """
import sys
from knowngood.store.postgres import open_postgres
from knowngood.store.sqlite import open_sqlite
print("ready", flush=True)
sys.stdin.readline()
opener = open_postgres if "://" in sys.argv[1] else open_sqlite
with opener(sys.argv[1]) as store:
    print(store.states.environments(add=sys.argv[2]), store.series.touched(0))
"""


def psycopg(url: str) -> str:
    return url.replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where nothing is yet: a path or a URL."""
    if request.param == "sqlite":
        return str(tmp_path / "knowngood.db")
    return request.getfixturevalue("empty_postgres")


def open_store(place: str):
    return open_postgres(place) if "://" in place else open_sqlite(place)


def engines(place: str) -> list[tuple[Engine, list[Schema]]]:
    """Plain engines on what was opened, each with the schemas that live there."""
    if "://" in place:
        return [(create_engine(psycopg(place)), SCHEMAS)]
    files = [Path(place), observations_path(Path(place))]
    return [
        (create_engine(f"sqlite:///{file}"), [schema])
        for file, schema in zip(files, SCHEMAS, strict=True)
    ]


def differences(engine: Engine, schemas: list[Schema]) -> list[object]:
    wanted = MetaData()
    for schema in schemas:
        for table in schema.metadata.tables.values():
            table.to_metadata(wanted)
    bookkeeping = {schema.version_table for schema in schemas}
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, parents: name not in bookkeeping,
            },
        )
        return compare_metadata(context, wanted)


def test_migrated_tables_are_those_of_the_code(place):
    """What the migrations build is exactly what tables.py describes."""
    open_store(place).close()
    for engine, schemas in engines(place):
        assert differences(engine, schemas) == []
        engine.dispose()


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_head_is_the_newest_migration(schema):
    """tables.py names the newest migration, and there is one line of them."""
    scripts = ScriptDirectory(MIGRATIONS, version_locations=[MIGRATIONS / schema.name])
    assert scripts.get_heads() == [schema.head]


def test_migrations_go_down_and_up_again(place):
    """A migration can be undone completely, in one transaction, and done again."""
    open_store(place).close()
    for engine, schemas in engines(place):
        for schema in schemas:
            with engine.begin() as connection:
                move(connection, schema, "base")
                left = set(inspect(connection).get_table_names()) & set(schema.metadata.tables)
                assert left == set()
                assert revision(connection, schema) is None
                move(connection, schema, schema.head)
        assert differences(engine, schemas) == []
        engine.dispose()
    with open_store(place) as store:
        assert store.states.environments() == ["production", "staging"]


def test_observations_outlive_the_checkpoints(place):
    """Going back before the checkpoints and forward again takes the folds and nothing else."""
    with open_store(place) as store:
        store.series.append([(KEY, bucket(1_000))], [client("a")], {("call", "quality"): (7, 1)})
        store.checkpoints.save({KEY: (2_000, {"n": 1})})
    for engine, schemas in engines(place):
        if OBSERVATIONS_SCHEMA in schemas:
            with engine.begin() as connection:
                move(connection, OBSERVATIONS_SCHEMA, "0001")
                assert revision(connection, OBSERVATIONS_SCHEMA) == "0001"
                assert not inspect(connection).has_table("checkpoints")
        engine.dispose()
    with open_store(place) as store:
        assert store.series.read(KEY, 0, NOW_MS) == [bucket(1_000)]
        assert store.clients.client("a") == client("a")
        assert store.series.scores(["call"]) == {("call", "quality"): 7}
        assert store.checkpoints.load(KEY) is None
        store.checkpoints.save({KEY: (1_000, {"n": 2})})
        assert store.checkpoints.load(KEY) == (1_000, {"n": 2})


def test_a_database_from_before_evaluations_comes_up_to_date(place):
    """What an older knowngood wrote stays, and evaluations can be recorded."""
    with open_store(place) as store:
        store.registry.put(version())
        store.log.append([AuditEntry(NOW_MS, "", "support", "version.pushed", "", "ann", 0, 0)])
    for engine, schemas in engines(place):
        if CONTROL_SCHEMA in schemas:
            with engine.begin() as connection:
                move(connection, CONTROL_SCHEMA, "0001")
                assert not inspect(connection).has_table("evaluations")
        engine.dispose()
    with open_store(place) as store:
        assert store.registry.versions("support") == [version()]
        store.evaluations.record(evaluation(), "")
        kinds = [line.kind for line in store.log.read()]
        assert kinds == ["version.pushed", "evaluation.recorded"]


def test_a_database_from_before_pins_comes_up_to_date(place):
    """What an older knowngood wrote stays, and can be pinned and purged."""
    with open_store(place) as store:
        store.registry.put(version("v1"))
        store.registry.put(version("v2"))
    for engine, schemas in engines(place):
        if CONTROL_SCHEMA in schemas:
            with engine.begin() as connection:
                move(connection, CONTROL_SCHEMA, "0003")
                assert not inspect(connection).has_table("pins")
                assert not inspect(connection).has_table("purged")
        engine.dispose()
    with open_store(place) as store:
        assert store.retention.pin(pin("v2"), "") is True
        assert store.retention.purge(purge({"v1": 1}), NOW_MS) == ["v1"]
        assert store.registry.versions("support") == [version("v2")]


def test_a_message_from_before_purposes_is_still_sent(place):
    """What waits in the outbox when the tables come up to date goes out as a plain note."""
    with open_store(place) as store:
        store.states.apply([change(notify("n1"))], NOW_MS)
    for engine, schemas in engines(place):
        if CONTROL_SCHEMA in schemas:
            with engine.begin() as connection:
                move(connection, CONTROL_SCHEMA, "0004")
                assert not inspect(connection).has_table("deliveries")
                body = json.dumps(
                    {
                        "environment": "production",
                        "prompt": "support",
                        "audience": "team",
                        "severity": "low",
                        "subject": "v2 breaches",
                        "body": "",
                        "created_ms": NOW_MS,
                    }
                )
                connection.execute(text("UPDATE outbox SET body = :body"), {"body": body})
        engine.dispose()
    with open_store(place) as store:
        (message,) = store.outbox.due(NOW_MS, 10)
        assert (message.key, message.audience, message.subject) == ("n1", "team", "v2 breaches")
        assert (message.purpose, message.thread, message.question) == (Purpose.NOTE, "", None)
        store.deliveries.add(taken(message.id))
        assert len(store.deliveries.of([message.id])[message.id]) == 1


def test_opening_again_changes_nothing(place):
    """A store that is up to date opens with what it holds."""
    with open_store(place) as store:
        store.states.environments(add="eu")
    with open_store(place) as store:
        assert store.states.environments() == ["eu", "production", "staging"]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_newer_schema_is_left_alone(place, schema):
    """An old knowngood refuses what a newer one wrote, says so, and changes nothing."""
    open_store(place).close()
    for engine, schemas in engines(place):
        if schema in schemas:
            with engine.begin() as connection:
                connection.execute(text(f"UPDATE {schema.version_table} SET version_num = '0999'"))
            with pytest.raises(NewerSchema, match=rf"0999.*up to {schema.head}.*newer knowngood"):
                open_store(place)
            with engine.connect() as connection:
                assert revision(connection, schema) == "0999"
        engine.dispose()


@pytest.mark.slow
def test_processes_may_open_at_once(place):
    """Of several that find no tables at the same moment, each finds a working store."""
    names = ["a", "b", "c"]
    opening = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", OPEN, place, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for process in opening:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in opening:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in opening:
        said, complained = process.communicate(timeout=60)
        assert (process.returncode, complained) == (0, "")
        assert "production" in said
    with open_store(place) as store:
        assert store.states.environments() == [*names, "production", "staging"]


def test_a_history_from_before_the_chain_is_chained(place):
    """The hashes that lines get afterwards are those that they would have been written with."""
    finding = {"trigger": "error_high", "severity": "high", "response": "ask", "version": "v2"}
    closed = "production/support/g1.1"
    with open_store(place) as store:
        route = change(MoveRoute(whole("v2")), Record("route.moved", AWKWARD, {"x": [1.5, None]}))
        store.states.apply([route], NOW_MS)
        detail = {"incident": closed, "findings": [finding], "naïve": AWKWARD}
        first = replace(OPENED, id=closed)
        opens = change(SetIncident(first), Record("incident.opened", "", detail), seen=1)
        store.states.apply([opens], NOW_MS)
        ends = change(
            SetIncident(None), Record("incident.resolved", "", {"incident": closed}), seen=2
        )
        store.states.apply([ends], NOW_MS + 60_000)
        second = opened(number=2, severity=Severity.CRITICAL)
        grown = Record("incident.opened", "", {"incident": second.id, "findings": [finding]})
        store.states.apply([change(SetIncident(second), grown, seen=3)], NOW_MS + 70_000)
        store.log.append([AuditEntry(NOW_MS, "", "support", "version.pushed", "", "ann", 0, 0)])
        before = store.log.follow()
    for engine, schemas in engines(place):
        if CONTROL_SCHEMA in schemas:
            with engine.begin() as connection:
                move(connection, CONTROL_SCHEMA, "0004")
                assert not inspect(connection).has_table("incidents")
        engine.dispose()
    with open_store(place) as store:
        after = store.log.follow()
        assert [line.hash for line in after] == [line.hash for line in before]
        assert verify(after).line_count == 5
        assert store.incidents.get(second.id).closed_ms is None
        found = store.incidents.get(closed)
        assert (found.closed_ms, found.incident) == (NOW_MS + 60_000, first)
        assert store.incidents.get(second.id).incident == second
        store.log.append([AuditEntry(NOW_MS, "", "support", "version.pushed", "", "ann", 0, 0)])
        assert verify(store.log.follow()).line_count == 6
    for engine, schemas in engines(place):
        if CONTROL_SCHEMA in schemas:
            for statement in ("UPDATE audit SET hash = ''", "DELETE FROM audit"):
                with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
                    connection.execute(text(statement))
        engine.dispose()


def test_a_line_without_a_hash_breaks_the_chain_where_it_is(place):
    """An older knowngood that still runs is never kept from a rollback; the break tells of it."""
    with open_store(place) as store:
        store.log.append([AuditEntry(NOW_MS, "", "support", "version.pushed", "", "ann", 0, 0)])
    body = '{"because":"","actor":"","revision":0,"generation":0}'
    for engine, schemas in engines(place):
        if CONTROL_SCHEMA in schemas:
            with engine.begin() as connection:
                columns = "(at_ms, environment, prompt, kind, body)"
                values = {"body": body}
                connection.execute(
                    text(f"INSERT INTO audit {columns} VALUES (1, '', 'a', 'push', :body)"), values
                )
        engine.dispose()
    with open_store(place) as store:
        found = verify(store.log.follow())
        assert (found.line_count, found.broken_id) == (1, store.log.follow()[1].id)
        assert "no hash" in found.why

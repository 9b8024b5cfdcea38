"""Registry, states, audit log, outbox and policies in SQL, the same on both databases."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Insert, Row, delete, func, select, tuple_, update

from knowngood.core.chain import FIRST, chained
from knowngood.core.codec import from_data, plain, to_data
from knowngood.core.commit import Commit, StateKey, commit, keys
from knowngood.core.content import refuse_other_content
from knowngood.core.errors import (
    StaleState,
    UnknownEntry,
    UnknownEnvironment,
    UnknownPrompt,
    UnknownVersion,
)
from knowngood.core.history import AuditEntry, Outgoing
from knowngood.core.model import (
    FLEET,
    Change,
    Content,
    State,
    Version,
)
from knowngood.core.purge import named, refuse_purged, refuse_reuse
from knowngood.store.database import WRITING, Database, to_text
from knowngood.store.incidents import file_incidents
from knowngood.store.opened import Timekeeper
from knowngood.store.tables import audit, environments, outbox, policies, purged, states, versions

STATES_DECODED = 500  # kept ready, some 40 KB each: as many prompts as one status looks at
CHUNK_COUNT = 500  # names in one query: far below SQLite's 32,766 variables, and a plan stays small


class SqlRegistry:
    """The registry in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(self, version: Version) -> bool:
        """See ports.Registry."""
        row = {
            "prompt": version.prompt,
            "version": version.version,
            "digest": version.digest,
            "created_ms": version.created_ms,
            "body": to_text(
                {
                    "content": to_data(version.content),
                    "author": version.author,
                    "note": version.note,
                }
            ),
        }
        new = self._db.insert(versions).on_conflict_do_nothing(index_elements=["prompt", "version"])
        with self._db.writing() as connection:
            if _execute(connection, new, row) == 1:
                _revive(connection, version)
                return True
            (there,) = _versions(connection, [(version.prompt, version.version)])
        refuse_other_content(version, there)
        return False

    def get(self, prompt: str, version: str) -> Version:
        """See ports.Registry."""
        with self._db.reading() as connection:
            found = _versions(connection, [(prompt, version)])
        if not found:
            known = [v.version for v in self.versions(prompt)]
            raise UnknownVersion(f"{prompt} has no version {version!r}", known=known)
        return found[0]

    def versions(self, prompt: str) -> list[Version]:
        """See ports.Registry."""
        query = select(versions).where(versions.c.prompt == prompt)
        with self._db.reading() as connection:
            rows = connection.execute(query.order_by(versions.c.created_ms, versions.c.id)).all()
        if not rows:
            raise UnknownPrompt(f"there is no prompt {prompt!r}", known=self.prompts())
        return [_version(row) for row in rows]

    def prompts(self) -> list[str]:
        """See ports.Registry."""
        with self._db.reading() as connection:
            # Sorted here: a database may sort by the rules of some language.
            return sorted(connection.execute(select(versions.c.prompt).distinct()).scalars())

    def contents(self, keys: Iterable[tuple[str, str]]) -> list[Version]:
        """See ports.Registry."""
        wanted = list(dict.fromkeys(keys))
        with self._db.reading() as connection:
            found = {(v.prompt, v.version): v for v in _versions(connection, wanted)}
        return [found[key] for key in wanted if key in found]


def _revive(connection: Connection, version: Version) -> None:
    """Let a purged version come back. Raises ContentConflict if it had other content."""
    name = (purged.c.prompt == version.prompt) & (purged.c.version == version.version)
    digest = connection.execute(select(purged.c.digest).where(name)).scalar_one_or_none()
    if digest is not None:
        refuse_reuse(version.prompt, version.version, version.digest, digest)
        connection.execute(delete(purged).where(name))


def _execute(connection: Connection, statement: Insert, row: dict[str, Any]) -> int:
    """Write one row; how many were written. (Unless told, SQLAlchemy forgets it for an INSERT.)"""
    return connection.execute(
        statement, row, execution_options={"preserve_rowcount": True}
    ).rowcount


def _versions(connection: Connection, wanted: Sequence[tuple[str, str]]) -> list[Version]:
    name = tuple_(versions.c.prompt, versions.c.version)
    return [
        _version(row)
        for first in range(0, len(wanted), CHUNK_COUNT)
        for row in connection.execute(
            select(versions).where(name.in_(wanted[first : first + CHUNK_COUNT]))
        )
    ]


def _version(row: Row[Any]) -> Version:
    body = json.loads(row.body)
    return Version(
        prompt=row.prompt,
        version=row.version,
        content=from_data(Content, body["content"]),
        digest=row.digest,
        author=body["author"],
        created_ms=row.created_ms,
        note=body["note"],
    )


class SqlStates:
    """The control states in SQL."""

    def __init__(self, database: Database, timekeeper: Timekeeper) -> None:
        self._db, self._timekeeper = database, timekeeper

    def get(self, environment: str, prompt: str) -> State:
        """See ports.States."""
        with self._db.reading() as connection:
            found = states_in(connection, [(environment, prompt)])
            if not found:
                generations_of(connection, {environment})
        return found.get((environment, prompt)) or State(environment, prompt)

    def all(self, environment: str | None = None) -> list[State]:
        """See ports.States."""
        query = select(states.c.body).where(states.c.prompt != FLEET)
        if environment is not None:
            query = query.where(states.c.environment == environment)
        with self._db.reading() as connection:
            bodies = connection.execute(query).scalars().all()
        found = [_state(body) for body in bodies]
        return sorted(found, key=lambda state: (state.environment, state.prompt))

    def apply(self, changes: Sequence[Change], now_ms: int) -> list[State]:
        """See ports.States."""
        wanted = keys(changes)
        if not wanted:
            return []
        with self._db.writing() as connection:
            # Locks the environments' rows, always in the same order: from here on nobody else
            # changes a state in them, not even one that is not written yet.
            generations = generations_of(connection, {environment for environment, _ in wanted})
            found = states_in(connection, wanted)
            before = {key: found.get(key) or State(*key) for key in wanted}
            done = commit(
                changes,
                before,
                generations,
                lambda environment, prompt: last_line(connection, environment, prompt),
                self._timekeeper.at_ms(now_ms),  # under the lock, however long that took
                now_ms,
            )
            # Read under the lock: a purge holds all of them. Whoever has read what is there now
            # names something that is gone; others are told to read again.
            refuse_purged(purged_of(connection, named(changes)))
            write_states(self._db, connection, done)
        return list(done.states)

    def generation(self, environment: str) -> int:
        """See ports.States."""
        with self._db.reading() as connection:
            return generations_of(connection, {environment})[environment]

    def environments(self, add: str | None = None) -> list[str]:
        """See ports.States."""
        if add is not None:
            new = self._db.insert(environments).on_conflict_do_nothing(index_elements=["name"])
            with self._db.writing() as connection:
                self._db.alone(connection, "retention")  # a purge has looked at all environments
                connection.execute(new, {"name": add, "generation": 0})
        with self._db.reading() as connection:
            return sorted(connection.execute(select(environments.c.name)).scalars())


def write_states(database: Database, connection: Connection, done: Commit) -> None:
    """Write all of a commit, in the writing transaction that locked its environments."""
    new = database.insert(states)
    statement = new.on_conflict_do_update(
        index_elements=["environment", "prompt"],
        set_={name: new.excluded[name] for name in ("revision", "generation", "body")},
        # The fence once more, where two winners would meet if a lock above were ever lost.
        where=states.c.revision == new.excluded.revision - 1,
    )
    for state in done.states:
        if _execute(connection, statement, _state_row(state)) != 1:
            raise StaleState(f"{state.environment}/{state.prompt} has changed since it was read")
    for environment, generation in done.generations.items():
        connection.execute(
            update(environments)
            .where(environments.c.name == environment)
            .values(generation=generation)
        )
    file_incidents(database, connection, done.incidents)
    if done.audit:
        write_history(database, connection, done.audit)
    if done.outgoing:
        connection.execute(
            database.insert(outbox).on_conflict_do_nothing(index_elements=["key"]),
            [_outgoing_row(message) for message in done.outgoing],
        )


def purged_of(connection: Connection, names: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the (prompt, version) names that were purged."""
    if not names:
        return []
    name = tuple_(purged.c.prompt, purged.c.version)
    found = connection.execute(
        select(purged.c.prompt, purged.c.version).where(name.in_(sorted(names)))
    )
    return [(row.prompt, row.version) for row in found]


def generations_of(connection: Connection, wanted: Collection[str]) -> dict[str, int]:
    """The environments' generations; in a writing transaction their rows are locked until its end.

    (Only PostgreSQL has row locks; on SQLite a writer is alone anyway.)
    """
    query = select(environments.c.name, environments.c.generation).order_by(environments.c.name)
    named = query.where(environments.c.name.in_(wanted))
    if connection.get_execution_options().get(WRITING):
        named = named.with_for_update()
    found = {row.name: row.generation for row in connection.execute(named)}
    for environment in sorted(wanted):
        if environment not in found:
            known = sorted(connection.execute(select(environments.c.name)).scalars())
            raise UnknownEnvironment(f"there is no environment {environment!r}", known=known)
    return found


def states_in(connection: Connection, wanted: Sequence[StateKey]) -> dict[StateKey, State]:
    name = tuple_(states.c.environment, states.c.prompt)
    found = [
        _state(body)
        for first in range(0, len(wanted), CHUNK_COUNT)
        for body in connection.execute(
            select(states.c.body).where(name.in_(wanted[first : first + CHUNK_COUNT]))
        ).scalars()
    ]
    return {(state.environment, state.prompt): state for state in found}


# A look a second reads the same state again; decoding takes 0.4 ms, with a hundred versions 10 ms.
@lru_cache(maxsize=STATES_DECODED)
def _state(body: str) -> State:
    return from_data(State, json.loads(body))


def _state_row(state: State) -> dict[str, Any]:
    return {
        "environment": state.environment,
        "prompt": state.prompt,
        "revision": state.revision,
        "generation": state.route.generation if state.route else 0,
        "body": to_text(to_data(state)),
    }


class SqlLog:
    """The audit log in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def append(self, entries: Iterable[AuditEntry]) -> None:
        """See ports.Log."""
        if lines := list(entries):
            with self._db.writing() as connection:
                write_history(self._db, connection, lines)

    def read(
        self,
        environment: str | None = None,
        prompt: str | None = None,
        after_id: int = 0,
        limit: int = 100,
        before_id: int | None = None,
        kind: str = "",
    ) -> list[AuditEntry]:
        """See ports.Log."""
        query = select(audit).where(audit.c.id > after_id)
        if before_id is not None:
            query = query.where(audit.c.id < before_id)
        if kind:  # not LIKE, which some databases read without regard to case
            query = query.where(func.replace(audit.c.kind, kind, "") != audit.c.kind)
        if environment is not None:
            query = query.where(audit.c.environment == environment)
        if prompt is not None:
            query = query.where(audit.c.prompt == prompt)
        with self._db.reading() as connection:
            # To SQLite, a negative limit is none.
            rows = connection.execute(query.order_by(audit.c.id.desc()).limit(max(0, limit))).all()
        return [_line(row) for row in reversed(rows)]

    def get(self, entry_id: int) -> AuditEntry:
        """See ports.Log."""
        with self._db.reading() as connection:
            row = connection.execute(select(audit).where(audit.c.id == entry_id)).one_or_none()
        if row is None:
            raise UnknownEntry(f"there is no entry {entry_id}")
        return _line(row)

    def follow(self, after_id: int = 0, limit: int = 100) -> list[AuditEntry]:
        """See ports.Log."""
        query = select(audit).where(audit.c.id > after_id)
        with self._db.reading() as connection:
            rows = connection.execute(query.order_by(audit.c.id).limit(max(0, limit))).all()
        return [_line(row) for row in rows]

    def between(
        self,
        environment: str,
        prompt: str,
        since_ms: int,
        until_ms: int,
        limit: int,
        kinds: Collection[str] = (),
    ) -> list[AuditEntry]:
        """See ports.Log."""
        of_state = (audit.c.environment == environment) & (audit.c.prompt == prompt)
        query = select(audit).where(of_state, audit.c.at_ms.between(since_ms, until_ms))
        if kinds:
            query = query.where(audit.c.kind.in_(sorted(kinds)))
        with self._db.reading() as connection:
            rows = connection.execute(query.order_by(audit.c.id).limit(max(0, limit))).all()
        return [_line(row) for row in rows]


def write_history(
    database: Database, connection: Connection, entries: Iterable[AuditEntry]
) -> None:
    """Add the lines in the writing transaction of what they tell of."""
    # Ids are drawn before they are committed: without this, a reader that goes on after the newest
    # id it saw could miss a smaller one that was committed later.
    # And each line is chained to the newest one, which has to be known.
    database.alone(connection, "log")
    newest = select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)
    before = connection.execute(newest).scalar_one_or_none()
    plainly = [replace(entry, detail=plain(entry.detail)) for entry in entries]
    lines = chained(plainly, FIRST if before is None else before)
    connection.execute(audit.insert(), [_line_row(line) for line in lines])


def last_line(connection: Connection, environment: str, prompt: str) -> AuditEntry | None:
    of_state = (audit.c.environment == environment) & (audit.c.prompt == prompt)
    row = connection.execute(
        select(audit).where(of_state).order_by(audit.c.id.desc()).limit(1)
    ).one_or_none()
    return _line(row) if row else None


LINE_BODY = ("because", "actor", "revision", "generation", "policy_revision", "detail")


def _line_row(entry: AuditEntry) -> dict[str, Any]:
    data = to_data(entry)
    return {
        "at_ms": entry.at_ms,
        "environment": entry.environment,
        "prompt": entry.prompt,
        "kind": entry.kind,
        "body": to_text({name: data[name] for name in LINE_BODY if name in data}),
        "hash": entry.hash,
    }


def _line(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at_ms=row.at_ms,
        environment=row.environment,
        prompt=row.prompt,
        kind=row.kind,
        hash=row.hash,
        **json.loads(row.body),
    )


class SqlOutbox:
    """The outbox in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def due(self, now_ms: int, limit: int) -> list[Outgoing]:
        """See ports.Outbox."""
        query = select(outbox).where(outbox.c.done_ms.is_(None), outbox.c.next_try_ms <= now_ms)
        with self._db.reading() as connection:
            rows = connection.execute(query.order_by(outbox.c.id).limit(max(0, limit))).all()
        return [_outgoing(row) for row in rows]

    def sent(self, message_id: int, receipt: str, now_ms: int) -> None:
        """See ports.Outbox."""
        self._update(message_id, done_ms=now_ms, outcome="sent", answer=to_text(receipt))

    def retry(self, message_id: int, next_try_ms: int, error: str) -> None:
        """See ports.Outbox."""
        self._update(
            message_id,
            next_try_ms=next_try_ms,
            attempt_count=outbox.c.attempt_count + 1,
            answer=to_text(error),
        )

    def gave_up(self, message_id: int, error: str, now_ms: int) -> None:
        """See ports.Outbox."""
        self._update(message_id, done_ms=now_ms, outcome="gave_up", answer=to_text(error))

    def waiting_count(self) -> int:
        """See ports.Outbox."""
        query = select(func.count()).select_from(outbox).where(outbox.c.done_ms.is_(None))
        with self._db.reading() as connection:
            return connection.execute(query).scalar_one()

    def _update(self, message_id: int, **values: Any) -> None:
        waits = (outbox.c.id == message_id) & outbox.c.done_ms.is_(None)
        with self._db.writing() as connection:
            connection.execute(update(outbox).where(waits).values(**values))


OUTGOING_COLUMNS = ("id", "key", "next_try_ms", "attempt_count")


def _outgoing_row(message: Outgoing) -> dict[str, Any]:
    data = to_data(message)
    return {
        "key": message.key,
        "next_try_ms": message.next_try_ms,
        "attempt_count": message.attempt_count,
        "body": to_text({k: value for k, value in data.items() if k not in OUTGOING_COLUMNS}),
    }


def _outgoing(row: Row[Any]) -> Outgoing:
    columns = {name: getattr(row, name) for name in OUTGOING_COLUMNS}
    return from_data(Outgoing, {**json.loads(row.body), **columns})


class SqlPolicies:
    """The policies in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(self, digest: str, policy: Mapping[str, Any], now_ms: int) -> None:
        """See ports.Policies."""
        row = {"digest": digest, "put_ms": now_ms, "body": to_text(plain(policy))}
        new = self._db.insert(policies).on_conflict_do_nothing(index_elements=["digest"])
        with self._db.writing() as connection:
            connection.execute(new, row)

    def get(self, digest: str) -> Mapping[str, Any] | None:
        """See ports.Policies."""
        query = select(policies.c.body).where(policies.c.digest == digest)
        with self._db.reading() as connection:
            body = connection.execute(query).scalar_one_or_none()
        return None if body is None else json.loads(body)

"""Bringing a database's tables up to date, safely while others open it too."""

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, select, table, text

from knowngood.core.errors import NewerSchema
from knowngood.store.database import Database
from knowngood.store.tables import Schema

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
_one_at_a_time = Lock()  # Alembic keeps its context in module globals


def ensure(database: Database, schema: Schema) -> None:
    """Migrate the schema's tables to the newest form, if they are not there yet.

    Raises NewerSchema, having changed nothing, if this version of knowngood is too old for them.
    """
    with database.reading() as connection:
        if revision(connection, schema) == schema.head:
            return
    with database.writing() as connection:
        database.alone(connection, "migration")
        move(connection, schema, schema.head)


def revision(connection: Connection, schema: Schema) -> str | None:
    """The migration that the database has reached; None before the first."""
    if not inspect(connection).has_table(schema.version_table):
        return None
    query = select(text("version_num")).select_from(table(schema.version_table))
    return connection.execute(query).scalar_one_or_none()


def move(connection: Connection, schema: Schema, to: str) -> None:
    """Run the migrations up (or down, for tests) to revision `to` (`base` for none).

    Everything happens in the connection's transaction. Raises NewerSchema.
    """
    # Most starts find the tables up to date and need not pay for importing Alembic.
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config(connection, schema)
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    there = revision(connection, schema)
    if there is not None and there not in known:
        raise NewerSchema(
            f"the database's {schema.name} tables are at revision {there}, "
            f"and this knowngood knows them up to {schema.head}: a newer knowngood wrote them",
            next_step="run the knowngood that wrote it, or restore the backup from before",
        )
    with _one_at_a_time:
        if to == "base" or (there is not None and known.index(to) > known.index(there)):
            command.downgrade(config, to)
        else:
            command.upgrade(config, to)


def _config(connection: Connection, schema: Schema) -> "Config":
    from alembic.config import Config

    config = Config()
    # Config interpolates percent signs, which a folder's name may hold.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(MIGRATIONS / schema.name).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["schema"] = schema
    return config

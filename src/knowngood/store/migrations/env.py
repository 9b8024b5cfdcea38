"""Alembic's entry: runs one schema's migrations inside the transaction that the caller began."""

from alembic import context

from knowngood.store.tables import Schema

schema: Schema = context.config.attributes["schema"]
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    version_table=schema.version_table,
    # SQLite can undo DDL since our connections begin transactions themselves (see sqlite.py).
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

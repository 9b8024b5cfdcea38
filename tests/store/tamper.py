"""What somebody with the database's file and a free evening can do to the history."""

import sqlite3
from pathlib import Path


def tamper(path: str | Path, *statements: str) -> None:
    """Run the statements on a SQLite file, once the triggers that would refuse are gone."""
    connection = sqlite3.connect(path)
    with connection:
        for verb in ("update", "delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS audit_no_{verb}")
        for statement in statements:
            connection.execute(statement)
    connection.close()

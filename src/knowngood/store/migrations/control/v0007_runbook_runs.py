"""Runs of runbooks."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"


def upgrade() -> None:
    """Create the table."""
    row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "runbook_runs",
        sa.Column("seq", row_id, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("incident", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("runbook_runs_incident", "runbook_runs", ["incident", "seq"])


def downgrade() -> None:
    """Drop it; the history keeps every step that was done."""
    op.drop_table("runbook_runs")

"""What suites have found of versions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "evaluations",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("suite", sa.Text, nullable=False),
        sa.Column("recorded_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("examples", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("evaluations_of", "evaluations", ["prompt", "version", "suite", "id"])


def downgrade() -> None:
    """Drop it, and what was recorded in it; the history keeps the counts."""
    op.drop_table("evaluations")

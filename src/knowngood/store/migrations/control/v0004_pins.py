"""What a person keeps, and what was purged."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "pins",
        sa.Column("prompt", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("because", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "purged",
        sa.Column("prompt", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("purged_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop them; the history keeps who pinned and purged what."""
    op.drop_table("purged")
    op.drop_table("pins")

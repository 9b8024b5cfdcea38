"""The earlier lives of each process, so that a flush of one of them is known as such."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("clients", sa.Column("ended", sa.Text, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("clients", "ended")

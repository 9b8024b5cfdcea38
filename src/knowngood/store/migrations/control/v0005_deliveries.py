"""What each channel answered to each message, try by try."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "deliveries",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("thread", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("receipt", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
        sa.Index("deliveries_message", "message_id", "id"),
        sa.Index("deliveries_thread", "thread", "id"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Drop it. What waits in the outbox is then offered to every channel again."""
    op.drop_table("deliveries")

"""What other systems say of our prompts, and which of their messages were taken."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "inbound_evidence",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("began_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("seen_ms", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("source", "key", name="inbound_evidence_key"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "inbound_evidence_of", "inbound_evidence", ["environment", "prompt", "began_ms"]
    )
    op.create_index("inbound_evidence_seen", "inbound_evidence", ["seen_ms"])
    op.create_table(
        "inbound_taken",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("inbound_taken_at", "inbound_taken", ["at_ms"])


def downgrade() -> None:
    """Drop them; the history keeps what was received."""
    op.drop_table("inbound_taken")
    op.drop_table("inbound_evidence")

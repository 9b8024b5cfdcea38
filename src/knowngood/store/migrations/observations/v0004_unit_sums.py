"""What single units have shown, while arms are compared."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "unit_arms",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("environment", "prompt", "version", "generation", name="unit_arms_key"),
    )
    op.create_table(
        "unit_sums",
        sa.Column("arm", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("unit", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them. Comparisons under way begin anew."""
    op.drop_table("unit_sums")
    op.drop_table("unit_arms")

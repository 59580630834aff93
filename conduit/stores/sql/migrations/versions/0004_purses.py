"""Purses: what was spent under a name within a period."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "purses",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("period", TEXT, primary_key=True),
        sa.Column("spent_usd", sa.Double, nullable=False),
    )

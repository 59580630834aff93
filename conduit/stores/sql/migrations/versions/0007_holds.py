"""Holds: what running calls may cost at most, taken from purses until it is known what they did cost."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("period", TEXT, primary_key=True),
        sa.Column("usd", sa.Double, nullable=False),
        sa.Column("expires_s", sa.Double, nullable=False),
    )
    schema = op.get_context().version_table_schema  # said here: the engine's translation does not reach an index
    op.create_index("holds_account", "holds", ["name", "period"], schema=schema)

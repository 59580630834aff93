"""Decisions know the conversation that they belong to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    schema = op.get_context().version_table_schema  # said here: the engine's translation does not reach ALTER TABLE
    op.add_column("decisions", sa.Column("session_id", TEXT), schema=schema)
    op.create_index("decisions_session", "decisions", ["session_id", "id"], schema=schema)

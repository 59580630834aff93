"""Feedback has a weight and says what it taught; observations know a rival."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    schema = op.get_context().version_table_schema  # said here: the engine's translation does not reach ALTER TABLE
    op.add_column("feedback", sa.Column("key_id", TEXT), schema=schema)
    # Up to now, and from code of the time before, everything counted as one.
    op.add_column("feedback", sa.Column("weight", sa.Double, nullable=False, server_default="1"), schema=schema)
    op.add_column("feedback", sa.Column("lessons", TEXT), schema=schema)
    teaching = sa.text("weight > 0")
    op.create_index(
        "feedback_given",
        "feedback",
        ["key_id", "model", "time_s"],
        schema=schema,
        sqlite_where=teaching,
        postgresql_where=teaching,
    )
    op.add_column("observations", sa.Column("rival", TEXT), schema=schema)
    op.add_column("observations", sa.Column("preference", sa.Double), schema=schema)

"""Decisions by the x-request-id of their callers."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.Text(collation="C"), "postgresql")
GIVEN = sa.text("request_id IS NOT NULL")


def upgrade() -> None:
    schema = op.get_context().version_table_schema
    op.add_column("decisions", sa.Column("request_id", TEXT), schema=schema)
    op.create_index(
        "decisions_request",
        "decisions",
        ["request_id", "key_id", "id"],
        schema=schema,
        sqlite_where=GIVEN,
        postgresql_where=GIVEN,
    )

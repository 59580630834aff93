"""Purses count the requests that they paid for, by which a budget is shared out over those to come."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    schema = op.get_context().version_table_schema  # said here: the engine's translation does not reach ALTER TABLE
    column = sa.Column("requests", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("purses", column, schema=schema)

"""Observations by decision; snapshots that know what the ledger no longer does."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    schema = op.get_context().version_table_schema
    op.create_index("observations_decision", "observations", ["decision_id"], schema=schema)
    base = sa.Column("base", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("snapshots", base, schema=schema)

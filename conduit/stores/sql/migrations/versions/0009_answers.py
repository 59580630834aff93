"""Answers under the Idempotency-Keys of their callers."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "answers",
        sa.Column("owner", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("claim", TEXT, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("expires_s", sa.Double, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("headers", TEXT),
        sa.Column("body", sa.LargeBinary),
    )
    schema = op.get_context().version_table_schema  # said here: the engine's translation does not reach an index
    op.create_index("answers_claim", "answers", ["claim"], schema=schema)
    op.create_index("answers_expires", "answers", ["expires_s"], schema=schema)

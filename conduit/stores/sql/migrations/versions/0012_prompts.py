"""What is remembered of a prompt, and the secrets that a deployment shares."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    schema = op.get_context().version_table_schema
    op.add_column("decisions", sa.Column("prompt_hash", sa.LargeBinary), schema=schema)
    op.add_column("decisions", sa.Column("prompt", TEXT), schema=schema)
    op.create_table(
        "secrets", sa.Column("name", TEXT, primary_key=True), sa.Column("secret", sa.LargeBinary, nullable=False)
    )

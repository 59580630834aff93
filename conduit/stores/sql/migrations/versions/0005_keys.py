"""Keys, the digests of their secrets, and decisions in the order of each key's own."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    schema = op.get_context().version_table_schema  # said here: the engine's translation does not reach an index
    op.create_table(
        "keys",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("scopes", TEXT, nullable=False),
        sa.Column("expires_s", sa.Double),
        sa.Column("requests_per_minute", sa.BigInteger),
        sa.Column("tokens_per_minute", sa.BigInteger),
        sa.Column("concurrent", sa.BigInteger),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("revoked_s", sa.Double),
    )
    good = sa.text("revoked_s IS NULL")
    op.create_index("keys_name", "keys", ["name"], unique=True, schema=schema, sqlite_where=good, postgresql_where=good)
    op.create_table(
        "key_secrets",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("expires_s", sa.Double),
    )
    op.create_index("key_secrets_key", "key_secrets", ["key_id"], schema=schema)
    op.create_index("decisions_key", "decisions", ["key_id", "id"], schema=schema)

"""What each day came to, counted along: totals do not walk the ledger, and outlive what is pruned."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.Text(collation="C"), "postgresql")
COUNT = sa.BigInteger()


def upgrade() -> None:
    op.create_table(
        "days",
        sa.Column("day", COUNT, primary_key=True, autoincrement=False),
        sa.Column("kind", TEXT, primary_key=True),
        sa.Column("model", TEXT, primary_key=True),
        sa.Column("n", COUNT, nullable=False),
        sa.Column("priced", COUNT, nullable=False),
        sa.Column("cost_usd", sa.Double, nullable=False),
        sa.Column("latency_s", sa.Double, nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("worth", sa.Double, nullable=False),
    )
    schema = op.get_context().version_table_schema
    for statement in counting(f"{schema}." if schema else "", op.get_context().dialect.name):
        op.execute(sa.text(statement))


def counting(of: str, dialect: str) -> list[str]:
    """Fills an empty table from the rows that there are. `of` is the schema and a dot, or nothing."""
    day = f"CAST({'time_s / 86400' if dialect == 'sqlite' else 'floor(time_s / 86400)'} AS BIGINT)"
    ended = "count(*), count(cost_usd), coalesce(sum(cost_usd), 0), sum(latency_s), 0, 0"
    rated = "count(*), 0, 0, 0, sum(weight), sum(weight * quality)"
    latest = f"SELECT max(revision) FROM {of}feedback AS later WHERE later.decision_id = f.decision_id"  # noqa: S608  # nosec B608
    teaches = f"weight > 0 AND model IS NOT NULL AND revision = ({latest})"
    found = (
        f"SELECT {day}, 'decisions', '', count(*), 0, 0, 0, 0, 0 FROM {of}decisions GROUP BY 1",  # noqa: S608  # nosec B608
        f"SELECT {day}, status, model, {ended} FROM {of}outcomes GROUP BY 1, 2, 3",  # noqa: S608  # nosec B608
        f"SELECT {day}, 'rated', model, {rated} FROM {of}feedback AS f WHERE {teaches} GROUP BY 1, 3",  # noqa: S608  # nosec B608
    )
    return [f"INSERT INTO {of}days {what}" for what in found]

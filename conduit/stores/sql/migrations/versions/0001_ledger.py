"""The ledger: decisions, outcomes, feedback, observations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.Text(collation="C"), "postgresql")
COUNT = sa.BigInteger()
POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _decisions()
    _outcomes()
    _feedback()
    _observations()


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("time_s", sa.Double, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("propensity", sa.Double, nullable=False),
        sa.Column("candidates", TEXT, nullable=False),
        sa.Column("removed", TEXT, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("policy", TEXT, nullable=False),
        sa.Column("routed", sa.Boolean, nullable=False),
        sa.Column("context", sa.LargeBinary, nullable=False),
        sa.Column("features", TEXT, nullable=False),
        sa.Column("domain", TEXT, nullable=False),
        sa.Column("input_tokens", COUNT, nullable=False),
        sa.Column("shadow_price", sa.Double, nullable=False),
        sa.Column("key_id", TEXT),
        sa.Column("user_id", TEXT),
    )


def _outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("decision_id", TEXT, primary_key=True),
        sa.Column("time_s", sa.Double, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("attempts", TEXT, nullable=False),
        sa.Column("input_tokens", COUNT),
        sa.Column("output_tokens", COUNT),
        sa.Column("measured", sa.Boolean, nullable=False),
        sa.Column("cost_usd", sa.Double),
        sa.Column("latency_s", sa.Double, nullable=False),
        sa.Column("first_byte_s", sa.Double),
        sa.Column("response_id", TEXT),
    )
    op.create_index("outcomes_response_id", "outcomes", ["response_id"])


def _feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("decision_id", TEXT, nullable=False),
        sa.Column("revision", COUNT, nullable=False),
        sa.Column("time_s", sa.Double, nullable=False),
        sa.Column("quality", sa.Double, nullable=False),
        sa.Column("signals", TEXT, nullable=False),
        sa.Column("model", TEXT),
        sa.UniqueConstraint("decision_id", "revision", name="feedback_revision"),
    )


def _observations() -> None:
    op.create_table(
        "observations",
        sa.Column("position", POSITION, primary_key=True, autoincrement=True),
        sa.Column("decision_id", TEXT, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("time_s", sa.Double, nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("quality", sa.Double),
        sa.Column("output_tokens", sa.Double),
        sa.Column("latency_s", sa.Double),
        sa.Column("cost_usd", sa.Double),
        sqlite_autoincrement=True,
    )

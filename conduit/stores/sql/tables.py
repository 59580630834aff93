"""The tables of the ledger, whose columns stand in the order of the fields of what they keep; others beside it."""

from collections.abc import Sequence
from functools import cache

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

SCHEMA = "conduit"
"""On PostgreSQL, where other people's tables may live beside ours. SQLite has the file to itself."""

# Ids are sorted by time, byte by byte: a language's collation would sort them otherwise.
TEXT = String().with_variant(Text(collation="C"), "postgresql")
COUNT = BigInteger()
POSITION = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()

# No foreign keys: two processes write to one database, and an outcome may be there before its decision.
decisions = Table(
    "decisions",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("time_s", Double, nullable=False),
    Column("model", TEXT, nullable=False),
    Column("propensity", Double, nullable=False),
    Column("candidates", TEXT, nullable=False),
    Column("removed", TEXT, nullable=False),
    Column("why", TEXT, nullable=False),
    Column("policy", TEXT, nullable=False),
    Column("routed", Boolean, nullable=False),
    Column("context", LargeBinary, nullable=False),
    Column("features", TEXT, nullable=False),
    Column("domain", TEXT, nullable=False),
    Column("input_tokens", COUNT, nullable=False),
    Column("shadow_price", Double, nullable=False),
    Column("key_id", TEXT),
    Column("user_id", TEXT),
    Column("session_id", TEXT),
    Column("prompt_hash", LargeBinary),
    Column("prompt", TEXT),
    Column("request_id", TEXT),
    Index("decisions_session", "session_id", "id"),
    Index("decisions_key", "key_id", "id"),
    Index(
        "decisions_request",
        "request_id",
        "key_id",
        "id",
        sqlite_where=text("request_id IS NOT NULL"),
        postgresql_where=text("request_id IS NOT NULL"),
    ),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("decision_id", TEXT, primary_key=True),
    Column("time_s", Double, nullable=False),
    Column("model", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("attempts", TEXT, nullable=False),
    Column("input_tokens", COUNT),
    Column("output_tokens", COUNT),
    Column("measured", Boolean, nullable=False),
    Column("cost_usd", Double),
    Column("latency_s", Double, nullable=False),
    Column("first_byte_s", Double),
    Column("response_id", TEXT),
    Index("outcomes_response_id", "response_id"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("decision_id", TEXT, nullable=False),
    Column("revision", COUNT, nullable=False),
    Column("time_s", Double, nullable=False),
    Column("quality", Double, nullable=False),
    Column("signals", TEXT, nullable=False),
    Column("model", TEXT),
    Column("key_id", TEXT),
    Column("weight", Double, nullable=False, server_default="1"),
    Column("lessons", TEXT),
    UniqueConstraint("decision_id", "revision", name="feedback_revision"),
    Index(
        "feedback_given",
        "key_id",
        "model",
        "time_s",
        sqlite_where=text("weight > 0"),
        postgresql_where=text("weight > 0"),
    ),
)

# Context and features are the decision's: an observation only names it.
observations = Table(
    "observations",
    metadata,
    Column("position", POSITION, primary_key=True, autoincrement=True),
    Column("decision_id", TEXT, nullable=False),
    Column("model", TEXT, nullable=False),
    Column("time_s", Double, nullable=False),
    Column("weight", Double, nullable=False),
    Column("quality", Double),
    Column("output_tokens", Double),
    Column("latency_s", Double),
    Column("cost_usd", Double),
    Column("rival", TEXT),
    Column("preference", Double),
    Index("observations_decision", "decision_id"),
    # AUTOINCREMENT: a position is never given twice, not even after somebody deleted the last row.
    sqlite_autoincrement=True,
)

# Counted along with what is written: see days.py. Kinds are the statuses of outcomes, "decisions" and "rated".
days = Table(
    "days",
    metadata,
    Column("day", COUNT, primary_key=True, autoincrement=False),
    Column("kind", TEXT, primary_key=True),
    Column("model", TEXT, primary_key=True),
    Column("n", COUNT, nullable=False),
    Column("priced", COUNT, nullable=False),
    Column("cost_usd", Double, nullable=False),
    Column("latency_s", Double, nullable=False),
    Column("weight", Double, nullable=False),
    Column("worth", Double, nullable=False),
)

# A cache: whoever deletes all of it loses nothing but the time of the next start, and what only a base still knows.
snapshots = Table(
    "snapshots",
    metadata,
    Column("number", POSITION, primary_key=True, autoincrement=True),
    Column("position", COUNT, nullable=False),
    Column("time_s", Double, nullable=False),
    Column("version", COUNT, nullable=False),
    Column("policy", TEXT, nullable=False),
    Column("features", TEXT, nullable=False),
    Column("half_life_s", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
    Column("refused", TEXT),
    Column("base", Boolean, nullable=False, server_default=false()),
    sqlite_autoincrement=True,
)

purses = Table(
    "purses",
    metadata,
    Column("name", TEXT, primary_key=True),
    Column("period", TEXT, primary_key=True),
    Column("spent_usd", Double, nullable=False),
    Column("requests", COUNT, nullable=False, server_default="0"),
)

holds = Table(
    "holds",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("period", TEXT, primary_key=True),
    Column("usd", Double, nullable=False),
    Column("expires_s", Double, nullable=False),
    Index("holds_account", "name", "period"),
)

# Of callers who named their request: kept until it expires, and then of no use to anybody.
answers = Table(
    "answers",
    metadata,
    Column("owner", TEXT, primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("claim", TEXT, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("expires_s", Double, nullable=False),
    Column("status", Integer),
    Column("headers", TEXT),
    Column("body", LargeBinary),
    Index("answers_claim", "claim"),
    Index("answers_expires", "expires_s"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("name", TEXT, nullable=False),
    Column("scopes", TEXT, nullable=False),
    Column("expires_s", Double),
    Column("requests_per_minute", COUNT),
    Column("tokens_per_minute", COUNT),
    Column("concurrent", COUNT),
    Column("created_s", Double, nullable=False),
    Column("revoked_s", Double),
    Index(
        "keys_name",
        "name",
        unique=True,
        sqlite_where=text("revoked_s IS NULL"),
        postgresql_where=text("revoked_s IS NULL"),
    ),
)

key_secrets = Table(
    "key_secrets",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("key_id", TEXT, nullable=False),
    Column("expires_s", Double),
    Index("key_secrets_key", "key_id"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", TEXT, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
)


@cache
def own_columns(table: Table) -> Sequence[Column[object]]:
    """The columns whose values come with a row; positions are the database's."""
    return [column for column in table.columns if column.name != "position"]

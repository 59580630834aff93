"""The schema, brought to what this code expects."""

from pathlib import Path

from sqlalchemy import Connection, column, func, select, table

from conduit.routing.errors import ConfigurationError
from conduit.stores.sql.database import Database
from conduit.stores.sql.tables import SCHEMA, decisions

HEAD = "0013"
"""The newest revision in migrations/versions, known without importing Alembic: start-up time is a feature."""
MIGRATING = 0x636F6E64756975
"""The name of a lock."""
VERSIONS = "alembic_version"


async def migrate(database: Database, *, may: bool = True) -> None:
    """Raises ConfigurationError when the database is newer than the code, or older and nothing `may` be changed."""
    found = await database.read(revision)
    if found == HEAD:
        return
    if not may and (found is None or found < HEAD):
        state = "no schema" if found is None else f"schema {found}"
        raise ConfigurationError(
            f"DATABASE_MIGRATE is false and the database has {state}, where this Conduit needs {HEAD}: "
            "run `conduit migrate` first"
        )
    await database.write(_upgrade, power_safe=True)


def checked(connection: Connection) -> str | None:
    """The revision, if the ledger can be read at all."""
    found = revision(connection)
    if found is not None:
        connection.execute(select(decisions.c.id).limit(1)).first()
    return found


def revision(connection: Connection) -> str | None:
    schema = schema_of(connection)
    if not connection.dialect.has_table(connection, VERSIONS, schema=schema):
        return None
    return connection.execute(select(column("version_num")).select_from(table(VERSIONS, schema=schema))).scalar()


def schema_of(connection: Connection) -> str | None:
    return SCHEMA if connection.dialect.name == "postgresql" else None


def _upgrade(connection: Connection) -> None:
    """Within one transaction, alone: SQLite's BEGIN IMMEDIATE excludes the others, on PostgreSQL a lock does."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATING)))
        _schema(connection)
    found = revision(connection)
    if found is not None and found > HEAD:
        raise ConfigurationError(
            f"DATABASE_URL: the database has schema {found}, this Conduit knows {HEAD} at most: upgrade Conduit"
        )
    if found != HEAD:
        _run(connection)


def _schema(connection: Connection) -> None:
    """Asked for first: CREATE SCHEMA IF NOT EXISTS wants a privilege even where the schema was made for us."""
    if not connection.dialect.has_schema(connection, SCHEMA):
        connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "schema": schema_of(connection)})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    command.upgrade(config, "head")

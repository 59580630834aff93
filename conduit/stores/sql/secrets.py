"""Secrets that all processes of a deployment share: whoever needs one first has made it."""

from functools import partial

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from conduit.stores.sql.database import Database
from conduit.stores.sql.tables import secrets
from conduit.stores.sql.translation import in_our_words


class SqlSecrets:
    """Beside a ledger that is open. Raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def shared(self, name: str, *, made: bytes) -> bytes:
        """Only who finds none needs a database that can be written."""
        with in_our_words():
            kept = await self._database.read(partial(_kept, name=name))
            return kept or await self._database.write(partial(_shared, name=name, made=made), power_safe=True)


class MemorySecrets:
    """The same, for one process; gone with it."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    async def shared(self, name: str, *, made: bytes) -> bytes:
        return self._kept.setdefault(name, made)


def _kept(connection: Connection, *, name: str) -> bytes:
    """Empty: there is none."""
    found = connection.execute(select(secrets.c.secret).where(secrets.c.name == name)).scalar_one_or_none()
    return bytes(found or b"")


def _shared(connection: Connection, *, name: str, made: bytes) -> bytes:
    """Who comes second waits for the first, and reads what that one has written."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(secrets).values(name=name, secret=made).on_conflict_do_nothing())
    return _kept(connection, name=name)

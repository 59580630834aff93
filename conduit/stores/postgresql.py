"""PostgreSQL: any number of machines, a transaction pooler between us and the server included."""

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from conduit.stores.database import T, Work
from conduit.stores.tables import SCHEMA
from conduit.stores.translation import sqlstate

CONNECTIONS = 4
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 15.0
ROLLED_BACK = frozenset({"40001", "40P01"})
"""SQLSTATE of a serialization failure and of a deadlock: the server undid the whole transaction."""


class ServerDatabase:
    """The DSN goes to the driver as it is: the engine, which may be printed, does not know it."""

    def __init__(self, dsn: str) -> None:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            connect_args={
                "dsn": dsn,
                "timeout": CONNECT_TIMEOUT_S,
                "command_timeout": COMMAND_TIMEOUT_S,
                # A pooler may give each transaction another server, which knows no statement of the last one:
                # nothing is kept, and only the nameless statement is used.
                "statement_cache_size": 0,
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": str,
            },
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT_S,
            pool_use_lifo=True,
        )
        self._engine = engine.execution_options(schema_translate_map={None: SCHEMA})

    async def prepare(self) -> None:
        """Nothing to do."""

    async def read(self, work: Work[T]) -> T:
        """A pooled connection may have died since it was used last, or the server chose this transaction as the one to
        give way. Work that failed so was rolled back, and is done again, once; a commit that failed is not, for nobody
        knows what became of it."""
        async with self._engine.connect() as connection:
            try:
                result = await connection.run_sync(work)
            except DBAPIError as error:
                if not (error.connection_invalidated or sqlstate(error) in ROLLED_BACK):
                    raise
            else:
                await connection.commit()
                return result
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Work[T], *, power_safe: bool) -> T:
        def transaction(connection: Connection) -> T:
            if power_safe:  # whatever the server's own setting is
                connection.execute(select(func.set_config("synchronous_commit", "on", True)))
            return work(connection)

        return await self.read(transaction)

    async def close(self) -> None:
        await self._engine.dispose()

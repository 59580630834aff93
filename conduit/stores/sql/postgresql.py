"""PostgreSQL: any number of machines, a transaction pooler between us and the server included."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from conduit.stores.sql.database import T, Work
from conduit.stores.sql.tables import SCHEMA
from conduit.stores.sql.translation import sqlstate

CONNECTIONS = 4
KEPT = 100
"""Statements of one connection."""
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 15.0
ROLLED_BACK = frozenset({"40001", "40P01", "0A000"})
"""SQLSTATE of a serialization failure, of a deadlock, and of a statement that was kept while its tables changed (the
next transaction makes all anew): the server undid the whole of this one."""
STRANGE = frozenset({"26000", "42P05"})
"""Of a statement by a name that the server does not know, or that is taken."""
Names = Callable[[], str]
"""Of statements that the server keeps. `str` names none: nothing is kept, and each is sent anew."""


class ServerDatabase:
    """The DSN goes to the driver as it is: the engine, which may be printed, does not know it.

    The server keeps statements, and neither reads nor plans them anew, where it is known that no pooler stands between:
    `prepare` finds out. A pooler may give each transaction another server, which knows no statement of the last one.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._names: Names = str
        self._engine = _engine(dsn, self._names)

    async def prepare(self) -> None:
        """A pooler tells each client another process than the one that answers it."""
        async with self._engine.connect() as connection:
            greeted = await connection.get_raw_connection()
            told = greeted.driver_connection.get_server_pid()  # type: ignore[union-attr]  # of asyncpg
            answers = await connection.scalar(select(func.pg_backend_pid()))
        await self._use(_unique if told == answers else str)

    async def read(self, work: Work[T]) -> T:
        """A pooled connection may have died since it was used last, or the server chose this transaction as the one to
        give way. Work that failed so was rolled back, and is done again, once; a commit that failed is not, for nobody
        knows what became of it."""
        async with self._connected() as connection:
            try:
                result = await connection.run_sync(work)
            except DBAPIError as error:
                state = sqlstate(error)
                if not (error.connection_invalidated or state in ROLLED_BACK | STRANGE):
                    raise
            else:
                await connection.commit()
                return result
        if state in STRANGE:  # somebody stands between by now
            await self._use(str)
        async with self._connected() as connection, connection.begin():
            return await connection.run_sync(work)

    async def write(self, work: Work[T], *, power_safe: bool) -> T:
        def transaction(connection: Connection) -> T:
            if power_safe:  # whatever the server's own setting is
                connection.execute(select(func.set_config("synchronous_commit", "on", True)))
            return work(connection)

        return await self.read(transaction)

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        engine = self._engine
        async with engine.connect() as connection:
            try:
                yield connection
            finally:
                if engine is not self._engine:  # nobody will use its pool again
                    await connection.invalidate()

    async def _use(self, names: Names) -> None:
        """For connections from now on; those that are at work are closed when they are done."""
        if names is not self._names:
            before, self._names, self._engine = self._engine, names, _engine(self._dsn, names)
            await before.dispose()


def _unique() -> str:
    """Over all clients: behind a pooler, one's name for a statement must not be another's for something else."""
    return f"conduit_{uuid4().hex}"


def _engine(dsn: str, names: Names) -> AsyncEngine:
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args={
            "dsn": dsn,
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": COMMAND_TIMEOUT_S,
            "statement_cache_size": 0,  # the dialect has one
            "prepared_statement_cache_size": 0 if names is str else KEPT,
            "prepared_statement_name_func": names,
        },
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_use_lifo=True,
    )
    return engine.execution_options(schema_translate_map={None: SCHEMA})

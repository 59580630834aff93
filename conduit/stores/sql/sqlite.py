"""SQLite: one file, any number of processes on one machine."""

from asyncio import get_running_loop, sleep
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.exc import OperationalError

from conduit.routing.errors import ConfigurationError
from conduit.stores.sql.database import T, Work

PAGE_BYTES = 16384
"""A decision takes some 2 kB; of the usual 4 kB pages every one would stay half empty."""
UNDECODED = "Could not decode to UTF-8"
CONNECTIONS = 4
"""One for the writer, the rest for readers, each in its thread: readers never keep the writer waiting."""


class FileDatabase:
    """A whole transaction is one trip to a thread. With aiosqlite every statement is several, and a small transaction
    costs three times the processor time."""

    def __init__(self, path: Path, *, busy_timeout_s: float) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._reading = ThreadPoolExecutor(CONNECTIONS - 1, thread_name_prefix="ledger-reader")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            connect_args={"timeout": busy_timeout_s, "isolation_level": None, "check_same_thread": False},
            pool_size=CONNECTIONS,
            max_overflow=0,
        )

    async def prepare(self) -> None:
        """The switch to a write-ahead log wants the file alone, and SQLite does not wait for that by itself: several
        processes may start at once."""
        _make(self._path.parent)
        deadline = monotonic() + self._busy_timeout_s
        while True:
            try:
                return await self.read(_write_ahead)
            except OperationalError as error:
                if getattr(error.orig, "sqlite_errorname", "") != "SQLITE_BUSY" or monotonic() > deadline:
                    raise
            await sleep(0.01)

    async def read(self, work: Work[T]) -> T:
        return await get_running_loop().run_in_executor(self._reading, self._run, work)

    async def write(self, work: Work[T], *, power_safe: bool) -> T:
        def transaction(connection: Connection) -> T:
            _begin(connection, power_safe=power_safe)
            return work(connection)

        return await get_running_loop().run_in_executor(self._writing, self._run, transaction)

    async def close(self) -> None:
        await get_running_loop().run_in_executor(self._writing, self._engine.dispose)

    def _run(self, work: Work[T]) -> T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except OperationalError as error:
            if not str(error.orig).startswith(UNDECODED):
                raise
        with self._engine.begin() as connection:
            return _read_anyhow(connection, work)


def _read_anyhow(connection: Connection, work: Work[T]) -> T:
    """Text that is none is somebody else's; it must not keep all other rows from being read."""
    driver: Any = connection.connection.driver_connection
    driver.text_factory = partial(str, encoding="utf-8", errors="replace")
    try:
        return work(connection)
    finally:
        driver.text_factory = str


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"DATABASE_URL: the folder {folder} cannot be made: {error.strerror}") from None


def _write_ahead(connection: Connection) -> None:
    if connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() != "wal":
        connection.exec_driver_sql(f"PRAGMA page_size={PAGE_BYTES}")
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _begin(connection: Connection, *, power_safe: bool) -> None:
    level = "FULL" if power_safe else "NORMAL"
    if connection.info.get("synchronous") != level:
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
        connection.info["synchronous"] = level
    # At once: a transaction that began to read and writes later may find that somebody else wrote in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")

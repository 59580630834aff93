"""The SQLite side of a spool file: how it is opened, its tables, and its rows there and back."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path

from sqlalchemy import Boolean, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from conduit.stores.sql import migrate
from conduit.stores.sql.rows import Row
from conduit.stores.sql.tables import decisions, feedback, observations, outcomes, own_columns

TABLES = (decisions, outcomes, feedback, observations)
PLACES = 20
"""Bits of a rowid that say the place of a row in its append; those above them count the appends."""
PAGE_BYTES = 1024
"""With larger pages a single append, of 2 kB, writes several times as much."""
SETTINGS = (
    f"PRAGMA page_size={PAGE_BYTES}",
    "PRAGMA locking_mode=EXCLUSIVE",  # from the first access on: it tells the living process from the dead
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a commit returns after the disk has it
    "PRAGMA wal_autocheckpoint=0",
)


def connected(path: Path, *more: str) -> sqlite3.Connection:
    """With its lock. Raises sqlite3.DatabaseError."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0.0, isolation_level=None, check_same_thread=False
    )
    try:
        for setting in (*more, *SETTINGS):
            connection.execute(setting).fetchall()
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # an access: now it is locked
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.DatabaseError):  # SQLite itself has rolled back what a disk did not take
            connection.execute("ROLLBACK")
        raise


@contextmanager
def disk_errors() -> Iterator[None]:
    """As the system calls them. What the rows themselves are refused for is no error of the disk."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError):
        raise
    except sqlite3.DatabaseError as error:
        number = errno.ENOSPC if code(error) == sqlite3.SQLITE_FULL else errno.EIO
        raise OSError(number, f"the spool's file: {error}") from None


def code(error: sqlite3.Error) -> int:
    """Without what SQLite adds in higher bits."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def create_tables(connection: sqlite3.Connection) -> None:
    """Those of the ledger, without indexes, for nothing is looked for here; its revision; and checksums of appends,
    for SQLite has none of what is in the file proper."""
    with transaction(connection):
        for table in TABLES:
            connection.execute(str(CreateTable(table).compile(dialect=sqlite.dialect())))
        connection.execute("CREATE TABLE checksums (number INTEGER PRIMARY KEY, crc32 INTEGER NOT NULL)")
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [migrate.HEAD])


@cache
def into(table: Table) -> str:
    names = ["rowid", *(column.name for column in own_columns(table))]
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608  # nosec B608


def tables_of(connection: sqlite3.Connection) -> list[Table]:
    """None, where a process was killed as it made the file."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    return [table for table in TABLES if table.name in names]


def first_from(connection: sqlite3.Connection, table: Table, rowid: int) -> int | None:
    chosen = f"SELECT min(rowid) FROM {table.name} WHERE rowid >= ?"  # noqa: S608  # nosec B608
    found: int | None = connection.execute(chosen, (rowid,)).fetchone()[0]
    return found


def read(connection: sqlite3.Connection, table: Table, first: int, end: int) -> Iterator[tuple[int, Row, bytes]]:
    """Rowids, rows, and what a checksum is made of. A column that an older Conduit did not have is null."""
    columns = {str(column.name): isinstance(column.type, Boolean) for column in own_columns(table)}
    chosen = f"SELECT rowid, * FROM {table.name} WHERE rowid >= ? AND rowid < ? ORDER BY rowid"  # noqa: S608  # nosec B608
    with closing(connection.execute(chosen, (first, end))) as found:
        names = [column[0] for column in found.description][1:]
        for rowid, *values in found:
            there = dict(zip(names, values, strict=True))
            row: Row = {name: there.get(name) for name in columns}
            row |= {name: bool(row[name]) for name, truth in columns.items() if truth and row[name] is not None}
            yield rowid, row, ascii((rowid, there)).encode()

"""A local SQLite ledger in which appends wait for the database: after whatever happens each is there whole, or not at
all.

It has the ledger's tables, so whatever reads a ledger reads it. A row's rowid says in which append it came, and at
which place. What a disk did not keep as it was written is told by checksums: those of SQLite's write-ahead log, in
which all is at first, and one of each append.
"""

import errno
import os
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from zlib import crc32

from sqlalchemy import Table

from conduit.stores.files.spool_database import (
    PLACES,
    code,
    connected,
    create_tables,
    disk_errors,
    first_from,
    into,
    read,
    tables_of,
    transaction,
)
from conduit.stores.files.spool_log import lost_commits
from conduit.stores.sql.rows import Rows
from conduit.stores.sql.tables import own_columns

SUFFIX = ".spooled"
DAMAGED = ".damaged"
LOG = "-wal"
NEVER = 1 << 42
"""More appends than there will ever be."""
MOST_LOG_BYTES = 4 * 2**20
"""Then it is written into the file proper, which takes some 20 ms, and cut off."""
NUMBER_BYTES = 8
TRIAL = 64 * 1024
"""Bytes that a disk takes which has room again."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
ANOTHERS = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
)


class SpoolFull(Exception):
    """There is no room for these appends."""


@dataclass(slots=True)
class Append:
    """Rows that stand or fall together."""

    number: int
    rows: Rows = field(default_factory=list)
    checksum: int = 0


class SpoolFile:
    """Read from its first append and written after its last, by the one process that holds its lock. Nothing here waits
    long, but for a disk: call it in a thread, one call at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection | None, *, most_bytes: int = 0) -> None:
        """See `make` and `adopt`. Without a connection it is no database."""
        self.path, self._connection, self._most_bytes = path, connection, most_bytes
        self.whole = connection is not None
        """Whether all is there that was acknowledged, as far as can be seen."""
        self.size = 0
        """Bytes of what was appended here, what was read since included."""
        self._passed = self._peeked = self._last = 0

    @classmethod
    def make(cls, folder: Path, name: str, *, most_bytes: int) -> "SpoolFile":
        """Raises OSError. No other file ever has this `name`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}{SUFFIX}"
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            with disk_errors():  # it has its lock before it has a byte, and what is empty nobody adopts
                connection = connected(path)
                create_tables(connection)
            _sync_folder(folder)
        except OSError:
            _unlink(path)
            raise
        return cls(path, connection, most_bytes=most_bytes)

    @classmethod
    def adopt(cls, path: Path) -> "SpoolFile | None":
        """What a process has left that is no more; None while it lives, or when another one was first."""
        if _size(path) == 0:  # SQLite would throw its log away
            return cls(path, None)
        try:
            connection = connected(path, "PRAGMA writable_schema=ON")  # else SQLite opens nothing that is cut off
        except sqlite3.DatabaseError as error:
            return None if code(error) in ANOTHERS else cls(path, None)
        if not path.exists():  # the first one has emptied it, and taken it away
            connection.close()
            return None
        file = cls(path, connection)
        file._survey(connection)
        return file

    def append(self, appends: Sequence[Rows]) -> None:
        """On the disk when this returns. All or none: raises SpoolFull and OSError."""
        by_table: dict[Table, list[Sequence[object]]] = defaultdict(list)
        size = 0
        for number, append in enumerate(appends, self._last + 1):
            for place, (table, row) in enumerate(append):
                values = [row[column.name] for column in own_columns(table)]
                by_table[table].append((number << PLACES | place, *values))
                size += sum(map(_bytes_of, values))
        if self.size + size > self._most_bytes:
            raise SpoolFull
        if not self.path.exists():  # a removed file takes what nobody would find
            raise FileNotFoundError(errno.ENOENT, "the spool's file was removed", str(self.path))
        with disk_errors():
            self._insert(by_table)
        self._last += len(appends)
        self.size += size

    def peek(self, most: int) -> list[Rows]:
        """The next appends after those that were passed, `most` of them; fewer than one only at the end.

        Raises ValueError where the file is damaged."""
        if self._connection is None:
            return []
        try:
            first = self._first_after(self._passed)
            found = [] if first is None else self._between(first, first + most)
            sums = {} if first is None else self._sums(first, first + most)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path.name}: {error}") from None
        whole = list(takewhile(lambda append: sums.get(append.number) == append.checksum, found))
        backwards = bool(whole) and whole[0].number <= self._passed  # a damaged tree may lead to rows that were passed
        if backwards or len(whole) == 0 < len(found) + len(sums):
            raise ValueError(f"{self.path.name}: an append is not what was written")
        self._peeked = whole[-1].number if whole else self._passed
        return [append.rows for append in whole]

    def advance(self) -> None:
        """Past what was peeked at."""
        self._passed = self._peeked

    def set_aside(self) -> Path:
        """Out of everybody's way, for a person to look at, with its log; the lock goes."""
        kept = self.path.with_suffix(DAMAGED)
        self.path.rename(kept)
        log = _log(self.path)
        if _size(log) > 0:
            log.rename(_log(kept))
        else:
            log.unlink(missing_ok=True)
        self._disconnect()
        return kept

    def remove(self) -> None:
        """The lock goes last."""
        _unlink(self.path)
        self._disconnect()

    def close(self) -> None:
        """What is in it stays, for whichever process adopts it."""
        if self._most_bytes and self._last == 0:
            _unlink(self.path)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _insert(self, by_table: Mapping[Table, Sequence[Sequence[object]]]) -> None:
        connection = self._open
        with transaction(connection):
            for table, values in by_table.items():
                connection.executemany(into(table), values)
            found = self._between(self._last + 1, NEVER)  # as SQLite gives it back, which may differ: 1 for 1.0
            sums = [(append.number, append.checksum) for append in found]
            connection.executemany("INSERT INTO checksums VALUES (?, ?)", sums)
        if _size(_log(self.path)) > MOST_LOG_BYTES:
            with suppress(sqlite3.DatabaseError):  # on a full disk the log grows on
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _first_after(self, number: int) -> int | None:
        """Of the appends that are there, or of which there is a checksum."""
        found = [first_from(self._open, table, (number + 1) << PLACES) for table in tables_of(self._open)]
        if not found:
            return None
        (first,) = self._open.execute("SELECT min(number) FROM checksums WHERE number > ?", [number]).fetchone()
        return min(
            [rowid >> PLACES for rowid in found if rowid is not None] + [first] * (first is not None), default=None
        )

    def _between(self, first: int, end: int) -> list["Append"]:
        by_number: dict[int, Append] = {}
        for table in tables_of(self._open):
            for rowid, row, stored in read(self._open, table, first << PLACES, end << PLACES):
                number = rowid >> PLACES
                append = by_number.setdefault(number, Append(number))
                append.rows.append((table, row))
                append.checksum = crc32(stored, append.checksum)
        return [by_number[number] for number in sorted(by_number)]

    def _sums(self, first: int, end: int) -> Mapping[int, int]:
        chosen = "SELECT number, crc32 FROM checksums WHERE number >= ? AND number < ?"
        return dict(self._open.execute(chosen, (first, end)).fetchall())

    def _survey(self, connection: sqlite3.Connection) -> None:
        """Whether that is all."""
        try:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            self.whole = found == "ok"
            # How much of the log SQLite has understood it says nowhere else.
            _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self.whole &= not lost_commits(_log(self.path), frames)
        except sqlite3.DatabaseError:
            self.whole = False

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection


def try_out(folder: Path, name: str) -> None:
    """Raises OSError unless a file can be made there, and the disk takes as much as a few appends."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{name}.trial"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        path.unlink()
        _write_all(descriptor, bytes(TRIAL))
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def has_something(path: Path) -> bool:
    """Whether this may be a file of some process's spool in which something waits."""
    return path.suffix == SUFFIX and (_size(path) > 0 or _size(_log(path)) > 0)


def _log(path: Path) -> Path:
    return path.with_name(path.name + LOG)


def _unlink(path: Path) -> None:
    """The log first: without it the rest is replayed once more, and it alone would never be found."""
    _log(path).unlink(missing_ok=True)
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _bytes_of(value: object) -> int:
    return len(value) if isinstance(value, str | bytes) else NUMBER_BYTES


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _write_all(descriptor: int, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    """Else the file itself may be gone after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

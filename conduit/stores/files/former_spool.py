"""Files that a Conduit before the SQLite spool has left: read once, never written. To be removed with the next release.

A record is its length, its CRC-32, and the rows of one append as JSON.
"""

import fcntl
import os
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from struct import Struct
from typing import Any
from zlib import crc32

import orjson
from sqlalchemy import Table

from conduit.stores.sql.rows import Row, Rows
from conduit.stores.sql.tables import metadata, own_columns

MAGIC = b"conduit spool 1\n"
HEAD = Struct("<II")
"""Of a record: bytes that follow, and their CRC-32."""
SUFFIX = ".spool"
DAMAGED = ".damaged"
MOST_RECORD = 64 * 2**20
"""A length above this was never written: the file is damaged."""


class FormerSpoolFile:
    """As a SpoolFile that was adopted."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor
        self._passed = self._peeked = len(MAGIC)
        self._written = os.fstat(descriptor).st_size
        self._end = self._last_whole()
        self.whole = self._is_whole()

    @classmethod
    def adopt(cls, path: Path) -> "FormerSpoolFile | None":
        """None while its process lives, or when another one was first."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink == 0:  # the first one has emptied it, and taken it away
                raise BlockingIOError
        except OSError:
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    def peek(self, most: int) -> list[Rows]:
        """Raises ValueError where the file is damaged."""
        found: list[Rows] = []
        self._peeked = self._passed
        while len(found) < most and self._peeked < self._end:
            record = self._record(self._peeked)
            found.append(_unpacked(record))
            self._peeked += HEAD.size + len(record)
        return found

    def advance(self) -> None:
        self._passed = self._peeked

    def set_aside(self) -> Path:
        kept = self.path.with_suffix(DAMAGED)
        self.path.rename(kept)
        os.close(self._descriptor)
        return kept

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _record(self, place: int) -> bytes:
        head = os.pread(self._descriptor, HEAD.size, place)
        if len(head) < HEAD.size:
            raise ValueError("a record's head is cut off")
        length, checksum = HEAD.unpack(head)
        record = os.pread(self._descriptor, length, place + HEAD.size) if length <= MOST_RECORD else b""
        if not record or len(record) != length or crc32(record) != checksum:
            raise ValueError("a record is not what was written")
        return record

    def _last_whole(self) -> int:
        """Where the first record begins that is not."""
        place = len(MAGIC)
        while place < self._written:
            try:
                place += HEAD.size + len(self._record(place))
            except ValueError:
                break
        return place

    def _is_whole(self) -> bool:
        """Its last write may have been killed half-way, and was never acknowledged."""
        length: int = HEAD.unpack(os.pread(self._descriptor, HEAD.size, self._end).ljust(HEAD.size, b"\0"))[0]
        return length == 0 or self._end + HEAD.size + length >= self._written


def has_something(path: Path) -> bool:
    try:
        return path.suffix == SUFFIX and path.stat().st_size > len(MAGIC)
    except OSError:
        return False


def _unpacked(record: bytes) -> Rows:
    """What an older Conduit did not keep is null: rows of a table are alike, whichever version wrote them. Raises
    ValueError."""
    return [_whole(metadata.tables[name], values) for name, values in orjson.loads(record)]


def _whole(table: Table, values: Mapping[str, Any]) -> tuple[Table, Row]:
    found = {column: _blob(value) for column, value in values.items()}
    return table, dict.fromkeys((str(column.name) for column in own_columns(table)), None) | found


def _blob(value: Any) -> object:
    return b64decode(value["base64"]) if isinstance(value, dict) else value

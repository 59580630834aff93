"""A file of records that wait for the database: after whatever happens each is there whole, or not at all."""

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from zlib import crc32

MAGIC = b"conduit spool 1\n"
HEAD = Struct("<II")
"""Of a record: bytes that follow, and their CRC-32."""
SUFFIX = ".spool"
DAMAGED = ".damaged"
MOST_RECORD = 64 * 2**20
"""A length above this was never written: the file is damaged."""
TRIAL = 64 * 1024
"""Bytes that a disk takes which has room again."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SpoolFull(Exception):
    """There is no room for these records."""


class SpoolFile:
    """Read from its head and written at its end, by the one process that holds its lock. Nothing here waits long, but
    for a disk: call it in a thread, one call at a time."""

    def __init__(self, path: Path, descriptor: int, *, most_bytes: int) -> None:
        """Of an open file whose lock is held; see `make` and `adopt`."""
        self.path, self._descriptor, self._most_bytes = path, descriptor, most_bytes
        self._read = len(MAGIC)
        self._end = os.fstat(descriptor).st_size

    @classmethod
    def make(cls, folder: Path, name: str, *, most_bytes: int) -> "SpoolFile":
        """Raises OSError. It has its lock before others can see it: nobody takes it for a dead process's."""
        folder.mkdir(parents=True, exist_ok=True)
        hidden, path = folder / f".{name}", folder / f"{name}{SUFFIX}"
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, MAGIC)
            hidden.rename(path)
            _sync_folder(folder)
        except OSError:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        return cls(path, descriptor, most_bytes=most_bytes)

    @classmethod
    def adopt(cls, path: Path) -> "SpoolFile | None":
        """What a process has left that is no more; None while it lives, or when somebody else was first."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink == 0:  # who was first has emptied it, and taken it away
                raise BlockingIOError
        except OSError:
            os.close(descriptor)
            return None
        return cls(path, descriptor, most_bytes=0)

    @property
    def size(self) -> int:
        """Bytes of records, those included that were read."""
        return max(self._end - len(MAGIC), 0)

    def append(self, records: Sequence[bytes]) -> None:
        """On the disk when this returns. All or none: raises SpoolFull and OSError."""
        raw = b"".join(HEAD.pack(len(record), crc32(record)) + record for record in records)
        if self.size + len(raw) > self._most_bytes:
            raise SpoolFull
        try:
            _write_all(self._descriptor, raw, self._end)
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._end)
            raise
        self._end += len(raw)

    def peek(self, most: int) -> list[bytes]:
        """The next records after those that were passed, `most` of them; fewer than one only at the end.

        Raises ValueError where the file is damaged."""
        records: list[bytes] = []
        place = self._read
        while len(records) < most and place < self._end:
            record = self._record(place)
            records.append(record)
            place += HEAD.size + len(record)
        return records

    def advance(self, records: Sequence[bytes]) -> None:
        """Past what was peeked at."""
        self._read += sum(HEAD.size + len(record) for record in records)

    def clear(self) -> None:
        """All was read: its room is free again."""
        os.ftruncate(self._descriptor, len(MAGIC))
        self._read = self._end = len(MAGIC)

    def keep_what_is_whole(self) -> bool:
        """Of a file whose writer is no more; False when more than its last write is missing. That one may have been
        killed half-way, and was never acknowledged."""
        written, self._end = self._end, self._last_whole()
        length: int = HEAD.unpack(os.pread(self._descriptor, HEAD.size, self._end).ljust(HEAD.size, b"\0"))[0]
        return length == 0 or self._end + HEAD.size + length >= written

    def set_aside(self) -> Path:
        """Out of everybody's way, for a person to look at; the lock goes."""
        kept = self.path.with_suffix(DAMAGED)
        self.path.rename(kept)
        os.close(self._descriptor)
        return kept

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def close(self) -> None:
        """What is in it stays, for whoever adopts it."""
        if self.size == 0:
            self.path.unlink(missing_ok=True)
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
        while place < self._end:
            try:
                place += HEAD.size + len(self._record(place))
            except ValueError:
                break
        return place


def try_out(folder: Path, name: str) -> None:
    """Raises OSError unless a file can be made there, and the disk takes as much as a few records."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{name}.trial"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        path.unlink()
        _write_all(descriptor, bytes(TRIAL), 0)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def left_behind(folder: Path) -> list[Path]:
    """Files of all processes that use `folder`, with something in them; the oldest names first."""
    try:
        found = [path for path in folder.iterdir() if path.suffix == SUFFIX]
        return sorted(path for path in found if _size(path) > len(MAGIC))
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _write_all(descriptor: int, raw: bytes, place: int) -> None:
    view = memoryview(raw)
    while view:
        written = os.pwrite(descriptor, view, place)
        view, place = view[written:], place + written


def _sync_folder(folder: Path) -> None:
    """Else the file itself may be gone after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

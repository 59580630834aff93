"""What is lost at the end of SQLite's write-ahead log, which is read up to the first frame that is damaged, in silence.

The layout: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from collections.abc import Iterator
from pathlib import Path
from struct import Struct, iter_unpack
from typing import BinaryIO

from conduit.stores.files.spool_database import PAGE_BYTES

HEADER = Struct(">I4xI4x4s4sII")
"""Of the file: the byte order of checksums, the size of a page, the two salts of all that was written since the log was
last begun, and its own checksum."""
FRAME = Struct(">4xI4s4sII")
"""Of a page: the size of the database if this is the last page of a commit, else 0; the salts; and the checksum of all
frames so far."""
SUMMED = 8
"""Bytes of a frame's head that its checksum covers, beside the page."""
BIG_ENDIAN = 0x377F0683


def lost_commits(log: Path, frames: int) -> bool:
    """Whether anything committed may stand behind the `frames` that SQLite has understood: a commit, or what is
    not as it was written. A write that was killed in its midst has whole frames, none of which is a commit, and
    was never acknowledged."""
    try:
        with log.open("rb") as file:
            return any(_lost_behind(file, frames))
    except FileNotFoundError:
        return False


def _lost_behind(file: BinaryIO, frames: int) -> Iterator[bool]:
    header = file.read(HEADER.size + FRAME.size)
    if len(header) < HEADER.size + FRAME.size:
        return
    order, page_bytes, *salts, first, second = HEADER.unpack(header[: HEADER.size])
    yield page_bytes != PAGE_BYTES
    page_bytes = PAGE_BYTES
    if frames:
        file.seek(HEADER.size + (frames - 1) * (FRAME.size + page_bytes))
        *_, first, second = FRAME.unpack(file.read(FRAME.size))
    file.seek(HEADER.size + frames * (FRAME.size + page_bytes))
    while len(frame := file.read(FRAME.size + page_bytes)) == FRAME.size + page_bytes:
        commit, *its_salts, its_first, its_second = FRAME.unpack(frame[: FRAME.size])
        if all(ours != its for ours, its in zip(salts, its_salts, strict=True)):
            return  # of an earlier log, whose salts are both others
        first, second = _checksum(frame[:SUMMED] + frame[FRAME.size :], first, second, big=order == BIG_ENDIAN)
        yield commit > 0 or salts != its_salts or (first, second) != (its_first, its_second)


def _checksum(content: bytes, first: int, second: int, *, big: bool) -> tuple[int, int]:
    """Of 32-bit words in pairs, going on from what came before."""
    for one, other in iter_unpack(">II" if big else "<II", content):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second

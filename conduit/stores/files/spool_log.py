"""What is lost at the end of SQLite's write-ahead log, which is read up to the first frame that is damaged, in silence.

The layout: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import BinaryIO

HEADER = Struct(">8xI4x8s8x")
"""Of the file: the size of a page, and the salt of what was written since the log was last begun."""
FRAME = Struct(">4xI8s8x")
"""Of a page: the size of the database if this is the last page of a commit, else 0; and the salt."""


def lost_commits(log: Path, frames: int) -> bool:
    """Whether commits stand behind the `frames` that SQLite has understood. A write that was killed in its midst has no
    last page, and was never acknowledged."""
    try:
        with log.open("rb") as file:
            return any(_commits_behind(file, frames))
    except FileNotFoundError:
        return False


def _commits_behind(file: BinaryIO, frames: int) -> Iterator[bool]:
    header = file.read(HEADER.size + FRAME.size)
    if len(header) < HEADER.size + FRAME.size:
        return
    page_bytes, salt = HEADER.unpack(header[: HEADER.size])
    _, first_salt = FRAME.unpack(header[HEADER.size :])
    # What is left of an earlier log has another salt; one of these two may itself be damaged.
    salts = {salt, first_salt}
    file.seek(HEADER.size + frames * (FRAME.size + page_bytes))
    while len(frame := file.read(FRAME.size + page_bytes)) == FRAME.size + page_bytes:
        commit, its_salt = FRAME.unpack(frame[: FRAME.size])
        yield commit > 0 and its_salt in salts

"""Files of the spool as a Conduit before the SQLite spool wrote them."""

from base64 import b64encode
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from struct import pack
from zlib import crc32

import orjson

from conduit.core.storage import Entry
from conduit.stores.sql import rows


def records(appends: Iterable[Sequence[Entry]], *, without: Collection[str] = ()) -> list[bytes]:
    """A record for each append; of rows that had no such columns yet."""
    return [_record(append, without) for append in appends]


def write(path: Path, records: Sequence[bytes]) -> bytes:
    """What is in it then."""
    raw = b"conduit spool 1\n" + b"".join(pack("<II", len(record), crc32(record)) + record for record in records)
    path.write_bytes(raw)
    return raw


def _record(append: Sequence[Entry], without: Collection[str]) -> bytes:
    named = [
        (table.name, {column: value for column, value in row.items() if column not in without})
        for table, row in map(rows.row, append)
    ]
    return orjson.dumps(named, default=lambda blob: {"base64": b64encode(blob).decode()})

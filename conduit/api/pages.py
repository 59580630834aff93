"""A page of the audit log: so many records, and no more than so many bytes."""

from collections.abc import Sequence

import orjson

from conduit.api.views import record_view
from conduit.routing.decision import Record

MOST_BYTES = 2_000_000
"""Of a page; a record that has more stands alone on one."""
AT_ONCE = 20
"""Records read at a time: one that was written with all that fits may have some 2 MB."""


class RecordPage:
    """Filled record by record, the newest first, until it is full or there are no more."""

    def __init__(self, limit: int, *, hashes: bool) -> None:
        self._limit, self._hashes = limit, hashes
        self._records: list[bytes] = []
        self._bytes = 0
        self.last: str | None = None
        """The id of the last record, from which the next page goes on."""
        self._ended = self._full = False

    @property
    def wants(self) -> int:
        """How many records to read next; 0: the page is done."""
        done = self._ended or self._full
        return 0 if done else min(AT_ONCE, self._limit - len(self._records))

    def add(self, records: Sequence[Record]) -> None:
        """What `wants` asked for."""
        self._ended = len(records) < self.wants
        for record in records:
            data = orjson.dumps(record_view(record, hashes=self._hashes), option=orjson.OPT_SERIALIZE_NUMPY)
            if self._records and self._bytes + len(data) > MOST_BYTES:
                self._full = True
                return
            self._records.append(data)
            self._bytes += len(data) + 1
            self.last = record.decision.id

    @property
    def body(self) -> bytes:
        """`has_more` says that there may be another from the last id on."""
        more = b"true" if self._full or not self._ended else b"false"
        return b'{"object":"list","data":[%b],"has_more":%b}' % (b",".join(self._records), more)

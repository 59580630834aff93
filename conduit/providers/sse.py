"""Bytes of a server-sent event stream, however they were cut, into whole events."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from conduit.core.errors import UpstreamError

MAX_EVENT_BYTES = 8 * 1024 * 1024
BOM = b"\xef\xbb\xbf"

# A carriage return at the very end may be half of \r\n: only the byte after it can tell.
_EOL = rb"(?:\r\n|\n|\r(?=[^\n]))"
_BLANK_LINE = re.compile(_EOL)
_END = re.compile(_EOL + _EOL)
_LONGEST_END = 4


class Event(NamedTuple):
    """One event: `raw` with its blank line, as received, and its data lines joined; None when it has none."""

    raw: bytes
    data: bytes | None


class Splitter:
    """Feed it chunks: the same bytes give the same events, however cut. Raises UpstreamError when one is endless."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[Event]:
        self._buffer += chunk
        while end := self._end_of_event():
            yield self._take(end)
        self._searched = max(0, len(self._buffer) - _LONGEST_END)
        self._check_size(len(self._buffer))

    def finish(self) -> Event | None:
        """What was left without a blank line after it."""
        return self._take(len(self._buffer)) if self._buffer else None

    def _end_of_event(self) -> int:
        match = _BLANK_LINE.match(self._buffer) or _END.search(self._buffer, self._searched)
        return match.end() if match else 0

    def _take(self, end: int) -> Event:
        self._check_size(end)
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._searched = 0
        text = raw.removeprefix(BOM) if self._at_start else raw
        self._at_start = False
        return Event(raw, _data(text))

    def _check_size(self, size: int) -> None:
        if size > self._max_event_bytes:
            raise UpstreamError("event too long")


def _data(text: bytes) -> bytes | None:
    if text.startswith(b"data: ") and text.find(b"\n") >= len(text) - 2 and b"\r" not in text:
        return text[6:].rstrip(b"\n")  # one line and its end: nearly every event
    lines = [line[5:].removeprefix(b" ") for line in text.splitlines() if line.startswith(b"data:") or line == b"data"]
    return b"\n".join(lines) if lines else None

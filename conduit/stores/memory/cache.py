"""A Cache of one process, bounded in bytes: who was not asked for the longest goes first."""

from collections import OrderedDict

from conduit.routing.protocols import Clock

OVERHEAD_BYTES = 300
"""Of an entry, beside its value."""


class MemoryCache:
    """Gone with the process, and known to no other."""

    def __init__(self, clock: Clock, *, most_bytes: int) -> None:
        self._clock, self._most = clock, most_bytes
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self.size = 0
        """Bytes."""

    async def get(self, name: str) -> bytes | None:
        entry = self._kept.get(name)
        if entry is None:
            return None
        if self._clock.elapsed_s() >= entry[0]:
            self._drop(name)
            return None
        self._kept.move_to_end(name)
        return entry[1]

    async def put(self, name: str, value: bytes, *, ttl_s: float) -> None:
        self._drop(name)
        self._kept[name] = self._clock.elapsed_s() + ttl_s, value
        self.size += len(value) + OVERHEAD_BYTES
        while self.size > self._most:
            self._drop(next(iter(self._kept)))

    async def close(self) -> None:
        self._kept.clear()
        self.size = 0

    def _drop(self, name: str) -> None:
        entry = self._kept.pop(name, None)
        if entry is not None:
            self.size -= len(entry[1]) + OVERHEAD_BYTES

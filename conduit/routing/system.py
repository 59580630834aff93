"""Time and names: the system's own, and such that always repeat."""

import os
import time

from conduit.routing.protocols import Clock


class SystemClock:
    """Wall time, and a monotonic one."""

    now_s = staticmethod(time.time)
    elapsed_s = staticmethod(time.perf_counter)


RANDOM_BYTES, DRAWN_AT_ONCE = 10, 256


class TimeOrderedIds:
    """48 bits of milliseconds, then 80 random bits (the layout of RFC 9562, UUIDv7, without its version bits)."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._drawn: list[str] = []
        """Random parts for the next names: the system is asked for many at once. A process that forks draws anew."""
        os.register_at_fork(after_in_child=self._drawn.clear)

    def new(self, prefix: str) -> str:
        try:
            drawn = self._drawn.pop()
        except IndexError:
            drawn = self._draw()
        return f"{prefix}_{int(self._clock.now_s() * 1000):012x}{drawn}"

    def _draw(self) -> str:
        random = os.urandom(RANDOM_BYTES * DRAWN_AT_ONCE).hex()
        parts = [random[at : at + 2 * RANDOM_BYTES] for at in range(0, len(random), 2 * RANDOM_BYTES)]
        self._drawn.extend(parts[1:])
        return parts[0]


class StillClock:
    """Stands until it is moved."""

    def __init__(self, at_s: float = 0.0) -> None:
        self.at_s = at_s

    def now_s(self) -> float:
        return self.at_s

    def elapsed_s(self) -> float:
        return self.at_s


class CountingIds:
    """1, 2, 3 ... of each prefix."""

    def __init__(self) -> None:
        self._made: dict[str, int] = {}

    def new(self, prefix: str) -> str:
        self._made[prefix] = self._made.get(prefix, 0) + 1
        return f"{prefix}_{self._made[prefix]:012x}"

"""Limits go on when what is shared does not answer: then each process counts for itself, and says so."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from conduit.core.admission import LEASE_S, Admission
from conduit.core.errors import WindowUnavailable
from conduit.core.events import Degraded
from conduit.core.keys import Limits
from conduit.core.protocols import Listener, LocalWindow, Window
from conduit.routing.protocols import Clock

REST_S = 1.0
"""So long nobody asks a shared window that did not answer; then one request tries."""


class Entry(NamedTuple):
    """An answer, and whether it is only this process's own."""

    admission: Admission
    degraded: bool


class Limiter:
    """Asks the `shared` window where there is one, else the `local` one.

    The local one is told what the shared one counted, so that nobody starts anew when it has to take over.
    `fails_closed`: who cannot be counted together with all others is refused.
    """

    def __init__(
        self, *, shared: Window | None, local: LocalWindow, clock: Clock, listener: Listener, fails_closed: bool = False
    ) -> None:
        self._shared, self._local, self._clock, self._listener = shared, local, clock, listener
        self.fails_closed = fails_closed
        self._resting_until_s: float | None = None
        """None: it answered last time."""
        self._inside: dict[str, set[str]] = defaultdict(set)
        """Caller -> its visits that run, where it matters how many do."""

    async def open(self) -> None:
        """Never raises: a start does not depend on what is shared."""
        if self._shared is None:
            return
        try:
            await self._shared.open()
        except WindowUnavailable as error:
            self._rest(error)

    async def enter(self, caller: str, visit: str, limits: Limits, tokens: int = 0) -> Entry:
        """Raises WindowUnavailable, where it fails closed."""
        if self._shared is None:
            entry = Entry(await self._local.enter(caller, visit, limits, tokens), degraded=False)
        else:
            entry = await self._first(lambda window: window.enter(caller, visit, limits, tokens))
        if self._shared is not None and not entry.degraded and entry.admission.refused in {"", "requests"}:
            self._local.heard(caller, entry.admission.current)
            if entry.admission.held:
                await self._local.hold(caller, visit, tokens, limits.tokens_per_minute or tokens)
        if limits.concurrent is not None and not entry.admission.refused:
            self._inside[caller].add(visit)
        return entry

    async def hold(self, caller: str, visit: str, tokens: int, limit: int) -> Entry:
        """Raises WindowUnavailable, where it fails closed."""
        entry = await self._first(lambda window: window.hold(caller, visit, tokens, limit))
        if self._shared is not None and not entry.degraded and not entry.admission.refused:
            await self._local.hold(caller, visit, tokens, limit)
        return entry

    async def lower(self, caller: str, visit: str, tokens: int) -> None:
        """Never raises."""
        await self._local.lower(caller, visit, tokens)
        if self._shared is not None and self._resting_until_s is None:
            await self._shared.lower(caller, visit, tokens)

    async def _first(self, question: Callable[[Window], Awaitable[Admission]]) -> Entry:
        if self._shared is None:
            return Entry(await question(self._local), degraded=False)
        if self._may_ask():
            try:
                admission = await question(self._shared)
            except WindowUnavailable as error:
                self._rest(error)
            else:
                self._resting_until_s = None
                return Entry(admission, degraded=False)
        if self.fails_closed:
            raise WindowUnavailable("the shared limits cannot be reached")
        return Entry(await question(self._local), degraded=True)

    async def leave(self, caller: str, visit: str, tokens: int) -> None:
        """Never raises: the answer is out, and a lease that is not given back runs out."""
        if caller in self._inside:
            self._inside[caller].discard(visit)
            if not self._inside[caller]:
                del self._inside[caller]
        await self._local.leave(caller, visit, tokens)
        if self._shared is not None and self._resting_until_s is None:
            await self._shared.leave(caller, visit, tokens)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LEASE_S / 3.0)
            await self.renew()

    async def renew(self) -> None:
        """What runs goes on to count as running. Never raises: what is not renewed in time is let go early."""
        for caller in list(self._inside):
            visits = tuple(self._inside.get(caller, ()))
            await self._local.renew(caller, visits)
            if self._shared is None or self._resting_until_s is not None or not visits:
                continue
            try:
                await self._shared.renew(caller, visits)
            except WindowUnavailable as error:
                self._rest(error)

    async def check(self) -> None:
        """A real question to the shared window. Raises WindowUnavailable."""
        if self._shared is not None:
            await self._shared.open()

    @property
    def shares(self) -> bool:
        """Whether there is a shared window."""
        return self._shared is not None

    @property
    def alone(self) -> bool:
        """Whether it did not answer the last time that it was asked."""
        return self._resting_until_s is not None

    async def close(self) -> None:
        """Lets go of what is shared."""
        if self._shared is not None:
            await self._shared.close()

    def _may_ask(self) -> bool:
        if self._resting_until_s is None:
            return True
        now_s = self._clock.elapsed_s()
        if now_s < self._resting_until_s:
            return False
        self._resting_until_s = now_s + REST_S  # this one tries, the others wait for what it finds
        return True

    def _rest(self, error: WindowUnavailable) -> None:
        """Of all who waited for the same answer, the first tells."""
        now_s = self._clock.elapsed_s()
        if self._resting_until_s is None or self._resting_until_s < now_s + REST_S / 2:
            self._listener(Degraded("ratelimit", f"the shared window did not answer: {error}"))
        self._resting_until_s = now_s + REST_S

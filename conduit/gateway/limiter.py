"""Limits go on when what is shared does not answer: then each process counts for itself, and says so."""

import asyncio
from dataclasses import dataclass

from conduit.core.admission import Admission
from conduit.core.errors import WindowUnavailable
from conduit.core.events import Degraded
from conduit.core.keys import Limits
from conduit.core.protocols import Clock, Listener, Window

PATIENCE_S = 0.05
REST_S = 1.0
"""So long nobody asks a shared window that did not answer; then one request tries."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer, and whether it is only this process's own."""

    admission: Admission
    degraded: bool


class Limiter:
    """Asks the `shared` window where there is one, else the `local` one.

    `fails_closed`: who cannot be counted together with all others is refused.
    """

    def __init__(
        self, *, shared: Window | None, local: Window, clock: Clock, listener: Listener, fails_closed: bool = False
    ) -> None:
        self._shared, self._local, self._clock, self._listener = shared, local, clock, listener
        self._fails_closed = fails_closed
        self._resting_until_s: float | None = None
        """None: it answered last time."""

    async def enter(self, caller: str, visit: str, limits: Limits) -> Entry:
        """Raises WindowUnavailable, where it fails closed."""
        if self._shared is None:
            return Entry(await self._local.enter(caller, visit, limits), degraded=False)
        if self._may_ask():
            try:
                async with asyncio.timeout(PATIENCE_S):
                    admission = await self._shared.enter(caller, visit, limits)
            except (WindowUnavailable, TimeoutError) as error:
                self._rest(error)
            else:
                self._resting_until_s = None
                return Entry(admission, degraded=False)
        if self._fails_closed:
            raise WindowUnavailable("the shared limits cannot be reached")
        return Entry(await self._local.enter(caller, visit, limits), degraded=True)

    async def leave(self, caller: str, visit: str, tokens: int) -> None:
        """Never raises: the answer is out, and a lease that is not given back runs out."""
        await self._local.leave(caller, visit, tokens)
        if self._shared is None or self._resting_until_s is not None:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._shared.leave(caller, visit, tokens)
        except (WindowUnavailable, TimeoutError) as error:
            self._rest(error)

    def _may_ask(self) -> bool:
        if self._resting_until_s is None:
            return True
        now_s = self._clock.elapsed_s()
        if now_s < self._resting_until_s:
            return False
        self._resting_until_s = now_s + REST_S  # this one tries, the others wait for what it finds
        return True

    def _rest(self, error: Exception) -> None:
        self._resting_until_s = self._clock.elapsed_s() + REST_S
        self._listener(Degraded("ratelimit", f"the shared window did not answer: {type(error).__name__}"))

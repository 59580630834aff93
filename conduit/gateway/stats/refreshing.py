"""A figure that is slow to come by: computed in the background, by one at a time, and told with its age."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from conduit.core.events import Degraded
from conduit.core.protocols import Listener
from conduit.routing.errors import ConduitError
from conduit.routing.protocols import Clock

T = TypeVar("T")
PATIENCE_S = 2.0
"""Whoever asks for a figure that is too old waits so long for the new one."""


@dataclass(frozen=True, slots=True)
class Figure(Generic[T]):
    value: T
    age_s: float


class RefreshingValue(Generic[T]):
    """What `make` returned last. `name` is what it is called when making it fails."""

    def __init__(self, name: str, make: Callable[[], Awaitable[T]], *, clock: Clock, listener: Listener) -> None:
        self._name, self._make, self._clock, self._listener = name, make, clock, listener
        self._last: tuple[float, T] | None = None
        self._making: asyncio.Task[None] | None = None

    async def get(self, *, good_for_s: Callable[[T], float]) -> Figure[T]:
        """The last one while that is good; then a new one, or the last one again where that takes too long or fails.

        Raises what `make` raises while there is none.
        """
        last = self._last
        if last is None:
            await asyncio.shield(self._renewal())
        elif self._clock.elapsed_s() - last[0] >= good_for_s(last[1]):
            await asyncio.wait({self._renewal()}, timeout=PATIENCE_S)
        assert self._last is not None
        made_s, value = self._last
        return Figure(value, self._clock.elapsed_s() - made_s)

    def _renewal(self) -> "asyncio.Task[None]":
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._renew())
        return self._making

    async def _renew(self) -> None:
        begun_s = self._clock.elapsed_s()
        try:
            self._last = begun_s, await self._make()
        except ConduitError as error:
            if self._last is None:
                raise
            self._listener(Degraded(self._name, type(error).__name__))

    async def stop(self) -> None:
        if self._making is not None:
            self._making.cancel()
            with suppress(asyncio.CancelledError, ConduitError):
                await self._making

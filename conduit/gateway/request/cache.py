"""Answers for who asks the same again: looked for before a model is asked, kept when it has answered."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from conduit.core.cache_entry import CachedAnswer, Slot, cacheable, slot_of
from conduit.core.errors import CacheUnavailable
from conduit.core.events import CacheAsked, Degraded
from conduit.core.protocols import Listener
from conduit.core.storage import Cache
from conduit.gateway.request.exchange import Ask
from conduit.routing.protocols import Clock

REST_S = 1.0
"""So long nobody asks a cache that did not answer."""
MOST_WAITING = 100
"""Answers on their way to the cache; more are let go, for the next one who asks makes another."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found, and where an answer is to be kept if nothing was."""

    found: Literal["", "hit", "miss"] = ""
    """Empty: nobody looked, because this request is not one for the cache, or said so."""
    slot: Slot | None = None
    answer: CachedAnswer | None = None
    degraded: bool = False
    """The cache did not answer."""


NO_LOOK = Look()


class Recording:
    """Frames of a stream as they pass, up to `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most, self._size, self._frames = most, 0, list[bytes]()

    def add(self, frame: bytes) -> None:
        self._size += len(frame)
        if self._size <= self._most:
            self._frames.append(frame)
        else:
            self._frames.clear()

    @property
    def body(self) -> bytes | None:
        """None when it is too long."""
        return b"".join(self._frames) if self._size <= self._most else None


class AnswerCache:
    """Keeps answers of up to `most` bytes for `ttl_s`. Never raises: without a cache a model is asked."""

    def __init__(
        self,
        store: Cache,
        *,
        clock: Clock,
        listener: Listener,
        random: Callable[[int], bytes],
        ttl_s: float,
        most: int,
        most_temperature: float,
    ) -> None:
        from conduit.gateway.request import sealing  # with `cryptography`, of no use without a cache

        self._sealing = sealing
        self._store, self._clock, self._listener, self._random = store, clock, listener, random
        self._ttl_s, self.most, self._most_temperature = ttl_s, most, most_temperature
        self._resting_until_s = 0.0
        self._keeping: set[asyncio.Task[None]] = set()

    async def look(self, ask: Ask, *, stream: bool) -> Look:
        if ask.cache == "off" or not cacheable(ask.body, most_temperature=self._most_temperature):
            return NO_LOOK
        slot = slot_of(ask.query, ask.body, model=ask.model, stream=stream)
        if ask.cache == "renew":
            return Look("", slot)
        if self._resting:
            return Look("miss", degraded=True)
        try:
            blob = await self._store.get(slot.name)
        except CacheUnavailable as error:
            self._rest(error)
            return Look("miss", degraded=True)
        answer = None if blob is None else self._sealing.opened(blob, slot)
        return Look("miss" if answer is None else "hit", slot, answer)

    def tell(self, look: Look) -> None:
        """Once it is known whether what was found can be used."""
        if look.found:
            self._listener(CacheAsked(hit=look.found == "hit"))

    def keep(self, look: Look, answer: CachedAnswer) -> None:
        """In the background: nobody waits for it."""
        if look.slot is None or self._resting or len(answer.body) > self.most or len(self._keeping) >= MOST_WAITING:
            return
        task = asyncio.create_task(self._put(look.slot, answer))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def stop(self) -> None:
        """What is on its way is kept."""
        await asyncio.gather(*self._keeping)

    async def close(self) -> None:
        await self.stop()
        await self._store.close()

    async def _put(self, slot: Slot, answer: CachedAnswer) -> None:
        blob = self._sealing.sealed(answer, slot, self._random(self._sealing.NONCE_BYTES))
        try:
            await self._store.put(slot.name, blob, ttl_s=self._ttl_s)
        except CacheUnavailable as error:
            self._rest(error)

    @property
    def _resting(self) -> bool:
        return self._clock.elapsed_s() < self._resting_until_s

    def _rest(self, error: CacheUnavailable) -> None:
        """Of all who waited for the same answer, the first tells."""
        if not self._resting:
            self._listener(Degraded("cache", f"it did not answer: {error}"))
        self._resting_until_s = self._clock.elapsed_s() + REST_S

"""A whole gateway: what belongs to it, and in which order it starts and stops."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from conduit.core.aliases import Aliases
from conduit.core.features_cache import CachedFeatures
from conduit.core.protocols import Clock
from conduit.core.query import Preferences
from conduit.core.router import Router
from conduit.core.storage import Ledger
from conduit.gateway.books import Books
from conduit.gateway.cache import AnswerCache
from conduit.gateway.cashier import Cashier
from conduit.gateway.complete import Gateway
from conduit.gateway.embed import Embeddings
from conduit.gateway.follow import Follower
from conduit.gateway.hashing import Hashing
from conduit.gateway.judge import Judge
from conduit.gateway.keyring import Keyring
from conduit.gateway.limiter import Limiter
from conduit.gateway.locksmith import Locksmith
from conduit.gateway.once import Once
from conduit.gateway.readiness import Readiness
from conduit.gateway.retries import RetryDetector
from conduit.gateway.settle import Settler
from conduit.observability.vitals import Vitals
from conduit.providers.fleet import Fleet
from conduit.providers.refresh import ListRefresh


@dataclass(slots=True)
class Conduit:
    """A whole gateway, put together and not yet started."""

    router: Router
    ledger: Ledger
    fleet: Fleet
    gateway: Gateway
    embeddings: Embeddings
    settler: Settler
    follower: Follower
    books: Books
    judge: Judge | None
    keyring: Keyring
    limiter: Limiter
    readiness: Readiness
    locksmith: Locksmith
    once: Once
    clock: Clock
    preferences: Preferences
    """Of requests that name none."""
    simulated: bool
    """Whether every model is the sandbox's."""
    started_s: float
    refresh: ListRefresh
    retries: RetryDetector | None = None
    """None: retries are not looked for."""
    cashier: Cashier | None = None
    """None: nobody is capped, and nothing is paced."""
    cache: AnswerCache | None = None
    """None: every request asks a model."""
    hashing: Hashing | None = None
    """None: no prompt is hashed."""
    features_cache: CachedFeatures | None = None
    """None: every prompt is looked at anew."""
    preferences_by_key: Mapping[str, Preferences] = field(default_factory=dict)
    """Of requests that name none, by the name of their key."""
    aliases: Aliases = field(default_factory=dict)
    """Names that callers may write in the place of a model's, or of `auto`."""
    vitals: Vitals | None = None
    """None: nobody looks at them."""
    _background: tuple[asyncio.Task[None], ...] = ()

    def preferences_of(self, key_name: str) -> Preferences:
        """Of requests of this key that name none."""
        return self.preferences_by_key.get(key_name, self.preferences)

    async def start(self) -> None:
        """Migrate, see to the door, come to beliefs, follow. Raises LedgerUnavailable and ConfigurationError."""
        await self.ledger.open()
        if self.hashing is not None:
            await self.hashing.open()
        await self.keyring.open()
        await self.limiter.open()
        await self.follower.begin()
        if self.cashier is not None:
            await self.cashier.open()
        loops = [
            each.run()
            for each in (self.follower, self.refresh, self.once, self.limiter, self.retries, self.cashier, self.vitals)
            if each is not None
        ]
        self._background = tuple(map(asyncio.create_task, loops))

    async def stop(self) -> None:
        """Write what is queued, then let go of everything."""
        try:
            for task in self._background:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await self.books.stop()
            await self.once.stop()
            if self.judge is not None:
                await self.judge.stop()
            if self.cache is not None:
                await self.cache.close()
            if self.cashier is not None:
                await self.cashier.stop()
            for provider in self.fleet.providers.values():
                await provider.close()
            for session in self.fleet.sessions:
                await session.close()
            await self.limiter.close()
        finally:
            await self.ledger.close()

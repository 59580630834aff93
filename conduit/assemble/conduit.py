"""A whole gateway: what belongs to it, and in which order it starts and stops."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from conduit.core.aliases import Aliases
from conduit.core.storage import Ledger
from conduit.gateway.access.authenticator import Authenticator
from conduit.gateway.access.key_admin import KeyAdmin
from conduit.gateway.access.limiter import Limiter
from conduit.gateway.judge.judge import Judge
from conduit.gateway.learning.follow import Follower
from conduit.gateway.learning.hashing import Hashing
from conduit.gateway.learning.retries import RetryDetector
from conduit.gateway.learning.settle import Settler
from conduit.gateway.money.spend_caps import SpendCaps
from conduit.gateway.request.cache import AnswerCache
from conduit.gateway.request.complete import Gateway
from conduit.gateway.request.embed import Embeddings
from conduit.gateway.request.idempotency import Idempotency
from conduit.gateway.stats.readiness import Readiness
from conduit.gateway.stats.stats import Stats
from conduit.observability.metrics.gauges import Gauges
from conduit.providers.fleet import Fleet
from conduit.providers.refresh import ListRefresh
from conduit.routing.features_cache import CachedFeatures
from conduit.routing.protocols import Clock
from conduit.routing.query import Preferences
from conduit.routing.router import Router


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
    stats: Stats
    judge: Judge | None
    authenticator: Authenticator
    limiter: Limiter
    readiness: Readiness
    key_admin: KeyAdmin
    once: Idempotency
    clock: Clock
    preferences: Preferences
    """Of requests that name none."""
    simulated: bool
    """Whether every model is the sandbox's."""
    started_s: float
    refresh: ListRefresh
    retries: RetryDetector | None = None
    """None: retries are not looked for."""
    spend_caps: SpendCaps | None = None
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
    gauges: Gauges | None = None
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
        await self.authenticator.open()
        await self.limiter.open()
        await self.follower.begin()
        if self.spend_caps is not None:
            await self.spend_caps.open()
        loops = [
            each.run()
            for each in (
                self.follower,
                self.refresh,
                self.once,
                self.limiter,
                self.retries,
                self.spend_caps,
                self.gauges,
            )
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
            await self.stats.stop()
            await self.once.stop()
            if self.judge is not None:
                await self.judge.stop()
            if self.cache is not None:
                await self.cache.close()
            if self.spend_caps is not None:
                await self.spend_caps.stop()
            for provider in self.fleet.providers.values():
                await provider.close()
            for session in self.fleet.sessions:
                await session.close()
            await self.limiter.close()
        finally:
            await self.ledger.close()

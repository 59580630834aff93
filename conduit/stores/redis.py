"""What replicas share in Redis or Valkey: one pool, little patience, and no text of a caller's in it."""

from importlib.resources import files
from typing import Any, Self

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from conduit.core.admission import LEASE_S, WINDOW_S, Admission
from conduit.core.errors import ConfigurationError, WindowUnavailable
from conduit.core.keys import Limits

PATIENCE_S = 0.05
"""For a connection, and for an answer."""
CONNECTIONS = 50


def connect(url: str) -> Redis:
    """Nothing is sent yet. Raises ConfigurationError."""
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=PATIENCE_S,
            socket_timeout=PATIENCE_S,
            socket_connect_timeout=PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
    except ValueError:
        raise ConfigurationError("REDIS_URL: must be of the form redis://host:6379/0 or rediss://...") from None
    return Redis.from_pool(pool)


class RedisWindow:
    """A Window over all processes that use one server. Each question is one atomic script, by the server's clock."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._enter: Any = redis.register_script(_script("enter.lua"))
        self._leave: Any = redis.register_script(_script("leave.lua"))

    async def enter(self, caller: str, visit: str, limits: Limits) -> Admission:
        bounds = (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent)
        arguments = [visit, _ms(WINDOW_S), _ms(LEASE_S), *(-1 if bound is None else bound for bound in bounds)]
        try:
            refused, limit, current, wait_ms, now_ms = await self._enter(keys=_keys(caller), args=arguments)
        except (RedisError, OSError) as error:
            raise WindowUnavailable(type(error).__name__) from None
        return Admission(refused.decode(), None if limit < 0 else limit, current, wait_ms / 1e3, now_ms / 1e3)

    async def leave(self, caller: str, visit: str, tokens: int) -> None:
        _, tokens_key, inside_key = _keys(caller)
        try:
            await self._leave(keys=[tokens_key, inside_key], args=[visit, _ms(WINDOW_S), tokens])
        except (RedisError, OSError) as error:
            raise WindowUnavailable(type(error).__name__) from None

    async def close(self) -> None:
        await self._redis.aclose()

    @classmethod
    def at(cls, url: str) -> Self:
        """Raises ConfigurationError."""
        return cls(connect(url))


def _keys(caller: str) -> list[str]:
    """In one slot of a cluster, by the braces."""
    return [f"conduit:{{{caller}}}:{what}" for what in ("requests", "tokens", "inside")]


def _ms(seconds: float) -> int:
    return int(seconds * 1e3)


def _script(name: str) -> str:
    return files("conduit.stores").joinpath("lua", name).read_text("ascii")

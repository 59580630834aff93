"""What replicas share in Redis or Valkey: little patience, and no text of a caller's in it."""

from collections.abc import Collection, Sequence
from typing import Any

from conduit.core.admission import LEASE_S, WINDOW_S, Admission
from conduit.core.errors import CacheUnavailable, WindowUnavailable
from conduit.core.keys import Limits
from conduit.stores.redis.courier import PATIENCE_S, Courier, Script
from conduit.stores.redis.line import Address

ENTER, HOLD, RENEW, LEAVE = (Script.named(name) for name in ("enter", "hold", "renew", "leave"))


class RedisWindow:
    """A Window over all processes that use one server. Each question is one atomic script, by the server's clock."""

    def __init__(
        self, address: Address, *, patience_s: float = PATIENCE_S, window_s: float = WINDOW_S, lease_s: float = LEASE_S
    ) -> None:
        self._courier = Courier(address, (ENTER, HOLD, RENEW, LEAVE), patience_s=patience_s)
        self._window_ms, self._lease_ms = int(window_s * 1e3), int(lease_s * 1e3)
        self._held: dict[str, tuple[int, int]] = {}
        """Visit -> the server's second in which it set tokens aside, and how many; the oldest first."""

    async def open(self) -> None:
        await self._courier.open()

    async def enter(self, caller: str, visit: str, limits: Limits, tokens: int = 0) -> Admission:
        bounds = (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent)
        words = [visit, self._window_ms, self._lease_ms, *(-1 if bound is None else bound for bound in bounds), tokens]
        return self._remember(visit, await self._courier.run(ENTER, _keys(caller), words))

    async def hold(self, caller: str, visit: str, tokens: int, limit: int) -> Admission:
        words = [self._window_ms, limit, tokens, *self._held.get(visit, (0, 0))]
        return self._remember(visit, await self._courier.run(HOLD, _keys(caller)[1:2], words))

    async def lower(self, caller: str, visit: str, tokens: int) -> None:
        at_s, held = self._held.get(visit, (0, 0))
        if tokens < held:
            self._held[visit] = at_s, tokens
            self._courier.tell(LEAVE, _keys(caller)[1:], ["", self._window_ms, 0, at_s, held - tokens])

    def _remember(self, visit: str, answer: Sequence[Any]) -> Admission:
        """What the visit has set aside now."""
        admission = _admission(answer)
        if admission.held:
            self._forget(admission.now_s)
            self._held.pop(visit, None)
            self._held[visit] = int(admission.now_s), admission.held
        return admission

    def _forget(self, now_s: float) -> None:
        """Those who left while the server did not answer."""
        for visit, (at_s, _) in list(self._held.items()):
            if at_s > now_s - self._window_ms / 1e3:
                return
            del self._held[visit]

    async def renew(self, caller: str, visits: Collection[str]) -> None:
        await self._courier.run(RENEW, _keys(caller)[2:], [self._lease_ms, *visits])

    async def leave(self, caller: str, visit: str, tokens: int) -> None:
        held = self._held.pop(visit, (0, 0))
        self._courier.tell(LEAVE, _keys(caller)[1:], [visit, self._window_ms, tokens, *held])

    async def close(self) -> None:
        await self._courier.close()


def _admission(answer: Sequence[Any]) -> Admission:
    refused, limit, current, wait_ms, now_ms, held = answer
    return Admission(refused.decode(), None if limit < 0 else limit, current, wait_ms / 1e3, now_ms / 1e3, held)


def _keys(caller: str) -> list[str]:
    """In one slot of a cluster, by the braces."""
    return [f"conduit:{{{caller}}}:{what}" for what in ("requests", "tokens", "inside")]


class RedisCache:
    """A Cache over all processes that use one server; what does not fit there, its own policy lets go."""

    def __init__(self, address: Address, *, patience_s: float = PATIENCE_S) -> None:
        self._courier = Courier(address, (), patience_s=patience_s)

    async def get(self, name: str) -> bytes | None:
        value = await self._ask("GET", _cached(name))
        return None if value is None else bytes(value)

    async def put(self, name: str, value: bytes, *, ttl_s: float) -> None:
        await self._ask("SET", _cached(name), value, "PX", max(int(ttl_s * 1e3), 1))

    async def close(self) -> None:
        await self._courier.close()

    async def _ask(self, *words: object) -> Any:
        try:
            return await self._courier.ask(*words)
        except WindowUnavailable as error:
            raise CacheUnavailable(str(error)) from None


def _cached(name: str) -> str:
    return f"conduit:cache:{name}"

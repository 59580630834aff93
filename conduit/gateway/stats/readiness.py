"""Whether this process can serve now: each thing that it needs, asked within a second, in words of our own."""

import asyncio
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass

from conduit.core.errors import LedgerError, WindowUnavailable
from conduit.core.storage import Ledger, Standby
from conduit.gateway.access.limiter import Limiter
from conduit.gateway.learning.follow import Follower

WITHIN_S = 0.9
"""So that the answer itself comes within a second."""
OK, DEGRADED = "ok", "degraded"
"""What is degraded is done without, and stops nobody."""


@dataclass(slots=True)
class Readiness:
    """Asked by who sends requests here, and told when no more should come."""

    ledger: Ledger
    limiter: Limiter
    models: Callable[[], Sized]
    silent: Callable[[], Mapping[str, str]] = dict
    """Provider -> why it did not list its models."""
    within_s: float = WITHIN_S
    follower: Follower | None = None
    """None: nothing is learned."""
    draining: bool = False
    """What is in flight ends; whoever has another process to ask should ask that."""

    async def checks(self) -> Mapping[str, str]:
        """Name -> state. It is ready when each is OK or DEGRADED."""
        database, redis = await asyncio.gather(self._database(), self._redis())
        return {
            **database,
            **self._spool(),
            **redis,
            **self._models(),
            **({} if self.follower is None else {"beliefs": self.follower.state or OK}),
            "draining": "yes" if self.draining else OK,
        }

    async def _database(self) -> Mapping[str, str]:
        try:
            async with asyncio.timeout(self.within_s):
                current = await self.ledger.check()
        except (LedgerError, TimeoutError):
            return {"database": "unreachable", "migrations": "unknown"}
        return {"database": OK, "migrations": OK if current else "pending: restart Conduit, which brings them"}

    def _spool(self) -> Mapping[str, str]:
        standby = self.ledger.standby
        if standby is Standby.NONE:
            return {}
        return {"spool": {Standby.READY: OK, Standby.BUSY: DEGRADED}.get(standby, "full: decisions are lost")}

    def _models(self) -> Mapping[str, str]:
        """Who is silent takes nothing from the others."""
        silent = ", ".join(f"{name} did not list its models ({why})" for name, why in self.silent().items())
        if not len(self.models()):
            return {"models": f"none yet: {silent}" if silent else "none configured"}
        return {"models": OK, **({"providers": f"{DEGRADED}: {silent}"} if silent else {})}

    async def _redis(self) -> Mapping[str, str]:
        """Asked only where nobody is let in without it: elsewhere the last caller has found out already."""
        if not self.limiter.shares:
            return {}
        if not self.limiter.fails_closed:
            return {"redis": DEGRADED if self.limiter.alone else OK}
        try:
            async with asyncio.timeout(self.within_s):
                await self.limiter.check()
        except (WindowUnavailable, TimeoutError):
            return {"redis": "unreachable"}
        return {"redis": OK}


def is_ready(checks: Mapping[str, str]) -> bool:
    return all(state == OK or state.partition(":")[0] == DEGRADED for state in checks.values())

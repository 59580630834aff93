"""Who tries keys that are wrong must wait: a throttle by address, in front of the door."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from math import ceil
from types import TracebackType
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from conduit.api.envelope import LimitReached, Problem
from conduit.api.paths import is_probe
from conduit.api.peer import peer_of
from conduit.api.ratelimit import DEGRADED
from conduit.core.errors import Unauthenticated
from conduit.core.networks import Network
from conduit.core.protocols import Ids
from conduit.gateway.limiter import Entry, Limiter

MOST_GOOD = 10_000


class Who(NamedTuple):
    """Who tries, and the SHA-256 of what they sent."""

    peer: str
    digest: bytes


class FailedAuthThrottle:
    """After `limit` failures within a minute an address is refused unheard, until the oldest of them is a minute old:
    they are counted as tokens are, one each, by the limiter, and so over all processes where there is Redis.

    A key that was good from that address stays good from it: behind a shared proxy one who fails does not lock out the
    others. What is not an attempt (no Authorization header, nobody asks for a key) is not refused.
    """

    def __init__(self, app: ASGIApp, *, limit: int, trusted: Sequence[Network], ids: Ids) -> None:
        self._app, self._trusted = app, trusted
        self.limit, self.ids = limit, ids
        self._good: OrderedDict[Who, None] = OrderedDict()
        """Who came last is last."""
        self.judging: dict[Who, asyncio.Event] = {}
        """Who is judged just now, and set when that is over."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = self._who(scope)
        if who is not None:
            scope["conduit.attempt"] = Attempt(self, scope["app"].state.conduit.limiter, who)
        await self._app(scope, receive, send)

    def _who(self, scope: Scope) -> Who | None:
        """None when nothing is tried."""
        if self.limit == 0 or scope["type"] != "http" or is_probe(scope):
            return None
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        return Who(peer_of(scope, self._trusted), sha256(b"\0".join(sent)).digest()) if sent else None

    def knows(self, who: Who) -> bool:
        return who in self._good

    def remember(self, who: Who) -> None:
        self._good[who] = None
        self._good.move_to_end(who)
        if len(self._good) > MOST_GOOD:
            self._good.popitem(last=False)

    def forget(self, who: Who) -> None:
        self._good.pop(who, None)


class Attempt:
    """What the door does while it judges. A failure is set aside before it is known to be one, so that of many at once
    no more are judged than may fail. Those who send the same at the same time wait for the first: many requests with
    one good key are no failures, though nobody has seen it yet."""

    def __init__(self, throttle: FailedAuthThrottle, limiter: Limiter, who: Who) -> None:
        self._throttle, self._limiter, self._who = throttle, limiter, who
        self._visit = ""
        """Empty: nothing is set aside."""
        self._verdict: asyncio.Event | None = None
        """None: somebody else is the first."""

    async def __aenter__(self) -> None:
        """Raises LimitReached, and WindowUnavailable where limits fail closed."""
        if (first := self._throttle.judging.get(self._who)) is not None:
            await first.wait()
        if self._throttle.knows(self._who):
            return
        if first is None:
            self._verdict = self._throttle.judging[self._who] = asyncio.Event()
        try:
            await self._set_aside()
        except BaseException:  # a caller who left included: others wait for the verdict
            self._end()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Good, or a failure; or nobody could tell, and then it was neither."""
        failed = kind is not None and issubclass(kind, Unauthenticated)
        if kind is None:
            self._throttle.remember(self._who)
        self._end()
        if failed:
            self._throttle.forget(self._who)
            if not self._visit:  # it was good before
                await self._hold()
        if self._visit:
            await self._limiter.leave(self._caller, self._visit, int(failed))

    async def _set_aside(self) -> None:
        """Raises LimitReached."""
        entry = await self._hold()
        if entry.admission.refused:
            self._visit = ""
            raise LimitReached(_refusal(entry))

    def _end(self) -> None:
        if self._verdict is not None:
            del self._throttle.judging[self._who]
            self._verdict.set()

    async def _hold(self) -> Entry:
        self._visit = self._throttle.ids.new("try")
        return await self._limiter.hold(self._caller, self._visit, 1, self._throttle.limit)

    @property
    def _caller(self) -> str:
        return f"wrong:{self._who.peer}"


def _refusal(entry: Entry) -> Problem:
    admission = entry.admission
    retry_after = max(ceil(admission.wait_s), 1)
    headers = {"retry-after": str(retry_after)}
    if entry.degraded:
        headers |= {str(DEGRADED[0], "ascii"): str(DEGRADED[1], "ascii")}
    return Problem(
        429,
        "rate_limit_exceeded",
        f"{admission.limit} wrong keys came from this address within a minute; wait, and send the right one",
        more={"retry_after": retry_after, "limit": admission.limit, "current": admission.current},
        headers=headers,
    )

"""Who tries keys that are wrong must wait: a throttle by address, in front of the door."""

import asyncio
from collections import OrderedDict
from hashlib import sha256
from math import ceil
from types import TracebackType
from typing import NamedTuple
from weakref import WeakValueDictionary

from starlette.types import ASGIApp, Receive, Scope, Send

from conduit.api.envelope import LimitReached, Problem
from conduit.api.paths import is_probe
from conduit.api.peer import peer_of
from conduit.core.admission import Admission
from conduit.core.errors import Unauthenticated
from conduit.core.request_state import RequestState, state_of
from conduit.gateway.access.limiter import Entry, Limiter
from conduit.routing.protocols import Ids

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

    def __init__(self, app: ASGIApp, *, limit: int, ids: Ids) -> None:
        self._app = app
        self.limit, self.ids = limit, ids
        self._good: OrderedDict[Who, None] = OrderedDict()
        """Who came last is last."""
        self._turns = WeakValueDictionary[str, asyncio.Lock]()
        """Of addresses from which somebody is judged just now, or waits for it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = self._who(scope)
        if who is not None:
            state = state_of(scope)
            state.attempt = Attempt(self, scope["app"].state.conduit.limiter, who, state)
        await self._app(scope, receive, send)

    def _who(self, scope: Scope) -> Who | None:
        """None when nothing is tried."""
        if self.limit == 0 or scope["type"] != "http" or is_probe(scope):
            return None
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        return Who(peer_of(scope), sha256(b"\0".join(sent)).digest()) if sent else None

    def turn(self, peer: str) -> asyncio.Lock:
        """For one from this address at a time. Whoever waits keeps it there."""
        turn = self._turns.get(peer)
        if turn is None:
            turn = self._turns[peer] = asyncio.Lock()
        return turn

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
    """What the door does while it judges. A failure is set aside before it is known to be one, so that no more are
    judged, in all processes, than may fail. Each process judges one at a time, while others wait their turn: many good
    keys that come at once are no failures, though nobody has seen them yet."""

    def __init__(self, throttle: FailedAuthThrottle, limiter: Limiter, who: Who, state: RequestState) -> None:
        self._throttle, self._limiter, self._who, self._state = throttle, limiter, who, state
        self._visit = ""
        """Empty: nothing is set aside."""
        self._turn: asyncio.Lock | None = None
        """None: not ours."""

    async def __aenter__(self) -> None:
        """Raises LimitReached, and WindowUnavailable where limits fail closed."""
        if self._throttle.knows(self._who):
            return
        turn = self._throttle.turn(self._who.peer)
        await turn.acquire()
        self._turn = turn
        try:
            if not self._throttle.knows(self._who):
                await self._set_aside()
        except BaseException:  # a caller who left included: others wait for their turn
            self._end()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Good, or a failure; or nobody could tell, and then it was neither."""
        failed = kind is not None and issubclass(kind, Unauthenticated)
        if kind is None:
            self._throttle.remember(self._who)
        try:
            if failed:
                self._throttle.forget(self._who)
                if not self._visit:  # it was good before
                    await self._hold()
            if self._visit:
                await self._limiter.leave(self._caller, self._visit, int(failed))
        finally:
            self._end()

    async def _set_aside(self) -> None:
        """Raises LimitReached."""
        entry = await self._hold()
        if entry.admission.refused:
            self._visit = ""
            if entry.degraded:
                self._state.degrade("ratelimit")
            raise LimitReached(_refusal(entry.admission))

    def _end(self) -> None:
        if self._turn is not None:
            self._turn.release()
            self._turn = None

    async def _hold(self) -> Entry:
        self._visit = self._throttle.ids.new("try")
        return await self._limiter.hold(self._caller, self._visit, 1, self._throttle.limit)

    @property
    def _caller(self) -> str:
        return f"wrong:{self._who.peer}"


def _refusal(admission: Admission) -> Problem:
    retry_after = max(ceil(admission.wait_s), 1)
    headers = {"retry-after": str(retry_after), "x-ratelimit-limit": str(admission.limit), "x-ratelimit-remaining": "0"}
    headers["x-ratelimit-reset"] = str(ceil(admission.now_s + admission.wait_s))
    return Problem(
        429,
        "rate_limit_exceeded",
        f"{admission.limit} wrong keys came from this address within a minute (API_FAILED_AUTH_LIMIT); wait, and "
        "send the right one",
        more={"retry_after": retry_after, "limit": admission.limit, "current": admission.current},
        headers=headers,
    )

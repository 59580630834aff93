"""Who tries keys that are wrong must wait: a throttle by address, in front of the door."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from hashlib import sha256
from math import ceil

from starlette.types import ASGIApp, Receive, Scope, Send

from conduit.api.envelope import Problem, refuse
from conduit.api.paths import is_probe
from conduit.api.peer import peer_of
from conduit.core.networks import Network
from conduit.core.protocols import Clock

WITHIN_S = 60.0
MOST_PEERS = 10_000
MOST_GOOD = 10_000


class FailedAuthThrottle:
    """After `limit` failures within a minute an address is refused unheard, until the oldest of them is a minute old.

    A key that was good from that address stays good from it: behind a shared proxy one who fails does not lock out the
    others. What is not an attempt (no Authorization header) is not refused. Each process counts for itself.
    """

    def __init__(self, app: ASGIApp, *, limit: int, trusted: Sequence[Network], clock: Clock) -> None:
        self._app, self._limit, self._trusted, self._clock = app, limit, trusted, clock
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._good: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        """Peer and SHA-256 of what it sent; who came last is last."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        attempt = self._attempt(scope)
        if attempt is None:
            await self._app(scope, receive, send)
            return
        wait_s = self._wait_s(attempt[0])
        if wait_s > 0 and attempt not in self._good:
            await refuse(self._refusal(wait_s), scope, receive, send)
            return
        scope["conduit.judged"] = lambda *, good: self._judged(attempt, good=good)
        await self._app(scope, receive, send)

    def _attempt(self, scope: Scope) -> tuple[str, bytes] | None:
        """Who tries, and with what; None when nothing is tried."""
        if self._limit == 0 or scope["type"] != "http" or is_probe(scope):
            return None
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        return (peer_of(scope, self._trusted), sha256(b"\0".join(sent)).digest()) if sent else None

    def _judged(self, attempt: tuple[str, bytes], *, good: bool) -> None:
        """Told by the door, before anything else is done for the caller."""
        if good:
            self._good[attempt] = None
            self._good.move_to_end(attempt)
            if len(self._good) > MOST_GOOD:
                self._good.popitem(last=False)
            return
        self._good.pop(attempt, None)
        failures = self._failed.setdefault(attempt[0], deque(maxlen=self._limit))
        failures.append(self._clock.elapsed_s())
        self._failed.move_to_end(attempt[0])
        if len(self._failed) > MOST_PEERS:
            self._failed.popitem(last=False)

    def _wait_s(self, peer: str) -> float:
        """0 when it may try."""
        failures = self._failed.get(peer)
        if failures is None:
            return 0.0
        now_s = self._clock.elapsed_s()
        while failures and failures[0] <= now_s - WITHIN_S:
            failures.popleft()
        if not failures:
            del self._failed[peer]
            return 0.0
        return failures[0] + WITHIN_S - now_s if len(failures) >= self._limit else 0.0

    def _refusal(self, wait_s: float) -> Problem:
        retry_after = max(ceil(wait_s), 1)
        return Problem(
            429,
            "rate_limit_exceeded",
            f"{self._limit} wrong keys came from this address within a minute; wait, and send the right one",
            more={"retry_after": retry_after, "limit": self._limit, "current": self._limit},
            headers={"retry-after": str(retry_after)},
        )

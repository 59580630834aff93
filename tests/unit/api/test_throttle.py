"""Who tries wrong keys waits, and nobody else does."""

import asyncio
import secrets
from typing import Any

import orjson
import structlog
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from conduit.api import throttle
from conduit.api.peer import TrustedProxies
from conduit.api.throttle import FailedAuthThrottle
from conduit.core.errors import LedgerUnavailable
from conduit.core.events import Event
from conduit.core.keys import KeyEntry
from conduit.core.networks import parsed_networks
from conduit.core.protocols import Window
from conduit.gateway.access.limiter import Limiter
from conduit.stores.memory.window import MemoryWindow
from conduit.stores.sql.keys import MemoryKeyStore
from conduit.testing import CountingIds, StillClock
from tests.unit.api.door import OWN, Reply, authenticator, bearer, call, entry, guarded, secret
from tests.unit.gateway.test_limiter import Unsteady

LIMIT = 5
KEY = bearer(OWN)


class Door:
    def __init__(
        self,
        *,
        limit: int = LIMIT,
        proxies: str = "",
        shared: Window | None = None,
        fails_closed: bool = False,
        **ring: Any,
    ) -> None:
        self.clock = StillClock(1000.0)
        self.window, self.events = MemoryWindow(self.clock), list[Event]()
        self.limiter = Limiter(
            shared=shared, local=self.window, clock=self.clock, listener=self.events.append, fails_closed=fails_closed
        )
        peer = Middleware(TrustedProxies, trusted=parsed_networks(proxies))
        guard = Middleware(FailedAuthThrottle, limit=limit, ids=CountingIds())
        self.app: ASGIApp = guarded(authenticator(clock=self.clock, **ring), layers=[peer, guard], limiter=self.limiter)

    async def wrong(self, times: int = 1, **more: Any) -> list[int]:
        return [(await call(self.app, "/v1/models", bearer(secrets.token_hex()), **more)).status for _ in range(times)]

    async def right(self, path: str = "/v1/models", **more: Any) -> Reply:
        return await call(self.app, path, KEY, **more)


async def test_so_many_wrong_keys_are_judged_and_no_more() -> None:
    assert await Door().wrong(500) == [401] * LIMIT + [429] * (500 - LIMIT)


async def test_the_refusal_says_how_long() -> None:
    door = Door()
    await door.wrong(LIMIT)
    door.clock.at_s += 10.5
    with structlog.testing.capture_logs() as logs:
        reply = await call(door.app, "/v1/models", bearer("wrong"))
    assert (reply.status, reply.code) == (429, "rate_limit_exceeded")
    assert reply.headers[b"retry-after"] == b"50"
    body = orjson.loads(reply.body)
    assert (body["retry_after"], body["limit"], body["current"]) == (50, LIMIT, LIMIT)
    assert logs[-1]["code"] == "rate_limit_exceeded"


async def test_the_window_slides() -> None:
    door = Door()
    await door.wrong(LIMIT - 1)
    door.clock.at_s += 30.0
    assert await door.wrong(2) == [401, 429]
    door.clock.at_s += 30.0
    assert await door.wrong(LIMIT) == [401] * (LIMIT - 1) + [429]
    door.clock.at_s += 60.0
    assert await door.wrong() == [401]


async def test_a_right_key_that_was_never_seen_there_waits_too() -> None:
    """Else the answer would tell who guesses that the guess was right."""
    door = Door()
    await door.wrong(LIMIT)
    assert (await door.right()).status == 429
    door.clock.at_s += 60.0
    assert (await door.right()).status == 200


async def test_a_key_that_was_good_from_there_stays_good() -> None:
    """Until it fails."""
    store = MemoryKeyStore()
    await store.create(entry())
    door = Door(store=store)
    mine = bearer(secret())
    for key in (mine, KEY):
        assert (await call(door.app, "/v1/models", key)).status == 200
    await door.wrong(LIMIT)
    assert [(await call(door.app, "/v1/models", key)).status for key in (mine, KEY)] == [200, 200]
    await store.revoke("k1", now_s=0.0)
    door.clock.at_s += 5.0
    assert [(await call(door.app, "/v1/models", mine)).status for _ in range(2)] == [401, 429]
    assert (await door.right()).status == 200


async def test_the_failure_of_a_key_that_was_good_counts() -> None:
    store = MemoryKeyStore()
    await store.create(entry())
    door = Door(store=store)
    assert (await call(door.app, "/v1/models", bearer(secret()))).status == 200
    await store.revoke("k1", now_s=0.0)
    door.clock.at_s += 5.0
    assert (await call(door.app, "/v1/models", bearer(secret()))).status == 401
    assert await door.wrong(LIMIT) == [401] * (LIMIT - 1) + [429]


async def test_another_address_does_not_wait() -> None:
    door = Door()
    await door.wrong(LIMIT)
    assert await door.wrong(client="192.0.2.2") == [401]
    assert (await door.right(client="192.0.2.2")).status == 200
    assert (await door.right()).status == 429


async def test_an_address_is_a_proxys_word_only_when_the_proxy_is_trusted() -> None:
    for proxies, last in (("", 429), ("192.0.2.0/24", 401)):
        door = Door(proxies=proxies)
        statuses = [
            (await call(door.app, "/v1/models", bearer("wrong"), (b"x-forwarded-for", b"198.51.100.%d" % n))).status
            for n in range(LIMIT + 1)
        ]
        assert statuses == [401] * LIMIT + [last]


async def test_what_is_no_attempt_is_neither_counted_nor_refused() -> None:
    door = Door()
    for _ in range(2 * LIMIT):
        assert (await call(door.app)).code == "authentication_required"
    await door.wrong(LIMIT)
    assert (await call(door.app)).code == "authentication_required"
    assert (await call(door.app, "/open")).status == 200
    assert (await door.right("/health/live")).status == 200


async def test_another_format_is_a_failure_too() -> None:
    door = Door()
    for _ in range(LIMIT):
        await call(door.app, "/v1/models", (b"authorization", b"Basic eDp5"))
    assert await door.wrong() == [429]


async def test_zero_counts_nothing_and_an_open_door_has_no_failures() -> None:
    assert await Door(limit=0).wrong(50) == [401] * 50
    assert await Door(own=b"").wrong(50) == [200] * 50


async def test_what_is_remembered_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(throttle, "MOST_GOOD", 2)
    seen: list[FailedAuthThrottle] = []

    def kept(app: ASGIApp) -> FailedAuthThrottle:
        seen.append(FailedAuthThrottle(app, limit=1, ids=CountingIds()))
        return seen[0]

    window = MemoryWindow(StillClock(), most=3)
    limiter = Limiter(shared=None, local=window, clock=StillClock(), listener=print)
    app = guarded(authenticator(), layers=[Middleware(kept)], limiter=limiter)
    for n in range(9):
        await call(app, "/v1/models", KEY, client=f"192.0.2.{n}")
        await call(app, "/v1/models", bearer("wrong"), client=f"192.0.2.{n}")
    assert (len(window._callers), len(seen[0]._good)) == (3, 2)


async def test_of_many_at_once_no_more_are_judged_than_may_fail() -> None:
    """Nor do those who wait for the judgement of others count when they were right."""
    store = MemoryKeyStore()
    for n in range(LIMIT):
        await store.create(entry(n))
    door = Door(store=store)
    wrong = [call(door.app, "/v1/models", bearer(secrets.token_hex())) for _ in range(50)]
    assert sorted(reply.status for reply in await asyncio.gather(*wrong)) == [401] * LIMIT + [429] * (50 - LIMIT)
    good = [call(door.app, "/v1/models", bearer(secret(n)), client="192.0.2.2") for n in range(LIMIT)]
    assert {reply.status for reply in await asyncio.gather(*good)} == {200}
    assert await door.wrong(LIMIT, client="192.0.2.2") == [401] * LIMIT


class SlowStore(MemoryKeyStore):
    """Lets all others run before it answers."""

    async def find(self, digest: bytes) -> KeyEntry | None:
        for _ in range(10):
            await asyncio.sleep(0)
        return await super().find(digest)


async def test_many_at_once_with_a_good_key_that_nobody_has_seen_are_let_in_and_with_a_wrong_one_judged_as_ever() -> (
    None
):
    store = SlowStore()
    await store.create(entry())
    door = Door(store=store)
    replies = await asyncio.gather(*(call(door.app, "/v1/models", bearer(secret())) for _ in range(20 * LIMIT)))
    assert {reply.status for reply in replies} == {200}
    replies = await asyncio.gather(*(call(door.app, "/v1/models", bearer(secret(2))) for _ in range(20 * LIMIT)))
    assert sorted(reply.status for reply in replies) == [401] * LIMIT + [429] * (19 * LIMIT)


async def test_many_good_keys_that_come_at_once_from_one_address_are_all_let_in() -> None:
    """As when a service behind one address is started anew. Also when but one more may fail."""
    store = SlowStore()
    for n in range(20 * LIMIT):
        await store.create(entry(n))
    door = Door(store=store)
    assert await door.wrong(LIMIT - 1) == [401] * (LIMIT - 1)
    replies = await asyncio.gather(*(call(door.app, "/v1/models", bearer(secret(n))) for n in range(20 * LIMIT)))
    assert {reply.status for reply in replies} == {200}
    assert await door.wrong(2) == [401, 429]


async def test_who_leaves_while_others_are_judged_gives_the_turn_back() -> None:
    store = SlowStore()
    for n in range(2 * LIMIT):
        await store.create(entry(n))
    door = Door(store=store)
    tasks = [asyncio.create_task(call(door.app, "/v1/models", bearer(secret(n)))) for n in range(2 * LIMIT)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    replies = await asyncio.gather(*tasks[1::2])
    assert {reply.status for reply in replies} == {200}
    assert (await call(door.app, "/v1/models", bearer(secret(0)))).status == 200


async def test_failures_count_over_all_processes_and_in_each_while_that_cannot_be() -> None:
    """And the refusal says so."""
    clock = StillClock(1000.0)
    shared = Unsteady(MemoryWindow(clock))
    one, other = Door(shared=shared), Door(shared=shared)
    assert await one.wrong(3) + await other.wrong(3) == [401] * LIMIT + [429]
    assert b"x-conduit-degraded" not in (await call(one.app, "/v1/models", bearer("x"))).headers
    shared.mood = "breaks"
    assert await one.wrong(3) == [401, 401, 429]  # it knows of its own three
    assert (await call(one.app, "/v1/models", bearer("x"))).headers[b"x-conduit-degraded"] == b"ratelimit"


async def test_where_limits_fail_closed_nobody_tries_uncounted() -> None:
    shared = Unsteady(MemoryWindow(StillClock()))
    door = Door(shared=shared, fails_closed=True)
    assert (await door.right()).status == 200
    shared.mood = "breaks"
    refused = await call(door.app, "/v1/models", bearer("x"))
    assert (refused.status, refused.code) == (503, "limits_unavailable")
    assert (await door.right()).status == 200


async def test_while_keys_cannot_be_looked_up_nobody_fails() -> None:
    class Away(MemoryKeyStore):
        async def find(self, digest: bytes) -> KeyEntry | None:
            raise LedgerUnavailable("away")

    door = Door(store=Away())
    for _ in range(2 * LIMIT):
        assert (await call(door.app, "/v1/models", bearer(secret()))).status == 503
    assert await door.wrong() == [401]

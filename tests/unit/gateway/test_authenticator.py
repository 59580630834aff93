"""What is remembered of keys, for how long, and what happens while the store is away."""

import asyncio

import pytest

from conduit.core.errors import KeysUnavailable, LedgerUnavailable, Unauthenticated
from conduit.core.events import Event
from conduit.core.keys import KeyEntry, Secret, digest_of
from conduit.gateway.access.authenticator import FRESH_S, MOST_REMEMBERED, REST_S, Authenticator, Terms
from conduit.routing.errors import ConfigurationError
from conduit.stores.sql.keys import MemoryKeyStore
from conduit.testing import StillClock
from tests.unit.api.door import authenticator, entry, secret


class Store(MemoryKeyStore):
    """One that can be away, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.away, self.asked, self.gate = False, 0, asyncio.Event()
        self.gate.set()

    async def find(self, digest: bytes) -> KeyEntry | None:
        self.asked += 1
        await self.gate.wait()
        if self.away:
            raise LedgerUnavailable("away")
        return await super().find(digest)

    async def any(self) -> bool:
        if self.away:
            raise LedgerUnavailable("away")
        return await super().any()


class Around:
    """An authenticator, and all that is around it."""

    def __init__(self, **terms) -> None:
        self.store, self.clock, self.events = Store(), StillClock(1000.0), list[Event]()
        self.ring: Authenticator = authenticator(self.store, clock=self.clock, events=self.events, **terms)

    async def admits(self, n: int = 1) -> bool:
        try:
            return (await self.ring.admit(secret(n).encode())).key.id == entry(n).key.id
        except Unauthenticated:
            return False


async def test_a_key_is_looked_up_once_in_a_while() -> None:
    at = Around()
    await at.store.create(entry())
    for _ in range(5):
        assert await at.admits()
    assert at.store.asked == 1
    at.clock.at_s += FRESH_S
    assert await at.admits()
    assert at.store.asked == 2


async def test_a_revocation_is_effective_within_five_seconds() -> None:
    """In every process: each asks for itself."""
    at = Around()
    await at.store.create(entry())
    assert await at.admits()
    await at.store.revoke("k1", now_s=at.clock.now_s())
    at.clock.at_s += FRESH_S
    assert not await at.admits()
    assert FRESH_S < 5


async def test_where_a_key_was_changed_nothing_is_remembered() -> None:
    at = Around()
    await at.store.create(entry())
    assert await at.admits()
    await at.store.revoke("k1", now_s=at.clock.now_s())
    at.ring.forget()
    assert not await at.admits()


async def test_a_key_and_a_secret_end_on_the_second() -> None:
    """Also while they are remembered."""
    at = Around()
    await at.store.create(entry(1, expires_s=1001.0))
    await at.store.create(entry(2, secrets=(Secret(digest_of(secret(2).encode()), expires_s=1001.5),)))
    assert [await at.admits(1), await at.admits(2)] == [True, True]
    at.clock.at_s = 1001.0
    assert [await at.admits(1), await at.admits(2)] == [False, True]
    at.clock.at_s = 1001.5
    assert [await at.admits(1), await at.admits(2)] == [False, False]


async def test_an_unknown_key_is_not_remembered_as_unknown() -> None:
    """It may be made in the next moment."""
    at = Around()
    assert not await at.admits()
    await at.store.create(entry())
    assert await at.admits()


async def test_nobody_is_looked_up_who_cannot_be_there() -> None:
    at = Around()
    for token in (b"", b"cdt_short", b"sk-" + b"x" * 44, secret().encode() + b"x", b"\xff" * 47):
        with pytest.raises(Unauthenticated):
            await at.ring.admit(token)
    assert at.store.asked == 0


async def test_many_at_once_are_one_question() -> None:
    at = Around()
    await at.store.create(entry())
    at.store.gate.clear()
    waiting = [asyncio.create_task(at.admits()) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    at.store.gate.set()
    assert all(await asyncio.gather(*waiting[1:]))
    assert at.store.asked == 1


async def test_while_the_store_is_away_known_keys_are_good_for_a_while_and_others_wait() -> None:
    at = Around(grace_s=60.0)
    await at.store.create(entry())
    assert await at.admits()
    at.store.away = True
    at.clock.at_s += FRESH_S
    admitted = await at.ring.admit(secret().encode())
    assert admitted.remembered
    with pytest.raises(KeysUnavailable):
        await at.admits(2)
    at.clock.at_s = 1060.0
    with pytest.raises(KeysUnavailable):
        await at.admits(1)
    assert len(at.events) == 1
    at.store.away = False
    at.clock.at_s += REST_S
    assert not (await at.ring.admit(secret().encode())).remembered
    assert not await at.admits(2)


async def test_a_store_that_is_away_is_left_alone_but_for_one_a_second() -> None:
    at = Around()
    await at.store.create(entry())
    await at.admits()
    at.store.away = True
    at.clock.at_s += FRESH_S
    for _ in range(10):
        await at.admits()
    assert at.store.asked == 2
    at.clock.at_s += REST_S
    at.store.gate.clear()
    slow = asyncio.create_task(at.admits())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert at.store.asked == 3
    assert [await at.admits() for _ in range(10)] == [True] * 10
    at.store.gate.set()
    assert await slow


async def test_an_expired_key_is_not_good_while_the_store_is_away() -> None:
    at = Around()
    await at.store.create(entry(expires_s=1010.0))
    await at.admits()
    at.store.away = True
    at.clock.at_s = 1010.0
    assert not await at.admits()


async def test_the_operators_key_needs_no_store() -> None:
    at = Around(own=b"mine")
    at.store.away = True
    assert (await at.ring.admit(b"mine")).key.name == "api_key"


async def test_what_is_remembered_is_bounded() -> None:
    at = Around()
    at.ring._seen.update({n.to_bytes(32, "big"): None for n in range(MOST_REMEMBERED)})
    await at.store.create(entry())
    assert await at.admits()
    assert len(at.ring._seen) == MOST_REMEMBERED


# ------------------------------------------------------------------ whether anybody is asked


async def test_the_first_key_closes_the_door_and_nothing_opens_it_again() -> None:
    at = Around(own=b"")
    await at.ring.open()
    assert not await at.ring.asks()
    await at.store.create(entry())
    at.clock.at_s += FRESH_S
    assert await at.ring.asks()
    await at.store.revoke("k1", now_s=0.0)
    later = authenticator(at.store, own=b"")
    await later.open()
    assert await later.asks()


async def test_an_open_door_stays_as_it_is_while_the_store_is_away() -> None:
    at = Around(own=b"")
    at.store.away = True
    assert not await at.ring.asks()
    assert len(at.events) == 1


@pytest.mark.parametrize("made", [None, entry(revoked_s=1.0), entry(expires_s=999.0)])
async def test_a_required_key_must_be_there_and_usable(made: KeyEntry | None) -> None:
    at = Around(own=b"", required_by="API_REQUIRE_AUTH")
    if made is not None:
        await at.store.create(made)
    with pytest.raises(ConfigurationError, match=r"API_REQUIRE_AUTH: .*conduit keys create.*API_KEY"):
        await at.ring.open()


@pytest.mark.parametrize("own", [b"", b"mine"])
async def test_either_kind_of_key_is_enough(own: bytes) -> None:
    at = Around(own=own, required_by="ENVIRONMENT=production")
    if not own:
        await at.store.create(entry())
    await at.ring.open()
    assert await at.ring.asks()


def test_the_terms_do_not_show_the_key() -> None:
    assert "hunter2" not in repr(Terms(b"hunter2"))

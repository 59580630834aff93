"""Keys are made, renewed and revoked."""

import os

import pytest

from conduit.core.keys import USUAL_SCOPES, Limits, digest_of
from conduit.gateway.access.key_admin import DAY_S, LONGEST_S, KeyAdmin
from conduit.routing.errors import InvalidRequest, NotFound
from conduit.stores.sql.keys import MemoryKeyStore
from conduit.testing import CountingIds, StillClock


class Shop:
    def __init__(self) -> None:
        self.store, self.clock = MemoryKeyStore(), StillClock(1000.0)
        self.smith = KeyAdmin(self.store, clock=self.clock, ids=CountingIds(), random=os.urandom)

    async def opens(self, secret: str) -> bool:
        digest = digest_of(secret.encode())
        entry = await self.store.find(digest)
        return entry is not None and entry.admits(digest, self.clock.now_s())


async def test_a_new_key_opens_and_may_what_is_usual() -> None:
    shop = Shop()
    cut = await shop.smith.create("web")
    assert await shop.opens(cut.secret)
    assert (cut.entry.key.scopes, cut.entry.key.expires_s) == (USUAL_SCOPES, None)
    assert cut.secret not in repr(cut)
    assert (await shop.smith.create("other")).secret != cut.secret


async def test_a_key_is_made_as_it_was_ordered() -> None:
    shop = Shop()
    key = (await shop.smith.create("ci", scopes=["read"], expires_in_s=60.0, limits=Limits(5))).entry.key
    assert (key.name, key.scopes, key.expires_s, key.limits.requests_per_minute) == ("ci", {"read"}, 1060.0, 5)


async def test_old_and_new_secret_open_until_the_overlap_is_over() -> None:
    shop = Shop()
    old = await shop.smith.create("web")
    new = await shop.smith.rotate("web", overlap_s=60.0)
    assert (new.entry.key, new.entry.created_s) == (old.entry.key, old.entry.created_s)
    assert [await shop.opens(cut.secret) for cut in (old, new)] == [True, True]
    shop.clock.at_s += 60.0
    assert [await shop.opens(cut.secret) for cut in (old, new)] == [False, True]


async def test_a_rotation_lasts_a_day_and_may_be_at_once() -> None:
    shop = Shop()
    await shop.smith.create("web")
    second = await shop.smith.rotate("web")
    assert second.entry.secrets[0].expires_s == 1000.0 + DAY_S
    await shop.smith.rotate("web", overlap_s=0.0)
    assert not await shop.opens(second.secret)


async def test_a_revoked_key_opens_nothing_and_stays_in_the_list() -> None:
    shop = Shop()
    cut = await shop.smith.create("web")
    await shop.smith.rotate("web")
    entry = await shop.smith.revoke("web")
    assert not await shop.opens(cut.secret)
    assert await shop.smith.list() == [entry]


@pytest.mark.parametrize("seconds", [0.0, -1.0, LONGEST_S + 1, float("nan"), float("inf")])
async def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    shop = Shop()
    with pytest.raises(InvalidRequest) as caught:
        await shop.smith.create("web", expires_in_s=seconds)
    assert caught.value.param == "expires_in_s"
    if seconds:
        with pytest.raises(InvalidRequest, match="overlap_s"):
            await shop.smith.rotate("web", overlap_s=seconds)


async def test_who_is_not_there_is_not_found() -> None:
    shop = Shop()
    with pytest.raises(NotFound):
        await shop.smith.rotate("absent")
    with pytest.raises(NotFound):
        await shop.smith.revoke("absent")

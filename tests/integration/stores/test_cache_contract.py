"""What every cache promises, in one process and over many."""

from collections.abc import AsyncIterator

import pytest

from conduit.core.errors import CacheUnavailable
from conduit.core.storage import Cache
from conduit.routing.system import SystemClock, TimeOrderedIds
from conduit.stores.memory.cache import OVERHEAD_BYTES, MemoryCache
from conduit.stores.redis.line import Address
from conduit.stores.redis.shared import RedisCache
from conduit.testing import StillClock
from tests.support.valkey import ValkeyServer, redis_url, valkey

__all__ = ["redis_url", "valkey"]

IDS = TimeOrderedIds()
PATIENT_S = 10.0
"""A busy machine is no failure."""


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    made: Cache
    if request.param == "memory":
        made = MemoryCache(SystemClock(), most_bytes=10**7)
    else:
        made = RedisCache(Address.parse(request.getfixturevalue("redis_url")), patience_s=PATIENT_S)
    yield made
    await made.close()


async def test_what_was_put_is_there_to_the_byte_and_the_last_one_counts(cache: Cache) -> None:
    name = IDS.new("answer")
    assert await cache.get(name) is None
    for value in (b"", bytes(range(256)), b"x" * 1_000_000):
        await cache.put(name, value, ttl_s=60.0)
        assert await cache.get(name) == value
    assert await cache.get(IDS.new("answer")) is None


async def test_it_is_gone_when_its_time_is_over(cache: Cache) -> None:
    short, long = IDS.new("answer"), IDS.new("answer")
    await cache.put(long, b"1", ttl_s=60.0)
    await cache.put(short, b"1", ttl_s=0.001)
    while await cache.get(short) is not None:
        pass
    assert await cache.get(long) == b"1"


async def test_in_memory_who_was_not_asked_for_the_longest_goes_first() -> None:
    cache = MemoryCache(StillClock(), most_bytes=3 * (OVERHEAD_BYTES + 10))
    for name in "abc":
        await cache.put(name, b"x" * 10, ttl_s=60.0)
    await cache.get("a")
    await cache.put("d", b"x" * 10, ttl_s=60.0)
    assert [name for name in "abcd" if await cache.get(name) is not None] == ["a", "c", "d"]
    await cache.put("huge", b"x" * 10_000, ttl_s=60.0)
    assert cache.size == 0


async def test_a_server_that_is_away_or_silent_is_said_in_our_words(valkey: ValkeyServer) -> None:
    cache = RedisCache(Address.parse(valkey.url), patience_s=0.5)
    await cache.put("a", b"1", ttl_s=60.0)
    valkey.freeze()
    with pytest.raises(CacheUnavailable):
        await cache.get("a")
    valkey.thaw()
    valkey.kill()
    with pytest.raises(CacheUnavailable):
        await cache.put("a", b"1", ttl_s=60.0)
    await cache.close()

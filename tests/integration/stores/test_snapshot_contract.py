"""What every store of snapshots promises, whatever it is made of."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conduit.core.storage import SnapshotStore
from conduit.routing.snapshot import Recipe, Snapshot
from conduit.stores.sql.ledger import SqlLedger
from conduit.stores.sql.snapshots import KEPT, MemorySnapshots, SqlSnapshots

RECIPE = Recipe("hierarchical", "hashed-1", 2592000.0)
OTHER = Recipe("linucb", "hashed-1", 2592000.0)
BODY = bytes(range(256)) * 40


def snapshot(position: int, recipe: Recipe = RECIPE, body: bytes = BODY) -> Snapshot:
    return Snapshot(position, 1.8e9 + position / 7, 1, recipe, body, b"\0\xff" * 16)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SnapshotStore]:
    if request.param == "memory":
        yield MemorySnapshots()
        return
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'conduit.db'}" if sqlite else request.getfixturevalue("postgres_url")
    ledger = SqlLedger(url)
    await ledger.open()
    yield SqlSnapshots(ledger.database)
    await ledger.close()


async def everything(store: SnapshotStore) -> list[Snapshot]:
    found, before = [], None
    while (each := await store.newest(before=before)) is not None:
        before = each[0]
        found.append(each[1])
    return found


async def test_what_is_kept_comes_back_to_the_bit_the_newest_first(store: SnapshotStore) -> None:
    assert await store.newest() is None
    kept = [snapshot(10), snapshot(20, OTHER, b""), snapshot(30)]
    for each in kept:
        await store.save(each)
    assert await everything(store) == kept[::-1]


async def test_the_newest_few_of_each_recipe_are_kept(store: SnapshotStore) -> None:
    await store.save(snapshot(1, OTHER))
    for position in range(2, KEPT + 5):
        await store.save(snapshot(position))
    assert [s.position for s in await everything(store)] == [*range(KEPT + 4, 4, -1), 1]


async def test_one_that_is_set_aside_is_not_offered_not_counted_and_not_deleted(store: SnapshotStore) -> None:
    await store.save(snapshot(10))
    number, _ = await store.newest() or (0, None)
    await store.set_aside(number, "corrupt")
    assert await everything(store) == []
    assert not await store.has(RECIPE, after=5)
    for position in range(11, 12 + KEPT):
        await store.save(snapshot(position))
    assert [s.position for s in await everything(store)] == list(range(11 + KEPT, 11, -1))


async def test_whether_there_is_one_beyond_a_position(store: SnapshotStore) -> None:
    await store.save(snapshot(10))
    assert await store.has(RECIPE, after=9)
    assert not await store.has(RECIPE, after=10)
    assert not await store.has(OTHER, after=0)


async def test_the_newest_base_stays_whatever_comes_after_it(store: SnapshotStore) -> None:
    for position in (0, 1):
        await store.save(snapshot(position), base=True)
    await store.save(snapshot(7, OTHER), base=True)
    for position in range(10, KEPT + 12):
        await store.save(snapshot(position))
    assert [s.position for s in await everything(store)] == [*range(KEPT + 11, 11, -1), 7, 1]

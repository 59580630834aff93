"""A start begins with the newest snapshot that fits, and ends where the whole fold ends."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from conduit import Model, Price, Router
from conduit.core.errors import LedgerUnavailable
from conduit.core.events import Degraded, Event, SnapshotRefused
from conduit.gateway.learning.follow import Follower
from conduit.gateway.learning.snapshots import Snapshots
from conduit.routing.snapshot import Snapshot
from conduit.routing.system import CountingIds, StillClock
from conduit.stores.memory.ledger import MemoryLedger
from conduit.stores.sql.snapshots import MemorySnapshots
from tests.support.plain import PlainFeatures

MODELS = [Model("cheap", "p", price=Price(0.1, 0.4)), Model("dear", "q", price=Price(10.0, 40.0))]


def router(policy: str = "hierarchical") -> Router:
    more: dict[str, Any] = {"features": PlainFeatures(), "clock": StillClock(5.0), "ids": CountingIds()}
    return Router(MODELS, policy=policy, seed=1, **more)


@dataclass
class World:
    """A ledger with snapshots beside it, and whoever starts on them."""

    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    store: MemorySnapshots = field(default_factory=MemorySnapshots)
    events: list[Event] = field(default_factory=list)
    writer: Router = field(default_factory=router)

    async def happen(self, n: int) -> None:
        for _ in range(n):
            decision = self.writer.choose("hello")
            await self.ledger.append(decision, decision.observation(quality=0.7, output_tokens=9.0))

    async def started(self, r: Router, every: int = 20) -> Follower:
        clock = StillClock(5.0)
        kept = Snapshots(self.store, router=r, clock=clock, listener=self.events.append, every=every)
        follower = Follower(ledger=self.ledger, router=r, listener=self.events.append, interval_s=60.0, snapshots=kept)
        await follower.begin()
        return follower

    async def ran(self, r: Router, every: int = 20) -> None:
        """Started, and followed until a snapshot was due."""
        follower = await self.started(r, every)
        await follower._step()

    async def kept(self) -> list[Snapshot]:
        found, before = [], None
        while (each := await self.store.newest(before=before)) is not None:
            before = each[0]
            found.append(each[1])
        return found

    def refusals(self) -> list[tuple[int, str]]:
        return [(e.position, e.why) for e in self.events if isinstance(e, SnapshotRefused)]


def assert_the_whole_fold(r: Router, world: World) -> None:
    whole = router(r.policy_name)
    for observation in world.ledger._observations:
        whole.fold(observation)
    expected, got = whole.beliefs.state(), r.beliefs.state()
    assert {s: set(arms) for s, arms in got.items()} == {s: set(arms) for s, arms in expected.items()}
    for signal, arms in expected.items():
        for name, vector in arms.items():
            np.testing.assert_allclose(got[signal][name], vector, rtol=1e-9, atol=1e-9)


@pytest.fixture
async def world() -> World:
    made = World()
    await made.ledger.open()
    await made.happen(30)
    await made.ran(router())
    made.events.clear()
    return made


async def test_a_start_folds_only_what_came_after_the_snapshot(world: World) -> None:
    await world.happen(7)
    r = router()
    folded: list[object] = []
    fold, r.fold = r.fold, lambda o: (folded.append(o), fold(o))[1]
    follower = await world.started(r)
    assert [s.position for s in await world.kept()] == [30]
    assert (len(folded), follower.position) == (7, 37)
    assert_the_whole_fold(r, world)
    assert world.refusals() == []


async def test_none_is_written_before_it_is_due_nor_twice_by_two_workers(world: World) -> None:
    await world.happen(19)
    await world.ran(router())
    assert [s.position for s in await world.kept()] == [30]
    await world.happen(1)
    one, other = await world.started(router()), await world.started(router())
    for follower in (one, other):
        await follower._step()
    assert [s.position for s in await world.kept()] == [50, 30]


async def test_zero_writes_none() -> None:
    world = World()
    await world.ledger.open()
    await world.happen(30)
    await world.ran(router(), every=0)
    assert await world.kept() == []


async def test_a_corrupt_one_is_set_aside_and_the_older_one_serves(world: World) -> None:
    await world.happen(20)
    await world.ran(router())
    number, newest = await world.store.newest()
    damaged = replace(newest, body=newest.body[:-1] + bytes([newest.body[-1] ^ 1]))
    world.store._kept[number] = damaged
    world.events.clear()
    r = router()
    await world.started(r)
    assert world.refusals() == [(50, "corrupt")]
    assert world.store._kept[number] is damaged
    assert_the_whole_fold(r, world)
    world.events.clear()
    await world.started(router())
    assert world.refusals() == []


async def test_where_the_only_one_is_corrupt_the_ledger_serves_and_a_new_one_is_written(world: World) -> None:
    number, newest = await world.store.newest()
    world.store._kept[number] = damaged = replace(newest, body=b"\0" * len(newest.body))
    r = router()
    await world.ran(r)
    assert world.refusals() == [(30, "corrupt")]
    assert_the_whole_fold(r, world)
    assert [s.position for s in await world.kept()] == [30]
    assert world.store._kept[number] is damaged


async def test_one_of_another_policy_is_passed_over_and_serves_when_the_policy_is_back(world: World) -> None:
    other = router("linucb")
    await world.started(other)
    assert world.refusals() == [(30, "policy")]
    assert_the_whole_fold(other, world)
    world.events.clear()
    r = router()
    await world.started(r)
    assert world.refusals() == [(30, "policy")]  # which the other has taken on its way
    assert_the_whole_fold(r, world)


async def test_a_store_that_is_away_when_one_is_due_is_announced_and_following_goes_on(world: World) -> None:
    class Away(MemorySnapshots):
        async def save(self, snapshot: Snapshot) -> None:
            raise LedgerUnavailable("away")

    world.store = Away()
    await world.ran(router())
    assert Degraded("snapshot", "LedgerUnavailable") in world.events
    await world.happen(1)
    await world.started(router())

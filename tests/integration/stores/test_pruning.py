"""What is old goes; beliefs and totals stay as they were."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, delete, select, text

from conduit import Model, Price, Router
from conduit.core.events import nobody
from conduit.core.storage import Totals
from conduit.gateway.learning.follow import Follower
from conduit.gateway.learning.observations import lessons_of_outcome
from conduit.gateway.learning.prune import prune
from conduit.gateway.learning.settle import Settler
from conduit.gateway.learning.snapshots import Snapshots
from conduit.routing.decision import Decision, Status
from conduit.routing.system import CountingIds, StillClock, TimeOrderedIds
from conduit.stores.sql import migrate
from conduit.stores.sql.ledger import SqlLedger
from conduit.stores.sql.pruning import SqlPruning
from conduit.stores.sql.snapshots import SqlSnapshots
from conduit.stores.sql.tables import days
from tests.support.plain import PlainFeatures
from tests.unit.stores import entries

MODELS = [Model("cheap", "p", price=Price(0.1, 0.4)), Model("dear", "q", price=Price(10.0, 40.0))]
DAY_S = 86400.0


@dataclass
class World:
    """A ledger with a decision every hour, rated or not, and whoever starts on it."""

    ledger: SqlLedger
    clock: StillClock = field(default_factory=lambda: StillClock(1e9))
    made: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        more: dict[str, Any] = {"features": PlainFeatures(), "clock": self.clock, "ids": TimeOrderedIds(self.clock)}
        self.router = Router(MODELS, seed=1, **more)
        self.settler = Settler(ledger=self.ledger, clock=self.clock, ids=CountingIds(), listener=nobody)
        self.pruning = SqlPruning(self.ledger.database)

    async def live(self, n: int) -> None:
        for i in range(n):
            self.clock.at_s += 3600.0
            decision = self.router.choose("hello?")
            status = list(Status)[i % 4]
            about = {"decision_id": decision.id, "time_s": self.clock.at_s, "model": decision.model, "status": status}
            outcome = replace(entries.outcome(), **about, response_id=None, cost_usd=None if i % 5 == 0 else 0.25)
            await self.ledger.append(decision, outcome, *lessons_of_outcome(decision, outcome))
            self.made.append(decision)
            if status is Status.ANSWERED:
                await self.settler.settle(decision.id, {"quality_score": 0.5})

    async def started(self) -> Follower:
        router = Router(MODELS, features=PlainFeatures(), clock=self.clock)
        store = SqlSnapshots(self.ledger.database)
        kept = Snapshots(store, router=router, clock=self.clock, listener=nobody, every=1000)
        follower = Follower(ledger=self.ledger, router=router, listener=nobody, interval_s=60.0, snapshots=kept)
        await follower.begin()
        return follower

    async def prune(self, *, before: int, most: int | None = None) -> int:
        follower, before_s = await self.started(), self.made[before].time_s
        return (await prune(self.pruning, follower, before_s=before_s, wait_s=0.0, most=most)).decisions

    async def left(self) -> list[str]:
        return [record.decision.id for record in await self.ledger.recent(limit=1000)][::-1]


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    ledger = SqlLedger(url)
    await ledger.open()
    made = World(ledger)
    await made.live(60)
    yield made
    await ledger.close()


def assert_same(one: Follower, other: Follower) -> None:
    got, expected = one._router.beliefs.state(), other._router.beliefs.state()
    assert {s: set(arms) for s, arms in got.items()} == {s: set(arms) for s, arms in expected.items()}
    for signal, arms in expected.items():
        for name, vector in arms.items():
            np.testing.assert_allclose(got[signal][name], vector, rtol=1e-9, atol=1e-9)


def approx(totals: Totals) -> dict[str, Any]:
    figures = {name: getattr(totals, name) for name in totals.__slots__}
    return {name: pytest.approx(value) if isinstance(value, float) else value for name, value in figures.items()}


async def test_beliefs_and_totals_are_as_they_were_for_who_starts_and_for_who_runs(world: World) -> None:
    running, before = await world.started(), await world.ledger.totals()
    assert await world.prune(before=40) == 40
    assert await world.left() == [d.id for d in world.made[40:]]
    assert_same(await world.started(), running)
    assert approx(await world.ledger.totals()) == approx(before)
    await world.live(8)
    await world.settler.settle(world.made[40].id, {"quality_score": 0.9})
    await running.catch_up()
    assert_same(await world.started(), running)
    assert await world.prune(before=40) == 0
    assert await world.prune(before=50) == 10
    assert_same(await world.started(), running)


async def test_ended_in_the_middle_it_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conduit.stores.sql.pruning.AT_ONCE", 7)
    running = await world.started()
    assert await world.prune(before=40, most=10) == 14
    assert_same(await world.started(), running)
    assert await world.prune(before=40) == 26
    assert_same(await world.started(), running)


async def test_what_teaches_while_others_may_not_have_read_it_stays(world: World) -> None:
    up_to = await world.pruning.newest()
    await world.settler.settle(world.made[0].id, {"quality_score": 0.1})
    gone = await world.pruning.remove(before_s=world.made[5].time_s, up_to=up_to)
    assert list(gone) == [d.id for d in world.made[1:5]]
    assert (await world.left())[0] == world.made[0].id


async def test_without_a_base_what_is_left_is_believed(world: World) -> None:
    await prune(world.pruning, None, before_s=world.made[59].time_s, wait_s=0.0)
    follower = await world.started()
    assert follower._router.beliefs.folded == len(await world.ledger.observations(after=0, limit=1000))


async def test_days_say_what_the_rows_come_to(world: World) -> None:
    """What was counted along is what the migration counts from the rows of an older ledger."""
    for i in (0, 4, 8):
        await world.settler.settle(world.made[i].id, {"thumbs": "down"})
    along = await world.ledger.database.read(counted)
    assert len({row[0] for row in along}) == 3
    counting = import_module("conduit.stores.sql.migrations.versions.0011_days").counting

    def anew(connection: Connection) -> None:
        schema = migrate.schema_of(connection)
        connection.execute(delete(days))
        for statement in counting(f"{schema}." if schema else "", connection.dialect.name):
            connection.execute(text(statement))

    await world.ledger.database.write(anew, power_safe=False)
    assert await world.ledger.database.read(counted) == along


def counted(connection: Connection) -> list[tuple[Any, ...]]:
    found = connection.execute(select(days).where(days.c.n != 0).order_by(days.c.day, days.c.kind, days.c.model))
    return [tuple(pytest.approx(v) if isinstance(v, float) else v for v in row) for row in found]

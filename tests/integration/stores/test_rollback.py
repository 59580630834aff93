"""What was learned is taken back: beliefs are as if it had never been, and can learn on."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from conduit import Model, Price, Router
from conduit.bandits.statistics import Sums
from conduit.core.events import nobody
from conduit.core.storage import Touched
from conduit.gateway.learning.observations import lessons_of_outcome
from conduit.gateway.learning.rollback import Extent, Rollback
from conduit.gateway.learning.settle import Settler
from conduit.routing.decision import Decision, Observation, Status
from conduit.routing.query import Query
from conduit.routing.system import CountingIds, StillClock
from conduit.stores.sql.archive import SqlArchive
from conduit.stores.sql.ledger import SqlLedger
from tests.support.plain import PlainFeatures
from tests.unit.stores import entries

MODELS = [Model("cheap", "p", price=Price(0.1, 0.4)), Model("dear", "q", price=Price(10.0, 40.0))]


@dataclass
class World:
    """A ledger with traffic of two keys, a minute apart."""

    ledger: SqlLedger
    clock: StillClock = field(default_factory=lambda: StillClock(1000.0))
    ids: CountingIds = field(default_factory=CountingIds)
    made: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        more: dict[str, Any] = {"features": PlainFeatures(), "clock": self.clock, "ids": self.ids}
        self.router = Router(MODELS, seed=1, **more)
        self.settler = Settler(ledger=self.ledger, clock=self.clock, ids=self.ids, listener=nobody)
        self.rollback = Rollback(SqlArchive(self.ledger.database), self.ledger, clock=self.clock, ids=self.ids)

    async def live(self, n: int) -> None:
        for i in range(n):
            self.clock.at_s += 60.0
            decision = self.router.choose(Query(f"question {i}", key_id="ab"[i % 2]))
            status = Status.FAILED if i % 5 == 4 else Status.ANSWERED
            about = {"decision_id": decision.id, "time_s": self.clock.at_s, "model": decision.model, "status": status}
            outcome = replace(entries.outcome(), **about, response_id=None)
            await self.ledger.append(decision, outcome, *lessons_of_outcome(decision, outcome))
            self.made.append(decision)

    async def say(self, *signals: dict[str, object], of: int) -> None:
        for said in signals:
            self.clock.at_s += 1.0
            await self.settler.settle(self.made[of].id, said)

    async def observations(self) -> list[Observation]:
        return [o for _, o in await self.ledger.observations(after=0, limit=10_000)]

    async def state(self, of: Callable[[Observation], bool] = lambda _: True) -> dict[tuple[str, str], Any]:
        beliefs = Router(MODELS, features=PlainFeatures(), half_life_s=0.0).beliefs
        for o in filter(of, await self.observations()):
            beliefs.fold(o)
        state = beliefs.state()
        return {(s, arm): vector for s, arms in state.items() if s != "folded" for arm, vector in arms.items()}


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    ledger = SqlLedger(url)
    await ledger.open()
    yield World(ledger)
    await ledger.close()


def assert_same(got: dict[tuple[str, str], Any], expected: dict[tuple[str, str], Any]) -> None:
    """In all sums; in a window a place that was taken stays taken."""
    sums = Sums.packed_size(3)
    for name in expected | got:
        one, other = (each.get(name, np.zeros(1))[:sums] for each in (got, expected))
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9, err_msg=str(name))


async def test_what_came_after_a_time_is_gone_and_what_was_said_before_it_is_back(world: World) -> None:
    await world.live(12)
    await world.say({"thumbs": "up"}, {"quality_score": 0.9}, of=0)
    await world.say({"quality_score": 0.2}, of=2)
    before, since_s = await world.state(), world.clock.at_s + 30.0
    await world.live(12)
    for i in range(3, 24, 4):
        await world.say({"quality_score": 0.0}, {"thumbs": "down"}, of=i)
    await world.say({"quality_score": 0.0}, of=0)
    await world.say({"preferred_over": world.made[0].id}, of=2)
    touched = Touched(since_s)
    extent, entries_before = await world.rollback.extent(touched), len(await world.observations())
    assert len(await world.observations()) == entries_before
    assert await world.rollback.run(touched) == extent
    assert len(await world.observations()) == entries_before + extent.observations
    assert_same(await world.state(), before)
    record = await world.ledger.find(world.made[0].id)
    assert record is not None
    assert record.feedback is not None
    assert (record.feedback.signals, record.feedback.weight) == ({"quality_score": 0.9}, 1.0)
    assert await world.rollback.run(touched) == Extent()


async def test_without_a_key_beliefs_are_those_of_the_others(world: World) -> None:
    await world.live(20)
    for i in range(0, 20, 3):
        await world.say({"quality_score": i / 20}, of=i)
    theirs = {d.id for d in world.made if d.key_id == "b"}
    expected = await world.state(lambda o: o.decision_id not in theirs)
    extent = await world.rollback.run(Touched(key_id="b"))
    assert (extent.decisions, extent.judgements) == (10, 3)
    assert_same(await world.state(), expected)
    totals = await world.ledger.totals()
    assert (totals.decisions, totals.rated) == (20, 4)
    assert await world.rollback.run(Touched(key_id="b")) == Extent()


async def test_of_one_key_since_a_time(world: World) -> None:
    await world.live(6)
    since_s = world.clock.at_s + 30.0
    await world.live(6)
    gone = {d.id for d in world.made[6:] if d.key_id == "a"}
    expected = await world.state(lambda o: o.decision_id not in gone)
    assert (await world.rollback.run(Touched(since_s, "a"))).decisions == 3
    assert_same(await world.state(), expected)


async def test_what_is_said_afterwards_counts_once(world: World) -> None:
    await world.live(4)
    await world.say({"quality_score": 0.5}, of=0)
    await world.rollback.run(Touched(key_id="a"))
    await world.say({"quality_score": 0.5}, {"quality_score": 0.25}, of=0)
    lessons = [(o.quality, o.weight) for o in await world.observations() if o.decision_id == world.made[0].id]
    by_quality = {quality: sum(w for q, w in lessons if q == quality) for quality, _ in lessons if quality is not None}
    assert {quality: weight for quality, weight in by_quality.items() if weight} == {0.25: 1.0}

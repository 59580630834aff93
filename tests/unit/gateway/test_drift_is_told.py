"""A model that is no longer what it was is announced once, and stands in /v1/stats for as long as it is so."""

import random
from dataclasses import replace

from conduit import Model, Price, Router
from conduit.api.views import stats_view
from conduit.core.events import Drifted, Event
from conduit.gateway.learning.follow import Follower
from conduit.gateway.stats.refreshing import Figure
from conduit.routing.savings import account
from conduit.routing.system import CountingIds, StillClock
from conduit.stores.memory.ledger import MemoryLedger
from tests.support.plain import PlainFeatures

MODEL = Model("steady/one", "p", price=Price(0.1, 0.4))


async def answers(ledger: MemoryLedger, router: Router, clock: StillClock, *, n: int, good: float) -> None:
    chance = random.Random(n)
    for _ in range(n):
        clock.at_s += 60.0
        decision = router.choose("hello")
        seen = decision.observation(quality=float(chance.random() < good), output_tokens=chance.lognormvariate(5, 0.3))
        await ledger.append(decision, seen)


async def test_a_change_is_told_once_and_shown() -> None:
    clock, ledger, events = StillClock(1.8e9), MemoryLedger(), list[Event]()
    router = Router([MODEL], seed=1, features=PlainFeatures(), clock=clock, ids=CountingIds())
    follower = Follower(ledger=ledger, router=router, listener=events.append, interval_s=60.0, clock=clock)
    await ledger.open()
    await answers(ledger, router, clock, n=300, good=0.9)
    await follower.catch_up()
    since_s = clock.at_s
    for _ in range(3):
        await answers(ledger, router, clock, n=30, good=0.3)
        await follower.catch_up()
    (told,) = [event for event in events if isinstance(event, Drifted)]
    assert (told.model, told.signal) == ("steady/one", "quality")
    assert told.shift < -0.3
    assert abs(told.since_s - since_s) < 15 * 60.0
    empty = account([], router=router, baseline="steady/one")
    view = stats_view(
        Figure(await ledger.totals(), 0.0), Figure(empty, 0.0), router.beliefs.changes, known=(), set_aside=0
    )
    (shown,) = view["drift"]
    assert (shown["model"], shown["signal"]) == ("steady/one", "quality")
    assert shown["shift"] < -0.3
    assert router.choose("hello").chosen.quality < 0.5


async def test_beliefs_that_rest_on_a_change_are_the_same_for_who_reads_backwards() -> None:
    clock, ledger = StillClock(1.8e9), MemoryLedger()
    router = Router([MODEL], seed=1, features=PlainFeatures(), clock=clock, ids=CountingIds())
    await ledger.open()
    await answers(ledger, router, clock, n=200, good=0.9)
    await answers(ledger, router, clock, n=60, good=0.3)
    seen = [o for _, o in await ledger.observations(after=0, limit=1000)]
    said = []
    for order in (seen, seen[::-1], [*seen, replace(seen[7], weight=-1.0), seen[7]]):
        reader = Router([MODEL], seed=1, features=PlainFeatures(), clock=clock, ids=CountingIds())
        for observation in order:
            reader.fold(observation)
        reader.beliefs.refresh()
        change = reader.beliefs.changes["steady/one", "quality"]
        said.append((change.since_s, round(change.z, 6), round(reader.choose("hello").chosen.quality, 6)))
    assert said[0] == said[1] == said[2]

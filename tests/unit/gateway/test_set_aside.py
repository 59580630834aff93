"""Whatever a row of the ledger holds, the follower goes on, and beliefs stay numbers."""

import asyncio
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from conduit import Model, Price, Query, Router
from conduit.core.events import Degraded, Event, SetAside
from conduit.core.storage import Unreadable
from conduit.gateway.learning.follow import AT_ONCE, Follower
from conduit.gateway.learning.snapshots import Snapshots
from conduit.routing.decision import Observation
from conduit.routing.system import CountingIds, StillClock
from conduit.stores.memory.ledger import MemoryLedger
from conduit.stores.sql.snapshots import MemorySnapshots
from tests.support.plain import PlainFeatures

NOW_S = 1.8e9
DAY_S = 86400.0
MODELS = [Model("one", "p", price=Price(1.0, 4.0)), Model("two", "p", price=Price(1.0, 4.0))]
NAN, INF = math.nan, math.inf

numbers = st.floats() | st.integers(-(2**80), 2**80) | st.sampled_from([NAN, INF, -INF, 1e308, -1e308, 5e-324])
contexts = st.lists(st.floats(width=32), max_size=8).map(lambda x: np.array(x, dtype=float))
HOSTILE = {
    "context": contexts,
    "time_s": numbers,
    "weight": numbers,
    "quality": numbers,
    "output_tokens": numbers,
    "latency_s": numbers,
    "cost_usd": numbers,
    "preference": numbers,
    "rival": st.none() | st.text(max_size=300),
    "model": st.text(max_size=300),
}


class Written(MemoryLedger):
    """Its observations are what somebody has put there."""

    def __init__(self, found: list[Observation | Unreadable], database_s: float | None = None) -> None:
        super().__init__()
        self.found, self.database_s = found, database_s

    async def observations(self, *, after: int, limit: int) -> list[tuple[int, Observation | Unreadable]]:  # type: ignore[override]
        return list(enumerate(self.found[after : after + limit], after + 1))

    async def now_s(self) -> float | None:
        return self.database_s


def router(policy: str = "hierarchical", clock: StillClock | None = None) -> Router:
    features, clock = PlainFeatures(), clock or StillClock(NOW_S)
    return Router(MODELS, seed=1, features=features, clock=clock, ids=CountingIds(), policy=policy)


def lesson(r: Router, i: int, **changes: Any) -> Observation:
    decision = r.assign(Query(f"prompt {i}"), MODELS[i % 2].name)
    good = decision.observation(quality=float(i % 2 == 0), output_tokens=100, latency_s=1.0, cost_usd=0.1)
    return replace(good, **{"time_s": NOW_S - 100.0 + i, **changes})


def follower(ledger: MemoryLedger, r: Router, events: list[Event], *, now_s: float = NOW_S) -> Follower:
    clock = StillClock(now_s)
    kept = Snapshots(MemorySnapshots(), router=r, clock=clock, listener=events.append, every=1)
    return Follower(ledger=ledger, router=r, listener=events.append, interval_s=60.0, snapshots=kept, clock=clock)


def sound(r: Router) -> None:
    for state in r.beliefs.state().values():
        assert all(np.isfinite(vector).all() for vector in state.values())
    candidates = r.choose(Query("another prompt")).candidates
    assert sum(c.probability for c in candidates) == pytest.approx(1.0)
    assert all(math.isfinite(c.quality) and math.isfinite(c.utility) for c in candidates)


@pytest.mark.parametrize("policy", ["hierarchical", "thompson_sampling", "linucb", "dueling", "hybrid_thompson_linucb"])
@seed(34)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
async def test_any_field_with_any_value_stops_nobody(policy: str, data: st.DataObject) -> None:
    r, events = router(policy), list[Event]()
    found: list[Observation | Unreadable] = [lesson(r, i) for i in range(20)]
    for place in data.draw(st.lists(st.integers(0, 19), min_size=1, max_size=4)):
        name = data.draw(st.sampled_from(sorted(HOSTILE)))
        found[place] = lesson(r, place, **{name: data.draw(HOSTILE[name])})
    reader = follower(Written(found), r, events)
    await reader.begin()
    assert reader.position == 20
    assert r.beliefs.folded + r.beliefs.set_aside == 20
    assert sum(isinstance(event, SetAside) for event in events) == r.beliefs.set_aside
    sound(r)


async def test_what_is_no_observation_at_all_is_named_and_counted() -> None:
    r, events = router(), list[Event]()
    found = [lesson(r, 0), Unreadable("dec_x", "context"), lesson(r, 1, quality=7.0), lesson(r, 2)]
    reader = follower(Written(found), r, events)
    assert reader.state is None
    await reader.begin()
    told = [event for event in events if isinstance(event, SetAside)]
    assert [(each.position, each.decision_id, each.field, each.times) for each in told] == [
        (2, "dec_x", "context", 1),
        (3, found[2].decision_id, "quality", 2),
    ]
    assert reader.state == "degraded"
    again = router()
    again.beliefs.restore(r.beliefs.state())
    assert again.beliefs.set_aside == 2, "it is a part of the fold, whoever starts from a snapshot"


async def test_one_of_the_future_counts_as_of_today_and_can_be_taken_back() -> None:
    for late_s in (61.0, DAY_S, 3650 * DAY_S, 1e14):
        r, events = router(), list[Event]()
        late = replace(lesson(r, 3), time_s=NOW_S + late_s)
        found = [late, *(lesson(r, i) for i in range(AT_ONCE)), replace(late, weight=-1.0)]
        reader = follower(Written(found), r, events)
        await reader.begin()
        assert NOW_S - DAY_S < r.beliefs.latest_s <= NOW_S + AT_ONCE
        without = router()
        await follower(Written(found[1:-1]), without, []).begin()
        for name in ("quality", "tokens", "latency"):
            for model, sums in without.beliefs.state()[name].items():
                np.testing.assert_allclose(r.beliefs.state()[name][model], sums, rtol=1e-9, atol=1e-9)
        assert any(isinstance(event, Degraded) and event.what == "clock" for event in events)


async def test_the_clock_is_the_database_s_where_it_has_one() -> None:
    """A machine whose clock is ten years behind, or ahead, believes what the others believe."""
    states, written = [], [lesson(router(), i) for i in range(50)]
    for off_s in (0.0, -3650 * DAY_S, 3650 * DAY_S):
        r, events = router(), list[Event]()
        reader = follower(Written(list(written), database_s=NOW_S), r, events, now_s=NOW_S + off_s)
        await reader.begin()
        states.append({k: v.tolist() for k, v in r.beliefs.state()["quality"].items()})
        wrong = [event for event in events if isinstance(event, Degraded) and event.what == "clock"]
        assert len(wrong) == (1 if off_s else 0)
        assert reader.state == ("degraded" if off_s else None)
    assert states[0] == states[1] == states[2]


async def test_a_snapshot_of_the_future_is_refused_and_what_is_wrong_is_read_anew() -> None:
    """As a version wrote it that knew no bound; and a clock that is set back while it runs."""
    clock, events, store = StillClock(NOW_S + 3650 * DAY_S), list[Event](), MemorySnapshots()
    r = router(clock=clock)
    found = [replace(lesson(r, 1), time_s=clock.now_s()), *(lesson(r, i) for i in range(40))]
    kept = Snapshots(store, router=r, clock=clock, listener=events.append, every=1)
    ledger = Written(found)
    reader = Follower(ledger=ledger, router=r, listener=events.append, interval_s=60.0, snapshots=kept, clock=clock)
    await reader.begin()
    assert r.beliefs.latest_s == clock.now_s()
    clock.at_s = NOW_S
    await reader._step()
    assert r.beliefs.latest_s <= NOW_S
    assert r.beliefs.folded == len(found)
    other = router()
    again = Snapshots(store, router=other, clock=clock, listener=events.append, every=0)
    assert await again.load() in {0, len(found)}
    assert other.beliefs.latest_s <= NOW_S
    assert any(getattr(event, "why", "") == "future" for event in events)


async def test_it_does_not_stand_still_in_silence() -> None:
    """Whatever else goes wrong is tried again, and after a while the process is not ready."""

    class Broken(MemoryLedger):
        async def observations(self, *, after: int, limit: int) -> Any:
            raise ZeroDivisionError

    r = router()
    reader = Follower(ledger=Broken(), router=r, listener=lambda _: None, interval_s=0.0001, clock=StillClock(NOW_S))
    task = asyncio.create_task(reader.run())
    async with asyncio.timeout(10):
        while reader.state is None:  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0)
    task.cancel()
    assert "stand still" in (reader.state or "")

"""A figure is made by one at a time, told with its age, and told again where a new one cannot be had."""

import asyncio
from dataclasses import dataclass, field

import pytest

from conduit.core.errors import LedgerUnavailable
from conduit.core.events import Degraded, Event
from conduit.gateway.stats.refreshing import RefreshingValue
from conduit.routing.system import StillClock


@dataclass
class Source:
    made: int = 0
    broken: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def make(self) -> int:
        await self.gate.wait()
        if self.broken:
            raise LedgerUnavailable("away")
        self.made += 1
        return self.made


@dataclass
class World:
    clock: StillClock = field(default_factory=StillClock)
    source: Source = field(default_factory=Source)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source.gate.set()
        self.kept = RefreshingValue("figure", self.source.make, clock=self.clock, listener=self.events.append)

    async def get(self, good_for_s: float = 60.0) -> tuple[int, float]:
        figure = await self.kept.get(good_for_s=lambda _: good_for_s)
        return figure.value, figure.age_s


async def test_a_good_figure_is_told_again_with_its_age() -> None:
    world = World()
    assert await world.get() == (1, 0.0)
    world.clock.at_s += 59
    assert await world.get() == (1, 59.0)
    world.clock.at_s += 2
    assert await world.get() == (2, 0.0)


async def test_many_who_ask_at_once_make_one() -> None:
    world = World()
    assert set(await asyncio.gather(*(world.get() for _ in range(20)))) == {(1, 0.0)}


async def test_who_asks_while_it_takes_long_gets_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the new one goes on being made."""
    monkeypatch.setattr("conduit.gateway.stats.refreshing.PATIENCE_S", 0.0)
    world = World()
    await world.get()
    world.source.gate.clear()
    world.clock.at_s += 100
    assert await world.get() == (1, 100.0)
    world.source.gate.set()
    while world.source.made < 2:  # noqa: ASYNC110  a condition, and no time passes
        await asyncio.sleep(0)
    world.clock.at_s += 5
    assert await world.get() == (2, 5.0)


async def test_a_failure_is_announced_and_the_old_one_told() -> None:
    world = World()
    await world.get()
    world.source.broken = True
    world.clock.at_s += 100
    assert await world.get() == (1, 100.0)
    assert world.events == [Degraded("figure", "LedgerUnavailable")]


async def test_without_any_figure_a_failure_is_raised_and_the_next_tries_again() -> None:
    world = World()
    world.source.broken = True
    with pytest.raises(LedgerUnavailable):
        await world.get()
    world.source.broken = False
    assert await world.get() == (1, 0.0)


async def test_stopping_lets_go_of_what_is_being_made() -> None:
    world = World()
    world.source.gate.clear()
    asking = asyncio.create_task(world.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await world.kept.stop()
    with pytest.raises(asyncio.CancelledError):
        await asking

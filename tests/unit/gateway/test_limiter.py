"""What happens to limits when those who share them do not answer."""

from collections.abc import Collection

import pytest

from conduit.core.admission import LEASE_S, Admission
from conduit.core.errors import WindowUnavailable
from conduit.core.events import Degraded, Event
from conduit.core.keys import Limits
from conduit.gateway.access.limiter import REST_S, Limiter
from conduit.stores.memory.window import MemoryWindow
from conduit.testing import StillClock

TWO = Limits(requests_per_minute=2, concurrent=2)


class Unsteady:
    """A shared window that works or breaks, as it is told."""

    def __init__(self, inner: MemoryWindow) -> None:
        self.inner, self.mood, self.asked = inner, "works", 0

    async def open(self) -> None:
        await self._mood()

    async def enter(self, caller: str, visit: str, limits: Limits, tokens: int = 0) -> Admission:
        await self._mood()
        return await self.inner.enter(caller, visit, limits, tokens)

    async def hold(self, caller: str, visit: str, tokens: int, limit: int) -> Admission:
        await self._mood()
        return await self.inner.hold(caller, visit, tokens, limit)

    async def lower(self, caller: str, visit: str, tokens: int) -> None:
        if self.mood != "breaks":
            await self.inner.lower(caller, visit, tokens)

    async def renew(self, caller: str, visits: Collection[str]) -> None:
        await self._mood()
        await self.inner.renew(caller, visits)

    async def leave(self, caller: str, visit: str, tokens: int) -> None:
        if self.mood != "breaks":
            await self.inner.leave(caller, visit, tokens)

    async def close(self) -> None: ...

    async def _mood(self) -> None:
        self.asked += 1
        if self.mood == "breaks":
            raise WindowUnavailable("ConnectionError")


class Bench:
    def __init__(self, *, fails_closed: bool = False, clock: StillClock | None = None) -> None:
        self.clock = clock or StillClock(100.0)
        self.shared = Unsteady(MemoryWindow(self.clock))
        self.told: list[Event] = []
        self.limiter = Limiter(
            shared=self.shared,
            local=MemoryWindow(self.clock),
            clock=self.clock,
            listener=self.told.append,
            fails_closed=fails_closed,
        )


async def test_what_is_shared_decides_while_it_answers() -> None:
    bench = Bench()
    entries = [await bench.limiter.enter("c", str(i), TWO) for i in range(3)]
    assert [e.admission.refused for e in entries] == ["", "", "requests"]
    assert not any(e.degraded for e in entries)
    assert bench.told == []


async def test_a_start_does_not_need_what_is_shared() -> None:
    bench = Bench()
    bench.shared.mood = "breaks"
    await bench.limiter.open()
    assert [e.what for e in bench.told if isinstance(e, Degraded)] == ["ratelimit"]
    assert (await bench.limiter.enter("c", "1", TWO)).degraded


async def test_this_process_holds_the_same_limit_when_it_does_not_and_says_so() -> None:
    bench = Bench()
    bench.shared.mood = "breaks"
    entries = [await bench.limiter.enter("c", str(i), TWO) for i in range(3)]
    assert [e.admission.refused for e in entries] == ["", "", "requests"]
    assert all(e.degraded for e in entries)
    assert [e.what for e in bench.told if isinstance(e, Degraded)] == ["ratelimit"]
    assert bench.shared.asked == 1


async def test_it_is_asked_again_after_a_rest_and_counts_together_again() -> None:
    bench = Bench()
    bench.shared.mood = "breaks"
    await bench.limiter.enter("c", "1", TWO)
    bench.shared.mood = "works"
    bench.clock.at_s += REST_S / 2
    assert (await bench.limiter.enter("c", "2", TWO)).degraded
    bench.clock.at_s += REST_S / 2
    assert not (await bench.limiter.enter("c", "3", TWO)).degraded
    assert not (await bench.limiter.enter("c", "4", TWO)).degraded
    assert bench.shared.asked == 3


async def test_who_fails_closed_lets_nobody_in_uncounted() -> None:
    bench = Bench(fails_closed=True)
    bench.shared.mood = "breaks"
    for visit in "ab":
        with pytest.raises(WindowUnavailable):
            await bench.limiter.enter("c", visit, TWO)


async def test_leaving_never_fails_and_gives_back_what_this_process_counted() -> None:
    bench = Bench()
    bench.shared.mood = "breaks"
    limits = Limits(concurrent=1)
    for visit in "abc":
        assert not (await bench.limiter.enter("c", visit, limits)).admission.refused
        await bench.limiter.leave("c", visit, 5)


@pytest.mark.parametrize("mood", ["works", "breaks"])
async def test_what_runs_long_counts_for_as_long_as_its_process_lives(mood: str) -> None:
    """And what has ended does not come back, nor what ran in a process that has died."""
    bench, limits = Bench(), Limits(concurrent=2)
    bench.shared.mood = mood
    for visit in ("long", "short"):
        await bench.limiter.enter("c", visit, limits)
    for _ in range(3):
        bench.clock.at_s += LEASE_S / 2
        await bench.limiter.renew()
    assert (await bench.limiter.enter("c", "third", limits)).admission.refused == "concurrent"
    await bench.limiter.leave("c", "short", 0)
    await bench.limiter.renew()
    assert not (await bench.limiter.enter("c", "fourth", limits)).admission.refused
    bench.clock.at_s += LEASE_S
    for visit in ("fifth", "sixth"):
        assert not (await bench.limiter.enter("c", visit, limits)).admission.refused


async def test_leases_that_cannot_be_renewed_are_told_and_fail_nobody() -> None:
    bench = Bench()
    await bench.limiter.enter("c", "a", TWO)
    bench.shared.mood = "breaks"
    for _ in range(3):
        await bench.limiter.renew()
    assert len([e for e in bench.told if isinstance(e, Degraded)]) == 1
    assert bench.shared.asked == 2


async def test_who_had_no_room_left_has_none_when_this_process_takes_over() -> None:
    bench = Bench()
    for visit in "abc":
        await bench.shared.inner.enter("c", visit, Limits(requests_per_minute=3))  # of another process
    assert (await bench.limiter.enter("c", "d", TWO)).admission.refused
    bench.shared.mood = "breaks"
    entry = await bench.limiter.enter("c", "e", TWO)
    assert (entry.admission.refused, entry.degraded) == ("requests", True)
    bench.clock.at_s += 61.0
    assert not (await bench.limiter.enter("c", "f", TWO)).admission.refused


async def test_tokens_are_set_aside_together_and_alone_while_that_does_not_answer() -> None:
    """What was set aside together is also known here."""
    bench = Bench()
    limits = Limits(tokens_per_minute=100)
    await bench.limiter.enter("c", "a", limits)
    assert not (await bench.limiter.hold("c", "a", 60, 100)).admission.refused
    bench.shared.mood = "breaks"
    entry = await bench.limiter.hold("c", "b", 60, 100)
    assert (entry.admission.refused, entry.admission.current, entry.degraded) == ("tokens", 60, True)
    await bench.limiter.leave("c", "a", 10)
    assert not (await bench.limiter.hold("c", "b", 60, 100)).admission.refused


async def test_what_was_set_aside_on_the_way_in_is_known_here_too_and_lowered_in_both() -> None:
    bench = Bench()
    limits = Limits(tokens_per_minute=100)
    assert (await bench.limiter.enter("c", "a", limits, 50)).admission.held == 50
    await bench.limiter.lower("c", "a", 40)
    assert (await bench.shared.inner.hold("c", "b", 60, 100)).current == 100
    bench.shared.mood = "breaks"
    entry = await bench.limiter.hold("c", "c", 61, 100)
    assert (entry.admission.refused, entry.admission.current, entry.degraded) == ("tokens", 40, True)
    await bench.limiter.lower("c", "a", 30)
    assert not (await bench.limiter.hold("c", "c", 70, 100)).admission.refused


async def test_who_fails_closed_sets_nothing_aside_uncounted() -> None:
    bench = Bench(fails_closed=True)
    bench.shared.mood = "breaks"
    with pytest.raises(WindowUnavailable):
        await bench.limiter.hold("c", "a", 1, 100)

"""Small work is done together: what came meanwhile is the next batch, and each learns its own fate."""

import asyncio
from collections.abc import Sequence

import pytest

from conduit.core.errors import LedgerConflict, LedgerError, LedgerUnavailable
from conduit.stores.sql.together import MOST, Together


class Doer:
    """Doubles numbers, when its gate is open."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.guilty: dict[int, Exception] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.unheard: list[tuple[int, int]] = []
        self.together: Together[int, int] = Together(self._do, unheard=lambda job, got: self.unheard.append((job, got)))

    async def _do(self, jobs: Sequence[int]) -> Sequence[int]:
        self.begun.set()
        await self.gate.wait()
        self.batches.append(list(jobs))
        for job in jobs:
            if job in self.guilty:
                raise self.guilty[job]
        return [2 * job for job in jobs]

    def ask(self, *jobs: int) -> list["asyncio.Task[int]"]:
        return [asyncio.create_task(self.together.done(job)) for job in jobs]

    async def busy_with(self, job: int) -> "asyncio.Task[int]":
        """Work on it has begun, and does not end before the gate opens."""
        self.gate.clear()
        (task,) = self.ask(job)
        await self.begun.wait()
        return task

    async def fates(self, tasks: Sequence["asyncio.Task[int]"]) -> list[object]:
        self.gate.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))


async def test_one_alone_does_not_wait_for_others() -> None:
    doer = Doer()
    assert [await doer.together.done(1), await doer.together.done(2)] == [2, 4]
    assert doer.batches == [[1], [2]]


async def test_what_came_meanwhile_is_one_batch_in_its_order() -> None:
    doer = Doer()
    first = await doer.busy_with(0)
    others = doer.ask(*range(1, 50))
    await asyncio.sleep(0)
    assert await doer.fates([first, *others]) == [2 * number for number in range(50)]
    assert doer.batches == [[0], list(range(1, 50))]


async def test_a_batch_is_bounded() -> None:
    doer = Doer()
    first = await doer.busy_with(0)
    others = doer.ask(*range(1, MOST + 10))
    await asyncio.sleep(0)
    await doer.fates([first, *others])
    assert [len(batch) for batch in doer.batches] == [1, MOST, 9]


async def test_the_guilty_fail_alone() -> None:
    doer = Doer()
    doer.guilty = {3: LedgerConflict("taken"), 7: TypeError("odd")}
    first = await doer.busy_with(0)
    others = doer.ask(*range(1, 10))
    await asyncio.sleep(0)
    fates = await doer.fates([first, *others])
    assert [type(fate) for fate in fates if not isinstance(fate, int)] == [LedgerConflict, LedgerError]
    assert [number for number, fate in enumerate(fates) if fate != 2 * number] == [3, 7]


async def test_without_a_database_all_that_waited_fail_at_once_each_with_its_own_error() -> None:
    doer = Doer()
    doer.guilty = {0: LedgerUnavailable("away")}
    first = await doer.busy_with(0)
    others = doer.ask(1, 2)
    await asyncio.sleep(0)
    fates = await doer.fates([first, *others])
    assert [type(fate) for fate in fates] == [LedgerUnavailable] * 3
    assert len(set(map(id, fates))) == 3
    assert doer.batches == [[0]]
    doer.guilty.clear()
    assert await doer.together.done(4) == 8


async def test_who_leaves_while_waiting_is_not_served_and_who_leaves_later_is_told_of() -> None:
    doer = Doer()
    begun = await doer.busy_with(1)
    waiting, staying = doer.ask(2, 3)
    await asyncio.sleep(0)
    begun.cancel()
    waiting.cancel()
    fates = await doer.fates([begun, waiting, staying])
    assert [type(fate) for fate in fates[:2]] == [asyncio.CancelledError] * 2
    assert fates[2] == 6
    assert doer.batches == [[1], [3]]
    assert doer.unheard == [(1, 2)]


@pytest.mark.parametrize("seed", range(5))
async def test_none_is_forgotten_whatever_the_order(seed: int) -> None:
    doer = Doer()
    tasks = []
    for number in range(200):
        tasks += doer.ask(number)
        if (number * 7 + seed) % 5 == 0:
            await asyncio.sleep(0)
    assert await doer.fates(tasks) == [2 * number for number in range(200)]
    assert sorted(job for batch in doer.batches for job in batch) == list(range(200))

"""What every purse promises, whatever it is made of."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conduit.core.errors import LedgerUnavailable
from conduit.core.storage import SpendStore
from conduit.stores.sql.ledger import SqlLedger
from conduit.stores.sql.spend import MemorySpend, SqlSpend

DAY = "2026-11-25"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def purse(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SpendStore]:
    if request.param == "memory":
        yield MemorySpend()
        return
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'conduit.db'}" if sqlite else request.getfixturevalue("postgres_url")
    ledger = SqlLedger(url)
    await ledger.open()
    yield SqlSpend(ledger.database)
    await ledger.close()


async def test_an_untouched_purse_has_spent_nothing(purse: SpendStore) -> None:
    assert await purse.spent("judge", DAY) == 0.0


async def test_what_fits_is_taken_and_what_does_not_is_left(purse: SpendStore) -> None:
    assert await purse.reserve("judge", DAY, usd=0.75, limit_usd=1.0)
    assert not await purse.reserve("judge", DAY, usd=0.5, limit_usd=1.0)
    assert await purse.reserve("judge", DAY, usd=0.25, limit_usd=1.0)
    assert await purse.spent("judge", DAY) == 1.0


async def test_the_whole_limit_can_be_spent_in_tenths(purse: SpendStore) -> None:
    """Binary fractions do not add up to it exactly."""
    taken = [await purse.reserve("judge", DAY, usd=0.1, limit_usd=1.0) for _ in range(11)]
    assert taken == [True] * 10 + [False]


async def test_nothing_fits_under_nothing_but_nothing(purse: SpendStore) -> None:
    assert not await purse.reserve("judge", DAY, usd=1e-12, limit_usd=0.0)
    assert await purse.reserve("judge", DAY, usd=0.0, limit_usd=0.0)


async def test_what_was_not_needed_can_be_spent_again(purse: SpendStore) -> None:
    assert await purse.reserve("judge", DAY, usd=1.0, limit_usd=1.0)
    await purse.settle("judge", DAY, reserved_usd=1.0, actual_usd=0.25)
    assert await purse.spent("judge", DAY) == 0.25
    assert await purse.reserve("judge", DAY, usd=0.75, limit_usd=1.0)


async def test_what_cost_more_than_was_reserved_counts_as_what_it_cost(purse: SpendStore) -> None:
    assert await purse.reserve("judge", DAY, usd=0.5, limit_usd=1.0)
    await purse.settle("judge", DAY, reserved_usd=0.5, actual_usd=1.5)
    assert await purse.spent("judge", DAY) == 1.5
    assert not await purse.reserve("judge", DAY, usd=0.0001, limit_usd=1.0)


async def test_names_and_periods_have_purses_of_their_own(purse: SpendStore) -> None:
    assert await purse.reserve("judge", DAY, usd=1.0, limit_usd=1.0)
    assert await purse.reserve("key_1", DAY, usd=1.0, limit_usd=1.0)
    assert await purse.reserve("judge", "2026-11-26", usd=1.0, limit_usd=1.0)


async def test_many_at_once_never_take_more_than_the_limit(purse: SpendStore) -> None:
    taken = await asyncio.gather(*(purse.reserve("judge", DAY, usd=0.125, limit_usd=1.0) for _ in range(40)))
    assert sum(taken) == 8
    assert await purse.spent("judge", DAY) == 1.0


async def _spend(url: str, tries: int) -> int:
    """Reserve, and settle every second one for half: how many were taken and kept whole, in sixteenths of a dollar."""
    ledger = SqlLedger(url)
    await ledger.open()
    purse, sixteenths = SqlSpend(ledger.database), 0
    for k in range(tries):
        if await purse.reserve("judge", DAY, usd=0.125, limit_usd=4.0):
            sixteenths += 2
            if k % 2:
                await purse.settle("judge", DAY, reserved_usd=0.125, actual_usd=0.0625)
                sixteenths -= 1
    await ledger.close()
    return sixteenths


def _spend_in_a_process(url: str, results: "multiprocessing.Queue[int]") -> None:
    results.put(asyncio.run(_spend(url, 40)))


def test_four_processes_never_take_more_than_the_limit(url: str) -> None:
    """Each tries for 5 dollars of 4; what the purse says is what they took, to the last sixteenth."""
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[int] = context.Queue()
    processes = [context.Process(target=_spend_in_a_process, args=(url, results)) for _ in range(4)]
    for process in processes:
        process.start()
    taken = sum(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()

    async def spent() -> float:
        ledger = SqlLedger(url)
        await ledger.open()
        try:
            return await SqlSpend(ledger.database).spent("judge", DAY)
        finally:
            await ledger.close()

    assert asyncio.run(spent()) == taken / 16
    assert 4.0 - 0.125 < taken / 16 <= 4.0


async def test_it_is_all_still_there_after_a_restart(url: str) -> None:
    """And what was reserved by who died in between stays spent."""
    for _ in range(2):
        ledger = SqlLedger(url)
        await ledger.open()
        assert await SqlSpend(ledger.database).reserve("judge", DAY, usd=0.5, limit_usd=1.0)
        await ledger.close()
    await ledger.open()
    assert await SqlSpend(ledger.database).spent("judge", DAY) == 1.0
    await ledger.close()


async def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    """As for the ledger, in the same words."""
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'conduit.db'}")
    await ledger.open()
    await ledger.close()
    (tmp_path / "conduit.db").unlink()
    (tmp_path / "conduit.db").mkdir()
    with pytest.raises(LedgerUnavailable):
        await SqlSpend(ledger.database).spent("judge", DAY)

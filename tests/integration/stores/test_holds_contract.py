"""What every store of holds promises, whatever it is made of."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conduit.core.budget import Account, Hold
from conduit.core.errors import LedgerUnavailable
from conduit.core.storage import Reservations
from conduit.stores.sql.ledger import SqlLedger
from conduit.stores.sql.reservations import MemoryReservations, SqlReservations

NOW = 1000.0
DAY = Account("gateway", "2026-11-26", 1.0)
KEY = Account("key:team", "2026-11-26", 0.5)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def holds(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reservations]:
    if request.param == "memory":
        yield MemoryReservations()
        return
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'conduit.db'}" if sqlite else request.getfixturevalue("postgres_url")
    ledger = SqlLedger(url)
    await ledger.open()
    yield SqlReservations(ledger.database)
    await ledger.close()


def held(name: str, usd: float, *accounts: Account, expires_s: float = NOW + 60.0) -> Hold:
    return Hold(name, usd, expires_s, accounts or (DAY,))


async def used(holds: Reservations, *accounts: Account, now_s: float = NOW) -> list[float]:
    return await holds.used(accounts or (DAY,), now_s=now_s)


async def test_what_fits_is_held_and_what_does_not_is_not(holds: Reservations) -> None:
    assert await used(holds) == [0.0]
    assert await holds.take(held("a", 0.75), now_s=NOW) is None
    assert await holds.take(held("b", 0.5), now_s=NOW) == DAY
    assert await holds.take(held("c", 0.25), now_s=NOW) is None
    assert await used(holds) == [1.0]


async def test_every_account_pays_or_none_does(holds: Reservations) -> None:
    assert await holds.take(held("a", 0.25, KEY, DAY), now_s=NOW) is None
    assert await holds.take(held("b", 0.375, DAY, KEY), now_s=NOW) == KEY
    assert await used(holds, DAY, KEY) == [0.25, 0.25]


async def test_what_was_not_needed_is_free_again(holds: Reservations) -> None:
    hold = held("a", 1.0)
    assert await holds.take(hold, now_s=NOW) is None
    await holds.settle(hold, actual_usd=0.25)
    assert await used(holds) == [0.25]
    assert await holds.take(held("b", 0.75), now_s=NOW) is None


async def test_what_cost_more_than_was_held_counts(holds: Reservations) -> None:
    hold = held("a", 0.5)
    assert await holds.take(hold, now_s=NOW) is None
    await holds.settle(hold, actual_usd=1.5)
    assert await used(holds) == [1.5]
    assert await holds.take(held("b", 0.001), now_s=NOW) == DAY


async def test_what_a_dead_process_held_expires(holds: Reservations) -> None:
    assert await holds.take(held("dead", 1.0, expires_s=NOW + 60.0), now_s=NOW) is None
    assert await used(holds, now_s=NOW + 59.0) == [1.0]
    assert await holds.take(held("b", 0.5, expires_s=NOW + 119.0), now_s=NOW + 59.0) == DAY
    assert await used(holds, now_s=NOW + 60.0) == [0.0]
    assert await holds.take(held("b", 1.0, expires_s=NOW + 120.0), now_s=NOW + 60.0) is None


async def test_what_runs_long_is_renewed(holds: Reservations) -> None:
    assert await holds.take(held("long", 1.0, expires_s=NOW + 60.0), now_s=NOW) is None
    await holds.renew(["long", "unheard-of"], until_s=NOW + 100.0)
    assert await used(holds, now_s=NOW + 99.0) == [1.0]


async def test_what_it_did_cost_counts_though_it_has_expired(holds: Reservations) -> None:
    late = held("late", 0.75)
    assert await holds.take(late, now_s=NOW) is None
    assert await holds.take(held("next", 0.25, expires_s=NOW + 999.0), now_s=NOW + 100.0) is None
    await holds.settle(late, actual_usd=0.5)
    assert await used(holds, now_s=NOW + 100.0) == [0.75]


async def test_what_was_settled_is_counted_though_nothing_was_held(holds: Reservations) -> None:
    assert await holds.spent([DAY, KEY]) == [(0.0, 0), (0.0, 0)]
    for usd in (0.5, 1.0):
        await holds.settle(held("never taken", 0.0, DAY), actual_usd=usd)
    assert await holds.spent([DAY, KEY]) == [(1.5, 2), (0.0, 0)]


async def test_names_and_periods_have_accounts_of_their_own(holds: Reservations) -> None:
    for account in (DAY, KEY._replace(limit_usd=1.0), DAY._replace(period="2026-11")):
        assert await holds.take(held(f"of {account}", 1.0, account), now_s=NOW) is None


async def test_ten_tenths_fit_into_one(holds: Reservations) -> None:
    taken = [await holds.take(held(str(i), 0.1), now_s=NOW) is None for i in range(11)]
    assert taken == [True] * 10 + [False]


async def test_many_at_once_never_hold_more_than_the_limit(holds: Reservations) -> None:
    """In either order of accounts: nobody waits for somebody who waits for him."""
    orders = ((DAY, KEY), (KEY, DAY))
    taken = await asyncio.gather(
        *(holds.take(held(str(i), 0.0625, *orders[i % 2]), now_s=NOW) for i in range(40)),
    )
    assert taken.count(None) == 8
    assert await used(holds, DAY, KEY) == [0.5, 0.5]


async def test_what_is_over_makes_room_for_what_comes_at_the_same_time(holds: Reservations) -> None:
    """Ten run under a limit of ten; each that ends costs half of what it held, and another comes."""
    running = [held(f"first {n}", 0.1) for n in range(10)]
    assert await asyncio.gather(*(holds.take(each, now_s=NOW) for each in running)) == [None] * 10
    ended = [holds.settle(each, actual_usd=0.05) for each in running]
    fates = await asyncio.gather(*ended, *(holds.take(held(f"next {n}", 0.1), now_s=NOW) for n in range(10)))
    assert fates[10:].count(None) <= 5
    assert await holds.spent([DAY]) == [(pytest.approx(0.5), 10)]
    assert await used(holds) == [pytest.approx(0.5 + 0.1 * fates[10:].count(None))]


@pytest.fixture(params=["sqlite", "postgresql"])
async def replicas(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[SqlReservations]]:
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'conduit.db'}" if sqlite else request.getfixturevalue("postgres_url")
    ledgers = [SqlLedger(url) for _ in range(3)]
    for ledger in ledgers:
        await ledger.open()
    yield [SqlReservations(ledger.database) for ledger in ledgers]
    for ledger in ledgers:
        await ledger.close()


async def test_replicas_at_once_never_hold_more_than_the_limit(replicas: list[SqlReservations]) -> None:
    """Each in the order of accounts in which it likes, and with calls that end in between."""
    orders = ((DAY, KEY), (KEY, DAY), (KEY,))
    taken = await asyncio.gather(
        *(replicas[i % 3].take(held(str(i), 0.0625, *orders[i % 2]), now_s=NOW) for i in range(120)),
        *(replicas[i % 3].settle(held(f"s{i}", 0.0, *orders[i % 3]), actual_usd=0.0) for i in range(60)),
    )
    assert taken[:120].count(None) == 8
    assert await used(replicas[0], DAY, KEY) == [0.5, 0.5]


async def test_four_hundred_at_once_are_a_matter_of_a_moment(replicas: list[SqlReservations]) -> None:
    wide = DAY._replace(limit_usd=1000.0)

    async def call(number: int) -> Account | None:
        hold = held(str(number), 0.1, wide)
        short = await replicas[0].take(hold, now_s=NOW)
        await replicas[0].settle(hold, actual_usd=0.05)
        return short

    assert await asyncio.gather(*map(call, range(400))) == [None] * 400
    assert await replicas[1].spent([wide]) == [(pytest.approx(20.0), 400)]
    assert await used(replicas[1], wide) == [pytest.approx(20.0)]


async def test_what_was_taken_for_somebody_who_left_is_given_back(replicas: list[SqlReservations]) -> None:
    tasks = [asyncio.create_task(replicas[0].take(held(str(n), 0.1), now_s=NOW)) for n in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the first batch is under way
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(20):
        while await used(replicas[0]) != [0.0] or replicas[0]._tasks or not written(replicas[0]):
            await asyncio.gather(asyncio.sleep(0.001))
    assert await holds_of(replicas[1], 1.0) is None


def written(replica: SqlReservations) -> bool:
    """Whether all that was asked of it is."""
    task = replica._writing._task
    return task is not None and task.done()


async def holds_of(replica: SqlReservations, usd: float) -> Account | None:
    return await replica.take(held("all of it", usd), now_s=NOW)


async def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'conduit.db'}")
    await ledger.open()
    await ledger.close()
    (tmp_path / "conduit.db").unlink()
    (tmp_path / "conduit.db").mkdir()
    with pytest.raises(LedgerUnavailable):
        await SqlReservations(ledger.database).take(held("a", 0.1), now_s=NOW)

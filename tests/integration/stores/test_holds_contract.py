"""What every store of holds promises, whatever it is made of."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conduit.core.budget import Account, Hold
from conduit.core.errors import LedgerUnavailable
from conduit.core.storage import Holds
from conduit.stores.holds import MemoryHolds, SqlHolds
from conduit.stores.sql import SqlLedger

NOW = 1000.0
DAY = Account("gateway", "2026-11-26", 1.0)
KEY = Account("key:team", "2026-11-26", 0.5)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def holds(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Holds]:
    if request.param == "memory":
        yield MemoryHolds()
        return
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'conduit.db'}" if sqlite else request.getfixturevalue("postgres_url")
    ledger = SqlLedger(url)
    await ledger.open()
    yield SqlHolds(ledger.database)
    await ledger.close()


def held(name: str, usd: float, *accounts: Account, expires_s: float = NOW + 60.0) -> Hold:
    return Hold(name, usd, expires_s, accounts or (DAY,))


async def used(holds: Holds, *accounts: Account, now_s: float = NOW) -> list[float]:
    return await holds.used(accounts or (DAY,), now_s=now_s)


async def test_what_fits_is_held_and_what_does_not_is_not(holds: Holds) -> None:
    assert await used(holds) == [0.0]
    assert await holds.take(held("a", 0.75), now_s=NOW) is None
    assert await holds.take(held("b", 0.5), now_s=NOW) == DAY
    assert await holds.take(held("c", 0.25), now_s=NOW) is None
    assert await used(holds) == [1.0]


async def test_every_account_pays_or_none_does(holds: Holds) -> None:
    assert await holds.take(held("a", 0.25, KEY, DAY), now_s=NOW) is None
    assert await holds.take(held("b", 0.375, DAY, KEY), now_s=NOW) == KEY
    assert await used(holds, DAY, KEY) == [0.25, 0.25]


async def test_what_was_not_needed_is_free_again(holds: Holds) -> None:
    hold = held("a", 1.0)
    assert await holds.take(hold, now_s=NOW) is None
    await holds.settle(hold, actual_usd=0.25)
    assert await used(holds) == [0.25]
    assert await holds.take(held("b", 0.75), now_s=NOW) is None


async def test_what_cost_more_than_was_held_counts(holds: Holds) -> None:
    hold = held("a", 0.5)
    assert await holds.take(hold, now_s=NOW) is None
    await holds.settle(hold, actual_usd=1.5)
    assert await used(holds) == [1.5]
    assert await holds.take(held("b", 0.001), now_s=NOW) == DAY


async def test_what_a_dead_process_held_expires(holds: Holds) -> None:
    assert await holds.take(held("dead", 1.0, expires_s=NOW + 60.0), now_s=NOW) is None
    assert await used(holds, now_s=NOW + 59.0) == [1.0]
    assert await holds.take(held("b", 0.5, expires_s=NOW + 119.0), now_s=NOW + 59.0) == DAY
    assert await used(holds, now_s=NOW + 60.0) == [0.0]
    assert await holds.take(held("b", 1.0, expires_s=NOW + 120.0), now_s=NOW + 60.0) is None


async def test_what_runs_long_is_renewed(holds: Holds) -> None:
    assert await holds.take(held("long", 1.0, expires_s=NOW + 60.0), now_s=NOW) is None
    await holds.renew(["long", "unheard-of"], until_s=NOW + 100.0)
    assert await used(holds, now_s=NOW + 99.0) == [1.0]


async def test_what_it_did_cost_counts_though_it_has_expired(holds: Holds) -> None:
    late = held("late", 0.75)
    assert await holds.take(late, now_s=NOW) is None
    assert await holds.take(held("next", 0.25, expires_s=NOW + 999.0), now_s=NOW + 100.0) is None
    await holds.settle(late, actual_usd=0.5)
    assert await used(holds, now_s=NOW + 100.0) == [0.75]


async def test_what_was_settled_is_counted_though_nothing_was_held(holds: Holds) -> None:
    assert await holds.spent([DAY, KEY]) == [(0.0, 0), (0.0, 0)]
    for usd in (0.5, 1.0):
        await holds.settle(held("never taken", 0.0, DAY), actual_usd=usd)
    assert await holds.spent([DAY, KEY]) == [(1.5, 2), (0.0, 0)]


async def test_names_and_periods_have_accounts_of_their_own(holds: Holds) -> None:
    for account in (DAY, KEY._replace(limit_usd=1.0), DAY._replace(period="2026-11")):
        assert await holds.take(held(f"of {account}", 1.0, account), now_s=NOW) is None


async def test_ten_tenths_fit_into_one(holds: Holds) -> None:
    taken = [await holds.take(held(str(i), 0.1), now_s=NOW) is None for i in range(11)]
    assert taken == [True] * 10 + [False]


async def test_many_at_once_never_hold_more_than_the_limit(holds: Holds) -> None:
    """In either order of accounts: nobody waits for somebody who waits for him."""
    orders = ((DAY, KEY), (KEY, DAY))
    taken = await asyncio.gather(
        *(holds.take(held(str(i), 0.0625, *orders[i % 2]), now_s=NOW) for i in range(40)),
    )
    assert taken.count(None) == 8
    assert await used(holds, DAY, KEY) == [0.5, 0.5]


async def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'conduit.db'}")
    await ledger.open()
    await ledger.close()
    (tmp_path / "conduit.db").unlink()
    (tmp_path / "conduit.db").mkdir()
    with pytest.raises(LedgerUnavailable):
        await SqlHolds(ledger.database).take(held("a", 0.1), now_s=NOW)

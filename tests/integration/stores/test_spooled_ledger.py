"""Faults of a real PostgreSQL and of the network to it: what was appended is there in the end, once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from conduit.core.errors import LedgerUnavailable
from conduit.core.storage import Place, Standby
from conduit.stores.files import spool_writer
from conduit.stores.files.spool_writer import Terms
from conduit.stores.sql.ledger import SqlLedger
from tests.support.fault_proxy import FaultProxy
from tests.unit.stores.entries import decision, feedback, name, observation, outcome


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[FaultProxy]:
    with FaultProxy.before(postgres_url) as proxy:
        yield proxy


@pytest.fixture
async def ledger(
    postgres_url: str, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SqlLedger]:
    monkeypatch.setattr(spool_writer, "RETRY_S", 0.05)
    spool = Terms(tmp_path / "spool", 10**7, "mine")
    ledger = SqlLedger(proxy.through(postgres_url), spool=spool, patience_s=0.3)
    await ledger.open()
    yield ledger
    proxy.flow()
    await ledger.close()


@pytest.fixture
async def direct(postgres_url: str) -> AsyncIterator[SqlLedger]:
    ledger = SqlLedger(postgres_url)
    await ledger.open()
    yield ledger
    await ledger.close()


async def answered(ledger: SqlLedger, number: int) -> set[Place]:
    """Where one answer's decision and outcome went."""
    entries = (decision(number),), (outcome(number), observation(number))
    return set(await asyncio.gather(*(ledger.append(*each) for each in entries)))


async def drained(ledger: SqlLedger) -> None:
    async with asyncio.timeout(30):
        while await ledger.behind():  # noqa: ASYNC110 - what is waited for is in other processes too
            await asyncio.sleep(0.02)


async def all_there(ledger: SqlLedger, count: int) -> None:
    """Once, and in their order."""
    await drained(ledger)
    assert ledger.standby is Standby.READY
    observed = [each.decision_id for _, each in await ledger.observations(after=0, limit=1000)]
    assert observed == [name(number) for number in range(count)]
    totals = await ledger.totals()
    assert (totals.decisions, totals.answered) == (count, count)


@pytest.mark.parametrize("fault", ["refuse", "stall"])
async def test_what_comes_while_the_server_is_away_is_written_when_it_is_back(
    ledger: SqlLedger, proxy: FaultProxy, fault: str
) -> None:
    await answered(ledger, 0)
    proxy.refuse() if fault == "refuse" else proxy.stall()
    assert await answered(ledger, 1) == {Place.SPOOL}
    assert await ledger.append(decision(2)) is Place.SPOOL
    assert ledger.standby is Standby.BUSY
    with pytest.raises(LedgerUnavailable):
        await ledger.append(feedback(0), power_safe=True)
    proxy.accept() if fault == "refuse" else proxy.flow()
    await ledger.append(outcome(2), observation(2))
    await all_there(ledger, 3)


@pytest.mark.parametrize("delivered", [False, True])
async def test_a_connection_that_is_reset_in_mid_commit_loses_and_doubles_nothing(
    ledger: SqlLedger, proxy: FaultProxy, delivered: bool
) -> None:
    """Nobody hears whether the commit was done; neither when it is done over from the spool."""
    for number in range(4):
        proxy.cut_at(b"COMMIT", delivered=delivered)
        assert Place.SPOOL in await answered(ledger, number)
        proxy.cut_at(b"COMMIT", delivered=delivered)
        await drained(ledger)
    await all_there(ledger, 4)


async def test_a_lock_that_is_held_too_long_keeps_no_answer_waiting(ledger: SqlLedger, direct: SqlLedger) -> None:
    locked, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with direct.database._engine.begin() as connection:  # type: ignore[attr-defined]
            await connection.exec_driver_sql("LOCK TABLE conduit.decisions IN EXCLUSIVE MODE")
            locked.set()
            await go_on.wait()

    holding = asyncio.create_task(hold())
    await locked.wait()
    assert await answered(ledger, 0) == {Place.SPOOL}
    go_on.set()
    await holding
    await all_there(ledger, 1)


async def test_a_pool_that_is_used_up_keeps_no_answer_waiting(ledger: SqlLedger) -> None:
    sleeping = [asyncio.create_task(ledger.database.read(_sleep)) for _ in range(4)]
    await asyncio.sleep(0.05)
    assert await answered(ledger, 0) == {Place.SPOOL}
    await asyncio.gather(*sleeping)
    await all_there(ledger, 1)


def _sleep(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT pg_sleep(1)")


async def test_a_process_that_comes_later_writes_what_was_left_before_it_serves(
    ledger: SqlLedger, proxy: FaultProxy, direct: SqlLedger, postgres_url: str, tmp_path: Path
) -> None:
    proxy.refuse()
    await answered(ledger, 0)
    await ledger.close()
    assert await direct.find(name(0)) is None
    heir = SqlLedger(postgres_url, spool=Terms(tmp_path / "spool", 10**7, "heir"))
    await heir.open()
    assert await direct.find(name(0)) is not None
    await heir.close()
    proxy.accept()

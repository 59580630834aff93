"""PostgreSQL behind a transaction pooler; CONDUIT_TEST_POOLER=1 runs the whole contract of the ledger through it."""

import asyncio

from sqlalchemy import Connection, text

from conduit.stores.sql.ledger import SqlLedger
from tests.support.fault_proxy import FaultProxy
from tests.unit.stores.entries import decision, feedback, name, observation, outcome


async def test_many_ledgers_share_few_connections_and_none_remembers_a_statement(pooled_url: str) -> None:
    """Also at once from nothing: the lock of the migration ends with its transaction, as the pooler's leases do."""
    ledgers = [SqlLedger(pooled_url) for _ in range(4)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    for number, ledger in enumerate(ledgers * 5):
        await ledger.append(decision(number))
        await ledger.append(outcome(number), observation(number))
        await ledger.append(feedback(number), power_safe=True)
    seen = [await ledger.observations(after=0, limit=99) for ledger in ledgers]
    assert [[each.decision_id for _, each in rows] for rows in seen] == [[name(n) for n in range(20)]] * 4
    assert all([await ledger.check() for ledger in ledgers])
    for ledger in ledgers:
        await ledger.close()


def kept(connection: Connection) -> int:
    """How many statements the server knows for this connection."""
    return int(connection.execute(text("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''")).scalar_one())


async def test_the_server_keeps_statements_until_a_pooler_stands_between(postgres_url: str, pooler_port: int) -> None:
    """Nothing fails when it comes in mid-run."""
    with FaultProxy.before(postgres_url) as proxy:
        ledger = SqlLedger(proxy.through(postgres_url))
        await ledger.open()
        await ledger.append(decision(0))
        assert await ledger.database.read(kept) > 1
        proxy.turn_to("127.0.0.1", pooler_port)
        proxy.cut()
        for number in range(1, 10):
            await asyncio.gather(ledger.append(decision(number)), ledger.check(), ledger.totals())
        assert await ledger.database.read(kept) == 0
        assert (await ledger.totals()).decisions == 10
        await ledger.close()


async def test_who_comes_by_a_pooler_asks_for_no_statement_to_be_kept(pooled_url: str) -> None:
    ledger = SqlLedger(pooled_url)
    await ledger.open()
    await ledger.append(decision(1))
    assert await ledger.database.read(kept) == 0
    await ledger.close()

"""PostgreSQL behind a transaction pooler; CONDUIT_TEST_POOLER=1 runs the whole contract of the ledger through it."""

import asyncio

from conduit.stores.sql import SqlLedger
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

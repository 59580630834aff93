"""What can go wrong with a server."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.util import await_only

from conduit.core.errors import LedgerUnavailable
from conduit.routing.decision import Observation
from conduit.routing.errors import ConfigurationError
from conduit.stores.sql import bulk, queries
from conduit.stores.sql.ledger import SqlLedger
from conduit.stores.sql.postgresql import ServerDatabase
from tests.support.postgres import Postgres
from tests.unit.stores.entries import decision, feedback, name, observation, outcome

PASSWORD = "p@ss/w:rd%20#?&é"


async def test_a_server_that_goes_away_is_unavailable_until_it_is_back(postgres: Postgres, postgres_url: str) -> None:
    ledger = SqlLedger(postgres_url)
    await ledger.open()
    await ledger.append(decision(1))
    database = urlsplit(postgres_url).path[1:]
    kick = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    postgres.execute(f"ALTER DATABASE {database} WITH ALLOW_CONNECTIONS false")
    postgres.execute(kick)
    fates = await asyncio.gather(*(ledger.append(decision(n)) for n in (2, 3)), return_exceptions=True)
    assert [type(fate) for fate in fates] == [LedgerUnavailable] * 2
    with pytest.raises(LedgerUnavailable):
        await ledger.check()
    postgres.execute(f"ALTER DATABASE {database} WITH ALLOW_CONNECTIONS true")
    await ledger.append(decision(2))
    assert await ledger.find(name(2)) is not None
    await ledger.close()


async def test_no_time_is_later_than_the_server_s_own(postgres_url: str) -> None:
    """Of a machine whose clock is ahead; what is a little ahead stays as it is."""
    ledger = SqlLedger(postgres_url)
    await ledger.open()
    try:
        before_s = await ledger.now_s()
        assert before_s is not None
        ahead = (decision(1, time_s=before_s + 1e8), observation(1, time_s=before_s + 1e8))
        ended = outcome(1, time_s=before_s + 1e8), feedback(1, time_s=before_s + 1e8)
        await ledger.append(*ahead, *ended, decision(2, time_s=before_s + 30.0))
        after_s = await ledger.now_s()
        assert after_s is not None
        record = await ledger.find(name(1))
        assert record is not None
        assert record.outcome is not None
        assert record.feedback is not None
        ((_, seen),) = await ledger.observations(after=0, limit=9)
        assert isinstance(seen, Observation)
        for entry in (record.decision, record.outcome, record.feedback, seen):
            assert before_s <= entry.time_s <= after_s
        little = await ledger.find(name(2))
        assert little is not None
        assert little.decision.time_s == before_s + 30.0
    finally:
        await ledger.close()


async def test_a_connection_that_died_while_idle_is_noticed_by_nobody(postgres: Postgres, postgres_url: str) -> None:
    ledger = SqlLedger(postgres_url)
    await ledger.open()
    for number in range(3):
        await ledger.append(decision(number))
        await ledger.check()
        database = urlsplit(postgres_url).path[1:]
        postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    await ledger.append(decision(3))
    assert (await ledger.totals()).decisions == 4
    await ledger.close()


async def test_a_transaction_that_gave_way_to_another_is_done_again(postgres_url: str) -> None:
    ledger = SqlLedger(postgres_url)
    await ledger.open()
    both = asyncio.Barrier(2)

    def crossing(first: int, second: int) -> Callable[[Connection], int]:
        tries = 0

        def work(connection: Connection) -> int:
            nonlocal tries
            tries += 1
            connection.execute(select(func.pg_advisory_xact_lock(first)))
            if tries == 1:
                await_only(both.wait())
            connection.execute(select(func.pg_advisory_xact_lock(second)))
            return tries

        return work

    orders = crossing(1, 2), crossing(2, 1)
    tries = await asyncio.gather(*(ledger.database.write(order, power_safe=False) for order in orders))
    assert sorted(tries) == [1, 2]
    await ledger.close()


async def test_a_statement_that_was_kept_while_its_table_changed_is_made_anew(postgres_url: str) -> None:
    database = ServerDatabase(postgres_url)
    await database.prepare()

    def changes(connection: Connection) -> None:
        for statement in ("DROP TABLE IF EXISTS public.changing", "CREATE TABLE public.changing AS SELECT 1 AS a"):
            connection.execute(text(statement))

    def looks(connection: Connection) -> object:
        return connection.execute(text("SELECT a FROM public.changing")).scalar_one()

    await database.write(changes, power_safe=False)
    assert [await database.read(looks) for _ in range(2)] == [1, 1]
    other = ServerDatabase(postgres_url)
    alter = text("ALTER TABLE public.changing ALTER a TYPE text")
    await other.write(lambda connection: connection.execute(alter) and None, power_safe=False)
    assert await database.read(looks) == "1"
    for each in (database, other):
        await each.close()


async def test_connections_of_before_a_pooler_came_are_closed_when_they_are_done(postgres_url: str) -> None:
    database = ServerDatabase(postgres_url)
    await database.prepare()
    entered, over = asyncio.Barrier(4), asyncio.Event()

    def waits(connection: Connection) -> None:
        connection.execute(select(1))
        await_only(entered.wait())
        await_only(over.wait())

    async def counted() -> int:
        name = urlsplit(postgres_url).path[1:]
        found = text(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'")
        return int(await database.read(lambda connection: connection.execute(found).scalar_one()))

    reads = [asyncio.create_task(database.read(waits)) for _ in range(3)]
    await entered.wait()
    await database._use(str)
    assert await counted() == 4
    over.set()
    await asyncio.gather(*reads)
    async with asyncio.timeout(10):
        while await counted() > 1:
            pass
    await database.close()


async def test_positions_are_seen_in_the_order_in_which_they_were_given(postgres_url: str) -> None:
    """Else a reader that saw the second would go on from there, and never fold the first."""
    inserted, commit = asyncio.Event(), asyncio.Event()

    def dawdle(connection: Connection) -> None:
        queries.write(connection, [observation(weight=1.0)])
        inserted.set()
        await_only(commit.wait())

    def waiting(connection: Connection) -> int:
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        found: int = connection.exec_driver_sql(locks).scalar_one()
        return found

    ledger, other = SqlLedger(postgres_url), SqlLedger(postgres_url)
    await ledger.open()
    await other.open()
    await ledger.append(decision())
    first = asyncio.create_task(ledger._database.write(dawdle, power_safe=False))
    await inserted.wait()
    second = other.append(observation(weight=2.0))
    while not await ledger._database.read(waiting):
        assert not second.done()
    assert await ledger.observations(after=0, limit=9) == []
    commit.set()
    await asyncio.gather(first, second)
    assert [o.weight for _, o in await ledger.observations(after=0, limit=9)] == [1.0, 2.0]
    await ledger.close()
    await other.close()


async def test_a_process_that_froze_in_mid_write_does_not_keep_the_others_waiting_for_ever(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the lock of positions, and would until its connection is given up after hours."""
    monkeypatch.setattr(bulk, "MOST_IDLE_MS", "200")
    inserted = asyncio.Event()

    def freeze(connection: Connection) -> None:
        queries.write(connection, [observation(weight=1.0)])
        inserted.set()
        await_only(asyncio.Event().wait())

    ledger, other = SqlLedger(postgres_url), SqlLedger(postgres_url)
    await ledger.open()
    await other.open()
    await ledger.append(decision())
    frozen = asyncio.create_task(ledger._database.write(freeze, power_safe=False))
    await inserted.wait()
    await other.append(observation(weight=2.0))
    assert [o.weight for _, o in await other.observations(after=0, limit=9)] == [2.0]
    frozen.cancel()
    await asyncio.gather(frozen, return_exceptions=True)
    await ledger.close()
    await other.close()


async def test_no_server_at_the_start_is_unavailable() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(LedgerUnavailable) as caught:
            await SqlLedger(f"postgresql://me:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/x").open()
    assert str(caught.value) == "the database does not answer"


async def test_a_database_that_does_not_exist_is_a_mistake(postgres_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"DATABASE_URL: the database at .* refuses this user or has no such"):
        await SqlLedger(postgres_url + "_not").open()


async def test_a_schema_that_was_made_for_us_is_enough(postgres: Postgres, postgres_url: str) -> None:
    """A user who may not make schemas in the database."""
    role = f"poor_{urlsplit(postgres_url).path[-8:]}"
    inside = Postgres(postgres_url)
    postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    try:
        parts = urlsplit(postgres_url)
        url = parts._replace(netloc=f"{role}:secret@{parts.hostname}:{parts.port}").geturl()
        with pytest.raises(ConfigurationError, match="DATABASE_URL"):
            await SqlLedger(url).open()
        inside.execute(f"CREATE SCHEMA conduit AUTHORIZATION {role}")
        ledger = SqlLedger(url)
        await ledger.open()
        await ledger.append(decision())
        await ledger.close()
    finally:
        inside.execute(f"DROP OWNED BY {role}")
        postgres.execute(f"DROP ROLE {role}")


async def test_nothing_is_put_outside_of_our_schema(postgres_url: str) -> None:
    ledger = SqlLedger(postgres_url)
    await ledger.open()
    await ledger.append(decision())
    where = "SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    assert await ledger._database.read(lambda c: c.exec_driver_sql(where).scalars().all()) == ["conduit"]
    await ledger.close()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
async def test_a_percent_encoded_password_arrives_and_stays_secret(scheme: str) -> None:
    async with _nosy_server() as (port, heard):
        secret = quote(PASSWORD, safe="")
        ledger = SqlLedger(f"{scheme}://me:{secret}@127.0.0.1:{port}/x?sslmode=disable&pgbouncer=true")
        with pytest.raises(ConfigurationError) as caught:
            await ledger.open()
    assert heard == [PASSWORD]
    shown = f"{caught.value} {caught.value!r} {caught.value.__context__} {ledger._address!r} {ledger._address}"
    assert PASSWORD not in shown
    assert secret not in shown


@asynccontextmanager
async def _nosy_server() -> AsyncIterator[tuple[int, list[str]]]:
    """Asks for the password in clear, and refuses it in words that quote it."""
    heard: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!i", await reader.readexactly(4))
        await reader.readexactly(size - 4)
        writer.write(b"R" + struct.pack("!ii", 8, 3))
        (size,) = struct.unpack("!xi", await reader.readexactly(5))
        heard.append((await reader.readexactly(size - 4)).rstrip(b"\0").decode())
        refusal = f"SFATAL\0VFATAL\0C28P01\0Mthe password {heard[-1]} is wrong\0\0".encode()
        writer.write(b"E" + struct.pack("!i", len(refusal) + 4) + refusal)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard

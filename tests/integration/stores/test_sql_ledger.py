"""What a ledger in a database promises beyond one process and one day."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic

import pytest
from sqlalchemy import Connection, MetaData, TableClause, column, text, update
from sqlalchemy.schema import SchemaConst

from conduit.core.errors import LedgerConflict, LedgerError, LedgerUnavailable
from conduit.core.storage import Ledger, Place
from conduit.routing.errors import ConfigurationError
from conduit.stores.sql import migrate
from conduit.stores.sql.database import Database
from conduit.stores.sql.ledger import SqlLedger
from tests.unit.stores.entries import decision, name, observation

PATIENCE_S = 20.0


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlLedger]:
    ledger = SqlLedger(url)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def database(ledger: SqlLedger) -> Database:
    return ledger._database


# ------------------------------------------------------------------ several at once


async def test_what_one_wrote_another_reads(url: str) -> None:
    async with opened(url) as one, opened(url) as other:
        await one.append(decision(1))
        await other.append(decision(2), observation(1, weight=1.0))
        await one.append(observation(2, weight=2.0))
        for ledger in (one, other):
            assert [o.weight for _, o in await ledger.observations(after=0, limit=9)] == [1.0, 2.0]
        with pytest.raises(LedgerConflict):
            await other.append(decision(1))


async def test_a_reader_who_goes_on_from_the_last_position_misses_nothing(url: str) -> None:
    """Positions must become visible in their order, or the fold would skip one for ever."""
    writers, each = 3, 120

    async def write(ledger: Ledger, writer: int) -> None:
        for k in range(each):
            await ledger.append(observation(1, weight=float(writer * each + k)))

    async def follow(ledger: Ledger) -> list[float]:
        seen: list[float] = []
        position, deadline = 0, monotonic() + PATIENCE_S
        while len(seen) < writers * each and monotonic() < deadline:
            page = await ledger.observations(after=position, limit=7)
            seen += [o.weight for _, o in page]
            position = page[-1][0] if page else position
        return seen

    async with opened(url) as a, opened(url) as b, opened(url) as c, opened(url) as reader:
        await a.append(decision(1))
        following = asyncio.create_task(follow(reader))
        await asyncio.gather(*(write(ledger, number) for number, ledger in enumerate((a, b, c))))
        seen = await following
    assert sorted(seen) == [float(k) for k in range(writers * each)]
    for writer in range(writers):
        own = [weight for weight in seen if writer * each <= weight < (writer + 1) * each]
        assert own == sorted(own)


async def test_several_may_open_an_empty_database_at_once(url: str) -> None:
    ledgers = [SqlLedger(url) for _ in range(4)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    await asyncio.gather(*(ledger.append(decision(number)) for number, ledger in enumerate(ledgers)))
    assert (await ledgers[0].totals()).decisions == 4
    await asyncio.gather(*(ledger.close() for ledger in ledgers))


@pytest.mark.parametrize(("revision", "new_enough"), [("0001", False), ("9999", True)])
async def test_a_check_says_whether_the_schema_is_new_enough(url: str, revision: str, new_enough: bool) -> None:
    """A newer one is: the next version of Conduit is being rolled out, and this one goes on."""
    ledger = SqlLedger(url)
    await ledger.open()
    assert await ledger.check()
    await ledger.database.write(partial(_set_revision, revision=revision), power_safe=False)
    assert await ledger.check() is new_enough
    await ledger.close()


def _set_revision(connection: Connection, revision: str) -> None:
    versions = TableClause("alembic_version", column("version_num"), schema=migrate.schema_of(connection))
    connection.execute(update(versions).values(version_num=revision))


OPEN = """
import asyncio, sys
from conduit.stores.sql.ledger import SqlLedger
async def main():
    ledger = SqlLedger(sys.argv[1])
    sys.stdin.readline()
    await ledger.open()
    await ledger.check()
    await ledger.close()
    print("alembic" in sys.modules)
asyncio.run(main())
"""


async def test_several_processes_may_open_an_empty_database_at_once(url: str) -> None:
    starting = [
        asyncio.create_subprocess_exec(sys.executable, "-c", OPEN, url, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        for _ in range(4)
    ]
    processes = await asyncio.gather(*starting)
    ends = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    assert [errors for _, errors in ends] == [b""] * 4
    assert all(out in (b"True\n", b"False\n") for out, _ in ends)  # and nothing else


async def test_a_start_on_a_known_schema_does_not_even_import_alembic(url: str) -> None:
    async with opened(url):
        pass
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", OPEN, url, stdin=PIPE, stdout=PIPE)
    out, _ = await process.communicate(b"\n")
    assert out == b"False\n"


# ------------------------------------------------------------------ death

APPEND = """
import asyncio, itertools, sys
from conduit.stores.sql.ledger import SqlLedger
from tests.unit.stores.entries import decision, name
async def main():
    ledger = SqlLedger(sys.argv[1])
    await ledger.open()
    numbers = itertools.count()
    async def worker():
        for number in numbers:
            await ledger.append(decision(number))
            print(name(number), flush=True)
    await asyncio.gather(*(worker() for _ in range(8)))
asyncio.run(main())
"""


async def test_a_killed_process_takes_no_acknowledged_entry_with_it(url: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", APPEND, url, stdout=PIPE)
    assert process.stdout is not None
    acknowledged = [(await process.stdout.readline()).decode().strip() for _ in range(300)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [line.decode().strip() for line in (await process.stdout.read()).splitlines(keepends=True)]
    await process.wait()
    async with opened(url) as ledger:
        for each in acknowledged:
            if len(each) == len(name(0)):  # the last line may be torn
                assert await ledger.find(each) is not None
        await ledger.append(decision(99_999_999))


# ------------------------------------------------------------------ refusals


async def test_an_impossible_value_is_refused_without_harm_to_its_neighbours(url: str) -> None:
    async with opened(url) as ledger:
        receipts = [
            ledger.append(decision(1)),
            ledger.append(decision(2, input_tokens=2**70)),
            ledger.append(decision(3, time_s=float("nan"))),
            ledger.append(decision(4, removed={"a": object()})),
            ledger.append(decision(5, why=None)),
            ledger.append(decision(6)),
        ]
        fates = await asyncio.gather(*receipts, return_exceptions=True)
        assert (fates[0], fates[5]) == (Place.LEDGER, Place.LEDGER)
        assert {type(fate) for fate in (fates[1], fates[3], fates[4])} == {LedgerError}
        assert (await ledger.totals()).decisions >= 2


async def test_a_newer_database_is_left_alone(url: str) -> None:
    async with opened(url) as ledger:
        await database(ledger).write(_from_the_future, power_safe=False)
    with pytest.raises(ConfigurationError, match="DATABASE_URL: the database has schema 9999"):
        await SqlLedger(url).open()


async def test_who_may_not_migrate_refuses_an_older_schema_and_says_what_to_run(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"DATABASE_MIGRATE.*no schema.*run `conduit migrate`"):
        await SqlLedger(url, migrates=False).open()
    async with opened(url):
        pass
    ledger = SqlLedger(url, migrates=False)
    await ledger.open()
    await database(ledger).write(partial(_set_revision, revision="0001"), power_safe=False)
    await ledger.close()
    with pytest.raises(ConfigurationError, match=r"DATABASE_MIGRATE.*schema 0001.*run `conduit migrate`"):
        await SqlLedger(url, migrates=False).open()


def _from_the_future(connection: Connection) -> None:
    schema = migrate.schema_of(connection)
    table = f"{schema}.alembic_version" if schema else "alembic_version"
    connection.execute(text(f"UPDATE {table} SET version_num = '9999'"))


# ------------------------------------------------------------------ the schema


async def test_the_migrations_lead_to_the_tables_that_the_code_uses(url: str) -> None:
    async with opened(url) as ledger:
        assert await database(ledger).read(_differences) == []
        assert await database(ledger).read(migrate.revision) == migrate.HEAD


def _differences(connection: Connection) -> list[object]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from conduit.stores.sql.tables import metadata

    schema = migrate.schema_of(connection)
    expected = MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(expected, schema=schema or SchemaConst.RETAIN_SCHEMA)
    options = {"include_schemas": True, "version_table_schema": schema, "include_name": _ours(schema)}
    plain = connection.execution_options(schema_translate_map=None)
    return list(compare_metadata(MigrationContext.configure(plain, opts=options), expected))


def _ours(schema: str | None) -> object:
    return lambda name, kind, _: kind != "schema" or name == schema


def test_the_newest_migration_is_the_one_that_the_code_expects() -> None:
    from pathlib import Path

    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


async def test_an_unopened_ledger_takes_nothing(url: str) -> None:
    with pytest.raises(LedgerUnavailable, match="not open"):
        await SqlLedger(url).append(decision())

"""What can go wrong with a file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from conduit.core.errors import LedgerUnavailable
from conduit.core.storage import Place
from conduit.routing.errors import ConfigurationError
from conduit.stores.sql.ledger import SqlLedger
from tests.unit.stores.entries import decision, name, outcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conduit.db"


@pytest.fixture
async def impatient(path: Path) -> AsyncIterator[SqlLedger]:
    ledger = SqlLedger(f"sqlite:///{path}", busy_timeout_s=0.05)
    await ledger.open()
    yield ledger
    await ledger.close()


async def test_a_locked_file_is_unavailable_until_it_is_free(impatient: SqlLedger, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        fates = await asyncio.gather(*(impatient.append(decision(n)) for n in range(3)), return_exceptions=True)
        assert [str(fate) for fate in fates] == ["the database is locked by another process"] * 3
        assert all(isinstance(fate, LedgerUnavailable) for fate in fates)
        assert await impatient.find(name(0)) is None  # reading goes on
        other.execute("ROLLBACK")
    await impatient.append(decision(0))
    assert await impatient.find(name(0)) is not None


async def test_a_patient_ledger_waits_for_a_lock(path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{path}")
    await ledger.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        receipt = ledger.append(decision())
        await ledger.check()  # long enough for the writer to have begun
        other.execute("ROLLBACK")
    await receipt
    await ledger.close()


async def test_a_lock_at_the_start_is_unavailable_and_not_a_mistake(path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{path}", busy_timeout_s=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            await ledger.open()
        other.execute("ROLLBACK")
    await ledger.open()
    await ledger.append(decision())
    await ledger.close()


async def test_the_folder_of_the_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a folder" / "50% ü?" / "conduit.db"
    ledger = SqlLedger(f"sqlite:///{str(path).replace('%', '%25').replace('?', '%3F')}")
    await ledger.open()
    await ledger.close()
    assert path.exists()


@pytest.fixture
def garbage(path: Path) -> Path:
    path.write_bytes(b"not a database, and longer than a header of one hundred bytes" * 10)
    return path


async def test_a_file_that_is_no_database_is_a_mistake(garbage: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"DATABASE_URL: the file {garbage} is no SQLite database"):
        await SqlLedger(f"sqlite:///{garbage}").open()


async def test_a_path_that_cannot_be_written_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"DATABASE_URL: the file .* cannot be opened"):
        await SqlLedger(f"sqlite:///{tmp_path}").open()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"DATABASE_URL: the folder .* cannot be made"):
        await SqlLedger(f"sqlite:///{tmp_path / 'file' / 'conduit.db'}").open()


async def test_a_file_that_may_not_be_written_is_a_mistake(path: Path) -> None:
    """Even root cannot write through /proc."""
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        await SqlLedger("sqlite:////proc/version").open()
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        await SqlLedger("sqlite:////proc/nowhere/conduit.db").open()


async def test_a_full_disk_is_unavailable_until_there_is_room(impatient: SqlLedger) -> None:
    await impatient.append(decision(1))
    await impatient._database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1").all(), power_safe=False)
    for number in range(2, 200):
        (fate,) = await asyncio.gather(impatient.append(decision(number)), return_exceptions=True)
        if fate is not Place.LEDGER:
            break
    assert isinstance(fate, LedgerUnavailable)
    assert str(fate) == "the database has no room: the disk is full"
    room = "PRAGMA max_page_count=1000000"
    await impatient._database.write(lambda c: c.exec_driver_sql(room).all(), power_safe=False)
    await impatient.append(decision(number))


async def test_a_power_safe_append_is_flushed_and_the_next_one_is_not(impatient: SqlLedger) -> None:
    def level(connection: object) -> int:
        value: int = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()  # type: ignore[attr-defined]
        return value

    levels = []
    for number, power_safe in enumerate((False, True, False)):
        await impatient.append(decision(number), power_safe=power_safe)
        await impatient.append(outcome(number), power_safe=power_safe)
        levels.append(await impatient._database.read(level))
    assert levels == [1, 2, 1]  # NORMAL, FULL, NORMAL

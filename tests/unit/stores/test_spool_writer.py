"""What waits while the database is away: kept, replayed in its order, once, and nothing overtakes it."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from conduit.core.errors import LedgerConflict, LedgerError, LedgerUnavailable
from conduit.core.storage import Place, Standby
from conduit.routing.errors import ConfigurationError
from conduit.stores.files import spool_writer as module
from conduit.stores.files.spool import try_out
from conduit.stores.files.spool_writer import DAMAGED, FULL, LOST, SpoolWriter, Terms, can_wait
from conduit.stores.sql.rows import Rows
from conduit.stores.sql.writer import Append, Writer
from tests.support import former_spool
from tests.unit.stores.entries import decision, feedback, name, observation, outcome

BIG = 10**6


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


class Book:
    """A store that is away, or slow, or refuses some, and knows what it has."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.guilty: dict[str, LedgerError] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.away = False
        self.slow_s = 0.0
        self.asked = 0

    async def write(self, batch: Sequence[Append]) -> None:
        await self._take([entry.id for append in batch for entry in append.entries])  # type: ignore[union-attr]

    async def replay(self, appends: Sequence[Rows]) -> None:
        names = [str(row["id"]) for append in appends for _, row in append]
        await self._take(names)

    async def _take(self, names: list[str]) -> None:
        self.asked += 1
        if self.away:
            raise LedgerUnavailable("away")
        await self.open.wait()
        await asyncio.sleep(self.slow_s)
        for each in names:
            if each in self.guilty:
                raise self.guilty[each]
        self.kept += [name for name in names if name not in self.kept]


class Bench:
    def __init__(self, folder: Path, most_bytes: int = BIG) -> None:
        self.book, self.words = Book(), list[str]()
        self.spool_writer = SpoolWriter(Terms(folder, most_bytes, "mine"), self.book.replay, self.words.append)
        self.writer = Writer(self.book.write, self.words.append, spool_writer=self.spool_writer, patience_s=0.05)

    async def start(self) -> None:
        await self.spool_writer.open()
        self.writer.start()

    async def stop(self) -> None:
        await self.writer.close()
        await self.spool_writer.close()

    def decide(self, *numbers: int) -> list["asyncio.Future[Place]"]:
        return [self.writer.append((decision(number),), power_safe=False) for number in numbers]

    async def drained(self) -> None:
        while self.spool_writer.busy:
            await asyncio.gather(*self.decide(), asyncio.sleep(0.001))


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    bench = Bench(tmp_path)
    await bench.start()
    yield bench
    bench.book.open.set()
    await bench.stop()


async def test_while_all_is_well_nothing_goes_that_way(bench: Bench, tmp_path: Path) -> None:
    assert await asyncio.gather(*bench.decide(1, 2)) == [Place.LEDGER] * 2
    assert (bench.spool_writer.standby, await bench.spool_writer.behind()) == (Standby.READY, False)
    assert names(tmp_path) == []


async def test_what_waited_is_written_once_and_in_order_before_what_came_later(bench: Bench) -> None:
    bench.book.away = True
    assert await asyncio.gather(*bench.decide(1, 2, 3)) == [Place.SPOOL] * 3
    assert (bench.spool_writer.standby, await bench.spool_writer.behind()) == (Standby.BUSY, True)
    bench.book.away = False
    later = await asyncio.gather(*bench.decide(4, 5))
    await bench.drained()
    assert await asyncio.gather(*bench.decide(6)) == [Place.LEDGER]
    assert bench.book.kept == [name(number) for number in range(1, 7)]
    assert set(later) <= {Place.SPOOL, Place.LEDGER}
    assert not await bench.spool_writer.behind()
    assert bench.words == []


async def test_traffic_that_never_rests_is_back_in_the_ledger_all_the_same(bench: Bench) -> None:
    """While some are replayed others come, more slowly, and would wait for ever behind one another."""
    bench.book.away = True
    await asyncio.gather(*bench.decide(*range(150)))
    bench.book.away, bench.book.slow_s = False, 0.001
    next_one, straight = iter(range(150, 10**6)), asyncio.Event()

    async def caller() -> None:
        while not straight.is_set():
            if await bench.decide(next(next_one))[0] is Place.LEDGER:
                straight.set()

    async with asyncio.timeout(20):
        await asyncio.gather(*(caller() for _ in range(3)))
    await bench.drained()
    assert bench.book.kept == [name(number) for number in range(next(next_one))]


async def test_a_write_that_hangs_waits_and_is_not_written_twice_when_it_succeeds_after_all(bench: Bench) -> None:
    bench.book.open.clear()
    assert await asyncio.gather(*bench.decide(1)) == [Place.SPOOL]
    bench.book.open.set()
    await bench.drained()
    assert bench.book.kept == [name(1)]


async def test_feedback_never_waits_there_and_is_refused_at_once(bench: Bench) -> None:
    bench.book.away = True
    await asyncio.gather(*bench.decide(1))
    with pytest.raises(LedgerUnavailable):
        await bench.writer.append((feedback(1),), power_safe=True)
    bench.book.away = False
    await bench.drained()
    assert bench.book.kept == [name(1)]
    assert await bench.writer.append((feedback(1),), power_safe=True) is Place.LEDGER


def test_only_what_has_a_name_and_no_condition_can_wait() -> None:
    assert can_wait([outcome(), observation()], power_safe=False)
    assert not can_wait([observation()], power_safe=False)
    assert not can_wait([outcome()], power_safe=True)


async def test_a_full_spool_says_so_once_and_has_room_again_when_it_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    bench = Bench(tmp_path, most_bytes=3000)
    await bench.start()
    bench.book.away = True
    fates: list[object] = []
    for number in range(20):
        fates += await asyncio.gather(*bench.decide(number), return_exceptions=True)
    assert bench.spool_writer.standby is Standby.FULL
    assert bench.words.count(FULL) == 1
    bench.book.away = False
    await bench.drained()
    assert bench.book.kept == [name(number) for number, fate in enumerate(fates) if fate is Place.SPOOL] != []
    assert bench.spool_writer.standby is Standby.READY
    await bench.stop()


async def test_who_comes_after_a_dead_process_writes_what_it_left(bench: Bench, tmp_path: Path) -> None:
    bench.book.away = True
    await asyncio.gather(*bench.decide(1, 2))
    await bench.stop()
    heir = Bench(tmp_path)
    await heir.start()
    assert heir.book.kept == [name(1), name(2)]
    assert names(tmp_path) == []
    await heir.stop()


async def test_a_process_of_the_new_version_writes_what_one_of_the_version_before_left(
    bench: Bench, tmp_path: Path
) -> None:
    bench.book.away = True
    await asyncio.gather(*bench.decide(3))
    await bench.stop()
    former_spool.write(tmp_path / "9-former.spool", former_spool.records([[decision(1)], [decision(2)]]))
    heir = Bench(tmp_path)
    await heir.start()
    assert sorted(heir.book.kept) == [name(1), name(2), name(3)]
    assert names(tmp_path) == []
    assert heir.words == []
    await heir.stop()


@pytest.mark.parametrize("damage", ["cut off", "garbage", "former"])
async def test_a_damaged_file_is_told_and_kept_and_what_can_be_read_of_it_is_written(
    bench: Bench, tmp_path: Path, damage: str
) -> None:
    """And the start goes on."""
    bench.book.away = True
    for number in range(0, 200, 5):
        await asyncio.gather(*bench.decide(*range(number, number + 5)))
    await bench.stop()
    path = tmp_path / "mine-1.spooled"
    if damage == "cut off":
        os.truncate(path, path.stat().st_size * 9 // 10)
    elif damage == "garbage":
        path.write_bytes(b"garbage" * 1000)
    else:
        path.unlink()
        path = tmp_path / "mine-1.spool"
        raw = former_spool.write(path, former_spool.records([[decision(n)] for n in range(300)]))
        path.write_bytes(raw[: len(raw) // 2] + b"?" + raw[len(raw) // 2 + 1 :])
    damaged = path.read_bytes()
    heir = Bench(tmp_path)
    await heir.start()
    assert heir.words == ["spool_damaged: set aside as mine-1.damaged"]
    assert names(tmp_path) == ["mine-1.damaged"]
    assert (tmp_path / "mine-1.damaged").read_bytes() == damaged
    assert heir.book.kept == [name(number) for number in range(len(heir.book.kept))]
    assert len(heir.book.kept) > 50 or damage == "garbage"
    heir.book.away = True
    assert await asyncio.gather(*heir.decide(1000)) == [Place.SPOOL]
    await heir.stop()


async def test_a_file_that_is_spoilt_while_its_process_lives_is_told_and_kept_and_the_next_is_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    bench = Bench(tmp_path, most_bytes=10**8)
    await bench.start()
    bench.book.away = True
    long = [(decision(number, prompt="x" * 10_000),) for number in range(300)]  # more than SQLite has in memory
    await asyncio.gather(*(bench.writer.append(each, power_safe=False) for each in long))
    log = tmp_path / "mine-1.spooled-wal"
    with log.open("r+b") as file:  # not truncated: its process has it open
        file.seek(32)
        file.write(b"\xff" * (log.stat().st_size - 32))
    bench.book.away = False
    await until(lambda: not bench.spool_writer.busy)
    assert [word.partition(":")[0] for word in bench.words] == [DAMAGED]
    assert sorted(names(tmp_path)) == ["mine-1.damaged", "mine-1.damaged-wal"]
    bench.book.away = True
    assert await asyncio.gather(*bench.decide(500)) == [Place.SPOOL]
    bench.book.away = False
    await bench.drained()
    assert name(500) in bench.book.kept
    await bench.stop()


async def test_a_refused_append_is_told_and_stops_nobody(bench: Bench) -> None:
    bench.book.away = True
    await asyncio.gather(*bench.decide(*range(5)))
    bench.book.guilty = {name(1): LedgerError("odd"), name(3): LedgerConflict("taken")}
    bench.book.away = False
    await bench.drained()
    assert bench.book.kept == [name(number) for number in (0, 2, 4)]
    assert bench.words == [LOST, LOST]


async def test_a_folder_that_was_asked_for_and_cannot_be_used_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    spool_writer = SpoolWriter(Terms(tmp_path / "file" / "x", 1, "mine", required=True), Book().replay, print)
    with pytest.raises(ConfigurationError, match="SPOOL_PATH"):
        await spool_writer.open()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.gather(asyncio.sleep(0.001))


class FullDisk:
    """Refuses as the system does."""

    def __init__(self) -> None:
        self.refused = 0

    def __call__(self, *_: object, **__: object) -> NoReturn:
        self.refused += 1
        raise OSError(errno.ENOSPC, "no space")


@pytest.fixture
async def lossy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Bench]:
    """One that has just lost an append, for neither the ledger nor the spool could take it."""
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    monkeypatch.setattr(module, "ADOPT_S", 0.01)
    bench = Bench(tmp_path / "spool", most_bytes=10 if request.param == "too small" else BIG)
    await bench.start()
    bench.book.away = True
    if request.param == "broken":
        (tmp_path / "spool").write_text("a file in the place of the folder")
    (fate,) = await asyncio.gather(*bench.decide(1), return_exceptions=True)
    assert isinstance(fate, LedgerUnavailable)
    assert bench.spool_writer.standby is Standby.FULL
    yield bench
    await bench.stop()


@pytest.mark.parametrize("lossy", ["too small", "broken"], indirect=True)
async def test_who_lost_something_is_well_again_when_something_is_kept(lossy: Bench) -> None:
    lossy.book.away = False
    assert await asyncio.gather(*lossy.decide(2)) == [Place.LEDGER]
    assert lossy.spool_writer.standby is Standby.READY


@pytest.mark.parametrize("lossy", ["too small", "broken"], indirect=True)
async def test_without_a_spool_it_is_well_again_when_the_ledger_is_back_though_nobody_asks(lossy: Bench) -> None:
    asked = lossy.book.asked
    await until(lambda: lossy.book.asked >= asked + 3)
    assert lossy.spool_writer.standby is Standby.FULL
    lossy.book.away = False
    await until(lambda: lossy.spool_writer.standby is Standby.READY)
    assert lossy.book.kept == []


async def test_a_full_disk_is_well_again_when_it_has_room_though_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ADOPT_S", 0.01)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    bench, disk = Bench(tmp_path), FullDisk()
    await bench.start()
    with monkeypatch.context() as full:
        full.setattr(module.SpoolFile, "make", disk)
        full.setattr(module, "try_out", disk)
        bench.book.away = True
        (fate,) = await asyncio.gather(*bench.decide(1), return_exceptions=True)
        assert isinstance(fate, LedgerUnavailable)
        bench.book.away = False
        await until(lambda: disk.refused >= 4)
        assert bench.spool_writer.standby is Standby.FULL  # the ledger may stand on the same disk
    await until(lambda: bench.spool_writer.standby is Standby.READY)
    await bench.stop()


def test_a_disk_is_tried_out_and_nothing_stays_of_it(tmp_path: Path) -> None:
    try_out(tmp_path / "new", "mine")
    assert names(tmp_path / "new") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        try_out(tmp_path / "file", "mine")

"""What is kept of prompts: redacted on whatever way it goes, and written beside rows of before it was kept."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from conduit import Model, Price, Router
from conduit.core.events import Event, FeaturesChanged
from conduit.core.storage import Place
from conduit.gateway.learning.follow import Follower
from conduit.gateway.learning.reread import Rereading
from conduit.gateway.learning.snapshots import Snapshots
from conduit.observability.logging.redaction import Redactor
from conduit.routing.prompts import Prompts, PromptText
from conduit.routing.system import StillClock, TimeOrderedIds
from conduit.stores.files import spool_writer
from conduit.stores.files.jsonl import lines_from, lines_to
from conduit.stores.files.parquet import parquet_from, parquet_to
from conduit.stores.files.spool import SpoolFile
from conduit.stores.files.spool_writer import Terms
from conduit.stores.sql import rows
from conduit.stores.sql.archive import SqlArchive
from conduit.stores.sql.ledger import SqlLedger
from conduit.stores.sql.pruning import SqlPruning
from conduit.stores.sql.secrets import SqlSecrets
from conduit.stores.sql.snapshots import SqlSnapshots
from tests.support import former_spool
from tests.support.fault_proxy import FaultProxy
from tests.support.plain import PlainFeatures
from tests.unit.stores.entries import decision, name, observation, outcome, plain

SECRET = "sk-live-0123456789abcdef"
TEXT = f"My key is {SECRET}, what now?"
CLEAN = "My key is [key], what now?"
redact = partial(Redactor().ends, most=1000)


@asynccontextmanager
async def opened(url: str, **more) -> AsyncIterator[SqlLedger]:
    ledger = SqlLedger(url, **more)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def prompt_of(ledger: SqlLedger, number: int) -> str | None:
    found = await ledger.find(name(number))
    assert found is not None
    return found.decision.prompt


async def test_a_text_is_redacted_off_the_event_loop_before_it_is_written(url: str, tmp_path: Path) -> None:
    seen: list[threading.Thread] = []

    def watched(text: str) -> str:
        seen.append(threading.current_thread())
        return redact(text)

    async with opened(url, redact=watched) as ledger:
        await asyncio.gather(
            ledger.append(decision(1, prompt=TEXT), outcome(1)), ledger.append(decision(2)), ledger.append(outcome(2))
        )
        assert (await prompt_of(ledger, 1), await prompt_of(ledger, 2)) == (CLEAN, None)
    assert len(seen) == 1
    assert threading.main_thread() not in seen
    assert SECRET.encode() not in everything_in(tmp_path)


async def test_a_text_that_cannot_be_redacted_is_not_kept_and_its_decision_is(url: str) -> None:
    def broken(_: str) -> str:
        raise RecursionError

    async with opened(url, redact=broken) as ledger:
        assert await ledger.append(decision(1, prompt=TEXT)) is Place.LEDGER
        assert await prompt_of(ledger, 1) is None


# ------------------------------------------------------------------ the spool


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[FaultProxy]:
    with FaultProxy.before(postgres_url) as proxy:
        yield proxy


async def test_what_waits_on_the_disk_is_redacted_too(
    proxy: FaultProxy, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_writer, "RETRY_S", 0.05)
    spool = Terms(tmp_path / "spool", 10**7, "mine")
    async with opened(proxy.through(postgres_url), spool=spool, patience_s=0.3, redact=redact) as ledger:
        proxy.refuse()
        assert await ledger.append(decision(1, prompt=TEXT)) is Place.SPOOL
        waiting = everything_in(tmp_path / "spool")
        assert CLEAN.encode() in waiting
        assert SECRET.encode() not in waiting
        proxy.accept()
        await ledger.append(outcome(1))
        async with asyncio.timeout(30):
            while await ledger.behind():  # noqa: ASYNC110 - what is waited for is in a file
                await asyncio.sleep(0.02)
        assert await prompt_of(ledger, 1) == CLEAN


async def test_rows_that_older_code_has_spooled_are_written_among_newer_ones(url: str, tmp_path: Path) -> None:
    """One file, one transaction, both kinds of rows, whichever comes first."""
    folder = tmp_path / "spool"
    folder.mkdir()
    for start in (0, 10):
        appends = [[decision(n, prompt=f"{n}?"), outcome(n), observation(n)] for n in range(start, start + 4)]
        older = former_spool.records(appends, without={"prompt", "prompt_hash"})
        newer = former_spool.records(appends)
        kinds = [older[0], newer[1], older[2], newer[3]]
        former_spool.write(folder / f"dead-{start}.spool", kinds if start else kinds[::-1])
    async with opened(url, spool=Terms(folder, 10**7, "mine")) as ledger:
        await _all_eight(ledger, texts_of=(1, 3, 11, 13))
        assert not any(folder.iterdir())


async def test_a_file_of_older_code_that_knew_fewer_columns_is_written(url: str, tmp_path: Path) -> None:
    """One file of each: what the older one had no column for is null."""
    folder = tmp_path / "spool"
    for start in (0, 10):
        file = SpoolFile.make(folder, f"dead-{start}", most_bytes=10**7)
        file.append(
            [
                list(map(rows.row, (decision(n, prompt=f"{n}?"), outcome(n), observation(n))))
                for n in range(start, start + 4)
            ]
        )
        file.close()
    older = SpoolFile.adopt(folder / "dead-0.spooled")
    assert older is not None
    older._open.execute("ALTER TABLE decisions DROP COLUMN prompt")
    older._open.execute("ALTER TABLE decisions DROP COLUMN prompt_hash")
    for append in older._between(1, 9):
        older._open.execute("UPDATE checksums SET crc32 = ? WHERE number = ?", (append.checksum, append.number))
    older.close()
    async with opened(url, spool=Terms(folder, 10**7, "mine")) as ledger:
        await _all_eight(ledger, texts_of=(10, 11, 12, 13))
        assert not any(folder.iterdir())


async def _all_eight(ledger: SqlLedger, *, texts_of: Sequence[int]) -> None:
    assert (await ledger.totals()).decisions == 8
    assert len(await ledger.observations(after=0, limit=100)) == 8
    found = {record.decision.id: record.decision for record in await ledger.recent(limit=9)}
    hashes = {n: found[name(n)].prompt_hash for n in (*range(4), *range(10, 14))}
    assert hashes == {n: bytes(range(16)) if n in texts_of else None for n in hashes}
    texts = await ledger.prompts([name(n) for n in range(20)])
    assert texts == {name(n): f"{n}?" for n in texts_of}


# ------------------------------------------------------------------ files, and pruning


@pytest.mark.parametrize("kind", [".jsonl", ".jsonl.gz", ".parquet"])
async def test_what_is_kept_of_prompts_goes_to_a_file_and_comes_back(url: str, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"ledger{kind}"
    first = decision(1, prompt="What?", prompt_hash=None)
    async with opened(url) as ledger:
        await ledger.append(first, decision(2), decision(3, prompt_hash=None))
        page = await SqlArchive(ledger.database).page()
    with (parquet_to if kind == ".parquet" else lines_to)(path) as sink:
        sink.put(page)
    read = list((parquet_from if kind == ".parquet" else lines_from)(path))
    assert [plain(each.decision) for each in read] == [plain(each.decision) for each in page]
    async with opened(f"sqlite:///{tmp_path / 'other.db'}") as other:
        await SqlArchive(other.database).merge(read)
        assert await prompt_of(other, 1) == "What?"
        found = await other.find(name(2))
        assert found is not None
        assert found.decision.prompt_hash == bytes(range(16))


async def test_a_text_goes_with_its_decision(url: str, tmp_path: Path) -> None:
    old = replace(decision(1, prompt="canary-41"), id="dec_000000000001")
    async with opened(url) as ledger:
        await ledger.append(replace(old, time_s=0.001))
        assert await SqlPruning(ledger.database).remove(before_s=1.0, up_to=0) == [old.id]
        assert await ledger.prompts([old.id]) == {}


# ------------------------------------------------------------------ the key of hashes


async def test_all_processes_of_a_deployment_have_one_secret(url: str) -> None:
    async with opened(url) as one, opened(url) as other:
        asked = [
            SqlSecrets(ledger.database).shared("prompts", made=bytes([n]) * 32)
            for n, ledger in enumerate((one, other) * 4)
        ]
        found = await asyncio.gather(*asked)
        assert len(set(found)) == 1
        assert await SqlSecrets(other.database).shared("prompts", made=b"later") == found[0]
        assert await SqlSecrets(other.database).shared("another", made=b"later") == b"later"


async def test_a_secret_that_is_there_is_read_while_nobody_can_write(tmp_path: Path) -> None:
    """A start waits for no lock of another process."""
    path = tmp_path / "conduit.db"
    async with opened(f"sqlite:///{path}") as ledger:
        made = await SqlSecrets(ledger.database).shared("prompts", made=b"first")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(2):  # a writer would wait for five
                assert await SqlSecrets(ledger.database).shared("prompts", made=b"later") == made


# ------------------------------------------------------------------ another version of features


class Newer(PlainFeatures):
    version = "plain-2"

    def context(self, text: str) -> NDArray[np.float64]:
        return np.array([float("1" in text), len(text) / 7.0, 1.0])


def chooser(features: PlainFeatures, mode: PromptText) -> Router:
    clock = StillClock(5.0)
    models = [Model("cheap", "p", price=Price(0.1, 0.4)), Model("dear", "q", price=Price(10.0, 40.0))]
    ids = TimeOrderedIds(clock)
    return Router(models, seed=1, features=features, clock=clock, ids=ids, prompts=Prompts(mode))


async def test_new_features_learn_from_the_texts_of_a_database(url: str) -> None:
    """More than are read at a time; some have no text; and a second start finds the snapshot of the first."""
    async with opened(url, redact=redact) as ledger:
        for mode, n in (("full", 230), ("off", 9)):
            older = chooser(PlainFeatures(), mode)
            for number in range(n):
                made = older.choose(f"What is {number}?")
                await ledger.append(made, made.observation(quality=number / n, output_tokens=5.0))
        for expected in ([FeaturesChanged("plain-2", 230, 9)], []):
            newer, events = chooser(Newer(), "full"), list[Event]()
            clock, store = StillClock(5.0), SqlSnapshots(ledger.database)
            kept = Snapshots(store, router=newer, clock=clock, listener=events.append, every=1)
            follower = Follower(
                ledger=ledger,
                router=newer,
                listener=events.append,
                interval_s=60.0,
                snapshots=kept,
                rereading=Rereading(ledger, Newer()),
            )
            await follower.begin()
            assert [event for event in events if isinstance(event, FeaturesChanged)] == expected
            assert newer.beliefs.folded == 230
            await kept.save(follower.position)

"""Group commit: what is queued together is written together, and each append learns its own fate."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence

import pytest

from conduit.core.errors import LedgerConflict, LedgerError, LedgerUnavailable
from conduit.core.storage import Place
from conduit.stores.sql.writer import CONFLICT, REFUSED, UNAVAILABLE, Append, Writer
from tests.unit.stores.entries import decision, name


class Book:
    """A store whose next writes are scripted: an error, or a gate that keeps the writer busy."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.guilty: dict[str, Exception] = {}
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def write(self, batch: Sequence[Append]) -> None:
        self.begun.set()
        await self.gate.wait()
        ids = [entry.id for append in batch for entry in append.entries]  # type: ignore[union-attr]
        if self.away:
            raise LedgerUnavailable("away")
        for each in ids:
            if each in self.guilty:
                raise self.guilty[each]
        self.batches.append(ids)

    @property
    def written(self) -> list[str]:
        return [each for batch in self.batches for each in batch]


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def words() -> list[str]:
    return []


@pytest.fixture
async def writer(book: Book, words: list[str]) -> AsyncIterator[Writer]:
    writer = Writer(book.write, words.append, capacity=10, batch=4)
    writer.start()
    yield writer
    book.gate.set()
    await writer.close()


def append(writer: Writer, *numbers: int) -> "asyncio.Future[None]":
    return writer.append(tuple(decision(number) for number in numbers), power_safe=False)


async def test_what_is_queued_while_writing_goes_into_one_batch(writer: Writer, book: Book) -> None:
    book.gate.clear()
    receipts = [append(writer, 0)]
    await book.begun.wait()
    receipts += [append(writer, number) for number in (1, 2, 3)]
    book.gate.set()
    await asyncio.gather(*receipts)
    assert book.batches == [[name(0)], [name(1), name(2), name(3)]]


async def test_a_batch_has_an_end(writer: Writer, book: Book) -> None:
    await asyncio.gather(*(append(writer, number) for number in range(10)))
    assert [len(batch) for batch in book.batches] == [4, 4, 2]
    assert book.written == [name(number) for number in range(10)]


async def test_an_append_larger_than_a_batch_is_not_torn(writer: Writer, book: Book) -> None:
    await asyncio.gather(append(writer, 0), append(writer, *range(1, 8)), append(writer, 8))
    assert [len(batch) for batch in book.batches] == [1, 7, 1]


async def test_a_full_queue_says_so_at_once_and_has_room_again_later(writer: Writer, book: Book) -> None:
    book.gate.clear()
    first = append(writer, 0)
    await book.begun.wait()
    queued = [append(writer, number) for number in range(1, 11)]
    refused = append(writer, 11)
    assert isinstance(refused.exception(), LedgerUnavailable)
    book.gate.set()
    await asyncio.gather(first, *queued)
    await append(writer, 12)


@pytest.mark.parametrize("guilty", [{0}, {3}, {1, 2}, {0, 1, 2, 3}])
async def test_only_the_guilty_are_refused_and_the_order_is_kept(writer: Writer, book: Book, guilty: set[int]) -> None:
    book.guilty = {name(number): LedgerConflict("taken") for number in guilty}
    fates = await asyncio.gather(*(append(writer, number) for number in range(4)), return_exceptions=True)
    assert {number for number, fate in enumerate(fates) if isinstance(fate, LedgerConflict)} == guilty
    assert book.written == [name(number) for number in range(4) if number not in guilty]


async def test_an_outage_fails_what_is_queued_and_ends(writer: Writer, book: Book) -> None:
    book.away = True
    fates = await asyncio.gather(*(append(writer, number) for number in range(6)), return_exceptions=True)
    assert [type(fate) for fate in fates] == [LedgerUnavailable] * 6
    assert len({id(fate) for fate in fates}) == 6  # a traceback belongs to one waiter
    book.away = False
    await append(writer, 1)


async def test_a_bug_in_the_store_fails_one_append_and_not_the_writer(writer: Writer, book: Book) -> None:
    book.guilty = {name(1): TypeError("with a secret in it")}
    fates = await asyncio.gather(*(append(writer, number) for number in range(3)), return_exceptions=True)
    assert [type(fate) for fate in fates] == [Place, LedgerError, Place]
    assert "secret" not in str(fates[1])


async def test_a_waiter_that_went_away_disturbs_nobody(writer: Writer, book: Book, words: list[str]) -> None:
    receipts = [append(writer, number) for number in range(3)]
    receipts[1].cancel()
    await asyncio.gather(receipts[0], receipts[2])
    assert book.written == [name(0), name(1), name(2)]
    assert words == []


async def test_a_loss_that_its_waiter_left_behind_is_told(writer: Writer, book: Book, words: list[str]) -> None:
    book.guilty = {name(0): LedgerConflict("taken"), name(1): ValueError("odd")}
    for number in range(2):
        append(writer, number).cancel()
    await append(writer, 2)
    book.away = True
    append(writer, 3).cancel()
    await asyncio.gather(append(writer, 4), return_exceptions=True)
    assert words == [CONFLICT, REFUSED, UNAVAILABLE]


async def test_a_loss_at_which_nobody_looked_is_told_once(writer: Writer, book: Book, words: list[str]) -> None:
    """And to the listener, not to stderr: warnings are errors here."""
    noise: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    book.away = True
    append(writer, 0)
    await asyncio.gather(append(writer, 1), return_exceptions=True)
    gc.collect()
    assert words == [UNAVAILABLE]
    assert noise == []


async def test_closing_writes_what_is_queued_and_takes_no_more(writer: Writer, book: Book) -> None:
    receipts = [append(writer, number) for number in range(9)]
    await writer.close()
    assert all(receipt.done() for receipt in receipts)
    assert len(book.written) == 9
    assert isinstance(append(writer, 10).exception(), LedgerUnavailable)


async def test_closing_an_idle_writer_ends(writer: Writer) -> None:
    await append(writer, 0)
    await asyncio.wait_for(writer.close(), timeout=5)


# ------------------------------------------------------------------ what nobody waits for yet


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than any test takes: whatever is written was not written because time was up."""
    monkeypatch.setattr("conduit.stores.sql.writer.LINGER_S", 600.0)


@pytest.mark.usefixtures("patient")
async def test_a_decision_goes_with_the_outcome_that_comes_soon(writer: Writer, book: Book) -> None:
    """One commit for both, as soon as somebody waits."""
    first = append(writer, 0)
    await turns()
    assert book.batches == []
    await append(writer, 1)
    assert book.batches == [[name(0), name(1)]]
    assert first.done()


@pytest.mark.usefixtures("patient")
async def test_what_is_waited_for_is_written_at_once(writer: Writer, book: Book) -> None:
    first = append(writer, 0)
    await turns()
    await first
    second = append(writer, 1)
    done = asyncio.Event()
    second.add_done_callback(lambda _: done.set())
    await done.wait()
    assert book.batches == [[name(0)], [name(1)]]


@pytest.mark.usefixtures("patient")
async def test_where_there_is_more_than_one_none_waits(writer: Writer, book: Book) -> None:
    receipts = [append(writer, 0)]
    await turns()
    receipts.append(append(writer, 1))
    await turns()
    assert book.batches == [[name(0), name(1)]]
    assert all(receipt.done() for receipt in receipts)


@pytest.mark.usefixtures("patient")
async def test_the_end_waits_for_nobody(book: Book) -> None:
    writer = Writer(book.write, lambda _: None)
    writer.start()
    append(writer, 0)
    await turns()
    await writer.close()
    assert book.batches == [[name(0)]]


async def test_what_nobody_ever_waits_for_is_written_all_the_same(writer: Writer, book: Book) -> None:
    append(writer, 0)
    await book.begun.wait()
    await turns()
    assert book.batches == [[name(0)]]


async def turns() -> None:
    """Of the event loop: enough for all that is ready."""
    for _ in range(20):
        await asyncio.sleep(0)

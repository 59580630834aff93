"""Group commit: many appends become one transaction, and each still learns its own fate."""

from asyncio import AbstractEventLoop, Event, Future, Task, create_task, gather, get_running_loop
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from conduit.core.errors import LedgerConflict, LedgerError, LedgerUnavailable
from conduit.core.storage import Cap, Entry, Place
from conduit.stores.files.spool_writer import SpoolWriter, can_wait

Listener = Callable[[str], None]
"""Told of entries that were lost while nobody waited for them, in one of the words below."""

LINGER_S = 0.005
"""So long a lone entry that nobody waits for may wait: a commit costs more than all that is in it."""

CONFLICT = "ledger_conflict"
UNAVAILABLE = "ledger_unavailable"
REFUSED = "ledger_refused"


def nobody(word: str) -> None:
    """Listens to nothing."""


def word(error: BaseException | None) -> str:
    """A stable name of a failure."""
    if isinstance(error, LedgerConflict):
        return CONFLICT
    return UNAVAILABLE if isinstance(error, LedgerUnavailable) else REFUSED


class Receipt(Future[Place]):
    """The future of an append. A failure at which nobody ever looked is told to the listener, not to stderr.

    `wake` is called when somebody begins to wait for it.
    """

    def __init__(self, *, loop: AbstractEventLoop, listener: Listener, wake: Callable[[], None] | None = None) -> None:
        super().__init__(loop=loop)
        self._listener, self._wake = listener, wake
        self.awaited = False

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """Also what awaits it calls this."""
        self.awaited = True
        if self._wake is not None:
            self._wake()
        super().add_done_callback(fn, context=context)

    def fulfil(self, place: Place = Place.LEDGER) -> None:
        if not self.done():
            self.set_result(place)

    def fail(self, error: LedgerError) -> None:
        if self.done():  # the waiter went away, so nobody else will say it
            self._listener(word(error))
        else:
            self.set_exception(error)

    def __del__(self) -> None:
        if self._log_traceback:
            self._log_traceback = False
            self._listener(word(self.exception()))


@dataclass(frozen=True, slots=True)
class Append:
    """Entries that stand or fall together."""

    entries: tuple[Entry | Cap, ...]
    power_safe: bool
    receipt: Receipt

    @property
    def can_wait(self) -> bool:
        return can_wait(self.entries, power_safe=self.power_safe)


Write = Callable[[Sequence[Append]], Awaitable[None]]
"""Commits all or nothing. Raises LedgerUnavailable when there is no database to blame the entries, else LedgerError."""


Prepare = Callable[[list[Append]], Awaitable[Sequence[Append]]]
"""What is to be written in their place. Raises nothing."""


class Writer:
    """One task that writes whatever was queued while it was writing."""

    def __init__(
        self,
        write: Write,
        listener: Listener,
        *,
        capacity: int = 20_000,
        batch: int = 500,
        spool_writer: SpoolWriter | None = None,
        patience_s: float = 2.0,
        prepare: Prepare | None = None,
    ) -> None:
        """`capacity` and `batch` are counted in entries. A write that took longer than `patience_s` may still succeed:
        what can wait goes to the spool, too, where it is seen whether it did. `prepare` sees everything before either
        does."""
        self._write = write
        self._listener = listener
        self._capacity = capacity
        self._batch = batch
        self._spool_writer, self._patience_s, self._prepare = spool_writer, patience_s, prepare
        self._late: set[Task[LedgerError | None]] = set()
        self._queue: deque[Append] = deque()
        self.queued = 0
        self._wake, self._hurry = Event(), Event()
        self._task: Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        if self._task is None or self._task.done():
            self._closing = False
            self._task = create_task(self._run(), name="ledger writer")

    def append(self, entries: tuple[Entry | Cap, ...], *, power_safe: bool) -> Receipt:
        receipt = Receipt(loop=get_running_loop(), listener=self._listener, wake=self._hurry.set)
        if self._task is None or self._closing:
            receipt.fail(LedgerUnavailable("the ledger is not open"))
        elif self.queued + len(entries) > self._capacity:
            receipt.fail(LedgerUnavailable("the ledger's queue is full: the database is too slow or away"))
        else:
            self._queue.append(Append(entries, power_safe, receipt))
            self.queued += len(entries)
            self._wake.set()
            if len(self._queue) > 1:
                self._hurry.set()
        return receipt

    async def close(self) -> None:
        """What is queued is written first."""
        self._closing = True
        self._wake.set()
        self._hurry.set()
        if self._task is not None:
            await self._task
        await gather(*self._late)

    async def _run(self) -> None:
        while self._queue or not self._closing:
            if self._queue:
                await self._lingered()
                await self._settle(await self._diverted(await self._prepared(self._take())))
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _lingered(self) -> None:
        """A lone entry that nobody waits for yet goes with what comes next: a decision with its outcome, if that comes
        soon. Where more is going on, a commit gathers what comes while the one before it is under way."""
        if self._closing or len(self._queue) > 1 or self._queue[0].receipt.awaited:
            return
        self._hurry.clear()
        timer = get_running_loop().call_later(LINGER_S, self._hurry.set)
        await self._hurry.wait()
        timer.cancel()

    def _take(self) -> list[Append]:
        taken: list[Append] = []
        size = 0
        while self._queue and (not taken or size + len(self._queue[0].entries) <= self._batch):
            taken.append(self._queue.popleft())
            size += len(taken[-1].entries)
        self.queued -= size
        return taken

    async def _prepared(self, batch: list[Append]) -> Sequence[Append]:
        return batch if self._prepare is None else await self._prepare(batch)

    async def _diverted(self, batch: Sequence[Append]) -> Sequence[Append]:
        """What is left of it for the database: nothing overtakes what waits in the spool."""
        spool_writer = self._spool_writer
        if spool_writer is None or not spool_writer.busy:
            return batch
        await spool_writer.ready()
        if not spool_writer.busy:
            return batch
        away = spool_writer.away
        await self._detain([append for append in batch if append.can_wait])
        rest = [append for append in batch if not append.can_wait]
        if not away:
            return rest
        _fail(rest, LedgerUnavailable("the database is away"))
        return ()

    async def _detain(self, appends: Sequence[Append]) -> None:
        """Again halved until those stand alone that cannot be kept at all."""
        error = await self._detained(appends) if appends else None
        if error is None:
            for append in appends:
                append.receipt.fulfil(Place.SPOOL)
        elif len(appends) == 1 or isinstance(error, LedgerUnavailable):
            _fail(appends, error)
        else:
            half = len(appends) // 2
            await self._detain(appends[:half])
            await self._detain(appends[half:])

    async def _detained(self, appends: Sequence[Append]) -> LedgerError | None:
        assert self._spool_writer is not None
        try:
            await self._spool_writer.keep([append.entries for append in appends])
        except LedgerError as error:
            return error
        except Exception as error:  # noqa: BLE001 - as below
            return LedgerError(f"the spool cannot keep this entry: {type(error).__name__}")
        return None

    async def _settle(self, batch: Sequence[Append]) -> None:
        """A batch that is refused is halved until the guilty stand alone. The order is kept."""
        error = await self._within_patience(batch) if batch else None
        if error is None and batch and self._spool_writer is not None:
            self._spool_writer.passed_by()
        if error is None:
            for append in batch:
                append.receipt.fulfil()
        elif isinstance(error, LedgerUnavailable):
            if self._spool_writer is not None:
                await self._detain([append for append in batch if append.can_wait])
            _fail([append for append in batch if self._spool_writer is None or not append.can_wait], error)
        elif len(batch) == 1:
            _fail(batch, error)
        else:
            half = len(batch) // 2
            await self._settle(batch[:half])
            await self._settle(await self._diverted(batch[half:]))

    async def _within_patience(self, batch: Sequence[Append]) -> LedgerError | None:
        if self._spool_writer is None:
            return await self._attempt(batch)
        # It is not cancelled: a driver that is interrupted may wait for the same server once more.
        attempt = create_task(self._attempt(batch), name="ledger write")
        loop, ended = get_running_loop(), Event()
        attempt.add_done_callback(lambda _: ended.set())
        timer = loop.call_later(self._patience_s, ended.set)  # cheaper than asyncio.wait, twice for each request
        try:
            await ended.wait()
        finally:
            timer.cancel()
        if attempt.done():
            return attempt.result()
        self._late.add(attempt)
        attempt.add_done_callback(self._late.discard)
        return LedgerUnavailable("the database is too slow")

    async def _attempt(self, batch: Sequence[Append]) -> LedgerError | None:
        try:
            await self._write(batch)
        except LedgerError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the outermost boundary of this task: it must outlive any entry
            return LedgerError(f"the ledger cannot keep this entry: {type(error).__name__}")
        return None


def _fail(appends: Sequence[Append], error: LedgerError) -> None:
    """Each with an error of its own: a traceback is no place for others'."""
    for append in appends:
        append.receipt.fail(type(error)(str(error)))

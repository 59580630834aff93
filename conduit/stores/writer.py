"""Group commit: many appends become one transaction, and each still learns its own fate."""

from asyncio import AbstractEventLoop, Event, Future, Task, create_task, get_running_loop
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from conduit.core.errors import LedgerConflict, LedgerError, LedgerUnavailable
from conduit.core.storage import Cap, Entry

Listener = Callable[[str], None]
"""Told of entries that were lost while nobody waited for them, in one of the words below."""

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


class Receipt(Future[None]):
    """The future of an append. A failure at which nobody ever looked is told to the listener, not to stderr."""

    def __init__(self, *, loop: AbstractEventLoop, listener: Listener) -> None:
        super().__init__(loop=loop)
        self._listener = listener

    def fulfil(self) -> None:
        if not self.done():
            self.set_result(None)

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


Write = Callable[[Sequence[Append]], Awaitable[None]]
"""Commits all or nothing. Raises LedgerUnavailable when there is no database to blame the entries, else LedgerError."""


class Writer:
    """One task that writes whatever was queued while it was writing."""

    def __init__(self, write: Write, listener: Listener, *, capacity: int = 20_000, batch: int = 500) -> None:
        """Counted in entries."""
        self._write = write
        self._listener = listener
        self._capacity = capacity
        self._batch = batch
        self._queue: deque[Append] = deque()
        self.queued = 0
        self._wake = Event()
        self._task: Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        if self._task is None or self._task.done():
            self._closing = False
            self._task = create_task(self._run(), name="ledger writer")

    def append(self, entries: tuple[Entry | Cap, ...], *, power_safe: bool) -> Receipt:
        receipt = Receipt(loop=get_running_loop(), listener=self._listener)
        if self._task is None or self._closing:
            receipt.fail(LedgerUnavailable("the ledger is not open"))
        elif self.queued + len(entries) > self._capacity:
            receipt.fail(LedgerUnavailable("the ledger's queue is full: the database is too slow or away"))
        else:
            self._queue.append(Append(entries, power_safe, receipt))
            self.queued += len(entries)
            self._wake.set()
        return receipt

    async def close(self) -> None:
        """What is queued is written first."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._queue or not self._closing:
            if self._queue:
                await self._settle(self._take())
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self) -> list[Append]:
        taken: list[Append] = []
        size = 0
        while self._queue and (not taken or size + len(self._queue[0].entries) <= self._batch):
            taken.append(self._queue.popleft())
            size += len(taken[-1].entries)
        self.queued -= size
        return taken

    async def _settle(self, batch: Sequence[Append]) -> None:
        """A batch that is refused is halved until the guilty stand alone. The order is kept."""
        error = await self._attempt(batch)
        if error is None:
            for append in batch:
                append.receipt.fulfil()
        elif len(batch) == 1 or isinstance(error, LedgerUnavailable):
            for append in batch:
                append.receipt.fail(type(error)(str(error)))
        else:
            half = len(batch) // 2
            await self._settle(batch[:half])
            await self._settle(batch[half:])

    async def _attempt(self, batch: Sequence[Append]) -> LedgerError | None:
        try:
            await self._write(batch)
        except LedgerError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the outermost boundary of this task: it must outlive any entry
            return LedgerError(f"the ledger cannot keep this entry: {type(error).__name__}")
        return None

"""The way of appends while the database is away: into a local SQLite ledger, and from there, in their order, into the
ledger proper."""

import os
from asyncio import AbstractEventLoop, Event, Task, create_task, get_running_loop, sleep, timeout
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from conduit.core.errors import LedgerConflict, LedgerError, LedgerUnavailable
from conduit.core.storage import Cap, Entry, Standby
from conduit.routing.decision import Decision, Outcome
from conduit.routing.errors import ConfigurationError
from conduit.stores.files import former_spool, spool
from conduit.stores.files.former_spool import FormerSpoolFile
from conduit.stores.files.spool import NO_ROOM, SpoolFile, SpoolFull, try_out
from conduit.stores.sql import rows
from conduit.stores.sql.rows import Rows

T = TypeVar("T")
AT_ONCE = 100
"""Appends that are replayed in one transaction."""
RETRY_S = 0.5
"""Between tries while the database is away."""
ADOPT_S = 5.0
"""Between looks for what dead processes have left."""
HANDOVER_S = 1.0
"""So long an append waits for the last few before it, so that it need not go this way."""
TRIES = 3
"""Of an append that is refused because somebody wrote the same: the next try finds that it is there."""

FULL = "spool_full"
BROKEN = "spool_broken"
DAMAGED = "spool_damaged"
LOST = "spool_refused"

Replay = Callable[[Sequence[Rows]], Awaitable[None]]
"""Writes those appends that are not in the ledger yet, all or nothing; raises LedgerError."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Where files wait, and how large one may become."""

    folder: Path
    most_bytes: int
    name: str
    """With which those of this process's own files begin: of no other process that is or was."""
    required: bool = False
    """Whether it is a mistake when the folder cannot be used."""


class SpoolWriter:
    """`busy`: what is appended now must go this way, for something waits here that was appended before it."""

    def __init__(self, terms: Terms, replay: Replay, listener: Callable[[str], None]) -> None:
        self._terms, self._replay, self._listener = terms, replay, listener
        self._files = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._file: SpoolFile | None = None
        self._made = 0
        self._task: Task[None] | None = None
        self._news = Event()
        self._open = Event()
        self._open.set()
        self.waiting = 0
        """Appends of this process that are not in the ledger yet."""
        self.away = False
        """Whether the last try to write them failed."""
        self.full = False
        """Whether the next append would be lost, for the last one was, and nothing has shown since that it need not."""
        self._over = False
        """Whether the limit was reached: then nothing is taken until something has left."""

    @property
    def busy(self) -> bool:
        return self.waiting > 0

    @property
    def standby(self) -> Standby:
        if self.full:
            return Standby.FULL
        return Standby.BUSY if self.busy else Standby.READY

    async def open(self) -> None:
        """What dead processes have left is in the ledger when this returns. Raises LedgerUnavailable, and
        ConfigurationError."""
        await self._io(self._usable)
        await self._adopt()
        if self._task is None or self._task.done():
            self._task = create_task(self._run(), name="spool")

    async def ready(self) -> None:
        """When the last few that wait are written: else whoever comes while they are would wait behind them, and the
        next behind that, for as long as there is traffic."""
        if not self._open.is_set():
            with suppress(TimeoutError):
                async with timeout(HANDOVER_S):
                    await self._open.wait()

    async def keep(self, appends: Sequence[tuple[Entry | Cap, ...]]) -> None:
        """All or none; they survive whatever happens to this process. Raises LedgerUnavailable."""
        if self._over and self.busy:
            self._no_room(FULL)
        if not self.busy:  # whoever begins to come this way has found the other one closed
            self.away = True
        self.waiting += len(appends)
        try:
            await self._io(partial(self._append, appends))
        except BaseException as error:
            self.waiting -= len(appends)
            self._over = isinstance(error, SpoolFull)
            if isinstance(error, SpoolFull | OSError):
                self._no_room(FULL if self._over else BROKEN)
            raise
        self.full = False
        self._news.set()

    def passed_by(self) -> None:
        """An append went straight into the ledger."""
        if not self.busy:
            self.full = self._over = False

    async def behind(self) -> bool:
        """Whether any process that keeps its file here waits to write it."""
        return self.busy or bool(await self._io(partial(left_behind, self._terms.folder)))

    @property
    def size(self) -> int:
        """Bytes that wait."""
        file = self._file
        return file.size if file is not None and self.busy else 0

    async def close(self) -> None:
        """What waits stays in its file: the next process writes it."""
        if self._task is not None:
            self._task.cancel()
            with suppress(BaseException):
                await self._task
            self._task = None
        if self._file is not None:
            await self._io(self._file.close)
            self._file = None
        self.waiting = 0

    # -------------------------------------------------------------- to the file

    def _usable(self) -> None:
        """Whether files can be made there. It is not made before it is needed."""
        folder = self._terms.folder
        try:
            if self._terms.required:
                folder.mkdir(parents=True, exist_ok=True)
            there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
            usable, why = os.access(there, os.W_OK | os.X_OK), "cannot be written to"
        except OSError as error:
            usable, why = False, f"cannot be made: {error.strerror}"
        if usable:
            return
        if self._terms.required:
            raise ConfigurationError(f"SPOOL_PATH: the folder {folder} {why}")
        self._listener(BROKEN)

    def _append(self, appends: Sequence[tuple[Entry | Cap, ...]]) -> None:
        if self._file is None:
            self._made += 1
            name = f"{self._terms.name}-{self._made}"
            self._file = SpoolFile.make(self._terms.folder, name, most_bytes=self._terms.most_bytes)
        kept = [[entry for entry in append if not isinstance(entry, Cap)] for append in appends]
        self._file.append([list(map(rows.row, append)) for append in kept])

    def _remove(self, file: SpoolFile) -> None:
        """What is kept from here on is in another one."""
        file.remove()
        self._file = None

    def _no_room(self, word: str) -> NoReturn:
        if not self.full:
            self._listener(word)
        self.full = True
        raise LedgerUnavailable("neither the ledger nor the spool can take this") from None

    # -------------------------------------------------------------- and from there

    async def _run(self) -> None:
        """Until cancelled. What goes wrong with a file is announced, and tried again."""
        while True:
            self._news.clear()
            try:
                if self.full:
                    await self._look_for_room()
                if self._file is not None and self.busy:
                    await self._drain_own(self._file)
                await self._adopt()
            except LedgerUnavailable:
                self.away = self.busy
                await self._rest(RETRY_S)
            except Exception:  # noqa: BLE001  a loop in the background: without it nothing is ever written again
                self._listener(BROKEN)
                await self._rest(RETRY_S)
            else:
                await self._rest(0.0 if self.busy else ADOPT_S)

    async def _look_for_room(self) -> None:
        """A gateway that is not ready is sent nothing, so that no append finds out that there is room again. Raises
        LedgerUnavailable."""
        if self._over and self.busy:  # until something has left
            return
        try:
            await self._io(partial(try_out, self._terms.folder, self._terms.name))
            usable = not self._over  # else it is too small for anything
        except OSError as error:
            if error.errno in NO_ROOM:
                return
            usable = False
        if not usable:
            await self._replay(())  # it is up to the ledger alone
        self.full = self._over = False

    async def _rest(self, seconds: float) -> None:
        if self.away:  # more that waits is no news of the database
            await sleep(seconds)
            return
        with suppress(TimeoutError):
            async with timeout(seconds):
                await self._news.wait()

    async def _drain_own(self, file: SpoolFile) -> None:
        try:
            while self.busy:
                appends = await self._io(partial(file.peek, AT_ONCE))
                if len(appends) < AT_ONCE and not self.away:
                    self._open.clear()
                await self._pass_on(file, appends)
            # Whatever is kept from here on is queued behind this in the one thread of the files.
            await self._io(partial(self._remove, file))
        except ValueError:
            await self._lose(file)
        finally:
            self._open.set()

    async def _pass_on(self, file: SpoolFile, appends: Sequence[Rows]) -> None:
        if appends:
            await self._write(appends)
            self.away = self.full = self._over = False
        file.advance()
        self.waiting -= len(appends)

    async def _lose(self, file: SpoolFile) -> None:
        """Its disk gives back something else than was written."""
        self._file, self.waiting = None, 0
        self._damaged(await self._io(file.set_aside))

    async def _adopt(self) -> None:
        for path in await self._io(partial(left_behind, self._terms.folder)):
            if self._file is not None and path == self._file.path:
                continue
            adopt = FormerSpoolFile.adopt if path.suffix == former_spool.SUFFIX else SpoolFile.adopt
            file = await self._io(partial(adopt, path))
            if file is not None:
                await self._take_over(file)

    async def _take_over(self, file: SpoolFile | FormerSpoolFile) -> None:
        try:
            whole = await self._drained(file) and file.whole
        except BaseException:
            await self._io(file.close)
            raise
        if whole:
            await self._io(file.remove)
        else:
            self._damaged(await self._io(file.set_aside))

    async def _drained(self, file: SpoolFile | FormerSpoolFile) -> bool:
        """Whether all could be read. Of a damaged file one at a time: what stands beside the damage is still there."""
        try:
            while appends := await self._io(partial(file.peek, AT_ONCE if file.whole else 1)):
                await self._write(appends)
                file.advance()
        except ValueError:
            return False
        return True

    def _damaged(self, kept: Path) -> None:
        self._listener(f"{DAMAGED}: set aside as {kept.name}")

    async def _write(self, appends: Sequence[Rows]) -> None:
        """Those that are refused are halved until the guilty stand alone. Raises LedgerUnavailable."""
        error: LedgerError | None = None
        for _ in range(TRIES):
            try:
                await self._replay(appends)
            except LedgerUnavailable:
                raise
            except LedgerConflict as conflict:
                error = conflict
            except LedgerError as refusal:
                error = refusal
                break
            else:
                return
        assert error is not None
        if len(appends) == 1:
            self._listener(LOST)
            return
        half = len(appends) // 2
        await self._write(appends[:half])
        await self._write(appends[half:])

    async def _io(self, work: Callable[[], T]) -> T:
        loop: AbstractEventLoop = get_running_loop()
        return await loop.run_in_executor(self._files, work)


def left_behind(folder: Path) -> list[Path]:
    """Files of all processes that use `folder`, with something in them; the oldest names first."""
    try:
        return sorted(
            path for path in folder.iterdir() if spool.has_something(path) or former_spool.has_something(path)
        )
    except OSError:
        return []


def can_wait(entries: Sequence[Entry | Cap], *, power_safe: bool) -> bool:
    """Whether an append may go this way: what somebody waits for to be acknowledged may not, nor what is a condition;
    and it must have a name by which it is known whether it was written."""
    named = any(isinstance(entry, Decision | Outcome) for entry in entries)
    return named and not power_safe and not any(isinstance(entry, Cap) for entry in entries)

"""The ledger in SQLite or PostgreSQL."""

from asyncio import Future
from collections.abc import Mapping, Sequence
from functools import partial

from conduit.core.storage import Cap, Entry, Place, Standby, Totals, Unreadable
from conduit.routing.decision import Observation, Record
from conduit.routing.errors import ConduitError, ConfigurationError
from conduit.stores.files.spool_writer import SpoolWriter, Terms
from conduit.stores.sql import days, key_totals, migrate, queries
from conduit.stores.sql.address import File, Server, address
from conduit.stores.sql.database import Database, T, Work
from conduit.stores.sql.rows import Rows
from conduit.stores.sql.sqlite import FileDatabase
from conduit.stores.sql.texts import Redact, Redacting
from conduit.stores.sql.translation import DRIVER_ERRORS, in_our_words, meaning, misconfigured
from conduit.stores.sql.writer import Append, Listener, Writer, nobody


class SqlLedger:
    """`url` is sqlite:///path or postgresql://user:password@host/database; `listener` is told of entries that were lost
    while nobody waited for them. With a `spool`, what is not power-safe waits there when the database did not take it
    within `patience_s`. Unless it `migrates`, an older schema is refused. Texts of prompts are kept as `redact`
    leaves them."""

    def __init__(
        self,
        url: str,
        *,
        listener: Listener = nobody,
        busy_timeout_s: float = 5.0,
        spool: Terms | None = None,
        patience_s: float = 2.0,
        migrates: bool = True,
        redact: Redact | None = None,
    ) -> None:
        self._address, self._migrates = address(url), migrates
        self._database = _database(self._address, busy_timeout_s=busy_timeout_s)
        self._spool_writer = None if spool is None else SpoolWriter(spool, self._replay, listener)
        prepare = None if redact is None else Redacting(redact)
        self._writer = Writer(
            self._commit, listener, spool_writer=self._spool_writer, patience_s=patience_s, prepare=prepare
        )

    async def open(self) -> None:
        """May be called again after it failed. Raises ConfigurationError when waiting cannot help."""
        refusal = await self._refusal()
        if refusal is not None:
            await self._database.close()
            raise refusal
        if self._spool_writer is not None:
            await self._spool_writer.open()
        self._writer.start()

    def append(self, *entries: Entry | Cap, power_safe: bool = False) -> Future[Place]:
        return self._writer.append(entries, power_safe=power_safe)

    @property
    def queued(self) -> int:
        """Entries that wait to be written."""
        return self._writer.queued

    @property
    def spooled(self) -> int:
        """Bytes that wait in this process's spool."""
        return 0 if self._spool_writer is None else self._spool_writer.size

    @property
    def standby(self) -> Standby:
        return Standby.NONE if self._spool_writer is None else self._spool_writer.standby

    async def behind(self) -> bool:
        return self._spool_writer is not None and await self._spool_writer.behind()

    @property
    def database(self) -> Database:
        """For others who keep something beside the ledger: it is open while the ledger is."""
        return self._database

    async def find(self, name: str, *, key_id: str | None = None) -> Record | None:
        return await self._read(partial(queries.find, name=name, key_id=key_id))

    async def requested(self, request_id: str, *, key_id: str | None) -> Record | None:
        return await self._read(partial(queries.requested, request_id=request_id, key_id=key_id))

    async def recent(self, *, limit: int, before: str | None = None, key_id: str | None = None) -> Sequence[Record]:
        return await self._read(partial(queries.recent, limit=limit, before=before, key_id=key_id))

    async def observations(self, *, after: int, limit: int) -> Sequence[tuple[int, Observation | Unreadable]]:
        return await self._read(partial(queries.observed, after=after, limit=limit))

    async def now_s(self) -> float | None:
        return None if isinstance(self._address, File) else await self._read(queries.now_s)

    async def prompts(self, names: Sequence[str]) -> Mapping[str, str]:
        return await self._read(partial(queries.prompts, names=names))

    async def taught(self, *, key_id: str | None, model: str, since_s: float) -> float:
        return await self._read(partial(queries.taught, key_id=key_id, model=model, since_s=since_s))

    async def latest(self, session_id: str, *, key_id: str | None, before: str | None = None) -> Record | None:
        return await self._read(partial(queries.latest, session_id=session_id, key_id=key_id, before=before))

    async def totals(self, *, key_id: str | None = None) -> Totals:
        return await self._read(days.totals if key_id is None else partial(key_totals.totals, key_id=key_id))

    async def check(self) -> bool:
        found = await self._read(migrate.checked)
        return found is not None and found >= migrate.HEAD

    async def revision(self) -> str | None:
        """Of the schema as it is found; None: there is none. Raises LedgerError and ConfigurationError."""
        refusal = None
        try:
            return await self._database.read(migrate.revision)
        except DRIVER_ERRORS as error:
            refusal = self._refused(error)
        raise refusal  # out here, so that not even its context remembers the driver

    async def close(self) -> None:
        await self._writer.close()
        if self._spool_writer is not None:
            await self._spool_writer.close()
        await self._database.close()

    async def _refusal(self) -> ConduitError | None:
        """Why the database cannot be used, if it cannot; without the driver's error, not even as a context."""
        try:
            await self._database.prepare()
            await migrate.migrate(self._database, may=self._migrates)
        except ConfigurationError as error:
            return error
        except DRIVER_ERRORS as error:
            return self._refused(error)
        return None

    def _refused(self, error: BaseException) -> ConduitError:
        where = self._address
        reason = misconfigured(error, where.passed_on if isinstance(where, Server) else ())
        return ConfigurationError(f"DATABASE_URL: {self._address} {reason}") if reason else meaning(error)

    async def _read(self, work: Work[T]) -> T:
        with in_our_words():
            return await self._database.read(work)

    async def _commit(self, batch: Sequence[Append]) -> None:
        entries = [entry for append in batch for entry in append.entries]
        with in_our_words():
            await self._database.write(
                partial(queries.write, entries=entries), power_safe=any(append.power_safe for append in batch)
            )

    async def _replay(self, appends: Sequence[Rows]) -> None:
        with in_our_words():
            await self._database.write(partial(queries.replay, appends=appends), power_safe=True)


def _database(where: File | Server, *, busy_timeout_s: float) -> Database:
    if isinstance(where, File):
        return FileDatabase(where.path, busy_timeout_s=busy_timeout_s)
    from conduit.stores.sql.postgresql import ServerDatabase  # a quarter of the time of a start that may not need it

    return ServerDatabase(where.dsn)

"""Purses in SQLite or PostgreSQL, and in memory: dollars that several processes may spend, and never too many."""

from collections import defaultdict
from functools import partial

from sqlalchemy import Connection, case, select, update
from sqlalchemy.dialects import postgresql, sqlite

from conduit.stores.sql.database import Database
from conduit.stores.sql.tables import purses
from conduit.stores.sql.translation import in_our_words

ROUNDING = 1e-9
"""Of sums of binary fractions, relative to the limit: ten times 0.1 is to fit into 1."""


class SqlSpend:
    """Beside a ledger that is open. What it says survives the death of the process, not of the machine."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, name: str, period: str, *, usd: float, limit_usd: float) -> bool:
        with in_our_words():
            work = partial(_reserve, name=name, period=period, usd=usd, most_usd=_most(usd, limit_usd))
            return await self._database.write(work, power_safe=False)

    async def settle(self, name: str, period: str, *, reserved_usd: float, actual_usd: float) -> None:
        with in_our_words():
            work = partial(_add, name=name, period=period, usd=actual_usd - reserved_usd)
            await self._database.write(work, power_safe=False)

    async def spent(self, name: str, period: str) -> float:
        with in_our_words():
            return await self._database.read(partial(_spent, name=name, period=period))


class MemorySpend:
    """The same, for one process; gone with it."""

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], float] = defaultdict(float)

    async def reserve(self, name: str, period: str, *, usd: float, limit_usd: float) -> bool:
        fits = self._spent[name, period] <= _most(usd, limit_usd)
        if fits:
            self._spent[name, period] += usd
        return fits

    async def settle(self, name: str, period: str, *, reserved_usd: float, actual_usd: float) -> None:
        self._spent[name, period] = max(0.0, self._spent[name, period] + actual_usd - reserved_usd)

    async def spent(self, name: str, period: str) -> float:
        return self._spent.get((name, period), 0.0)


def _most(usd: float, limit_usd: float) -> float:
    """What may have been spent before so that `usd` still fits."""
    return limit_usd * (1.0 + ROUNDING) - usd


def _reserve(connection: Connection, *, name: str, period: str, usd: float, most_usd: float) -> bool:
    """One conditional UPDATE: on PostgreSQL a second one waits for the first and looks at the row again; SQLite has one
    writer anyhow."""
    made = postgresql.insert(purses) if connection.dialect.name == "postgresql" else sqlite.insert(purses)
    connection.execute(made.values(name=name, period=period, spent_usd=0.0).on_conflict_do_nothing())
    taken = connection.execute(
        update(purses)
        .where(purses.c.name == name, purses.c.period == period, purses.c.spent_usd <= most_usd)
        .values(spent_usd=purses.c.spent_usd + usd)
    )
    return taken.rowcount == 1


def _add(connection: Connection, *, name: str, period: str, usd: float) -> None:
    then = purses.c.spent_usd + usd
    connection.execute(
        update(purses)
        .where(purses.c.name == name, purses.c.period == period)
        .values(spent_usd=case((then < 0.0, 0.0), else_=then))
    )


def _spent(connection: Connection, *, name: str, period: str) -> float:
    found = select(purses.c.spent_usd).where(purses.c.name == name, purses.c.period == period)
    return float(connection.execute(found).scalar() or 0.0)

"""Holds in SQLite or PostgreSQL, and in memory: what running calls may cost at most, beside what purses have spent."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import ColumnElement, Connection, Table, Update, and_, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from conduit.core.budget import Account, Hold, Spent
from conduit.stores.database import Database
from conduit.stores.purse import ROUNDING
from conduit.stores.tables import holds, purses
from conduit.stores.translation import in_our_words

NOTHING = Spent(0.0, 0)


class SqlHolds:
    """Beside a ledger that is open, over its purses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, hold: Hold, *, now_s: float) -> Account | None:
        with in_our_words():
            return await self._database.write(partial(_take, hold=hold, now_s=now_s), power_safe=False)

    async def settle(self, hold: Hold, *, actual_usd: float) -> None:
        with in_our_words():
            await self._database.write(partial(_settle, hold=hold, usd=actual_usd), power_safe=False)

    async def renew(self, ids: Sequence[str], *, until_s: float) -> None:
        with in_our_words():
            await self._database.write(partial(_renew, ids=ids, until_s=until_s), power_safe=False)

    async def spent(self, accounts: Sequence[Account]) -> list[Spent]:
        with in_our_words():
            return await self._database.read(partial(_spent, accounts=accounts))

    async def used(self, accounts: Sequence[Account], *, now_s: float) -> list[float]:
        with in_our_words():
            return await self._database.read(partial(_used, accounts=accounts, now_s=now_s))


class MemoryHolds:
    """The same, for one process; gone with it."""

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], Spent] = {}
        self._held: dict[str, Hold] = {}

    async def take(self, hold: Hold, *, now_s: float) -> Account | None:
        self._held = {id_: each for id_, each in self._held.items() if each.expires_s > now_s}
        for account in sorted(hold.accounts):
            if not _fits(self._used(account, now_s), hold.usd, account):
                return account
        self._held[hold.id] = hold
        return None

    async def settle(self, hold: Hold, *, actual_usd: float) -> None:
        self._held.pop(hold.id, None)
        for account in hold.accounts:
            usd, requests = self._spent.get(account[:2], NOTHING)
            self._spent[account[:2]] = Spent(usd + actual_usd, requests + 1)

    async def renew(self, ids: Sequence[str], *, until_s: float) -> None:
        self._held |= {id_: replace(self._held[id_], expires_s=until_s) for id_ in ids if id_ in self._held}

    async def spent(self, accounts: Sequence[Account]) -> list[Spent]:
        return [self._spent.get(account[:2], NOTHING) for account in accounts]

    async def used(self, accounts: Sequence[Account], *, now_s: float) -> list[float]:
        return [self._used(account, now_s) for account in accounts]

    def _used(self, account: Account, now_s: float) -> float:
        running = [each for each in self._held.values() if each.expires_s > now_s]
        held = sum(each.usd for each in running if account[:2] in {a[:2] for a in each.accounts})
        return self._spent.get(account[:2], NOTHING).usd + held


def _fits(used_usd: float, usd: float, account: Account) -> bool:
    return used_usd + usd <= account.limit_usd * (1.0 + ROUNDING)


def _take(connection: Connection, *, hold: Hold, now_s: float) -> Account | None:
    """Whoever wants of an account waits for its row, always in the same order, and counts when it has it; SQLite has
    one writer anyhow. Nothing is written before everything fits."""
    for account in sorted(hold.accounts):
        _open(connection, account)
        mine = and_(purses.c.name == account.name, purses.c.period == account.period)
        spent = float(connection.execute(select(purses.c.spent_usd).where(mine).with_for_update()).scalar_one())
        theirs = and_(holds.c.name == account.name, holds.c.period == account.period)
        connection.execute(delete(holds).where(theirs, holds.c.expires_s <= now_s))
        held = float(connection.execute(select(func.coalesce(func.sum(holds.c.usd), 0.0)).where(theirs)).scalar_one())
        if not _fits(spent + held, hold.usd, account):
            return account
    rows = [
        {
            "id": hold.id,
            "name": account.name,
            "period": account.period,
            "usd": hold.usd,
            "expires_s": hold.expires_s,
        }
        for account in hold.accounts
    ]
    connection.execute(insert(holds), rows)
    return None


def _open(connection: Connection, account: Account) -> None:
    made = postgresql.insert(purses) if connection.dialect.name == "postgresql" else sqlite.insert(purses)
    connection.execute(
        made.values(name=account.name, period=account.period, spent_usd=0.0, requests=0).on_conflict_do_nothing()
    )


def _settle(connection: Connection, *, hold: Hold, usd: float) -> None:
    for account in sorted(hold.accounts):
        _open(connection, account)
        mine = and_(purses.c.name == account.name, purses.c.period == account.period)
        connection.execute(_paid(mine, usd))
    connection.execute(delete(holds).where(holds.c.id == hold.id))


def _renew(connection: Connection, *, ids: Sequence[str], until_s: float) -> None:
    connection.execute(update(holds).where(holds.c.id.in_(ids)).values(expires_s=until_s))


def _paid(mine: ColumnElement[bool], usd: float) -> Update:
    return update(purses).where(mine).values(spent_usd=purses.c.spent_usd + usd, requests=purses.c.requests + 1)


def _spent(connection: Connection, *, accounts: Sequence[Account]) -> list[Spent]:
    rows = connection.execute(
        select(purses.c.name, purses.c.period, purses.c.spent_usd, purses.c.requests).where(_any_of(purses, accounts))
    )
    spent = {(name, period): Spent(float(usd), int(requests)) for name, period, usd, requests in rows}
    return [spent.get(account[:2], NOTHING) for account in accounts]


def _used(connection: Connection, *, accounts: Sequence[Account], now_s: float) -> list[float]:
    spent = select(purses.c.name, purses.c.period, purses.c.spent_usd).where(_any_of(purses, accounts))
    held = (
        select(holds.c.name, holds.c.period, func.sum(holds.c.usd))
        .where(_any_of(holds, accounts), holds.c.expires_s > now_s)
        .group_by(holds.c.name, holds.c.period)
    )
    used: dict[tuple[str, str], float] = {}
    for name, period, usd in (*connection.execute(spent), *connection.execute(held)):
        used[name, period] = used.get((name, period), 0.0) + float(usd)
    return [used.get(account[:2], 0.0) for account in accounts]


def _any_of(table: Table, accounts: Sequence[Account]) -> ColumnElement[bool]:
    return or_(*(and_(table.c.name == a.name, table.c.period == a.period) for a in accounts))

"""Reservations in SQLite or PostgreSQL, and in memory: what running calls may cost at most."""

from asyncio import Task, create_task
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, Update, and_, case, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from conduit.core.budget import Account, Hold, Spent
from conduit.stores.sql.database import Database
from conduit.stores.sql.spend import ROUNDING
from conduit.stores.sql.tables import holds, purses
from conduit.stores.sql.together import Together
from conduit.stores.sql.translation import in_our_words

NOTHING = Spent(0.0, 0)
Name = tuple[str, str]
"""Of an account, and its period."""


class Take(NamedTuple):
    """Of a hold, if it fits."""

    hold: Hold
    now_s: float


class Settle(NamedTuple):
    """Of a hold; None: it is given back, and nothing was paid."""

    hold: Hold
    usd: float | None


class SqlReservations:
    """Beside a ledger that is open, over its purses. A process waits for the row of an account once, for all of its
    requests that came meanwhile: each for itself they would stand in line for it, with all connections in their hands.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writing: Together[Take | Settle, Account | None] = Together(self._write, unheard=self._give_back)
        self._spending: Together[Sequence[Account], list[Spent]] = Together(self._read_spent)
        self._using: Together[tuple[Sequence[Account], float], list[float]] = Together(self._read_used)
        self._tasks: set[Task[Account | None]] = set()

    async def take(self, hold: Hold, *, now_s: float) -> Account | None:
        return await self._writing.done(Take(hold, now_s))

    async def settle(self, hold: Hold, *, actual_usd: float) -> None:
        await self._writing.done(Settle(hold, actual_usd))

    async def renew(self, ids: Sequence[str], *, until_s: float) -> None:
        with in_our_words():
            await self._database.write(partial(_renew, ids=ids, until_s=until_s), power_safe=False)

    async def spent(self, accounts: Sequence[Account]) -> list[Spent]:
        return await self._spending.done(accounts)

    async def used(self, accounts: Sequence[Account], *, now_s: float) -> list[float]:
        return await self._using.done((accounts, now_s))

    async def _write(self, jobs: Sequence[Take | Settle]) -> Sequence[Account | None]:
        with in_our_words():
            return await self._database.write(partial(_done, jobs=jobs), power_safe=False)

    def _give_back(self, job: Take | Settle, short: Account | None) -> None:
        """Whoever asked for it left while it was taken. What cannot be given back expires."""
        if isinstance(job, Take) and short is None:
            task = create_task(self._writing.done(Settle(job.hold, None)), name="give back a hold")
            self._tasks.add(task)
            task.add_done_callback(self._given_back)

    def _given_back(self, task: Task[Account | None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def _read_spent(self, jobs: Sequence[Sequence[Account]]) -> list[list[Spent]]:
        asked = list({account[:2]: account for accounts in jobs for account in accounts}.values())
        with in_our_words():
            found = await self._database.read(partial(_spent, accounts=asked))
        return [[found.get(account[:2], NOTHING) for account in accounts] for accounts in jobs]

    async def _read_used(self, jobs: Sequence[tuple[Sequence[Account], float]]) -> list[list[float]]:
        asked = list({account[:2]: account for accounts, _ in jobs for account in accounts}.values())
        now_s = min(now_s for _, now_s in jobs)
        with in_our_words():
            found = await self._database.read(partial(_used, accounts=asked, now_s=now_s))
        return [[found.get(account[:2], 0.0) for account in accounts] for accounts, _ in jobs]


class MemoryReservations:
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


def _done(connection: Connection, *, jobs: Sequence[Take | Settle]) -> list[Account | None]:
    """What is over first, for that makes room. Whoever wants of an account waits for its row, always in the same order,
    and counts when it has it; SQLite has one writer anyhow."""
    takes = [job for job in jobs if isinstance(job, Take)]
    spent = _locked(connection, {account[:2] for take in takes for account in take.hold.accounts}) if takes else {}
    for account, paid in _settled(connection, [job for job in jobs if isinstance(job, Settle)]).items():
        if account in spent:
            spent[account] += paid
    short = iter(_taken(connection, takes, spent)) if takes else iter(())
    return [next(short) if isinstance(job, Take) else None for job in jobs]


def _locked(connection: Connection, names: set[Name]) -> dict[Name, float]:
    """What was spent of each account, whose row nobody else changes before we are done."""
    found = _lock(connection, names)
    if missing := names - found.keys():
        made = postgresql.insert(purses) if connection.dialect.name == "postgresql" else sqlite.insert(purses)
        rows = [{"name": name, "period": period, "spent_usd": 0.0, "requests": 0} for name, period in sorted(missing)]
        connection.execute(made.on_conflict_do_nothing(), rows)
        found = _lock(connection, names)
    return found


def _lock(connection: Connection, names: set[Name]) -> dict[Name, float]:
    order: list[ColumnElement[str]] = [purses.c.name, purses.c.period]
    if connection.dialect.name == "postgresql":  # as Python sorts, whatever the language of the database
        order = [column.collate("C") for column in order]
    rows = select(purses.c.name, purses.c.period, purses.c.spent_usd).where(_any_of(purses, sorted(names)))
    return {
        (name, period): float(usd) for name, period, usd in connection.execute(rows.order_by(*order).with_for_update())
    }


def _settled(connection: Connection, jobs: Sequence[Settle]) -> dict[Name, float]:
    """What was paid from each account."""
    paid: dict[Name, Spent] = {}
    for hold, usd in jobs:
        for account in hold.accounts if usd is not None else ():
            before = paid.get(account[:2], NOTHING)
            paid[account[:2]] = Spent(before.usd + (usd or 0.0), before.requests + 1)
    for name in sorted(paid):
        if not connection.execute(_paid(name, paid[name])).rowcount:
            _locked(connection, {name})
            connection.execute(_paid(name, paid[name]))
    if jobs:
        connection.execute(delete(holds).where(holds.c.id.in_([job.hold.id for job in jobs])))
    return {name: each.usd for name, each in paid.items()}


def _taken(connection: Connection, takes: Sequence[Take], spent: Mapping[Name, float]) -> list[Account | None]:
    """Of each hold the account in which there is not enough left: then nothing of it is taken."""
    used = dict(spent)
    for name, usd in _held(connection, sorted(spent), min(take.now_s for take in takes)).items():
        used[name] += usd
    rows: list[dict[str, object]] = []
    answers: list[Account | None] = []
    for hold, _ in takes:
        short = next((a for a in sorted(hold.accounts) if not _fits(used[a[:2]], hold.usd, a)), None)
        answers.append(short)
        for account in hold.accounts if short is None else ():
            used[account[:2]] += hold.usd
            whose = {"id": hold.id, "name": account.name, "period": account.period}
            rows.append({**whose, "usd": hold.usd, "expires_s": hold.expires_s})
    if rows:
        connection.execute(insert(holds), rows)
    return answers


def _held(connection: Connection, names: Sequence[Name], now_s: float) -> dict[Name, float]:
    """By calls that run; those that have expired are no more."""
    expired = holds.c.expires_s <= now_s
    theirs = _any_of(holds, names)
    usd, old = func.sum(case((expired, 0.0), else_=holds.c.usd)), func.sum(case((expired, 1), else_=0))
    found = connection.execute(
        select(holds.c.name, holds.c.period, usd, old).where(theirs).group_by(holds.c.name, holds.c.period)
    ).all()
    if any(row[3] for row in found):
        connection.execute(delete(holds).where(theirs, expired))
    return {(row[0], row[1]): float(row[2]) for row in found}


def _renew(connection: Connection, *, ids: Sequence[str], until_s: float) -> None:
    connection.execute(update(holds).where(holds.c.id.in_(ids)).values(expires_s=until_s))


def _paid(name: Name, paid: Spent) -> Update:
    return (
        update(purses)
        .where(purses.c.name == name[0], purses.c.period == name[1])
        .values(spent_usd=purses.c.spent_usd + paid.usd, requests=purses.c.requests + paid.requests)
    )


def _spent(connection: Connection, *, accounts: Sequence[Account]) -> dict[Name, Spent]:
    rows = connection.execute(
        select(purses.c.name, purses.c.period, purses.c.spent_usd, purses.c.requests).where(_any_of(purses, accounts))
    )
    return {(name, period): Spent(float(usd), int(requests)) for name, period, usd, requests in rows}


def _used(connection: Connection, *, accounts: Sequence[Account], now_s: float) -> dict[Name, float]:
    spent = select(purses.c.name, purses.c.period, purses.c.spent_usd).where(_any_of(purses, accounts))
    held = (
        select(holds.c.name, holds.c.period, func.sum(holds.c.usd))
        .where(_any_of(holds, accounts), holds.c.expires_s > now_s)
        .group_by(holds.c.name, holds.c.period)
    )
    used: dict[Name, float] = {}
    for name, period, usd in (*connection.execute(spent), *connection.execute(held)):
        used[name, period] = used.get((name, period), 0.0) + float(usd)
    return used


def _any_of(table: Table, accounts: Iterable[Sequence[object]]) -> ColumnElement[bool]:
    return or_(*(and_(table.c.name == each[0], table.c.period == each[1]) for each in accounts))

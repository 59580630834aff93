"""Snapshots of beliefs in SQLite or PostgreSQL, and in memory."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from conduit.routing.snapshot import Recipe, Snapshot
from conduit.stores.sql.database import Database
from conduit.stores.sql.tables import snapshots
from conduit.stores.sql.translation import in_our_words

KEPT = 3
"""Of one recipe, beside those that were set aside."""


class SqlSnapshots:
    """Beside a ledger that is open."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self, *, before: int | None = None) -> tuple[int, Snapshot] | None:
        with in_our_words():
            return await self._database.read(partial(_newest, before=before))

    async def has(self, recipe: Recipe, *, after: int) -> bool:
        with in_our_words():
            return await self._database.read(partial(_has, recipe=recipe, after=after))

    async def save(self, snapshot: Snapshot, *, base: bool = False) -> None:
        with in_our_words():
            await self._database.write(partial(_save, snapshot=snapshot, base=base), power_safe=base)

    async def set_aside(self, number: int, why: str) -> None:
        with in_our_words():
            await self._database.write(partial(_set_aside, number=number, why=why), power_safe=False)


class MemorySnapshots:
    """The same, for one process; gone with it."""

    def __init__(self) -> None:
        self._kept: dict[int, Snapshot] = {}
        self._aside: set[int] = set()
        self._bases: set[int] = set()
        self._written = 0

    async def newest(self, *, before: int | None = None) -> tuple[int, Snapshot] | None:
        numbers = [n for n in self._good() if before is None or n < before]
        return (numbers[-1], self._kept[numbers[-1]]) if numbers else None

    async def has(self, recipe: Recipe, *, after: int) -> bool:
        return any(self._kept[n].recipe == recipe and self._kept[n].position > after for n in self._good())

    async def save(self, snapshot: Snapshot, *, base: bool = False) -> None:
        self._written += 1
        self._kept[self._written] = snapshot
        if base:
            self._bases.add(self._written)
        same = [n for n in self._good() if self._kept[n].recipe == snapshot.recipe]
        bases = [n for n in same if n in self._bases]
        for number in set(same[:-KEPT]) - set(bases[-1:]):
            del self._kept[number]

    async def set_aside(self, number: int, why: str) -> None:  # noqa: ARG002  nobody will read it
        self._aside.add(number)

    def _good(self) -> Sequence[int]:
        return [n for n in sorted(self._kept) if n not in self._aside]


_good = snapshots.c.refused.is_(None)


def _of(recipe: Recipe) -> ColumnElement[bool]:
    c = snapshots.c
    same = (c.policy == recipe.policy, c.features == recipe.features, c.half_life_s == recipe.half_life_s)
    return and_(_good, *same)


def _newest(connection: Connection, *, before: int | None) -> tuple[int, Snapshot] | None:
    statement = select(snapshots).where(_good).order_by(snapshots.c.number.desc()).limit(1)
    if before is not None:
        statement = statement.where(snapshots.c.number < before)
    row = connection.execute(statement).first()
    return None if row is None else (row.number, _snapshot(row))


def _has(connection: Connection, *, recipe: Recipe, after: int) -> bool:
    statement = select(snapshots.c.number).where(_of(recipe), snapshots.c.position > after).limit(1)
    return connection.execute(statement).first() is not None


def _save(connection: Connection, *, snapshot: Snapshot, base: bool) -> None:
    recipe = snapshot.recipe
    connection.execute(
        insert(snapshots).values(
            position=snapshot.position,
            time_s=snapshot.time_s,
            version=snapshot.version,
            policy=recipe.policy,
            features=recipe.features,
            half_life_s=recipe.half_life_s,
            body=snapshot.body,
            checksum=snapshot.checksum,
            base=base,
        )
    )
    newest = select(snapshots.c.number).where(_of(recipe)).order_by(snapshots.c.number.desc()).limit(KEPT)
    kept = [row.number for row in connection.execute(newest)]
    last_base = select(func.max(snapshots.c.number)).where(_of(recipe), snapshots.c.base.is_(True))
    spared = connection.execute(last_base).scalar() or 0
    old = snapshots.c.number < min(kept), snapshots.c.number != spared
    connection.execute(delete(snapshots).where(_of(recipe), *old))


def _set_aside(connection: Connection, *, number: int, why: str) -> None:
    connection.execute(update(snapshots).where(snapshots.c.number == number).values(refused=why))


def _snapshot(row: Any) -> Snapshot:
    recipe = Recipe(row.policy, row.features, row.half_life_s)
    return Snapshot(row.position, row.time_s, row.version, recipe, bytes(row.body), bytes(row.checksum))

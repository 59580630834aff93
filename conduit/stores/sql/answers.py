"""Answers under their Idempotency-Keys, in SQLite or PostgreSQL, and in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from conduit.core.idempotency import Claim, Standing, StoredAnswer
from conduit.stores.sql.database import Database
from conduit.stores.sql.tables import answers
from conduit.stores.sql.translation import in_our_words


class SqlAnswers:
    """Beside a ledger that is open. What it says survives the death of the process, not of the machine."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, claim: Claim, *, now_s: float) -> Standing | None:
        with in_our_words():
            return await self._database.write(partial(_claim, claim=claim, now_s=now_s), power_safe=False)

    async def keep(self, claim: Claim, answer: StoredAnswer, *, until_s: float) -> bool:
        with in_our_words():
            work = partial(_keep, claim=claim, answer=answer, until_s=until_s)
            return await self._database.write(work, power_safe=False)

    async def release(self, claim: Claim) -> None:
        with in_our_words():
            await self._database.write(partial(_release, claim=claim), power_safe=False)

    async def renew(self, ids: Sequence[str], *, until_s: float) -> None:
        with in_our_words():
            await self._database.write(partial(_renew, ids=ids, until_s=until_s), power_safe=False)

    async def sweep(self, *, now_s: float) -> None:
        with in_our_words():
            await self._database.write(partial(_sweep, now_s=now_s), power_safe=False)


@dataclass(frozen=True, slots=True)
class _Held:
    claim: Claim
    answer: StoredAnswer | None = None


class MemoryAnswers:
    """The same, for one process; gone with it."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], _Held] = {}

    async def claim(self, claim: Claim, *, now_s: float) -> Standing | None:
        held = self._held.get((claim.owner, claim.name))
        if held is not None and held.claim.expires_s > now_s:
            return Standing(held.claim.digest, held.answer)
        self._held[claim.owner, claim.name] = _Held(claim)
        return None

    async def keep(self, claim: Claim, answer: StoredAnswer, *, until_s: float) -> bool:
        if not self._is_mine(claim):
            return False
        self._held[claim.owner, claim.name] = _Held(replace(claim, expires_s=until_s), answer)
        return True

    async def release(self, claim: Claim) -> None:
        if self._is_mine(claim):
            del self._held[claim.owner, claim.name]

    async def renew(self, ids: Sequence[str], *, until_s: float) -> None:
        for place, held in self._held.items():
            if held.claim.id in ids and held.answer is None:
                self._held[place] = _Held(replace(held.claim, expires_s=until_s))

    async def sweep(self, *, now_s: float) -> None:
        self._held = {place: held for place, held in self._held.items() if held.claim.expires_s > now_s}

    def _is_mine(self, claim: Claim) -> bool:
        held = self._held.get((claim.owner, claim.name))
        return held is not None and held.claim.id == claim.id and held.answer is None


def _claim(connection: Connection, *, claim: Claim, now_s: float) -> Standing | None:
    """One statement: of two at the same time the second waits for the first, and finds its row."""
    mine = {"claim": claim.id, "digest": claim.digest, "expires_s": claim.expires_s}
    empty = {"status": None, "headers": None, "body": None}
    made = postgresql.insert(answers) if connection.dialect.name == "postgresql" else sqlite.insert(answers)
    taken = made.values(owner=claim.owner, name=claim.name, **mine).on_conflict_do_update(
        index_elements=[answers.c.owner, answers.c.name],
        set_={**mine, **empty},
        where=answers.c.expires_s <= now_s,
    )
    if connection.execute(taken.returning(answers.c.claim)).first() is not None:
        return None
    row = connection.execute(select(answers).where(_at(claim))).first()
    if row is None:  # it was let go between the two statements
        return Standing(claim.digest, None)
    return Standing(bytes(row.digest), _answer(row))


def _keep(connection: Connection, *, claim: Claim, answer: StoredAnswer, until_s: float) -> bool:
    headers = orjson.dumps(answer.headers).decode()
    values = {"status": answer.status, "headers": headers, "body": answer.body, "expires_s": until_s}
    return connection.execute(update(answers).where(_mine(claim)).values(values)).rowcount == 1


def _release(connection: Connection, *, claim: Claim) -> None:
    connection.execute(delete(answers).where(_mine(claim)))


def _renew(connection: Connection, *, ids: Sequence[str], until_s: float) -> None:
    mine = and_(answers.c.claim.in_(ids), answers.c.status.is_(None))
    connection.execute(update(answers).where(mine).values(expires_s=until_s))


def _sweep(connection: Connection, *, now_s: float) -> None:
    connection.execute(delete(answers).where(answers.c.expires_s <= now_s))


def _at(claim: Claim) -> ColumnElement[bool]:
    return and_(answers.c.owner == claim.owner, answers.c.name == claim.name)


def _mine(claim: Claim) -> ColumnElement[bool]:
    """While it runs: another may have it by now, if its lease ended."""
    return and_(_at(claim), answers.c.claim == claim.id, answers.c.status.is_(None))


def _answer(row: Any) -> StoredAnswer | None:
    if row.status is None:
        return None
    headers = tuple((name, value) for name, value in orjson.loads(row.headers))
    return StoredAnswer(row.status, headers, None if row.body is None else bytes(row.body))

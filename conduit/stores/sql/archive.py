"""The ledger decision by decision, in SQLite or PostgreSQL: read whole, and taken in from another."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, or_, select

from conduit.core.errors import LedgerConflict
from conduit.core.storage import EVERYTHING, Entry, Touched, Whole
from conduit.routing.decision import Decision, Observation
from conduit.stores.sql import readable, rows
from conduit.stores.sql.bulk import observe_alone
from conduit.stores.sql.database import Database
from conduit.stores.sql.queries import write
from conduit.stores.sql.tables import decisions, feedback, observations, outcomes
from conduit.stores.sql.translation import in_our_words

TRIES = 5
"""Somebody else may be writing the same entries; each try reads what they wrote."""


class SqlArchive:
    """Beside a ledger that is open. Raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, *, after: str = "", limit: int = 200, touched: Touched = EVERYTHING) -> Sequence[Whole]:
        """The oldest first; `after` is the decision from which to go on."""
        with in_our_words():
            return await self._database.read(partial(_page, after=after, limit=limit, touched=touched))

    async def merge(self, wholes: Sequence[Whole]) -> Mapping[str, int]:
        """Add what is not there, and say how much of each kind that was. An entry is known by its id, an outcome by its
        decision, an observation by its place among those of its decision: the same again changes nothing."""
        for attempt in range(TRIES):
            try:
                with in_our_words():
                    return await self._database.write(partial(_merge, wholes=wholes), power_safe=True)
            except LedgerConflict:
                if attempt == TRIES - 1:
                    raise
        raise AssertionError  # never: the last try returns or raises


def _condition(touched: Touched) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = []
    if touched.key_id is not None:
        conditions.append(decisions.c.key_id == rows.text(touched.key_id))
    if touched.since_s is not None:
        later = [
            select(table.c.decision_id)
            .where(table.c.decision_id == decisions.c.id, table.c.time_s >= touched.since_s)
            .exists()
            for table in (outcomes, feedback)
        ]
        conditions.append(or_(decisions.c.time_s >= touched.since_s, *later))
    return and_(True, *conditions)


def _page(connection: Connection, *, after: str, limit: int, touched: Touched) -> Sequence[Whole]:
    chosen = decisions.c.id > after, _condition(touched)
    statement = select(*readable.columns(decisions)).where(*chosen).order_by(decisions.c.id).limit(limit)
    found = [readable.decision(row) for row in connection.execute(statement)]
    ids = [each.id for each in found]
    ended = {row.decision_id: readable.outcome(row) for row in _of(connection, outcomes, ids)}
    given = _grouped(_of(connection, feedback, ids, feedback.c.revision))
    taught = _grouped(_of(connection, observations, ids, observations.c.position))
    return [
        Whole(
            each,
            ended.get(each.id),
            tuple(revision for row in given[each.id] if (revision := readable.given(row)) is not None),
            tuple(_readable(taught[each.id], each)),
        )
        for each in found
    ]


def _of(connection: Connection, table: Table, ids: Sequence[str], *order: ColumnElement[Any]) -> Sequence[Any]:
    columns = readable.columns(table)
    return connection.execute(select(*columns).where(table.c.decision_id.in_(ids)).order_by(*order)).all()


def _grouped(found: Iterable[Any]) -> defaultdict[str, list[Any]]:
    grouped: defaultdict[str, list[Any]] = defaultdict(list)
    for row in found:
        grouped[row.decision_id].append(row)
    return grouped


def _readable(found: Iterable[Sequence[Any]], decision: Decision) -> Iterator[Observation]:
    for _, *row in found:
        observation = readable.observed(row, decision.context, decision.features)
        if isinstance(observation, Observation):
            yield observation


def _merge(connection: Connection, *, wholes: Sequence[Whole]) -> Mapping[str, int]:
    observe_alone(connection)
    ids = [each.decision.id for each in wholes]
    known = _known(connection, decisions.c.id, ids)
    ended = _known(connection, outcomes.c.decision_id, ids)
    given = {
        (row.decision_id, row.revision)
        for row in connection.execute(
            select(feedback.c.decision_id, feedback.c.revision).where(feedback.c.decision_id.in_(ids))
        )
    }
    observed = observations.c.decision_id
    counts = select(observed, func.count()).where(observed.in_(ids)).group_by(observed)
    taught: dict[str, int] = {row[0]: row[1] for row in connection.execute(counts)}
    new: list[Entry] = []
    for each in wholes:
        name = each.decision.id
        new += [] if name in known else [each.decision]
        new += [] if each.outcome is None or name in ended else [each.outcome]
        new += [one for one in each.feedback if (name, one.revision) not in given]
        new += each.observations[taught.get(name, 0) :]
    write(connection, new)
    return Counter(type(entry).__name__.lower() for entry in new)


def _known(connection: Connection, column: ColumnElement[str], ids: Sequence[str]) -> set[str]:
    return set(connection.execute(select(column).where(column.in_(ids))).scalars())

"""What the ledger asks of its tables."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.dialects import sqlite

from conduit.core.errors import LedgerConflict
from conduit.core.storage import ROUNDING, Cap, Entry, Unreadable
from conduit.routing.decision import Observation, Record
from conduit.stores.sql import bulk, days, readable, rows, tables
from conduit.stores.sql.tables import decisions, feedback, observations, outcomes

HOUR_S = 3600.0
"""Over which a cap counts: twice it, for those whose clocks are a little ahead."""
_decision_end = len(decisions.columns)
_outcome_end = _decision_end + len(outcomes.columns)

_latest = feedback.alias("latest")
_later = feedback.alias("later")


def _with_ends(*columns: ColumnElement[Any]) -> Select[Any]:
    """Of decisions these columns, and all of what became of them."""
    revisions = select(func.max(_later.c.revision)).where(_later.c.decision_id == decisions.c.id).scalar_subquery()
    latest = and_(_latest.c.decision_id == decisions.c.id, _latest.c.revision == revisions)
    return (
        select(*columns, *readable.columns(outcomes), *map(readable.column, _latest.c))
        .select_from(decisions)
        .outerjoin(outcomes, outcomes.c.decision_id == decisions.c.id)
        .outerjoin(_latest, latest)
    )


_records = _with_ends(*readable.columns(decisions))
_light = _with_ends(*readable.columns(decisions, without=frozenset({"prompt"})))
"""Without texts, which may be many times the rest."""

_observations = (
    select(*readable.columns(observations), *map(readable.column, (decisions.c.context, decisions.c.features)))
    .join(decisions, decisions.c.id == observations.c.decision_id)
    .where(observations.c.position > bindparam("after"))
    .order_by(observations.c.position)
    .limit(bindparam("most", type_=Integer))
)

_teaching = and_(
    text("latest.weight > 0"),  # as the index says it: with a parameter for 0 it would not be used
    _latest.c.model.is_not(None),
    ~select(_later.c.id)
    .where(_later.c.decision_id == _latest.c.decision_id, _later.c.revision > _latest.c.revision)
    .exists(),
)
_taught = select(func.coalesce(func.sum(_latest.c.weight), 0.0)).where(_teaching)


def write(connection: Connection, entries: Sequence[Entry | Cap]) -> None:
    kept = [entry for entry in entries if not isinstance(entry, Cap)]
    caps = [entry for entry in entries if isinstance(entry, Cap)]
    _write(connection, map(rows.row, kept), caps)


def replay(connection: Connection, appends: Sequence[rows.Rows]) -> None:
    """Those that are not there yet. An append was written whole or not at all: it is there when the decision or the
    outcome that it names is."""
    there = {table: _known(connection, table, appends) for table in (decisions, outcomes)}
    missing: list[tuple[Table, rows.Row]] = []
    for append in appends:
        names = [(table, row[_key(table)]) for table, row in append if table in there]
        if any(name in there[table] for table, name in names):
            continue
        for table, name in names:
            there[table].add(name)
        missing += append
    _write(connection, missing, ())


def _known(connection: Connection, table: Table, appends: Sequence[rows.Rows]) -> set[object]:
    column = table.c[_key(table)]
    names = {row[column.name] for append in appends for each, row in append if each is table}
    return set(connection.execute(select(column).where(column.in_(names))).scalars()) if names else set()


def _key(table: Table) -> str:
    return "id" if table is decisions else "decision_id"


def _write(connection: Connection, kept: Iterable[tuple[Table, rows.Row]], caps: Sequence[Cap]) -> None:
    by_table: dict[Table, list[rows.Row]] = defaultdict(list)
    for table, row in kept:
        by_table[table].append(row)
    # Two processes that wrote the same revisions in different orders would wait for each other.
    by_table[feedback].sort(key=lambda row: (row["decision_id"], row["revision"]))
    counted = days.counted(connection, by_table)
    if connection.dialect.name == "postgresql":
        bulk.insert(connection, {**by_table, tables.days: counted}, alone=bool(caps))
        _hold(connection, caps)
        return
    for table in (decisions, outcomes, feedback):
        _insert_into(connection, table, by_table[table])
    _insert_into(connection, observations, _of_decisions(connection, by_table))
    _hold(connection, caps)
    days.add(connection, counted)


def find(connection: Connection, name: str, key_id: str | None) -> Record | None:
    name, records = rows.text(name), _of_key(_records, key_id)
    return _one(connection, records.where(decisions.c.id == name)) or _one(
        connection,
        records.where(outcomes.c.response_id == name).order_by(decisions.c.id.desc()).limit(1),
    )


def requested(connection: Connection, request_id: str, key_id: str | None) -> Record | None:
    asked = _records.where(decisions.c.request_id == rows.text(request_id), _under(key_id))
    return _one(connection, asked.order_by(decisions.c.id.desc()).limit(1))


def recent(connection: Connection, limit: int, before: str | None, key_id: str | None) -> Sequence[Record]:
    statement = _of_key(_light, key_id).order_by(decisions.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(decisions.c.id < rows.text(before))
    return [_record(row) for row in connection.execute(statement)]


def _of_key(statement: Select[Any], key_id: str | None) -> Select[Any]:
    return statement if key_id is None else statement.where(decisions.c.key_id == rows.text(key_id))


def _under(key_id: str | None) -> ColumnElement[bool]:
    return decisions.c.key_id.is_(None) if key_id is None else decisions.c.key_id == rows.text(key_id)


def observed(connection: Connection, after: int, limit: int) -> Sequence[tuple[int, Observation | Unreadable]]:
    found = connection.execute(_observations, {"after": after, "most": limit})
    return [readable.observation(row) for row in found]


def now_s(connection: Connection) -> float:
    """By the server's clock; SQLite has none of its own."""
    return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())


def prompts(connection: Connection, names: Sequence[str]) -> Mapping[str, str]:
    kept = select(decisions.c.id, readable.column(decisions.c.prompt)).where(
        decisions.c.id.in_(names), decisions.c.prompt.is_not(None)
    )
    return {row.id: row.prompt for row in connection.execute(kept) if isinstance(row.prompt, str)}


def taught(connection: Connection, key_id: str | None, model: str, since_s: float) -> float:
    given = _taught.where(
        _latest.c.key_id.is_(None) if key_id is None else _latest.c.key_id == rows.text(key_id),
        _latest.c.model == rows.text(model),
        _latest.c.time_s > since_s,
        _latest.c.time_s < since_s + 2 * HOUR_S,  # what a clock that was ahead has written counts for no other hour
    )
    return float(connection.execute(given).scalar_one())


def latest(connection: Connection, session_id: str, key_id: str | None, before: str | None) -> Record | None:
    statement = _light.where(decisions.c.session_id == rows.text(session_id), _under(key_id))
    if before is not None:
        statement = statement.where(decisions.c.id < rows.text(before))
    return _one(connection, statement.order_by(decisions.c.id.desc()).limit(1))


def _insert_into(connection: Connection, table: Table, values: Sequence[rows.Row]) -> None:
    """As SQLite's driver takes it: nobody need look at each value of each row before."""
    if values:
        names = [column.name for column in tables.own_columns(table)]
        connection.exec_driver_sql(_into(table), [tuple(row[name] for name in names) for row in values])


@cache
def _into(table: Table) -> str:
    columns = [column.name for column in tables.own_columns(table)]
    return str(insert(table).compile(dialect=sqlite.dialect(), column_keys=columns))


def _of_decisions(connection: Connection, by_table: Mapping[Table, Sequence[rows.Row]]) -> Sequence[rows.Row]:
    """The observations whose decision is there: see bulk.py."""
    observed = by_table[observations]
    there = {row["id"] for row in by_table[decisions]}
    asked = {row["decision_id"] for row in observed} - there
    if asked:
        there |= set(connection.execute(select(decisions.c.id).where(decisions.c.id.in_(asked))).scalars())
    return [row for row in observed if row["decision_id"] in there]


def _hold(connection: Connection, caps: Iterable[Cap]) -> None:
    """All caps of a transaction, one look for each key and model: the strictest of them."""
    strictest: dict[tuple[str | None, str], Cap] = {}
    for cap in caps:
        other = strictest.get((cap.key_id, cap.model), cap)
        since_s, weight = min(cap.since_s, other.since_s), min(cap.weight, other.weight)
        strictest[cap.key_id, cap.model] = Cap(cap.key_id, cap.model, since_s, weight)
    for cap in strictest.values():
        if taught(connection, cap.key_id, cap.model, cap.since_s) > cap.weight + ROUNDING:
            raise LedgerConflict("others taught at the same time")


def _one(connection: Connection, statement: Select[Any]) -> Record | None:
    row = connection.execute(statement).first()
    return None if row is None else _record(row)


def _record(row: Sequence[Any]) -> Record:
    outcome, latest = row[_decision_end:_outcome_end], row[_outcome_end:]
    return Record(
        decision=readable.decision(row[:_decision_end]),
        outcome=None if outcome[0] is None else readable.outcome(outcome),
        feedback=None if latest[0] is None else readable.given(latest),
    )

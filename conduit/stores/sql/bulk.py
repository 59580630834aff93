"""All rows of a transaction in one statement of PostgreSQL.

What is put together here are the names of our own tables and columns; every value is a parameter.

A statement is two journeys to the server, and whoever comes back from one waits until the event loop has a moment: with
one for each table a transaction took several times as long as the server worked on it.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import orjson
from sqlalchemy import Column, Connection, Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import TextClause

from conduit.stores.sql.rows import Row
from conduit.stores.sql.tables import SCHEMA, days, decisions, feedback, observations, outcomes, own_columns

OBSERVING = 0x636F6E64756974
"""The name of a lock: "conduit" as a number."""
MOST_IDLE_MS = "10000"
"""Between two statements of a transaction that holds it."""
ALONE = f"set_config('idle_in_transaction_session_timeout', :most_idle_ms, true), pg_advisory_xact_lock({OBSERVING})"
"""Positions are given at the insert and seen at the commit. Were two processes between the two at once, a reader could
see the later one first, go on from there, and never fold the earlier. A process that froze, or that the network lost,
would keep all others waiting: the server ends its transaction."""
NOW_S = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
BOUNDED = f"CASE WHEN rows.time_s > {NOW_S} + 60 THEN {NOW_S} ELSE rows.time_s END"
"""One clock for all: what a machine writes that is more than a minute ahead of the database is of now."""

_first = (decisions, outcomes, feedback)
_dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


def insert(connection: Connection, by_table: Mapping[Table, Sequence[Row]], *, alone: bool) -> None:
    """What has names first; then observations, under the lock; then days, which are added up. Two processes that took
    these in different orders would wait for each other. `alone`: the lock is wanted even without observations."""
    tables = tuple(table for table in (*_first, observations, days) if by_table.get(table))
    alone = alone or observations in tables
    if tables or alone:
        values: dict[str, object] = {"most_idle_ms": MOST_IDLE_MS} if alone else {}
        values |= {table.name: _json(by_table[table]) for table in tables}
        connection.execute(_statement(tables, alone), values)


def observe_alone(connection: Connection) -> None:
    """Take the lock before anything is read. SQLite has one writer anyhow."""
    if connection.dialect.name == "postgresql":
        insert(connection, {}, alone=True)


def _json(rows: Sequence[Row]) -> str:
    """One parameter for a table: the driver looks at each element of an array several times."""
    return orjson.dumps(rows, default=_blob).decode()


def _blob(value: object) -> str:
    """As PostgreSQL reads bytes."""
    assert isinstance(value, bytes)
    return f"\\x{value.hex()}"


@cache
def _statement(tables: Sequence[Table], alone: bool) -> TextClause:
    """Each of `tables` with its rows. Who reads the count of another's rows comes after it."""
    parts = [f"{table.name}_in AS ({_insert(table)} RETURNING 1)" for table in tables if table in _first]
    after = [f"(SELECT count(*) FROM {table.name}_in) >= 0" for table in tables if table in _first]  # nosec B608
    if alone:
        parts.append(f"alone AS MATERIALIZED (SELECT {ALONE} WHERE {' AND '.join(after) or 'true'})")
        after = ["(SELECT count(*) FROM alone) >= 0"]
    if observations in tables:
        parts.append(f"observations_in AS ({_observe(new=decisions in tables)})")
    last = _add_up(after) if days in tables else f"SELECT 1 WHERE {' AND '.join(after)}"
    return text(f"WITH {', '.join(parts)} {last}")  # nosemgrep: no-composed-sql


def _add_up(after: Sequence[str]) -> str:
    keys = [column.name for column in days.primary_key]
    grown = ", ".join(f"{c.name} = {days.name}.{c.name} + excluded.{c.name}" for c in days.columns if not c.primary_key)
    return f"{_insert(days)} WHERE {' AND '.join(after)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {grown}"  # nosec B608


def _insert(table: Table) -> str:
    """Without what comes after the rows."""
    names = ", ".join(column.name for column in own_columns(table))
    typed = ", ".join(f"{column.name} {_type(column)}" for column in own_columns(table))
    rows = f"json_to_recordset(CAST(:{table.name} AS json)) AS rows ({typed})"
    values = ", ".join(BOUNDED if column.name == "time_s" else f"rows.{column.name}" for column in own_columns(table))
    return f"INSERT INTO {SCHEMA}.{table.name} ({names}) SELECT {values} FROM {rows}"  # nosec B608


def _observe(*, new: bool) -> str:
    """The observations whose decision is there. Without its context one teaches nothing, and who read past it would
    never see it again, should the decision come later. A decision may be missing where it was lost or refused."""
    # Of a plain EXISTS the server may make a hash of the whole table, while it has no statistics of it yet.
    there = f"(SELECT id FROM {SCHEMA}.decisions WHERE id = rows.decision_id) IS NOT NULL"  # nosec B608
    if new:  # what this very statement inserts, it does not see
        inserted = f"SELECT id FROM json_to_recordset(CAST(:{decisions.name} AS json)) AS new (id text)"  # nosec B608
        there = f"rows.decision_id IN ({inserted}) OR {there}"
    return f"{_insert(observations)} CROSS JOIN alone WHERE {there}"


def _type(column: Column[object]) -> str:
    return column.type.compile(_dialect).split(" COLLATE")[0]

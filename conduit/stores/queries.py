"""What the ledger asks of its tables."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, Table, and_, func, insert, select

from conduit.core.decision import Observation, Status
from conduit.core.protocols import Entry, Record, Totals
from conduit.stores import rows
from conduit.stores.tables import decisions, feedback, observations, outcomes

OBSERVING = 0x636F6E64756974
"""The name of a lock: "conduit" as a number."""

_decision_end = len(decisions.columns)
_outcome_end = _decision_end + len(outcomes.columns)

_latest = feedback.alias("latest")
_later = feedback.alias("later")

_records = (
    select(decisions, outcomes, _latest)
    .outerjoin(outcomes, outcomes.c.decision_id == decisions.c.id)
    .outerjoin(
        _latest,
        and_(
            _latest.c.decision_id == decisions.c.id,
            _latest.c.revision
            == select(func.max(_later.c.revision)).where(_later.c.decision_id == decisions.c.id).scalar_subquery(),
        ),
    )
)

_observed = decisions.c.context, decisions.c.features
_observations = select(observations, *_observed).join(decisions, decisions.c.id == observations.c.decision_id)

_outcomes = select(
    outcomes.c.model,
    outcomes.c.status,
    func.count().label("calls"),
    func.count(outcomes.c.cost_usd).label("priced"),
    func.coalesce(func.sum(outcomes.c.cost_usd), 0.0).label("cost_usd"),
    func.sum(outcomes.c.latency_s).label("latency_s"),
).group_by(outcomes.c.model, outcomes.c.status)

_ratings = select(func.count(), func.avg(_latest.c.quality)).where(
    ~select(_later.c.id)
    .where(_later.c.decision_id == _latest.c.decision_id, _later.c.revision > _latest.c.revision)
    .exists()
)


def write(connection: Connection, entries: Iterable[Entry]) -> None:
    by_table: dict[Table, list[rows.Row]] = defaultdict(list)
    for entry in entries:
        table, row = rows.row(entry)
        by_table[table].append(row)
    # Two processes that wrote the same revisions in different orders would wait for each other.
    by_table[feedback].sort(key=lambda row: (row["decision_id"], row["revision"]))
    for table in (decisions, outcomes, feedback):
        _insert(connection, table, by_table[table])
    if by_table[observations]:
        _observe_alone(connection)
        _insert(connection, observations, by_table[observations])


def find(connection: Connection, name: str) -> Record | None:
    name = rows.text(name)
    return _one(connection, _records.where(decisions.c.id == name)) or _one(
        connection,
        _records.where(outcomes.c.response_id == name).order_by(decisions.c.id.desc()).limit(1),
    )


def recent(connection: Connection, limit: int, before: str | None) -> Sequence[Record]:
    statement = _records.order_by(decisions.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(decisions.c.id < rows.text(before))
    return [_record(row) for row in connection.execute(statement)]


def observed(connection: Connection, after: int, limit: int) -> Sequence[tuple[int, Observation]]:
    position = observations.c.position
    statement = _observations.where(position > after).order_by(position).limit(limit)
    return [rows.observation(row) for row in connection.execute(statement)]


def totals(connection: Connection) -> Totals:
    ended = connection.execute(_outcomes).all()
    answers = [row for row in ended if row.status == Status.ANSWERED]
    answered = sum(row.calls for row in answers)
    rated, quality = connection.execute(_ratings).one()
    return Totals(
        decisions=connection.execute(select(func.count()).select_from(decisions)).scalar_one(),
        answered=answered,
        failed=sum(row.calls for row in ended if row.status == Status.FAILED),
        cost_usd=sum((row.cost_usd for row in ended), 0.0),
        unpriced=sum(row.calls - row.priced for row in answers),
        latency_s=sum(row.latency_s for row in answers) / answered if answered else 0.0,
        by_model={row.model: row.calls for row in answers},
        rated=rated,
        quality=quality,
    )


def check(connection: Connection) -> None:
    connection.execute(select(decisions.c.id).limit(1)).first()


def _insert(connection: Connection, table: Table, values: list[rows.Row]) -> None:
    if values:
        connection.execute(insert(table), values)


def _observe_alone(connection: Connection) -> None:
    """Positions are given at the insert and seen at the commit. Were two processes between the two at once, a reader
    could see the later one first, go on from there, and never fold the earlier. SQLite has one writer anyhow."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(OBSERVING)))


def _one(connection: Connection, statement: Select[Any]) -> Record | None:
    row = connection.execute(statement).first()
    return None if row is None else _record(row)


def _record(row: Sequence[Any]) -> Record:
    outcome, latest = row[_decision_end:_outcome_end], row[_outcome_end:]
    return Record(
        decision=rows.decision(row[:_decision_end]),
        outcome=None if outcome[0] is None else rows.outcome(outcome),
        feedback=None if latest[0] is None else rows.given(latest),
    )

"""What each day came to: counted in the transaction that writes, so that nobody has to walk the ledger for it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Executable, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite

from conduit.core.storage import Totals
from conduit.routing.decision import Status
from conduit.stores.sql.rows import Row
from conduit.stores.sql.tables import days, decisions, feedback, outcomes

DAY_S = 86400.0
DECISIONS, RATED = "decisions", "rated"
"""Kinds beside the statuses of outcomes."""
FIGURES = ("n", "priced", "cost_usd", "latency_s", "weight", "worth")
Key = tuple[int, str, str]
Counts = defaultdict[Key, list[float]]


def counted(connection: Connection, written: Mapping[Table, Sequence[Row]]) -> list[Row]:
    """What is to be added up, in one order for everybody: others wait for what they count too."""
    counts: Counts = defaultdict(lambda: [0] * len(FIGURES))
    for row in written.get(decisions, ()):
        _add(counts, (_day(row), DECISIONS, ""), (1, 0, 0, 0, 0, 0))
    for row in written.get(outcomes, ()):
        cost_usd = row["cost_usd"]
        figures = (1, cost_usd is not None, cost_usd or 0.0, row["latency_s"], 0, 0)
        _add(counts, (_day(row), str(row["status"]), str(row["model"])), figures)
    _count_ratings(connection, written.get(feedback, ()), counts)
    return [
        {"day": day, "kind": kind, "model": model, **dict(zip(FIGURES, figures, strict=True))}
        for (day, kind, model), figures in sorted(counts.items())
    ]


def add(connection: Connection, values: Sequence[Row]) -> None:
    """After all else, for others wait until this transaction is over."""
    if values:
        connection.execute(_add_up(connection.dialect.name), list(values))


@cache
def _add_up(dialect: str) -> Executable:
    """Made once: making it costs as much as inserting the decisions of a transaction."""
    statement: Any = (postgresql if dialect == "postgresql" else sqlite).insert(days)
    grown = {name: days.c[name] + statement.excluded[name] for name in FIGURES}
    upsert: Executable = statement.on_conflict_do_update(index_elements=["day", "kind", "model"], set_=grown)
    return upsert


def _count_ratings(connection: Connection, given: Sequence[Row], counts: Counts) -> None:
    """A revision takes the place of the one before it, on the day of that one."""
    revised = [str(row["decision_id"]) for row in given if int(str(row["revision"])) > 1]
    earlier: dict[tuple[object, int], Any] = {(row["decision_id"], int(str(row["revision"]))): row for row in given}
    if revised:
        found = connection.execute(select(feedback).where(feedback.c.decision_id.in_(revised))).mappings()
        earlier |= {(row["decision_id"], row["revision"]): row for row in found}
    for row in given:
        _add_rating(counts, row, 1)
        before = earlier.get((row["decision_id"], int(str(row["revision"])) - 1))
        if before is not None:
            _add_rating(counts, before, -1)


def _add_rating(counts: Counts, row: Mapping[str, Any], sign: int) -> None:
    if row["model"] is not None and row["weight"] > 0:
        weight = sign * row["weight"]
        _add(counts, (_day(row), RATED, str(row["model"])), (sign, 0, 0, 0, weight, weight * row["quality"]))


def _add(counts: Counts, key: Key, figures: Iterable[Any]) -> None:
    counts[key] = [one + other for one, other in zip(counts[key], figures, strict=True)]


def _day(row: Mapping[str, Any]) -> int:
    return int(row["time_s"] // DAY_S)


_sums = select(days.c.kind, days.c.model, *(func.sum(days.c[name]).label(name) for name in FIGURES)).group_by(
    days.c.kind, days.c.model
)


def totals(connection: Connection) -> Totals:
    """Of as many rows as there were days, times models."""
    found = [row for row in connection.execute(_sums) if row.n]
    by_kind = {kind: [row for row in found if row.kind == kind] for kind in {row.kind for row in found}}
    answers = by_kind.get(Status.ANSWERED, [])
    ended = [row for status in Status for row in by_kind.get(status, [])]
    rated = by_kind.get(RATED, [])
    answered, weight = _of(answers, "n"), _of(rated, "weight")
    return Totals(
        decisions=int(_of(by_kind.get(DECISIONS, []), "n")),
        answered=int(answered),
        cached=int(_of(by_kind.get(Status.CACHED, []), "n")),
        failed=int(_of(by_kind.get(Status.FAILED, []), "n")),
        cost_usd=_of(ended, "cost_usd"),
        unpriced=int(answered - _of(answers, "priced")),
        latency_s=_of(answers, "latency_s") / answered if answered else 0.0,
        by_model={row.model: int(row.n) for row in answers},
        rated=int(_of(rated, "n")),
        quality=_of(rated, "worth") / weight if weight else None,
    )


def _of(found: Iterable[Any], name: str) -> float:
    return float(sum((getattr(row, name) for row in found), 0))

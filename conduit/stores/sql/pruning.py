"""Old decisions go, with all that became of them; what each day came to stays."""

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection, delete, func, select

from conduit.stores.sql.database import Database
from conduit.stores.sql.tables import decisions, feedback, observations, outcomes
from conduit.stores.sql.translation import in_our_words

AT_ONCE = 500
"""Decisions a transaction: writers wait for no more."""


class SqlPruning:
    """Beside a ledger that is open. Raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self) -> int:
        """Position of the last observation that there is."""
        with in_our_words():
            return await self._database.read(_newest)

    async def remove(self, *, before_s: float, up_to: int, after: str = "") -> Sequence[str]:
        """The next few decisions made before `before_s`, from `after` on, that taught nothing after the position
        `up_to`; all entries of them go in one transaction. Their ids; none: there are no more."""
        work = partial(_remove, before_s=before_s, up_to=up_to, after=after)
        with in_our_words():
            return await self._database.write(work, power_safe=False)


def _newest(connection: Connection) -> int:
    return connection.execute(select(func.max(observations.c.position))).scalar() or 0


def _remove(connection: Connection, *, before_s: float, up_to: int, after: str) -> Sequence[str]:
    later = (
        select(observations.c.position)
        .where(observations.c.decision_id == decisions.c.id, observations.c.position > up_to)
        .exists()
    )
    # By id, which begins with the time: the index ends the search. Others' ids are as they like.
    old = decisions.c.id > after, decisions.c.id < id_at(before_s), decisions.c.time_s < before_s
    ids = list(
        connection.execute(select(decisions.c.id).where(*old, ~later).order_by(decisions.c.id).limit(AT_ONCE)).scalars()
    )
    if ids:
        for table in (observations, feedback, outcomes):
            connection.execute(delete(table).where(table.c.decision_id.in_(ids)))
        connection.execute(delete(decisions).where(decisions.c.id.in_(ids)))
    return ids


def id_at(time_s: float) -> str:
    """Sorted after the ids of all decisions made before: see TimeOrderedIds."""
    return f"dec_{int(time_s * 1000) + 1:012x}"

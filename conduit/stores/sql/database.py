"""What the ledger needs of a database: a place to run work in transactions."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")
Work = Callable[[Connection], T]
"""Plain statements. The same work runs in a thread on SQLite, and on a driver of the event loop on PostgreSQL."""


class Database(Protocol):
    """Raises what the driver raises."""

    async def prepare(self) -> None:
        """Before the first transaction of all."""
        ...

    async def read(self, work: Work[T]) -> T: ...

    async def write(self, work: Work[T], *, power_safe: bool) -> T:
        """Returns after the commit; `power_safe`: after the disk has it."""
        ...

    async def close(self) -> None:
        """It may be used again."""
        ...

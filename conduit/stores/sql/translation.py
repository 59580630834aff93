"""What a driver's error means to the ledger, in our own words: a driver's may quote a password or a prompt."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from conduit.core.errors import LedgerConflict, LedgerError, LedgerUnavailable

UNIQUE_VIOLATION = "23505"
BAD_VALUE = ("22", "23")
"""Classes of SQLSTATE: data exception, integrity constraint violation."""
MISCONFIGURED = ("28", "3D000", "42501")
"""Authorization, no such database, no privilege."""
UNKNOWN_PARAMETER = frozenset({"42704", "22023", "08P01"})
"""Of a server or a pooler that is greeted with a setting it does not know, or with a value that is none."""

SQLITE_CONFLICTS = frozenset({sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY})
SQLITE_BAD_VALUE = frozenset({sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG})
SQLITE_MISCONFIGURED = {
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_PERM: "may not be opened",
    sqlite3.SQLITE_READONLY: "cannot be written to",
    sqlite3.SQLITE_NOTADB: "is no SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
}
SQLITE_AWAY = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_FULL: "has no room: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written",
    **SQLITE_MISCONFIGURED,
}

DRIVER_ERRORS = (SQLAlchemyError, OSError, TimeoutError)


@contextmanager
def in_our_words() -> Iterator[None]:
    """Around everything that talks to a database."""
    refusal = None
    try:
        yield
    except DRIVER_ERRORS as error:
        refusal = meaning(error)
    if refusal is not None:
        raise refusal  # out here, so that not even its context remembers the driver


def meaning(error: BaseException) -> LedgerError:
    code, state = _sqlite_code(error), sqlstate(error)
    if code in SQLITE_CONFLICTS or state == UNIQUE_VIOLATION:
        return LedgerConflict("somebody wrote that entry before")
    if _blames_the_value(error, code & 0xFF, state):
        return LedgerError("the database cannot keep that value")
    return LedgerUnavailable(f"the database {SQLITE_AWAY.get(code & 0xFF, 'does not answer')}")


def misconfigured(error: BaseException, passed_on: Sequence[str] = ()) -> str | None:
    """Why waiting will not help, or None when it may. `passed_on`: names of parameters that the server was told."""
    code, state = _sqlite_code(error), sqlstate(error)
    if state.startswith(MISCONFIGURED):
        return "refuses this user or has no such database"
    if passed_on and state in UNKNOWN_PARAMETER:
        return f"refuses a parameter of the URL: take out {' or '.join(passed_on)}, or give it another value"
    if isinstance(_driver_error(error), ValueError):
        return "cannot be reached with this URL"
    if isinstance(error, PermissionError):  # asyncpg looks for a password file and for certificates at home
        return "needs a file that may not be read: look at HOME, and at what the URL says of certificates"
    return SQLITE_MISCONFIGURED.get(code & 0xFF)


def _blames_the_value(error: BaseException, code: int, state: str) -> bool:
    if code in SQLITE_BAD_VALUE or state.startswith(BAD_VALUE):
        return True
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        return True  # it never reached the driver
    return isinstance(_driver_error(error), ValueError)  # asyncpg's, before anything was sent


def _driver_error(error: BaseException) -> BaseException | None:
    origin = getattr(error, "orig", None)
    try:
        return getattr(origin, "driver_exception", None) or origin
    except ValueError:  # of a statement that was kept while its tables changed SQLAlchemy keeps it as the cause only
        return origin and origin.__cause__


def _sqlite_code(error: BaseException) -> int:
    """Extended; its low byte is the plain one."""
    return int(getattr(_driver_error(error), "sqlite_errorcode", 0))


def sqlstate(error: BaseException) -> str:
    return str(getattr(_driver_error(error), "sqlstate", None) or "")

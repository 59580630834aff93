"""The ledger as JSON lines: a heading, and then a line for each decision with all that became of it."""

import base64
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import IO, Any, Protocol

import orjson
from sqlalchemy import BigInteger, Boolean, Double, Integer, LargeBinary, Table

from conduit.core.storage import Whole
from conduit.core.validation import Wholes
from conduit.routing.errors import ConfigurationError
from conduit.stores.sql import rows
from conduit.stores.sql.rows import JSON
from conduit.stores.sql.tables import decisions, feedback, observations, outcomes

HEADING = {"format": "conduit ledger", "version": 1}
IMPLIED = frozenset({"position", "decision_id"})
"""Of an observation."""
MOST_INT = 2**63 - 1
Data = Mapping[str, Any]
WRONG = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What is raised of data that cannot have come from an export."""


class Sink(Protocol):
    def put(self, wholes: Sequence[Whole]) -> None: ...


@contextmanager
def lines_to(path: Path) -> Iterator[Sink]:
    with _opened(path, "wb") as file:
        file.write(orjson.dumps(HEADING) + b"\n")
        yield _Lines(file)


class _Lines:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def put(self, wholes: Sequence[Whole]) -> None:
        self._file.writelines(orjson.dumps(data_of(each)) + b"\n" for each in wholes)


def lines_from(path: Path) -> Iterator[Whole]:
    """Raises ConfigurationError that names the line and the field."""
    number, wholes = 1, Wholes()
    try:
        with _opened(path, "rb") as file:
            _look_at_heading(orjson.loads(next(file, b"{}")))
            for line in file:
                number += 1
                if line.strip():
                    yield wholes.checked(whole_of(orjson.loads(line)))
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except WRONG as error:
        raise ConfigurationError(f"{path}, line {number}: {what(error)}") from None


def _look_at_heading(data: Any) -> None:
    if not isinstance(data, dict) or data.get("format") != HEADING["format"]:
        raise ValueError('this is no ledger: it does not begin with {"format": "conduit ledger"}')
    if data.get("version") != HEADING["version"]:
        raise ValueError(f"this is version {data.get('version')}; this Conduit reads version {HEADING['version']}")


def what(error: Exception) -> str:
    """In plain words."""
    if isinstance(error, orjson.JSONDecodeError):
        return f"this is not valid JSON ({error.msg}, character {error.colno})"
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    if isinstance(error, TypeError | AttributeError | OverflowError):
        return "this is no decision of a ledger: a part of it has another form than an export writes"
    return str(error)


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[IO[bytes]]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, mode) as file:
        yield file


# ------------------------------------------------------------------ one decision


def data_of(whole: Whole) -> dict[str, Any]:
    """Columns as they are kept, JSON as JSON, and bytes in base64."""
    return {
        "decision": _out(rows.row(whole.decision)[1]),
        "outcome": None if whole.outcome is None else _out(rows.row(whole.outcome)[1]),
        "feedback": [_out(rows.row(each)[1]) for each in whole.feedback],
        "observations": [_out(rows.row(each)[1], without=IMPLIED) for each in whole.observations],
    }


def whole_of(data: Data) -> Whole:
    """The inverse. Raises WRONG when it cannot have come from there."""
    decision = rows.decision(_in(decisions, data["decision"], "decision"))
    ended, context = data["outcome"], rows.row(decision)[1]["context"]
    taught = [
        _in(observations, {**each, "position": 0, "decision_id": decision.id}, "observations")
        for each in data["observations"]
    ]
    whole = Whole(
        decision,
        None if ended is None else rows.outcome(_in(outcomes, ended, "outcome")),
        tuple(rows.given(_in(feedback, each, "feedback")) for each in data["feedback"]),
        tuple(rows.observation([*each, context, decision.features])[1] for each in taught),
    )
    foreign = {each.decision_id for each in (whole.outcome, *whole.feedback) if each is not None} - {decision.id}
    if foreign:
        raise ValueError("an outcome or a feedback of another decision stands in this line")
    return whole


def _out(row: rows.Row, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    return {name: _shown(name, value) for name, value in row.items() if name not in without}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return orjson.loads(value) if name in JSON and value is not None else value


def _in(table: Table, data: Data, what: str) -> list[Any]:
    """In the order of the columns. What an older Conduit did not keep is null where it may be."""
    unknown = set(data) - set(table.columns.keys())
    if unknown:
        raise ValueError(f"{what}.{min(unknown)}: not known to this Conduit")
    return [_read(column, data, f"{what}.{column.name}") for column in table.columns]


def _read(column: Any, data: Data, where: str) -> Any:
    value = data.get(column.name)
    if value is None:
        if column.nullable:
            return None
        raise ValueError(f"{where}: must not be null")
    if column.name in JSON:
        return orjson.dumps(value).decode()
    kinds = {Double: (float, int), Boolean: (bool,), BigInteger: (int,), Integer: (int,)}
    wanted = kinds.get(type(column.type), (str,))
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise ValueError(f"{where}: must be {' or '.join(kind.__name__ for kind in wanted)}")
    if isinstance(value, int) and abs(value) > MOST_INT:
        raise ValueError(f"{where}: too large")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{where}: must be finite")
    if isinstance(column.type, LargeBinary):
        return base64.b64decode(str(value), validate=True)
    return float(value) if isinstance(column.type, Double) else value

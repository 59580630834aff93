"""The ledger as Parquet, for who analyses it: a row for each decision, its outcome beside it; pyarrow is an extra."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Double, LargeBinary

from conduit.core.storage import Whole
from conduit.core.validation import Wholes
from conduit.routing.errors import ConfigurationError
from conduit.stores.files.jsonl import HEADING, WRONG, Sink, data_of, what, whole_of
from conduit.stores.sql.rows import JSON
from conduit.stores.sql.tables import decisions, outcomes

OF_OUTCOME = "outcome_"
NESTED = ("feedback", "observations")
"""As JSON: their number differs from row to row."""
BLOBS = tuple(column.name for column in decisions.columns if isinstance(column.type, LargeBinary))
AT_ONCE = 200


@contextmanager
def parquet_to(path: Path) -> Iterator[Sink]:
    """Raises ConfigurationError without pyarrow."""
    pa, pq = _pyarrow()
    schema = _schema(pa)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield _Rows(writer, pa, schema)


class _Rows:
    """Collected into groups: a row group of few rows is hardly compressed."""

    def __init__(self, writer: Any, pa: Any, schema: Any) -> None:
        self._writer, self._pa, self._schema = writer, pa, schema

    def put(self, wholes: Sequence[Whole]) -> None:
        found = [_flat(data_of(each)) for each in wholes]
        self._writer.write_batch(self._pa.RecordBatch.from_pylist(found, schema=self._schema))


def parquet_from(path: Path) -> Iterator[Whole]:
    """Raises ConfigurationError that names the row."""
    pa, pq = _pyarrow()
    number, wholes = 0, Wholes()
    try:
        with pq.ParquetFile(path) as file:
            _look_at(file.schema_arrow.metadata or {})
            for batch in file.iter_batches(AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield wholes.checked(whole_of(_nested(row)))
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or 'this is no Parquet file'}") from None
    except WRONG as error:
        raise ConfigurationError(f"{path}, row {number}: {what(error)}") from None


def _look_at(metadata: dict[bytes, bytes]) -> None:
    if metadata.get(b"conduit") != orjson.dumps(HEADING):
        raise ValueError(f"this is no ledger of version {HEADING['version']}")


def _flat(data: dict[str, Any]) -> dict[str, Any]:
    ended = data["outcome"] or {}
    columns = {**data["decision"], **{f"{OF_OUTCOME}{name}": value for name, value in ended.items()}}
    flat = {name: _text(value) if _is_json(name) else value for name, value in columns.items()}
    blobs = {name: _bytes(columns.get(name)) for name in BLOBS}
    return flat | blobs | {name: orjson.dumps(data[name]).decode() for name in NESTED}


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    row = {name: orjson.loads(value) if _is_json(name) and value is not None else value for name, value in row.items()}
    for name in BLOBS:
        row[name] = None if row.get(name) is None else base64.b64encode(row[name]).decode()
    ended = {name: row.get(f"{OF_OUTCOME}{name}") for name in outcomes.columns.keys()}  # noqa: SIM118  iterating columns gives columns
    return {
        "decision": {name: row.get(name) for name in decisions.columns.keys()},  # noqa: SIM118
        "outcome": None if ended["decision_id"] is None else ended,
        **{name: orjson.loads(row[name]) for name in NESTED},
    }


def _is_json(name: str) -> bool:
    return name.removeprefix(OF_OUTCOME) in JSON


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value)


def _text(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _schema(pa: Any) -> Any:
    kinds = {Double: pa.float64(), Boolean: pa.bool_(), BigInteger: pa.int64(), LargeBinary: pa.binary()}
    fields = [(column.name, kinds.get(type(column.type), pa.string())) for column in decisions.columns]
    fields += [(f"{OF_OUTCOME}{c.name}", kinds.get(type(c.type), pa.string())) for c in outcomes.columns]
    return pa.schema([*fields, *((name, pa.string()) for name in NESTED)], metadata={"conduit": orjson.dumps(HEADING)})


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise ConfigurationError(
            "Parquet needs pyarrow, which is not installed: pip install 'conduit-router[parquet]'; "
            "or name a file that ends in .jsonl or .jsonl.gz"
        ) from None
    return pa, pq

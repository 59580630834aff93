"""Routing tables: prompts with every model's recorded outcome."""

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from conduit.routing.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Recorded:
    """What one model once made of one prompt."""

    quality: float
    cost_usd: float
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    prompt: str
    outcomes: Mapping[str, Recorded]


def read_table(path: Path) -> list[Row]:
    """A table of JSON lines, gzipped or not, in its own order.

    Raises ConfigurationError that names the line, for a file that is absent, broken, or whose rows differ in models.
    """
    rows = list(_rows(path))
    if not rows:
        raise ConfigurationError(f"{path}: the table is empty")
    names = rows[0].outcomes.keys()
    for number, row in enumerate(rows, 1):
        if row.outcomes.keys() != names:
            raise ConfigurationError(f"{path}, line {number}: its models are not those of line 1")
    return rows


def _rows(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    yield _row(orjson.loads(line))
    except (OSError, EOFError) as error:
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        form = '{"id", "prompt", "outcomes": {model: {"quality", "cost_usd"}}}'
        raise ConfigurationError(f"{path}, line {number}: not of the form {form} ({error})") from None


def _row(data: Any) -> Row:
    return Row(data["id"], data["prompt"], {m: _recorded(o) for m, o in data["outcomes"].items()})


def _recorded(data: Any) -> Recorded:
    quality, cost_usd = float(data["quality"]), float(data["cost_usd"])
    if not (0 <= quality <= 1 and 0 <= cost_usd < float("inf")):
        raise ValueError("quality lies in 0..1 and cost_usd is at least 0")
    latency_s = data.get("latency_s")
    return Recorded(quality, cost_usd, None if latency_s is None else float(latency_s))

"""`conduit replay`: a progress bar, a decisions file, a table."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO

import orjson
from rich.console import Console
from rich.progress import Progress

from conduit.bench.replay import Step, Summary, replay, shuffled, singles
from conduit.bench.tables import read_table
from conduit.cli.console import summary_table
from conduit.routing.errors import ConfigurationError


def run_replay(
    table: Path, *, policy: str, budget_usd: float | None, seed: int, out: Path | None, limit: int | None
) -> None:
    """Raises ConfigurationError for a table or an option that cannot be used."""
    if budget_usd is not None and not 0 < budget_usd < float("inf"):
        raise ConfigurationError(f"--budget-usd: must be above 0, not {budget_usd}")
    rows = shuffled(read_table(table), seed=seed, limit=limit)
    summary = Summary()
    with _opened(out) as file:
        for step in _shown(replay(rows, policy=policy, seed=seed, budget_usd=budget_usd), len(rows)):
            summary.add(step)
            if file is not None:
                file.write(orjson.dumps(step.line(budget_usd=budget_usd, seed=seed)) + b"\n")
    Console().print(summary_table(summary, singles(rows), budget_usd=budget_usd))


def _opened(out: Path | None) -> AbstractContextManager[IO[bytes] | None]:
    if out is None:
        return nullcontext()
    try:
        return out.open("wb")
    except OSError as error:
        raise ConfigurationError(f"--decisions: cannot write {out}: {error.strerror}") from None


def _shown(steps: Iterator[Step], total: int) -> Iterator[Step]:
    """With a progress bar on a terminal, without one in a pipe."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from steps
        return
    with Progress(console=console, transient=True) as progress:
        yield from progress.track(steps, total=total, description="replaying")

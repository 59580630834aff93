"""`conduit savings`: what was saved on the ledger's own traffic, with intervals."""

import asyncio
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conduit.assemble.conduit import Conduit
from conduit.gateway.stats.stats import recent
from conduit.routing.errors import ConfigurationError
from conduit.routing.savings import LEAST, LEVEL, Account, Savings, account


def run_savings(conduit: Conduit, *, baseline: str | None, last: int, as_json: bool) -> None:
    """Raises ConfigurationError for a baseline that is not there."""
    against = baseline or conduit.stats.baseline
    if against not in conduit.router.catalogue:
        known = ", ".join(model.name for model in conduit.router.catalogue)
        raise ConfigurationError(f"--baseline: no model is called {against!r}; there are {known}")
    found = asyncio.run(_reckoned(conduit, against, last=last))
    if as_json:
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())  # noqa: T201  for a program to read
        return
    Console().print(savings_table(found), footnote(found), sep="\n", highlight=False)


async def _reckoned(conduit: Conduit, against: str, *, last: int) -> Account:
    await conduit.ledger.open()
    try:
        await conduit.follower.begin()
        records = await recent(conduit.ledger, last=last)
    finally:
        await conduit.stop()
    return account(records, router=conduit.router, baseline=against)


def savings_table(found: Account) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("against always")
    for heading in ("USD/1000", f"{LEVEL:.0%} interval", "requests"):
        table.add_column(heading, justify="right")
    table.add_row(f"{found.baseline} (baseline)", *_cells(found.against_baseline))
    if found.best is not None:
        table.add_row(f"{found.best} (best)", *_cells(found.against_best))
    return table


def _cells(savings: Savings | None) -> tuple[str, ...]:
    if savings is None:
        return "no conclusion", "", ""
    value, low, high = (1000 * usd for usd in (savings.value, savings.low, savings.high))
    return f"{value:+.3f}", f"{low:+.3f} to {high:+.3f}", str(savings.n)


def footnote(found: Account) -> Text:
    said: list[Any] = ["From forecasts and logged probabilities; the best is the one believed to be."]
    if found.against_baseline is None or found.against_best is None:
        said.append(f"{found.requests} priced answers that were routed; {LEAST} are needed, and a known price.")
    return Text("\n".join(said), style="dim")

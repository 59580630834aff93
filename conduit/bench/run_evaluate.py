"""`conduit evaluate`: what another policy would have given on the ledger's own traffic."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from conduit.assemble.conduit import Conduit
from conduit.bench.intervals import LEVEL, Estimate
from conduit.bench.off_policy import LEAST_EFFECTIVE, WARM_UP, Logged, Verdict, evaluate
from conduit.core.beliefs import Beliefs
from conduit.core.catalogue import Catalogue
from conduit.core.errors import ConfigurationError
from conduit.core.query import Preferences
from conduit.core.storage import Record
from conduit.gateway.books import recent


def run_evaluate(conduit: Conduit, *, policy: str, preferences: Preferences, last: int, as_json: bool) -> None:
    """Raises ConfigurationError when there is too little to look at."""
    catalogue, features = conduit.router.catalogue, conduit.router.features
    half_life_s = conduit.router.half_life_s
    beliefs = Beliefs(policy, features, catalogue, half_life_s=half_life_s)  # raises where nobody is called so
    log = asyncio.run(read_log(conduit, last=last))
    if len(log) <= WARM_UP:
        raise ConfigurationError(
            f"the ledger has {len(log)} rated answers that were routed; more than {WARM_UP} are needed"
        )
    verdict = evaluate(log, beliefs=beliefs, catalogue=catalogue, preferences=preferences)
    if as_json:
        print(orjson.dumps(report(verdict, policy), option=orjson.OPT_INDENT_2).decode())  # noqa: T201  for a program to read
        return
    Console().print(verdict_table(verdict, policy), conclusion(verdict, policy), highlight=False)


async def read_log(conduit: Conduit, *, last: int) -> list[Logged]:
    """The last rated answers, the oldest first."""
    await conduit.ledger.open()
    try:
        records = await recent(conduit.ledger, last=last)
    finally:
        await conduit.ledger.close()
    version = conduit.router.features.version
    log = [logged(r, conduit.router.catalogue) for r in reversed(records) if r.decision.features == version]
    return [entry for entry in log if entry is not None]


def logged(record: Record, catalogue: Catalogue) -> Logged | None:
    """None for what cannot be judged: not routed, not rated, answered by a fallback, or among models that are gone."""
    decision, outcome, feedback = record.decision, record.outcome, record.feedback
    if (
        not decision.routed
        or outcome is None
        or feedback is None
        or not feedback.lessons
        or outcome.model != decision.model
    ):
        return None
    candidates = {c.model: c.probability for c in decision.candidates}
    if any(name not in catalogue for name in candidates):
        return None
    observation = decision.observation(
        quality=feedback.quality,
        output_tokens=outcome.output_tokens,
        latency_s=outcome.latency_s,
        cost_usd=outcome.cost_usd,
    )
    return Logged(observation, candidates, outcome.input_tokens or decision.input_tokens)


def report(verdict: Verdict, policy: str) -> dict[str, Any]:
    """What --json prints."""
    return {
        "policy": policy,
        "level": LEVEL,
        **asdict(verdict),
        "concluded": verdict.concluded,
        "effective_needed": LEAST_EFFECTIVE,
        "requests_needed": verdict.requests_needed,
        "days_needed": verdict.days_needed,
    }


def verdict_table(verdict: Verdict, policy: str) -> Table:
    """Whole in 80 columns, but for the longest names."""
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="ellipsis", max_width=26, no_wrap=True)
    for heading in ("quality", f"{LEVEL:.0%} interval", "USD/1000", f"{LEVEL:.0%} interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    quality, cost = verdict.quality, verdict.cost_usd
    table.add_row("as it was served", *_cells(quality.served, cost.served if cost else None))
    table.add_row(f"{policy}:")
    table.add_row("  doubly robust", *_cells(quality.doubly_robust, cost.doubly_robust if cost else None))
    table.add_row("  SNIPS", *_cells(quality.snips, cost.snips if cost else None))
    table.add_row("  less what was served", *_cells(quality.difference, cost.difference if cost else None, sign="+"))
    return table


def _cells(quality: Estimate, cost_usd: Estimate | None, *, sign: str = "") -> Sequence[str]:
    def shown(e: Estimate, times: float) -> list[str]:
        value, low, high = (f"{times * number:{sign}.3f}" for number in (e.value, e.low, e.high))
        return [value, f"{low} to {high}"]

    return [*shown(quality, 1.0), *(shown(cost_usd, 1000.0) if cost_usd else ["", ""])]


def conclusion(verdict: Verdict, policy: str) -> str:
    """A sentence or two, and a refusal where the sample is too thin."""
    size = f"{verdict.requests} rated requests, worth {verdict.effective:.0f} of {policy}'s own"
    if not verdict.concluded:
        days = "" if verdict.days_needed is None else f", {_days(verdict.days_needed)} at the rate of these"
        need = f"{LEAST_EFFECTIVE:.0f} are needed: wait for some {verdict.requests_needed} more rated requests{days}"
        return f"\nNo conclusion: {size}; {need}."
    told = [_compared(verdict.quality.difference, "better", "worse", "quality")]
    if verdict.cost_usd is not None:
        told.append(_compared(verdict.cost_usd.difference, "dearer", "cheaper", "cost"))
    return f"\n{policy} {' and '.join(told)} ({size})."


def _compared(difference: Estimate, more: str, less: str, what: str) -> str:
    if difference.low > 0:
        return f"would have been {more}"
    if difference.high < 0:
        return f"would have been {less}"
    return f"shows no difference in {what}"


def _days(days: float) -> str:
    return (
        f"some {days:.0f} days" if days >= 2 else f"some {days * 24:.0f} hours" if days * 24 >= 1 else "within the hour"
    )

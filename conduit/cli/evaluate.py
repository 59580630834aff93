"""`conduit evaluate`: what another policy would have given on the ledger's own traffic."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from conduit.assemble.conduit import Conduit
from conduit.bench.intervals import LEVEL, Estimate
from conduit.bench.off_policy import LEAST_EFFECTIVE, WARM_UP, Logged, Verdict, evaluate
from conduit.gateway.stats.stats import recent
from conduit.routing.beliefs import Beliefs
from conduit.routing.catalogue import Catalogue
from conduit.routing.decision import Record, Status
from conduit.routing.errors import ConfigurationError
from conduit.routing.query import Preferences


def run_evaluate(conduit: Conduit, *, policy: str, preferences: Preferences, last: int, as_json: bool) -> None:
    """Raises ConfigurationError when there is too little to look at."""
    catalogue, features = conduit.router.catalogue, conduit.router.features
    half_life_s = conduit.router.half_life_s
    beliefs = Beliefs(policy, features, catalogue, half_life_s=half_life_s)  # raises where nobody is called so
    log = asyncio.run(read_log(conduit, last=last))
    if len(log) <= WARM_UP:
        raise ConfigurationError(
            f"the ledger has {len(log)} answers that were routed and rated, or failed; more than {WARM_UP} are needed"
        )
    verdict = evaluate(log, beliefs=beliefs, catalogue=catalogue, preferences=preferences)
    if as_json:
        print(orjson.dumps(report(verdict, policy), option=orjson.OPT_INDENT_2).decode())  # noqa: T201  for a program to read
        return
    Console().print(verdict_table(verdict, policy), conclusion(verdict, policy), highlight=False)


async def read_log(conduit: Conduit, *, last: int) -> list[Logged]:
    """The last answers that were rated, and calls that failed, the oldest first."""
    await conduit.ledger.open()
    try:
        records = await recent(conduit.ledger, last=last)
    finally:
        await conduit.ledger.close()
    version = conduit.router.features.version
    return evidence([r for r in reversed(records) if r.decision.features == version], conduit.router.catalogue)


def evidence(records: Iterable[Record], catalogue: Catalogue) -> list[Logged]:
    """What was rated, and of what failed as large a share as of the answers was rated: every failure is known, and all
    of them beside a few ratings would make every model look worse than it is."""
    routed = [r for r in records if r.decision.routed and _drawn(r) and _within(r, catalogue)]
    answered = [record for record in routed if _answered(record)]
    rated = sum(_quality(record) is not None for record in answered)
    share, due, found = rated / max(len(answered), 1), 0.0, []
    for record in routed:
        if _failed(record):
            due += share
            if due >= 1.0:
                due -= 1.0
                found.append(_logged(record, quality=0.0, weight=1.0))
        elif (quality := _quality(record)) is not None and record.feedback is not None:
            found.append(_logged(record, quality=quality, weight=record.feedback.weight))
    return found


def _within(record: Record, catalogue: Catalogue) -> bool:
    return all(candidate.model in catalogue for candidate in record.decision.candidates)


def _drawn(record: Record) -> bool:
    """With probabilities that can be: rows may have been written by anybody."""
    chances = {c.model: c.probability for c in record.decision.candidates}
    numbers = all(isinstance(chance, int | float) and 0.0 < chance <= 1.0 for chance in chances.values())
    return numbers and record.decision.model in chances


def _answered(record: Record) -> bool:
    """By the model that was drawn."""
    outcome = record.outcome
    return outcome is not None and outcome.status is not Status.FAILED and outcome.model == record.decision.model


def _failed(record: Record) -> bool:
    """The model that was drawn, and not for a reason of others; somebody else may have answered."""
    attempts = record.outcome.attempts if record.outcome is not None else ()
    return any(attempt.counts and attempt.model == record.decision.model for attempt in attempts)


def _quality(record: Record) -> float | None:
    """Of an answer by the model that was drawn; None: not rated."""
    feedback = record.feedback
    return feedback.quality if _answered(record) and feedback is not None and feedback.lessons else None


def _logged(record: Record, *, quality: float, weight: float) -> Logged:
    """A failure with what the request did cost in the end."""
    decision, outcome = record.decision, record.outcome
    assert outcome is not None
    answered = _answered(record)
    observation = decision.observation(
        quality=quality,
        output_tokens=outcome.output_tokens if answered else None,
        latency_s=outcome.latency_s if answered else None,
        cost_usd=outcome.cost_usd if answered else outcome.cost_usd or 0.0,
    )
    candidates = {c.model: c.probability for c in decision.candidates}
    return Logged(replace(observation, weight=weight), candidates, outcome.input_tokens or decision.input_tokens)


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
    size = f"{verdict.requests} requests rated or failed, worth {verdict.effective:.0f} of {policy}'s own"
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

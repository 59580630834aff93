"""`conduit evaluate`: what another policy would have given on the ledger's own traffic."""

import asyncio
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from conduit.assemble import Conduit
from conduit.bench.off_policy import LEAST_EFFECTIVE, LEVEL, WARM_UP, Estimate, Logged, Verdict, evaluate
from conduit.core.beliefs import Beliefs
from conduit.core.catalogue import Catalogue
from conduit.core.errors import ConfigurationError
from conduit.core.protocols import Ledger, Record
from conduit.core.query import Preferences

PAGE = 1000


def run_evaluate(conduit: Conduit, *, policy: str, preferences: Preferences, last: int) -> None:
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
    Console().print(verdict_table(verdict, policy), conclusion(verdict, policy))


async def read_log(conduit: Conduit, *, last: int) -> list[Logged]:
    """The last rated answers, the oldest first."""
    await conduit.ledger.open()
    try:
        records = await _recent(conduit.ledger, last)
    finally:
        await conduit.ledger.close()
    version = conduit.router.features.version
    log = [logged(r, conduit.router.catalogue) for r in reversed(records) if r.decision.features == version]
    return [entry for entry in log if entry is not None]


async def _recent(ledger: Ledger, last: int) -> list[Record]:
    records: list[Record] = []
    while len(records) < last:
        before = records[-1].decision.id if records else None
        page = await ledger.recent(limit=min(PAGE, last - len(records)), before=before)
        if not page:
            break
        records += page
    return records


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
    names = tuple(c.model for c in decision.candidates)
    if any(name not in catalogue for name in names):
        return None
    observation = decision.observation(
        quality=feedback.quality,
        output_tokens=outcome.output_tokens,
        latency_s=outcome.latency_s,
        cost_usd=outcome.cost_usd,
    )
    return Logged(observation, names, decision.propensity, outcome.input_tokens or decision.input_tokens)


def verdict_table(verdict: Verdict, policy: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("", "quality", f"{LEVEL:.0%} interval", "USD per 1000", f"{LEVEL:.0%} interval"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("as it was served", *_cells(verdict.logged_quality, verdict.logged_cost_usd))
    table.add_row(f"{policy}, doubly robust", *_cells(verdict.quality, verdict.cost_usd))
    table.add_row(f"{policy}, SNIPS", *_cells(verdict.quality_snips, None))
    return table


def _cells(quality: Estimate, cost_usd: Estimate | None) -> Sequence[str]:
    cells = [f"{quality.value:.3f}", f"{quality.low:.3f} to {quality.high:.3f}"]
    if cost_usd is None:
        return [*cells, "", ""]
    value, low, high = (1000 * usd for usd in (cost_usd.value, cost_usd.low, cost_usd.high))
    return [*cells, f"{value:.3f}", f"{low:.3f} to {high:.3f}"]


def conclusion(verdict: Verdict, policy: str) -> str:
    """One sentence, and a refusal where the sample is too thin."""
    size = f"{verdict.requests} rated requests, worth {verdict.effective:.0f} of {policy}'s own"
    if not verdict.concluded:
        need = f"{LEAST_EFFECTIVE:.0f} are needed: wait for some {verdict.requests_needed} rated requests"
        return f"\nNo conclusion: {size}; {need}."
    if verdict.quality.low > verdict.logged_quality.high:
        return f"\n{policy} would have been better ({size})."
    if verdict.quality.high < verdict.logged_quality.low:
        return f"\n{policy} would have been worse ({size})."
    return f"\nNo difference in quality that these {size} could show."

"""Off-policy estimates from logged propensities: what another choice would have cost."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from conduit.core.decision import Status
from conduit.core.protocols import Record

LEVEL = 0.9
Z = 1.6449
"""Of the standard normal, for a two-sided interval at LEVEL."""
LEAST_EFFECTIVE = 20.0
"""Below so many effective observations of the baseline nothing is concluded."""


@dataclass(frozen=True, slots=True)
class Estimate:
    value: float
    low: float
    high: float
    level: float
    n: int


def savings(records: Iterable[Record], baseline: str) -> Estimate | None:
    """US dollars a request saved against always asking `baseline`, or None when it was seen too rarely.

    Doubly robust (Dudik et al. 2011, section 3): the cost that was forecast for the baseline, corrected by
    what it really cost where it was drawn, weighted by one over the probability of that draw. The interval is
    the normal one of a mean over requests.
    """
    saved, weights = [], []
    for record in records:
        outcome, decision = record.outcome, record.decision
        forecast = next((c for c in decision.candidates if c.model == baseline), None)
        if not decision.routed or forecast is None or forecast.cost_usd is None:
            continue
        if outcome is None or outcome.status is not Status.ANSWERED or outcome.cost_usd is None:
            continue
        would_cost = forecast.cost_usd
        if outcome.model == decision.model == baseline:
            weight = 1.0 / decision.propensity
            would_cost += weight * (outcome.cost_usd - forecast.cost_usd)
            weights.append(weight)
        saved.append(would_cost - outcome.cost_usd)
    if effective_size(weights) < LEAST_EFFECTIVE:
        return None
    n, mean = len(saved), float(np.mean(saved))
    margin = Z * float(np.std(saved, ddof=1)) / sqrt(n)
    return Estimate(mean, mean - margin, mean + margin, LEVEL, n)


def effective_size(weights: Iterable[float]) -> float:
    """Kish: how many unweighted observations these weights are worth."""
    w = np.fromiter(weights, float)
    return float(w.sum() ** 2 / (w**2).sum()) if w.size else 0.0

"""Preferences -> utility: the one place where dollars and seconds are weighed against quality."""

from collections.abc import Iterable

import numpy as np

from conduit.bandits.policy import Vector
from conduit.core.query import Preferences

REFERENCE_LATENCY_S = 10.0


def penalty(
    preferences: Preferences,
    *,
    cost_usd: Vector,
    latency_s: Vector,
    reference_cost_usd: float,
    shadow_price: float,
) -> Vector:
    """(k,) what asking each model takes away from utility, given (k,) its expected cost and latency.

    Linear in dollars, so that a hundredfold price is a hundredfold penalty. The shadow price is in utility per
    dollar. A latency that is not known (nan) weighs nothing.
    """
    per_dollar = preferences.cost / reference_cost_usd + shadow_price
    seconds = np.where(np.isnan(latency_s), 0.0, latency_s)
    return cost_usd * per_dollar + preferences.latency * seconds / REFERENCE_LATENCY_S


def dollars(costs_usd: Iterable[float | None], otherwise: float) -> Vector:
    """(k,) with what is not known counted as the dearest of the others: unknown is never free."""
    costs = np.array([np.nan if cost is None else cost for cost in costs_usd])
    known = costs[~np.isnan(costs)]
    return np.where(np.isnan(costs), known.max() if known.size else otherwise, costs)

"""Preferences -> utility: the one place where dollars and seconds are weighed against quality."""

import numpy as np

from conduit.bandits.policy import Vector
from conduit.routing.query import Preferences

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
    price = cost_usd * (preferences.cost / reference_cost_usd + shadow_price)
    if preferences.latency == 0.0:
        return price
    return price + np.where(np.isnan(latency_s), 0.0, latency_s) * (preferences.latency / REFERENCE_LATENCY_S)


def dollars(costs_usd: Vector, otherwise: float) -> Vector:
    """(k,) with what is not known (nan) counted as the dearest of the others: unknown is never free."""
    unknown = np.isnan(costs_usd)
    if not unknown.any():
        return costs_usd
    known = costs_usd[~unknown]
    return np.where(unknown, known.max() if known.size else otherwise, costs_usd)

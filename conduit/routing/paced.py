"""What a budget adds to a choice: which models it cannot pay for, and what its pacer is shown."""

import math
from collections.abc import Sequence

import numpy as np

from conduit.bandits.policy import Vector
from conduit.routing.decision import Candidate
from conduit.routing.forecast import Expected
from conduit.routing.protocols import Pacing
from conduit.routing.utility import dollars


def too_dear(expected: Expected, pacer: Pacing | None, reference_cost_usd: float) -> dict[str, str]:
    """Model -> why, for whom one answer would be more than its budget can make up for; never the cheapest. A pacer that
    has seen nothing has a price from here on: as if all were equally good."""
    if pacer is None:
        return {}
    costs = dollars(expected.cost_usd, reference_cost_usd)
    if not pacer.begun:
        pacer.observe(np.full(len(costs), 0.5), costs)
    most = min(pacer.dearest_usd, pacer.room_usd)
    if math.isinf(most):
        return {}
    bound = max(most, float(costs.min()))
    why = f"one answer may cost {bound:.2g} USD under the budget, and would cost "
    return {
        model.name: f"{why}{cost:.2g}"
        for model, cost in zip(expected.models, costs.tolist(), strict=True)
        if cost > bound
    }


def show(
    pacer: Pacing, candidates: Sequence[Candidate], menu: Expected, *, whole: Expected, reference_cost_usd: float
) -> None:
    """What could be had here, and for how much: utility as it is without the shadow price. Not what was left of the
    `whole` menu for want of money: such would be all that it knows when there is money again."""
    costs: Vector = dollars(menu.cost_usd, reference_cost_usd)
    if len(menu.models) < len(whole.models) and pacer.room_usd < pacer.dearest_usd:
        pacer.stint(float(costs.min()))
        return
    utility = np.array([c.utility for c in candidates]) + pacer.price * costs
    drawn = max(c.probability for c in candidates) < 1.0  # where nothing is drawn, doubt moves no choice
    width = np.array([c.quality_sd if drawn else 0.0 for c in candidates])
    pacer.observe(utility, costs, width)

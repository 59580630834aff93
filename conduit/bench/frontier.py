"""What a mean cost can buy, known in hindsight: single models, fixed mixtures of them, the best choice per prompt."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from conduit.bench.replay import singles
from conduit.bench.tables import Row
from conduit.routing.errors import ConfigurationError

Point = tuple[float, float]
"""(cost in US dollars, quality): of one answer, or the means over many."""
Curve = Sequence[Point]
"""Points with rising costs, to be joined by straight lines."""


@dataclass(frozen=True, slots=True)
class Frontier:
    """Of one table."""

    singles: Mapping[str, Point]
    hull: Curve
    oracle: Curve

    @property
    def cheapest_usd(self) -> float:
        return min(cost for cost, _ in self.singles.values())

    @property
    def best_usd(self) -> float:
        """What the best single model costs; the cheaper of two that are equally good."""
        return min(self.singles.values(), key=lambda p: (-p[1], p[0]))[0]

    def budgets(self, count: int) -> list[float]:
        """A geometric ladder from above the cheapest model to the best one."""
        if self.cheapest_usd == 0:
            raise ConfigurationError("the cheapest model costs nothing: budgets cannot be multiples of its cost")
        span = self.best_usd / self.cheapest_usd
        return [self.cheapest_usd * span ** (k / count) for k in range(1, count + 1)]

    def capture(self, got: Point, *, budget_usd: float) -> float:
        """0 = no better than a fixed mixture at that budget, 1 = clairvoyant. Unspent money counts against it."""
        allowed = max(got[0], budget_usd)
        low, high = height(self.hull, allowed), height(self.oracle, allowed)
        return (got[1] - low) / (high - low) if high > low else 0.0

    def dollar(self, cost_usd: float) -> float:
        """Quality that one more dollar buys on the hull at this cost; 0 where the best model is paid for already."""
        return next((slope(p, q) for p, q in pairwise(self.hull) if p[0] < cost_usd <= q[0]), 0.0)

    def mixture(self, cost_usd: float) -> dict[str, float]:
        """The fixed mixture of models that is the hull at this cost."""
        costs = [cost for cost, _ in self.hull]
        place = float(np.interp(cost_usd, costs, np.arange(len(costs))))
        low, share = int(place), place % 1
        weights = {self._named(self.hull[low]): 1 - share}
        return weights | ({self._named(self.hull[low + 1]): share} if share else {})

    def _named(self, point: Point) -> str:
        return next(name for name, single in self.singles.items() if single == point)


def frontier(rows: Sequence[Row]) -> Frontier:
    alone = singles(rows)
    return Frontier(alone, upper_hull(alone.values()), oracle(rows))


def upper_hull(points: Iterable[Point]) -> list[Point]:
    """The smallest concave curve above the points that never falls: paying more need not give less."""
    hull: list[Point] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if hull and point[1] <= hull[-1][1]:
            continue
        while len(hull) > 1 and slope(hull[-2], hull[-1]) <= slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def oracle(rows: Iterable[Row]) -> list[Point]:
    """Mean cost and quality of the best choice per prompt, for every price of a dollar.

    Each prompt starts with its cheapest answer; then steps along the prompts' own hulls are bought, the steepest first.
    """
    hulls = [upper_hull((o.cost_usd, o.quality) for o in row.outcomes.values()) for row in rows]
    start = np.sum([hull[0] for hull in hulls], axis=0)
    steps = [(p, q) for hull in hulls for p, q in pairwise(hull)]
    steps.sort(key=lambda step: -slope(*step))
    rises = np.array([np.subtract(q, p) for p, q in steps]).reshape(-1, 2)
    curve = np.vstack([start, start + np.cumsum(rises, axis=0)]) / len(hulls)
    return [(float(cost), float(quality)) for cost, quality in curve]


def slope(p: Point, q: Point) -> float:
    return (q[1] - p[1]) / (q[0] - p[0])


def height(curve: Curve, cost_usd: float) -> float:
    """The curve's quality at this cost; flat beyond its ends."""
    return float(np.interp(cost_usd, *np.transpose(curve)))

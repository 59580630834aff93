"""The shadow price of a budget: what a dollar must buy, in quality, so that spending comes out at what was given.

A budget of B dollars a request is a knapsack constraint on a bandit (Badanidiyuru et al. 2013); its Lagrangian prices
dollars at lam, and the choice becomes argmax_a q_a - lam c_a. Rather than stepping lam along a gradient (Agrawal &
Devanur 2014) it is solved anew from the last contexts: the smallest lam >= 0 at which the choices there would have
cost, in the mean, at most

    target = clip(B + (B t - spent) / patience, low B, high B)

after t requests: what was over- or underspent returns over the next `patience` requests, and no request is refused.
A policy that samples its beliefs spends what they would choose with their errors, so the q_a of the window carry
a fixed draw of theirs; without it lam would settle where two arms tie, and what is spent there is anyone's guess.
Where real dollars differ from those predicted (a biased forecast, exploration), the target is divided by their ratio.

A price alone leaves arms that cost hundreds of times the budget a small probability, and one answer of theirs may be
more than all later requests can make up for: whoever is expected to cost more than `dearest_usd` is not to be asked.
"""

import math
from collections import deque

import numpy as np

from conduit.bandits.policy import Vector

WINDOW = 256
PATIENCE = 150.0
LOW, HIGH = 0.3, 1.5
EVERY = 8
"""The price is solved anew every so many requests, and at each of the first of them."""
HALVINGS = 20
SOLITARY = 16.0
"""One answer may be expected to cost as much as so many requests from the first on,"""
SHARE = 0.01
"""and later this share of all that was given so far."""
TRUST = 50.0
"""How many requests' worth of dollars the forecast is believed for before its ratio to real ones counts."""


class Pacer:
    """Holds the mean cost of an open-ended stream of requests to `budget_usd` each."""

    def __init__(self, budget_usd: float) -> None:
        if not budget_usd > 0:
            raise ValueError(f"a budget is positive, got {budget_usd}")
        self.budget_usd = budget_usd
        self.aim_usd = math.inf
        """What the next requests may cost each for another reason than `budget_usd`: the lesser of both counts."""
        self.room_usd = math.inf
        """What one answer may be expected to cost for want of money, until there is more."""
        self._window: deque[tuple[Vector, Vector]] = deque(maxlen=WINDOW)
        self._seen = 0
        self._settled = 0
        self._patience = PATIENCE
        self._spent_usd = 0.0
        self._price = 0.0
        self._planned_usd = self._real_usd = TRUST * budget_usd if math.isfinite(budget_usd) else 0.0
        self._noise = np.random.default_rng(0)

    @property
    def begun(self) -> bool:
        """Whether it has been shown anything."""
        return self._seen > 0

    @property
    def price(self) -> float:
        """lam >= 0, quality per dollar."""
        return self._price

    @property
    def dearest_usd(self) -> float:
        """What one answer may be expected to cost."""
        return self.budget_usd * max(SOLITARY, SHARE * self._settled)

    def observe(self, quality: Vector, cost_usd: Vector, width: Vector | float = 0.0) -> None:
        """What the arms of one menu were expected to give and to cost (k,), and the former's standard deviation."""
        quality = quality + width * self._noise.standard_normal(len(quality))
        self._window.append((quality, cost_usd))
        self._plan(float(cost_usd[(quality - self._price * cost_usd).argmax()]))

    def stint(self, cost_usd: float) -> None:
        """A request that is to cost so much because there is no `room_usd` for more. What was seen before stays what is
        believed of requests: it is what will be asked when there is money again."""
        self._plan(cost_usd)

    def _plan(self, cost_usd: float) -> None:
        """What one more request is expected to cost; and the price, when it is due."""
        self._seen += 1
        self._planned_usd += cost_usd - self._planned_usd / WINDOW
        if self._seen <= EVERY or self._seen % EVERY == 0:
            self._price = shadow_price(*stacked(self._window), target_usd=self.target_usd, start=self._price)

    def spend(self, cost_usd: float) -> None:
        """What one request really cost."""
        self._settled += 1
        self._spent_usd += cost_usd
        self._real_usd += cost_usd - self._real_usd / WINDOW

    def catch_up(self, spent_usd: float, settled: int, *, patience: float = 0.0) -> None:
        """What all who share this budget have spent by now, on so many requests; `patience`, in requests, where that
        is more than usual."""
        self._spent_usd, self._settled = spent_usd, settled
        self._patience = max(PATIENCE, patience)

    @property
    def target_usd(self) -> float:
        """Mean predicted dollars for each of the next requests."""
        B = self.budget_usd
        target = self.aim_usd
        if math.isfinite(B):
            target = min(target, max(B + (B * self._settled - self._spent_usd) / self._patience, LOW * B), HIGH * B)
        return target * self._bias

    @property
    def _bias(self) -> float:
        """Predicted dollars over real ones."""
        trust = TRUST * self.aim_usd if math.isinf(self.budget_usd) and math.isfinite(self.aim_usd) else 0.0
        return min(max((self._planned_usd + trust) / max(self._real_usd + trust, 1e-300), 0.25), 4.0)


def stacked(window: deque[tuple[Vector, Vector]]) -> tuple[Vector, Vector]:
    """(n, k) qualities and costs; menus shorter than the longest are filled up with arms that are never best."""
    k = max(len(quality) for quality, _ in window)
    q, c = np.full((len(window), k), -np.inf), np.zeros((len(window), k))
    for row, (quality, cost_usd) in enumerate(window):
        q[row, : len(quality)], c[row, : len(cost_usd)] = quality, cost_usd
    return q, c


def mean_cost(q: Vector, c: Vector, lam: float) -> float:
    """Mean dollars of argmax_a q_a - lam c_a over the rows."""
    return float(c[np.arange(len(c)), (q - lam * c).argmax(axis=1)].mean())


def shadow_price(q: Vector, c: Vector, *, target_usd: float, start: float = 0.0) -> float:
    """The smallest lam >= 0 with mean_cost <= target, by bisection of its logarithm.

    A target below all costs is raised to them.
    """
    cheapest = float(np.where(np.isinf(q), np.inf, c).min(axis=1).mean())
    target_usd = max(target_usd, cheapest * (1.0 + 1e-9))
    if mean_cost(q, c, 0.0) <= target_usd:
        return 0.0
    low, high = bracket(q, c, target_usd, start or 1.0 / max(float(c.mean()), 1e-300))
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if mean_cost(q, c, middle) <= target_usd else (middle, high)
        if high < 1.001 * low:
            break
    return high


def bracket(q: Vector, c: Vector, target_usd: float, start: float) -> tuple[float, float]:
    """Prices about `start` at which too much and little enough is spent, a factor of 4 apart at most."""
    low = high = start
    for _ in range(40):
        if mean_cost(q, c, high) <= target_usd:
            break
        low, high = high, 4.0 * high
    for _ in range(40):
        if mean_cost(q, c, low) > target_usd:
            break
        low, high = low / 4.0, low
    return low, high

"""Thompson sampling with Beta beliefs: no context, one rate to each arm (Chapelle & Li 2011, algorithm 2).

    q_a ~ Beta(alpha + sum w y, beta + sum w (1 - y)),   y in [0, 1]

A fractional reward counts as that share of a success. The probability that an arm's utility is best is computed for
Gaussians of the Betas' means and variances, so that what is reported is what is drawn from.
"""

import math

import numpy as np

from conduit.bandits.policy import Distribution, Menu, State, Vector
from conduit.bandits.propensity import best_probability, with_floor
from conduit.bandits.statistics import Sums, bounded

NO_CONTEXT = np.ones(1)


class BetaThompson:
    """Beliefs are read off the sums: there is nothing to refresh."""

    def __init__(self, *, alpha: float = 1.0, beta: float = 1.0, floor: float = 0.002, tau_s: float = math.inf) -> None:
        self.alpha, self.beta, self.floor, self.tau_s = alpha, beta, floor, tau_s
        self._sums: dict[str, Sums] = {}

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """Each arm with the probability that its utility is highest, and the floor."""
        a, b = np.array([self._belief(arm) for arm in menu.arms]).T
        mean, width = a / (a + b), np.sqrt(a * b / (a + b + 1.0)) / (a + b)
        pi = best_probability(menu.quality_weight * mean - menu.penalty, menu.quality_weight * width)
        return Distribution(with_floor(pi, self.floor), mean, width)

    def _belief(self, arm: str) -> tuple[float, float]:
        """(alpha, beta) of one arm now."""
        if arm not in self._sums:
            return self.alpha, self.beta
        n, wy, _ = self._sums[arm].age(self.latest_s) * self._sums[arm].moments
        return self.alpha + max(wy, 0.0), self.beta + max(n - wy, 0.0)

    def learn(self, arm: str, x: Vector, quality: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Fold one observation; quality beyond [0, 1] counts as the nearer end."""
        sums = self._sums.setdefault(arm, Sums(1, self.tau_s))
        sums.add(NO_CONTEXT, (bounded(quality, 1.0) + abs(bounded(quality, 1.0))) / 2, weight=weight, time_s=time_s)

    @property
    def latest_s(self) -> float:
        """The time of the latest observation."""
        return max((sums.landmark_s for sums in self._sums.values()), default=0.0)

    def refresh(self) -> None:
        """Nothing to solve."""

    def state(self) -> State:
        """Every arm's sums."""
        return {arm: sums.pack() for arm, sums in self._sums.items()}

    def restore(self, state: State) -> None:
        """Replace the sums."""
        self._sums = {arm: Sums.unpack(packed, 1, tau_s=self.tau_s) for arm, packed in state.items()}

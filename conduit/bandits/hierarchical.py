"""The default policy: hierarchical empirical-Bayes linear Thompson sampling with exact propensities.

Beliefs about quality are those of a hierarchical linear regression (Hong et al. 2022). Thompson sampling (Agrawal &
Goyal 2013) pulls an arm with the probability that it is the best under the beliefs; here that probability is computed
rather than sampled:

    u_a = w_q theta^_a' x - penalty_a,   s_a^2 = w_q^2 times the arm's own part of (v x)' Cov (v x)
    pi  = P(u + s z is largest)

An error that all arms share changes no choice, so widths are those of contrasts between arms. What is learned of an
arm's level serves every later request, of its many feature effects only those that are alike: v is larger for the
level.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from conduit.bandits.policy import Change, Distribution, Menu, State, Vector
from conduit.bandits.propensity import best_probability, own_variance, with_floor
from conduit.bandits.regression import HierarchicalRegression
from conduit.bandits.shrinkage import Hyperprior

QUALITY = Hyperprior(scale=0.5, mean=0.5, slope=0.08, own=0.08, graded=0.08, own_level=0.15)
"""Ten times the price is believed to buy .08 of quality, give or take .05; .075 is the usual distance from it."""


class HierarchicalThompson:
    """`blocks` and `attribute` as in HierarchicalRegression, the attribute being log10 of an arm's price.

    `width` and `level_width` are v for features and intercept; `floor` is eps, shared by the arms of a menu.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        width: float = 0.15,
        level_width: float = 0.5,
        floor: float = 0.002,
        hyperprior: Hyperprior = QUALITY,
        tau_s: float = math.inf,
        attribute: Mapping[str, float] | None = None,
    ) -> None:
        self.floor = floor
        self.widths = np.full(sum(blocks), width)
        self.widths[-1] = level_width
        self._quality = HierarchicalRegression(blocks, hyperprior=hyperprior, tau_s=tau_s, attribute=attribute)

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """Each arm with the probability that it is best, and the floor."""
        mean = self._quality.mean(x, menu.arms)
        width = menu.neglect * np.sqrt(own_variance(self._quality.covariance(self.widths * x, menu.arms)))
        pi = best_probability(menu.quality_weight * mean - menu.penalty, menu.quality_weight * width)
        return Distribution(with_floor(pi, self.floor), mean, width)

    def learn(self, arm: str, x: Vector, quality: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Fold one observation of quality."""
        self._quality.add(arm, x, quality, weight=weight, time_s=time_s)

    def refresh(self) -> None:
        """Solve the sums into beliefs."""
        self._quality.refresh()

    @property
    def weights(self) -> Mapping[str, float]:
        """The sum of weights by arm, decayed."""
        return self._quality.weights

    @property
    def latest_s(self) -> float:
        """The time of the latest observation."""
        return self._quality.latest_s

    @property
    def changes(self) -> Mapping[str, Change]:
        """The arms whose quality is not what it was."""
        return self._quality.changes

    def state(self) -> State:
        """Every arm's sums."""
        return self._quality.state()

    def restore(self, state: State) -> None:
        """Replace the sums; beliefs follow at the next refresh."""
        self._quality.restore(state)

"""The default policy: hierarchical empirical-Bayes linear Thompson sampling with exact propensities.

Beliefs about quality are those of a hierarchical linear regression (Hong et al. 2022). Thompson sampling (Agrawal & Goyal
2013) pulls an arm with the probability that it is the best under the beliefs; here that probability is computed
rather than sampled:

    u_a = w_q theta^_a' x - penalty_a,   s_a^2 = (v w_q)^2 times the arm's own part of x' Cov x,   pi = P(u + s z is largest)

An error that all arms share changes no choice, so widths are those of contrasts between arms, not of levels.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from conduit.bandits.policy import Distribution, Menu, State, Vector
from conduit.bandits.propensity import best_probability, with_floor
from conduit.bandits.regression import HierarchicalRegression
from conduit.bandits.shrinkage import Hyperprior


def own_variance(covariance: Vector) -> Vector:
    """(k,) variances of independent errors whose differences fit those of `covariance` best in least squares.

    With D_ab = C_aa + C_bb - 2 C_ab, the solution of min sum_{a != b} (v_a + v_b - D_ab)^2 is
    v_a = (sum_b D_ab - V) / (k - 2), V = sum_{a < b} D_ab / (k - 1); kept above half a hundredth of D's mean.
    """
    k = len(covariance)
    if k == 1:
        return np.asarray(covariance.diagonal())
    level = covariance.diagonal()
    D = level[:, None] + level - 2.0 * covariance
    row, total = D.sum(axis=1), D.sum() / 2.0
    own = (row - total / (k - 1)) / (k - 2) if k > 2 else row / 2.0
    return np.asarray(np.maximum(own, 0.01 * total / (k * (k - 1))))


class HierarchicalThompson:
    """`blocks` as in HierarchicalRegression; `width` is v; `floor` is eps, shared by the arms of a menu."""

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        width: float = 0.25,
        level_width: float | None = None,
        floor: float = 0.002,
        hyperprior: Hyperprior | None = None,
        tau_s: float = math.inf,
        prior: Mapping[str, float] | None = None,
    ) -> None:
        self.floor = floor
        self.widths = np.full(sum(blocks), width)
        self.widths[-1] = width if level_width is None else level_width
        self._quality = HierarchicalRegression(
            blocks, hyperprior=hyperprior or Hyperprior(mean=0.5), tau_s=tau_s, prior=prior
        )

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """Each arm with the probability that it is best, and the floor."""
        mean, covariance = self._quality.mean(x, menu.arms), self._quality.joint(self.widths * x, menu.arms)[1]
        s = menu.quality_weight * np.sqrt(own_variance(covariance))
        pi = best_probability(menu.quality_weight * mean - menu.penalty, s)
        return Distribution(with_floor(pi, self.floor), mean, np.sqrt(covariance.diagonal()))

    def learn(self, arm: str, x: Vector, quality: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Fold one observation of quality."""
        self._quality.add(arm, x, quality, weight=weight, time_s=time_s)

    def refresh(self) -> None:
        """Solve the sums into beliefs."""
        self._quality.refresh()

    def state(self) -> State:
        """Every arm's sums."""
        return self._quality.state()

    def restore(self, state: State) -> None:
        """Replace the sums; beliefs follow at the next refresh."""
        self._quality.restore(state)

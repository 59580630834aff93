"""Linear Thompson sampling (Agrawal & Goyal 2013, section 2.1, algorithm 1), with a theta of its own to each arm.

    theta_a ~ N(theta^_a, v^2 A_a^-1),   pull argmax_a theta_a' x

The paper samples; here the probability that an arm is the best is computed, so that what is reported is what is drawn
from. The paper's v = R sqrt(9 d ln(t/delta)) serves its bound and is too wide to use: v = R, the scale of the noise,
makes it the posterior of a Gaussian outcome, and R = 1/2 holds for every outcome in [0, 1].
"""

import math

from conduit.bandits.linear_policy import LinearPolicy
from conduit.bandits.policy import Distribution, Menu, Vector
from conduit.bandits.propensity import best_probability, with_floor


class LinearThompson(LinearPolicy):
    """`floor` is shared by the arms of a menu, as in every policy of ours that samples."""

    def __init__(self, dimension: int, *, v: float = 0.5, floor: float = 0.002, tau_s: float = math.inf) -> None:
        super().__init__(dimension, tau_s=tau_s)
        self.v, self.floor = v, floor

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """Each arm with the probability that its sampled utility is highest, and the floor."""
        mean, width = self.ridge.predict(x, menu.arms)
        pi = best_probability(menu.quality_weight * mean - menu.penalty, menu.quality_weight * self.v * width)
        return Distribution(with_floor(pi, self.floor), mean, self.v * width)

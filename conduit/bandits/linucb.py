"""LinUCB with disjoint linear models (Li, Chu, Langford & Schapire 2010, section 3.1, algorithm 1).

    play the arm of largest  theta_a' x + alpha sqrt(x' A_a^-1 x),   A_a = I + sum x x',   theta_a = A_a^-1 b_a

An arm that was not seen has theta = 0 and the width of the prior, |x|. Beliefs are those of the last refresh.
"""

import math

from conduit.bandits.argmax import argmax_probability
from conduit.bandits.linear_policy import LinearPolicy
from conduit.bandits.policy import Distribution, Menu, Vector


class LinUCB(LinearPolicy):
    """`alpha` widens the bound; the paper's 1 + sqrt(ln(2/delta)/2) is above 1, its best in practice below."""

    def __init__(self, dimension: int, *, alpha: float = 1.0, tau_s: float = math.inf) -> None:
        super().__init__(dimension, tau_s=tau_s)
        self.alpha = alpha

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """The arm of largest optimistic utility, with probability 1; ties share it."""
        mean, width = self.ridge.predict(x, menu.arms)
        index = menu.quality_weight * (mean + self.alpha * width) - menu.penalty
        return Distribution(argmax_probability(index), mean, 0.5 * width)

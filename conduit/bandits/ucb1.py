"""UCB1 (Auer, Cesa-Bianchi & Fischer 2002, section 2, figure 1): no context, optimism by Hoeffding's bound.

    play each arm once;   then the arm of largest  mean_a + sqrt(2 ln n / n_a)

With weights of observations for counts. All probability is on that arm; ties share it.
"""

import math

import numpy as np

from conduit.bandits.argmax import argmax_probability
from conduit.bandits.policy import Distribution, Menu, Vector
from conduit.bandits.without_context import WithoutContext


class UCB1(WithoutContext):
    """`scale` multiplies the bonus; 1 is the paper's."""

    def __init__(self, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """The arm of largest optimistic utility; before that, those that were never seen."""
        n, mean = self.seen.counts(menu.arms), self.seen.means(menu.arms)
        ln_n = math.log(max(self.seen.total, 1.0))
        bonus = self.scale * np.sqrt(2.0 * ln_n / np.where(n > 0, n, 1.0))
        index = np.where(n > 0, menu.quality_weight * (mean + bonus) - menu.penalty, np.inf)
        return Distribution(argmax_probability(index), mean, self.seen.widths(menu.arms))

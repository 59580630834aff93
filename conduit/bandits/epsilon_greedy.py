"""Epsilon-greedy (Sutton & Barto 2018, sections 2.2 and 2.6): no context, the best so far, and now and then any arm.

    pi = (1 - eps) [a = argmax w_q mean_a - penalty_a] + eps / k

An arm that was not seen counts as 1, the best there can be (optimistic initial values), so that each is tried.
"""

from conduit.bandits.argmax import argmax_probability
from conduit.bandits.policy import Distribution, Menu, Vector
from conduit.bandits.propensity import with_floor
from conduit.bandits.without_context import WithoutContext


class EpsilonGreedy(WithoutContext):
    """`epsilon` stays what it is: no schedule is right without the gap between arms, which is not known."""

    def __init__(self, *, epsilon: float = 0.1) -> None:
        super().__init__()
        if not 0.0 <= epsilon <= 1.0:
            raise ValueError(f"epsilon is a probability, got {epsilon}")
        self.epsilon = epsilon

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """The best so far with probability 1 - eps, and every arm with its share of eps."""
        mean = self.seen.means(menu.arms, unseen=1.0)
        pi = argmax_probability(menu.quality_weight * mean - menu.penalty)
        return Distribution(with_floor(pi, self.epsilon), mean, self.seen.widths(menu.arms))

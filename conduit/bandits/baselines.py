"""Policies that do not choose by what they see: what every learner has to beat."""

import numpy as np

from conduit.bandits.policy import Distribution, Menu, Vector
from conduit.bandits.without_context import WithoutContext


class Uniform(WithoutContext):
    """Every arm of the menu alike; what was seen of quality is reported, and changes nothing."""

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """1/k each."""
        k = len(menu.arms)
        return Distribution(np.full(k, 1.0 / k), self.seen.means(menu.arms), self.seen.widths(menu.arms))


class Fixed(WithoutContext):
    """One arm always; where the menu lacks it, the one of lowest penalty."""

    def __init__(self, arm: str) -> None:
        super().__init__()
        self.arm = arm

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """All of the probability on one arm."""
        chosen = menu.arms.index(self.arm) if self.arm in menu.arms else int(menu.penalty.argmin())
        probability = np.eye(len(menu.arms))[chosen]
        return Distribution(probability, self.seen.means(menu.arms), self.seen.widths(menu.arms))

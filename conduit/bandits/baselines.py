"""Policies that do not learn: what every learner has to beat."""

import numpy as np

from conduit.bandits.policy import Distribution, Menu, State, Vector


class Uniform:
    """Every arm of the menu alike."""

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """1/k each."""
        k = len(menu.arms)
        return Distribution(np.full(k, 1.0 / k), np.zeros(k), np.zeros(k))

    def learn(self, arm: str, x: Vector, quality: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Nothing is learned."""

    def refresh(self) -> None:
        """Nothing to solve."""

    def state(self) -> State:
        """Empty."""
        return {}

    def restore(self, state: State) -> None:
        """Only the empty state fits."""
        if state:
            raise ValueError("a policy that does not learn has no state")


class Fixed(Uniform):
    """One arm always; where the menu lacks it, the one of lowest penalty."""

    def __init__(self, arm: str) -> None:
        self.arm = arm

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """All of the probability on one arm."""
        k = len(menu.arms)
        chosen = menu.arms.index(self.arm) if self.arm in menu.arms else int(menu.penalty.argmin())
        return Distribution(np.eye(k)[chosen], np.zeros(k), np.zeros(k))

"""What policies over disjoint ridge regressions have in common: they learn, solve and remember alike."""

import math

from conduit.bandits.policy import State, Vector
from conduit.bandits.ridge import Ridge


class LinearPolicy:
    """The half of the Policy protocol that does not choose."""

    def __init__(self, dimension: int, *, tau_s: float = math.inf) -> None:
        self.ridge = Ridge(dimension, tau_s=tau_s)

    def learn(self, arm: str, x: Vector, quality: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Fold one observation."""
        self.ridge.add(arm, x, quality, weight=weight, time_s=time_s)

    def refresh(self) -> None:
        """Solve the sums into beliefs."""
        self.ridge.refresh()

    @property
    def latest_s(self) -> float:
        """The time of the latest observation."""
        return self.ridge.latest_s

    def state(self) -> State:
        """Every arm's sums."""
        return self.ridge.state()

    def restore(self, state: State) -> None:
        """Replace the sums; beliefs follow at the next refresh."""
        self.ridge.restore(state)

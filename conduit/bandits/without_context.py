"""What policies without context have in common: they learn into tallies, and have nothing to solve."""

from conduit.bandits.policy import State, Vector
from conduit.bandits.tallies import Tallies


class WithoutContext:
    """The half of the Policy protocol that does not choose."""

    def __init__(self) -> None:
        self.seen = Tallies()

    def learn(self, arm: str, x: Vector, quality: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Fold one observation; the context says nothing here."""
        self.seen.add(arm, quality, weight=weight)

    def refresh(self) -> None:
        """Nothing to solve."""

    def state(self) -> State:
        """Every arm's sums."""
        return self.seen.state()

    def restore(self, state: State) -> None:
        """Replace the sums."""
        self.seen.restore(state)

"""How often each arm was seen, and its mean quality: all that a policy without context remembers.

n_a = sum w,   mean_a = sum w y / n_a,   y in [0, 1]
"""

from collections.abc import Sequence

import numpy as np

from conduit.bandits.policy import State, Vector
from conduit.bandits.statistics import Sums, bounded

NO_CONTEXT = np.ones(1)
NOTHING = 1e-9
"""Less weight than this is what rounding leaves of an arm whose every observation was retracted."""


class Tallies:
    """Sums over observations: their order does not matter, and a negative weight takes one out again."""

    def __init__(self) -> None:
        self._sums: dict[str, Sums] = {}

    def add(self, arm: str, y: float, *, weight: float = 1.0) -> None:
        """Fold one observation; quality beyond [0, 1] counts as the nearer end."""
        y = max(bounded(y, 1.0), 0.0)
        self._sums.setdefault(arm, Sums(1)).add(NO_CONTEXT, y, weight=weight)

    def counts(self, arms: Sequence[str]) -> Vector:
        """(k,) n_a; 0 for an arm that was not seen."""
        n = np.array([self._sums[arm].n if arm in self._sums else 0.0 for arm in arms])
        return np.where(n > NOTHING, n, 0.0)

    def means(self, arms: Sequence[str], *, unseen: float = 0.5) -> Vector:
        """(k,) mean_a."""
        n = self.counts(arms)
        total = np.array([self._sums[arm].moments[1] if arm in self._sums else 0.0 for arm in arms])
        return np.asarray(np.where(n > 0, total / np.where(n > 0, n, 1.0), unseen).clip(0.0, 1.0))

    def widths(self, arms: Sequence[str]) -> Vector:
        """(k,) at most the standard deviation of mean_a, as that of one y in [0, 1] is at most 1/2."""
        return np.asarray(0.5 / np.sqrt(np.maximum(self.counts(arms), 1.0)))

    @property
    def total(self) -> float:
        """n over all arms."""
        return max(sum(sums.n for sums in self._sums.values()), 0.0)

    def state(self) -> State:
        """Every arm's sums, packed."""
        return {arm: sums.pack() for arm, sums in self._sums.items()}

    def restore(self, state: State) -> None:
        """Replace the sums. ValueError when a shape or a number is wrong."""
        self._sums = {arm: Sums.unpack(packed, 1) for arm, packed in state.items()}

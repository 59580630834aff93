"""Disjoint ridge regression: one linear model to each arm, from sums alone.

    A_a = I + sum w x x',   b_a = sum w y x,   theta_a = A_a^-1 b_a,   width_a(x) = sqrt(x' A_a^-1 x)

(Li et al. 2010, algorithm 1, lines 5 to 8 and 12 to 13.) Under forward decay the sums fade and I does not: an arm that
was not seen for long is as wide as a new one.
"""

import math
from collections.abc import Sequence

import numpy as np

from conduit.bandits.policy import State, Vector
from conduit.bandits.retraction import positive
from conduit.bandits.statistics import Sums

Belief = tuple[Vector, Vector]
"""theta (d,) and A^-1 (d, d), never changed in place: one thread may read while another solves the next."""


class Ridge:
    """Contexts have `dimension` numbers; `tau_s` is the time in which an observation's weight falls to 1/e."""

    def __init__(self, dimension: int, *, tau_s: float = math.inf) -> None:
        self.dimension, self.tau_s = dimension, tau_s
        self._sums: dict[str, Sums] = {}
        self._beliefs: dict[str, Belief] = {}
        self._changed: set[str] = set()
        self._unseen: Belief = (np.zeros(dimension), np.eye(dimension))

    def add(self, arm: str, x: Vector, y: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Fold one observation; a negative weight takes it out again."""
        sums = self._sums.get(arm) or Sums(self.dimension, self.tau_s)
        sums.add(x, y, weight=weight, time_s=time_s)
        self._sums[arm] = sums
        self._changed.add(arm)

    def refresh(self) -> None:
        """Solve the sums of every arm that changed; under decay those of every arm, as of the latest observation."""
        if not math.isinf(self.tau_s):
            self._changed.update(self._sums)
        self._beliefs |= {arm: solved(self._sums[arm], self.latest_s) for arm in self._changed}
        self._changed.clear()

    @property
    def latest_s(self) -> float:
        """The latest time of all that was folded."""
        return max((sums.landmark_s for sums in self._sums.values()), default=0.0)

    def predict(self, x: Vector, arms: Sequence[str]) -> tuple[Vector, Vector]:
        """(k,) theta_a' x and (k,) width_a(x)."""
        beliefs = [self._beliefs.get(arm, self._unseen) for arm in arms]
        mean = np.array([theta @ x for theta, _ in beliefs])
        return mean, np.sqrt([max(float(x @ inverse @ x), 0.0) for _, inverse in beliefs])

    def counts(self, arms: Sequence[str]) -> Vector:
        """(k,) sum w: how often each was seen."""
        return np.array([self._sums[arm].n if arm in self._sums else 0.0 for arm in arms])

    def state(self) -> State:
        """Every arm's sums, packed."""
        return {arm: sums.pack() for arm, sums in self._sums.items()}

    def restore(self, state: State) -> None:
        """Replace the sums; beliefs follow at the next refresh. ValueError when a shape or a number is wrong."""
        self._sums = {arm: Sums.unpack(packed, self.dimension, tau_s=self.tau_s) for arm, packed in state.items()}
        self._beliefs, self._changed = {}, set(self._sums)


def solved(sums: Sums, now_s: float) -> Belief:
    """The belief that these sums are at `now_s`; where more was retracted than was ever added, without their negative
    part."""
    factor = sums.age(now_s)
    inverse = np.linalg.inv(np.eye(sums.dimension) + factor * positive(sums.A[None])[0])
    return factor * (inverse @ sums.b), inverse

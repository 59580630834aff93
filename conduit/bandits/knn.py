"""Nearest neighbours, for reference offline: what the prompts most like this one got (Guan & Jiang 2018, section 3).

    q_a(x) = mean of y over the k observations of arm a whose contexts are nearest to x

Not a fold: it keeps contexts, not sums. Of each arm the last `memory` observations are remembered, so the order of
more than those matters, and a retraction finds what it takes back only while it is remembered. Beliefs are not shared
between processes by adding. The paper's bound is the same for all arms that have k neighbours; here an arm that
was seen less than ten times is tried first, and eps is explored for ever.
"""

from collections import deque

import numpy as np

from conduit.bandits.argmax import argmax_probability
from conduit.bandits.policy import Distribution, Menu, State, Vector
from conduit.bandits.propensity import with_floor
from conduit.bandits.statistics import MAX_WEIGHT, MAX_X, bounded, checked

TRIES = 10


class NearestNeighbours:
    """A row remembered is [x | y | weight]."""

    def __init__(self, dimension: int, *, k: int = 30, memory: int = 2000, epsilon: float = 0.05) -> None:
        self.dimension, self.k, self.memory, self.epsilon = dimension, k, memory, epsilon
        self._rows: dict[str, deque[Vector]] = {}
        self._solved: dict[str, Vector] = {}

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """The best mean utility nearby, and every arm with its share of eps."""
        n, mean = np.array([self._nearby(x, arm) for arm in menu.arms]).T
        index = np.where(n < min(TRIES, self.k), np.inf, menu.quality_weight * mean - menu.penalty)
        width = 0.5 / np.sqrt(np.maximum(n, 1.0))
        return Distribution(with_floor(argmax_probability(index), self.epsilon), mean, width)

    def _nearby(self, x: Vector, arm: str) -> tuple[float, float]:
        """How many neighbours there are, at most k, and the weighted mean of their qualities."""
        rows = self._solved.get(arm)
        if rows is None or not len(rows):
            return 0.0, 0.5
        if len(rows) > self.k:
            contexts = rows[:, : self.dimension]
            distance = (contexts**2).sum(axis=1) - 2.0 * contexts @ x
            rows = rows[np.argpartition(distance, self.k - 1)[: self.k]]
        return float(len(rows)), float(np.average(rows[:, -2], weights=rows[:, -1]))

    def learn(self, arm: str, x: Vector, quality: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Remember one observation; with a negative weight, forget the last that equals it."""
        x, w = checked(x, self.dimension, bound=MAX_X), bounded(weight, MAX_WEIGHT)
        row = np.concatenate([x, [max(bounded(quality, 1.0), 0.0), abs(w)]])
        rows = self._rows.setdefault(arm, deque(maxlen=self.memory))
        if w > 0:
            rows.append(row)
            return
        found = next((i for i in range(len(rows) - 1, -1, -1) if np.array_equal(rows[i], row)), None)
        if found is not None:
            del rows[found]

    def refresh(self) -> None:
        """Lay the rows out for search."""
        self._solved = {arm: np.array(rows).reshape(-1, self.dimension + 2) for arm, rows in self._rows.items()}

    def state(self) -> State:
        """Every arm's rows, one after the other."""
        return {arm: np.concatenate([np.zeros(0), *rows]) for arm, rows in self._rows.items()}

    def restore(self, state: State) -> None:
        """Replace the rows; beliefs follow at the next refresh. ValueError when a shape or a number is wrong."""
        size = self.dimension + 2
        rows = {arm: checked(flat, np.size(flat) // size * size).reshape(-1, size) for arm, flat in state.items()}
        if any((each[:, -1] <= 0).any() for each in rows.values()):
            raise ValueError("weights are finite and positive")
        self._rows = {arm: deque(each, maxlen=self.memory) for arm, each in rows.items()}

"""One signal of all arms: observations are folded into sums, solved into beliefs now and then, and predicted from.

Under forward decay beliefs are those of the latest observation's time: a function of what was seen, and of no clock.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conduit.bandits.gaussian import Solution, positive
from conduit.bandits.policy import State, Vector
from conduit.bandits.shrinkage import Evidence, Hyperprior, Spread, fit
from conduit.bandits.statistics import Sums, bounded

MAX_ATTRIBUTE = 5.0
"""An attribute counts up to here: one arm far off must not decide alone what the attribute is worth."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """Beliefs about every arm: immutable, so that one thread may read them while another makes the next."""

    rows: Mapping[str, int]
    spread: Spread
    solution: Solution
    """Its last row is an arm of which nothing is known."""

    def rows_of(self, arms: Sequence[str]) -> NDArray[np.intp]:
        """(k,) where each of `arms` stands in the solution."""
        unknown = len(self.rows)
        return np.array([self.rows.get(arm, unknown) for arm in arms])


class HierarchicalRegression:
    """theta_a = mu + delta_a for every arm a: see gaussian.py for the model, shrinkage.py for its variances.

    `blocks` are the sizes of the groups of features that share a variance; the last is the intercept's, of size 1.
    `attribute`, read at each refresh, is one number known of an arm beforehand, about 0: effects may grow with it.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        hyperprior: Hyperprior | None = None,
        tau_s: float = math.inf,
        attribute: Mapping[str, float] | None = None,
    ) -> None:
        if blocks[-1] != 1:
            raise ValueError("the last block is the intercept and has size 1")
        self.blocks = tuple(blocks)
        self.dimension = sum(blocks)
        self._hyperprior = hyperprior or Hyperprior()
        self._tau_s = tau_s
        self._attribute = attribute
        self._sums: dict[str, Sums] = {}
        self._folding = threading.Lock()
        self.refresh()

    def add(self, arm: str, x: Vector, y: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Fold one observation; a negative weight takes it out again."""
        with self._folding:
            sums = self._sums.get(arm) or Sums(self.dimension, self._tau_s)
            sums.add(x, y, weight=weight, time_s=time_s)
            self._sums[arm] = sums

    def refresh(self) -> None:
        """Solve the sums into new beliefs, then put them in place of the old."""
        with self._folding:
            arms = sorted({*self._sums, *(self._attribute or ())})
            A, b, moments = self._stacked(arms)
        n = moments[:, 0].clip(0.0)
        evidence = Evidence(positive(A), b, self._attributes(arms), float(n.sum()), float(moments[:, 2].sum()))
        spread, solution = fit(evidence, self.blocks, self._hyperprior)
        self._posterior = Posterior({arm: row for row, arm in enumerate(arms)}, spread, solution.narrowed())

    def _stacked(self, arms: list[str]) -> tuple[Vector, Vector, Vector]:
        """A (k + 1, d, d), b (k + 1, d) and moments (k + 1, 3), aged to the latest landmark; the last arm has none."""
        nothing = Sums(self.dimension, self._tau_s)
        sums = [self._sums.get(arm, nothing) for arm in [*arms, ""]]
        now = max((s.landmark_s for s in self._sums.values()), default=0.0)
        factors = np.array([s.age(now) for s in sums])
        A = np.array([s.A for s in sums]) * factors[:, None, None]
        b = np.array([s.b for s in sums]) * factors[:, None]
        return A, b, np.array([s.moments for s in sums]) * factors[:, None]

    def _attributes(self, arms: list[str]) -> Vector:
        """(k + 1, r) z: 1, and the attribute where arms have one."""
        if self._attribute is None:
            return np.ones((len(arms) + 1, 1))
        z = [bounded(self._attribute.get(arm, 0.0), MAX_ATTRIBUTE) for arm in arms]
        return np.column_stack([np.ones(len(arms) + 1), [*z, 0.0]])

    def mean(self, x: Vector, arms: Sequence[str]) -> Vector:
        """(k,) expected signal: all that a forecast needs, at a tenth of the time of its covariance."""
        posterior = self._posterior
        return np.asarray((posterior.solution.theta @ x)[posterior.rows_of(arms)])

    def covariance(self, x: Vector, arms: Sequence[str]) -> Vector:
        """(k, k) covariance of the beliefs in those expectations."""
        posterior = self._posterior
        return posterior.solution.covariance(x, posterior.rows_of(arms))

    def predict(self, x: Vector, arms: Sequence[str]) -> tuple[Vector, Vector]:
        """(k,) expected signal and (k,) standard deviation of the belief in it, without the noise of one outcome."""
        return self.mean(x, arms), np.sqrt(self.covariance(x, arms).diagonal())

    @property
    def spread(self) -> Spread:
        """The variances in use; `spread.s2` is that of one outcome about its expectation."""
        return self._posterior.spread

    def state(self) -> State:
        """Every arm's sums, packed."""
        with self._folding:
            return {arm: sums.pack() for arm, sums in self._sums.items()}

    def restore(self, state: State) -> None:
        """Replace the sums; beliefs follow at the next refresh. ValueError when a shape or a number is wrong."""
        sums = {arm: Sums.unpack(packed, self.dimension, tau_s=self._tau_s) for arm, packed in state.items()}
        with self._folding:
            self._sums = sums

"""One signal of all arms: observations are folded into sums, solved into beliefs now and then, and predicted from."""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from conduit.bandits.gaussian import Solution, positive
from conduit.bandits.policy import State, Vector
from conduit.bandits.shrinkage import Evidence, Hyperprior, Spread, fit
from conduit.bandits.statistics import Sums


@dataclass(frozen=True, slots=True)
class Posterior:
    """Beliefs about every arm: immutable, so that one thread may read them while another makes the next."""

    rows: Mapping[str, int]
    spread: Spread
    solution: Solution
    """Its last row is an arm that was never seen."""
    prior: Mapping[str, float]

    def rows_of(self, arms: Sequence[str]) -> list[int]:
        """Where each of `arms` stands in the solution."""
        unseen = len(self.rows)
        return [self.rows.get(arm, unseen) for arm in arms]

    def joint(self, x: Vector, arms: Sequence[str]) -> tuple[Vector, Vector]:
        """(k,) mean and (k, k) covariance of theta_a' x over `arms`."""
        mean, covariance = self.solution.joint(x, self.rows_of(arms))
        return mean + self.offsets(arms), covariance

    def mean(self, x: Vector, arms: Sequence[str]) -> Vector:
        """(k,) mean of theta_a' x over `arms`: all that a forecast needs, at a tenth of the time."""
        return np.asarray((self.solution.theta @ x)[self.rows_of(arms)]) + self.offsets(arms)

    def offsets(self, arms: Sequence[str]) -> Vector:
        """(k,) p_a, what was expected of each arm before it was seen."""
        return np.array([self.prior.get(arm, 0.0) for arm in arms])


class HierarchicalRegression:
    """theta_a = mu + delta_a for every arm a: see gaussian.py for the model, shrinkage.py for its variances.

    `blocks` are the sizes of the groups of features that share a variance; the last is the intercept's, of size 1.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        hyperprior: Hyperprior | None = None,
        tau_s: float = math.inf,
        prior: Mapping[str, float] | None = None,
    ) -> None:
        if blocks[-1] != 1:
            raise ValueError("the last block is the intercept and has size 1")
        self.blocks = tuple(blocks)
        self.dimension = sum(blocks)
        self._hyperprior = hyperprior or Hyperprior()
        self._tau_s = tau_s
        self._prior = dict(prior or {})
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
            arms = sorted(self._sums)
            evidence = self._evidence(
                [self._sums[arm] for arm in arms], np.array([self._prior.get(arm, 0.0) for arm in arms] + [0.0])
            )
        spread, solution = fit(replace(evidence, A=positive(evidence.A)), self.blocks, self._hyperprior)
        self._posterior = Posterior({arm: row for row, arm in enumerate(arms)}, spread, solution, self._prior)

    def _evidence(self, sums: list[Sums], p: Vector) -> Evidence:
        """A copy of all arms' sums, aged to the latest landmark, of y - p_a, with an arm of no observations at the end."""
        sums = [*sums, Sums(self.dimension, self._tau_s)]
        now = max((s.landmark_s for s in sums[:-1]), default=0.0)
        factors = np.array([s.age(now) for s in sums[:-1]] + [0.0])
        n, wy, wyy = factors * np.array([s.moments for s in sums]).T
        A = np.array([s.A for s in sums]) * factors[:, None, None]
        b = np.array([s.b for s in sums]) * factors[:, None] - p[:, None] * A[:, -1]
        return Evidence(A, b, max(float(n.sum()), 0.0), float((wyy - 2 * p * wy + p * p * n).sum()))

    def joint(self, x: Vector, arms: Sequence[str]) -> tuple[Vector, Vector]:
        """(k,) expected signal and (k, k) covariance of the beliefs in it."""
        return self._posterior.joint(x, arms)

    def mean(self, x: Vector, arms: Sequence[str]) -> Vector:
        """(k,) expected signal alone, for forecasts that are not explored."""
        return self._posterior.mean(x, arms)

    def predict(self, x: Vector, arms: Sequence[str]) -> tuple[Vector, Vector]:
        """(k,) expected signal and (k,) standard deviation of the belief in it, without the noise of one outcome."""
        mean, covariance = self.joint(x, arms)
        return mean, np.sqrt(covariance.diagonal())

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

"""One signal of all arms: observations are folded into sums, solved into beliefs now and then, and predicted from.

Under forward decay beliefs are those of the latest observation's time: a function of what was seen, and of no clock.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conduit.bandits.drift import THRESHOLD, Latest, Past, Window, change, renewed
from conduit.bandits.gaussian import Solution
from conduit.bandits.policy import Change, State, Vector
from conduit.bandits.retraction import explained, positive
from conduit.bandits.shrinkage import Evidence, Hyperprior, Spread, fit
from conduit.bandits.statistics import MAX_WEIGHT, MAX_X, MAX_Y, Sums, bounded, checked

Stacked = tuple[Vector, Vector, Vector]

MAX_ATTRIBUTE = 5.0
"""An attribute counts up to here: one arm far off must not decide alone what the attribute is worth."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """Beliefs about every arm: immutable, so that one thread may read them while another makes the next."""

    rows: Mapping[str, int]
    spread: Spread
    solution: Solution
    """Its last row is an arm of which nothing is known."""
    changes: Mapping[str, Change]

    def rows_of(self, arms: Sequence[str]) -> NDArray[np.intp]:
        """(k,) where each of `arms` stands in the solution."""
        unknown = len(self.rows)
        return np.array([self.rows.get(arm, unknown) for arm in arms])


class HierarchicalRegression:
    """theta_a = mu + delta_a for every arm a: see gaussian.py for the model, shrinkage.py for its variances.

    `blocks` are the sizes of the groups of features that share a variance; the last is the intercept's, of size 1.
    `threshold` is that of drift.py for an arm that changes; infinity looks for none.
    `attribute`, read at each refresh, is one number known of an arm beforehand, about 0: effects may grow with it.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        hyperprior: Hyperprior | None = None,
        tau_s: float = math.inf,
        attribute: Mapping[str, float] | None = None,
        threshold: float = THRESHOLD,
    ) -> None:
        if blocks[-1] != 1:
            raise ValueError("the last block is the intercept and has size 1")
        self.blocks = tuple(blocks)
        self.dimension = sum(blocks)
        self._hyperprior = hyperprior or Hyperprior()
        self._tau_s = tau_s
        self._attribute = attribute
        self._threshold = threshold
        self._sums: dict[str, Sums] = {}
        self._windows: dict[str, Window] = {}
        self._folding = threading.Lock()
        self.refresh()

    def add(self, arm: str, x: Vector, y: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Fold one observation; a negative weight takes it out again."""
        x, y, time_s = checked(x, self.dimension, bound=MAX_X), bounded(y, MAX_Y), bounded(time_s, math.inf)
        w = bounded(weight, MAX_WEIGHT)
        with self._folding:
            sums = self._sums.get(arm) or Sums(self.dimension, self._tau_s)
            sums.fold(x, y, weight=w, time_s=time_s)
            self._sums[arm] = sums
            self._windows.setdefault(arm, Window(self.dimension)).add(x, y, weight=w, time_s=time_s)

    def refresh(self) -> None:
        """Solve the sums into new beliefs, then put them in place of the old. Arms that have changed are solved again,
        from what was seen of them since."""
        with self._folding:
            arms = sorted({*self._sums, *(self._attribute or ())})
            stacked = self._stacked(arms)
            latest = {arm: self._latest(arm) for arm in arms if arm in self._windows}
        spread, solution = self._fit(arms, stacked)
        changes: dict[str, Change] = {}
        for row, arm in enumerate(arms):
            if arm not in latest:
                continue
            past = Past(*(each[row] for each in stacked))
            found = change(past, latest[arm], solution.theta[row], spread.s2, threshold=self._threshold)
            if found is not None:
                changes[arm] = found
                anew = renewed(past, latest[arm], found.since_s)
                for each, part in zip(stacked, (anew.A, anew.b, anew.moments), strict=True):
                    each[row] = part
        if changes:
            spread, solution = self._fit(arms, stacked)
        rows = {arm: row for row, arm in enumerate(arms)}
        self._posterior = Posterior(rows, spread, solution.narrowed(), changes)

    def _fit(self, arms: list[str], stacked: Stacked) -> tuple[Spread, Solution]:
        A, b, moments = stacked
        A, n = positive(A), moments[:, 0].clip(0.0)
        b = explained(A, b, moments[:, 2])
        evidence = Evidence(A, b, self._attributes(arms), float(n.sum()), float(moments[:, 2].sum()))
        return fit(evidence, self.blocks, self._hyperprior)

    @property
    def latest_s(self) -> float:
        """The latest time of all that was folded."""
        return max((s.landmark_s for s in self._sums.values()), default=0.0)

    def _latest(self, arm: str) -> Latest:
        return Latest.of(self._windows[arm].latest(), now_s=self.latest_s, tau_s=self._tau_s)

    def _stacked(self, arms: list[str]) -> Stacked:
        """A (k + 1, d, d), b (k + 1, d) and moments (k + 1, 3), aged to the latest landmark; the last arm has none."""
        nothing = Sums(self.dimension, self._tau_s)
        sums = [self._sums.get(arm, nothing) for arm in [*arms, ""]]
        now_s = self.latest_s
        factors = np.array([s.age(now_s) for s in sums])
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

    @property
    def weights(self) -> Mapping[str, float]:
        """The sum of weights by arm, as they have decayed by the time of the latest observation."""
        now_s = self.latest_s
        return {arm: sums.n * sums.age(now_s) for arm, sums in self._sums.items()}

    @property
    def changes(self) -> Mapping[str, Change]:
        """The arms that are not what they were, as of the last refresh."""
        return self._posterior.changes

    def state(self) -> State:
        """Every arm's sums, packed, and then its window."""
        with self._folding:
            return {
                arm: np.concatenate([sums.pack(), self._windows[arm].rows().ravel()])
                for arm, sums in self._sums.items()
            }

    def restore(self, state: State) -> None:
        """Replace the sums and the windows; beliefs follow at the next refresh. ValueError when a shape or a number is
        wrong."""
        size = Sums.packed_size(self.dimension)
        sums = {arm: Sums.unpack(flat[:size], self.dimension, tau_s=self._tau_s) for arm, flat in state.items()}
        windows = {arm: Window.of(flat[size:], self.dimension) for arm, flat in state.items()}
        with self._folding:
            self._sums, self._windows = sums, windows

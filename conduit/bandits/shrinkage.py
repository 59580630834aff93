"""How far arms and features may spread, chosen by marginal likelihood under a weak prior.

MacKay 1992 ("Bayesian interpolation", section 4.4): at the maximum of the evidence a group of coefficients with
common variance v obeys v = |coefficients|^2 / gamma, where gamma = (their number) - trace(posterior covariance) / v
counts what the data have determined; and s2 = RSS / (n - sum gamma). An inverse-gamma prior worth `certainty`
observed coefficients adds its share to both sides, which keeps a variance off zero while little has been seen. A few
fixed-point steps from the prior make the answer a function of the sums alone: it does not depend on the road by which
they were reached.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from conduit.bandits.gaussian import Given, Solution, solve
from conduit.bandits.policy import Vector
from conduit.bandits.statistics import MAX_Y


@dataclass(frozen=True, slots=True)
class Hyperprior:
    """What is believed before anything was seen; spreads are standard deviations in units of `scale`."""

    scale: float = 0.5
    """The signal's rough standard deviation."""
    mean: float = 0.0
    """The signal's rough mean."""
    slope: float = 0.0
    """How much more of the signal an arm has for one more of its attribute."""
    level: float = 2.0
    """mu's intercept, about `mean`: wide, and not learned."""
    slope_spread: float = 0.1
    """The slope's spread: not learned."""
    shared: float = 0.3
    """Each block's effect that all arms share."""
    graded: float = 0.1
    """Each block's effect that grows with an arm's attribute."""
    own: float = 0.3
    """Each block's effect of one arm alone."""
    own_level: float = 0.3
    """An arm's intercept."""
    certainty: float = 4.0
    """For how many coefficients these spreads stand."""
    steps: int = 8


@dataclass(frozen=True, slots=True)
class Spread:
    """The variances of the hierarchical model."""

    T_mu: Vector
    """(r, d) of mu."""
    T: Vector
    """(d,) of delta."""
    s2: float

    @classmethod
    def prior(cls, blocks: Sequence[int], r: int, hyper: Hyperprior) -> Self:
        """Before anything was seen."""
        features = np.outer([hyper.shared] + [hyper.graded] * (r - 1), np.ones(sum(blocks) - 1))
        T_mu = np.column_stack([features, [hyper.level] + [hyper.slope_spread] * (r - 1)])
        T = np.append(np.full(sum(blocks) - 1, hyper.own), hyper.own_level)
        return cls((T_mu * hyper.scale) ** 2, (T * hyper.scale) ** 2, hyper.scale**2)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The sums of all arms stacked: A (k, d, d), b (k, d), attributes Z (k, r), n and sum w y^2 over all arms."""

    A: Vector
    b: Vector
    Z: Vector
    n: float
    wyy: float

    def solve(self, spread: Spread, m0: Vector) -> Solution:
        """Beliefs under given variances."""
        return solve(Given(self.A / spread.s2, self.b / spread.s2, self.Z, spread.T, spread.T_mu, m0))

    def residual(self, theta: Vector) -> float:
        """RSS = sum_a [sum w y^2 - 2 theta_a' b_a + theta_a' A_a theta_a]."""
        fitted = ((self.A @ theta[:, :, None])[:, :, 0] * theta).sum() - 2.0 * (theta * self.b).sum()
        return max(self.wyy + float(fitted), 0.0)


@dataclass(frozen=True, slots=True)
class Prior:
    """A hyperprior laid out over the features of one model."""

    blocks: Sequence[int]
    spread: Spread
    m0: Vector
    """(r, d)."""
    certainty: float

    @classmethod
    def of(cls, hyper: Hyperprior, blocks: Sequence[int], r: int) -> Self:
        """For features in `blocks` and r attributes of an arm."""
        m0 = np.zeros((r, sum(blocks)))
        m0[:, -1] = [hyper.mean] + [hyper.slope] * (r - 1)
        return cls(blocks, Spread.prior(blocks, r, hyper), m0, hyper.certainty)

    def grouped(self, squares: Vector, gamma: Vector, before: Vector) -> Vector:
        """(d,) v of each block: (certainty * v before + sum of squares) / (certainty + sum of gamma)."""
        starts = np.cumsum([0, *self.blocks[:-1]])
        determined = np.add.reduceat(gamma, starts).clip(0.0)
        v = (self.certainty * before[starts] + np.add.reduceat(squares, starts)) / (self.certainty + determined)
        return np.repeat(v.clip(max=MAX_Y**2), self.blocks)  # no effect is larger than the largest outcome


def fit(evidence: Evidence, blocks: Sequence[int], hyper: Hyperprior) -> tuple[Spread, Solution]:
    """The variances of highest evidence that a few steps reach, and the beliefs under them."""
    prior = Prior.of(hyper, blocks, evidence.Z.shape[1])
    spread = prior.spread
    for _ in range(hyper.steps if evidence.n > 0 else 0):
        spread = step(evidence, prior, spread)
    return spread, evidence.solve(spread, prior.m0)


def step(evidence: Evidence, prior: Prior, old: Spread) -> Spread:
    """One fixed-point step; mu's level and slope keep their variances."""
    solution = evidence.solve(old, prior.m0)
    gamma = 1.0 - solution.variance_of_delta() / old.T
    gamma_mu = 1.0 - solution.variance_of_mu() / old.T_mu
    T = prior.grouped((solution.delta**2).sum(axis=0), gamma.sum(axis=0), prior.spread.T)
    rows = zip((solution.mu - prior.m0) ** 2, gamma_mu, prior.spread.T_mu, strict=True)
    T_mu = np.array([prior.grouped(*row) for row in rows])
    T_mu[:, -1] = prior.spread.T_mu[:, -1]
    freedom = max(evidence.n - float(gamma.sum() + gamma_mu.sum()), 0.0)
    rss = evidence.residual(solution.theta)
    return Spread(T_mu, T, (prior.certainty * prior.spread.s2 + rss) / (prior.certainty + freedom))

"""How far arms and features may spread, chosen by marginal likelihood under a weak prior.

MacKay 1992 ("Bayesian interpolation", section 4.4): at the maximum of the evidence a group of coefficients with common
variance v obeys v = |coefficients|^2 / gamma, where gamma = (their number) - trace(posterior covariance) / v counts what
the data have determined; and s2 = RSS / (n - sum gamma). An inverse-gamma prior worth `certainty` observed coefficients
adds its share to both sides, which keeps a variance off zero while little has been seen. A few fixed-point steps from
the prior make the answer a function of the sums alone: it does not depend on the road by which they were reached.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from conduit.bandits.gaussian import Solution, solve
from conduit.bandits.policy import Vector


@dataclass(frozen=True, slots=True)
class Hyperprior:
    """What is believed of the spread before anything was seen, in standard deviations of the signal."""

    scale: float = 0.5
    """The signal's rough standard deviation."""
    mean: float = 0.0
    """The signal's rough mean."""
    level: float = 2.0
    """mu's intercept, about `mean`: wide, and not learned."""
    shared: float = 0.3
    """Each block's effect that all arms share."""
    own: float = 0.3
    """Each block's effect of one arm alone."""
    own_level: float = 0.3
    """An arm's intercept."""
    certainty: float = 4.0
    steps: int = 6


@dataclass(frozen=True, slots=True)
class Spread:
    """The variances of the hierarchical model."""

    T_mu: Vector
    """(d,) of mu."""
    T: Vector
    """(d,) of delta."""
    s2: float

    @classmethod
    def prior(cls, blocks: Sequence[int], hyper: Hyperprior) -> Self:
        """Before anything was seen."""
        d = sum(blocks)
        T_mu = np.full(d, (hyper.shared * hyper.scale) ** 2)
        T_mu[-1] = (hyper.level * hyper.scale) ** 2
        T = np.full(d, (hyper.own * hyper.scale) ** 2)
        T[-1] = (hyper.own_level * hyper.scale) ** 2
        return cls(T_mu, T, hyper.scale**2)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The sums of all arms stacked: A (k, d, d), b (k, d), n and sum w y^2 over all arms."""

    A: Vector
    b: Vector
    n: float
    wyy: float

    def residual(self, theta: Vector) -> float:
        """RSS = sum_a [sum w y^2 - 2 theta_a' b_a + theta_a' A_a theta_a]."""
        fitted = np.einsum("ki,kij,kj->", theta, self.A, theta) - 2.0 * (theta * self.b).sum()
        return max(self.wyy + float(fitted), 0.0)


def fit(evidence: Evidence, blocks: Sequence[int], hyper: Hyperprior) -> tuple[Spread, Solution]:
    """The variances of highest evidence that a few steps reach, and the beliefs under them."""
    m0 = np.zeros(sum(blocks))
    m0[-1] = hyper.mean
    prior = Spread.prior(blocks, hyper)
    spread = prior
    for _ in range(hyper.steps if evidence.n > 0 else 0):
        spread = step(evidence, blocks, hyper, spread, m0)
    return spread, solve(evidence.A / spread.s2, evidence.b / spread.s2, spread.T, spread.T_mu, m0)


def step(evidence: Evidence, blocks: Sequence[int], hyper: Hyperprior, old: Spread, m0: Vector) -> Spread:
    """One fixed-point step."""
    solution = solve(evidence.A / old.s2, evidence.b / old.s2, old.T, old.T_mu, m0)
    prior = Spread.prior(blocks, hyper)
    gamma = 1.0 - solution.variance_of_delta() / old.T
    gamma_mu = 1.0 - solution.variance_of_mu() / old.T_mu
    T = grouped(((solution.theta - solution.mu) ** 2).sum(axis=0), gamma.sum(axis=0), blocks, prior.T, hyper.certainty)
    T_mu = grouped((solution.mu - m0) ** 2, gamma_mu, blocks, prior.T_mu, hyper.certainty)
    T_mu[-1] = prior.T_mu[-1]
    determined = float(gamma.sum() + gamma_mu.sum())
    rss = evidence.residual(solution.theta)
    s2 = (hyper.certainty * prior.s2 + rss) / (hyper.certainty + max(evidence.n - determined, 0.0))
    return Spread(T_mu, T, s2)


def grouped(squares: Vector, gamma: Vector, blocks: Sequence[int], prior: Vector, certainty: float) -> Vector:
    """(d,) v of each block: (certainty * prior + sum of squares) / (certainty + sum of gamma)."""
    starts = np.cumsum([0, *blocks[:-1]])
    v = (certainty * prior[starts] + np.add.reduceat(squares, starts)) / (
        certainty + np.add.reduceat(gamma, starts).clip(0.0)
    )
    return np.repeat(v, blocks)

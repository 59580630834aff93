"""The probability that each of several Gaussians is the largest, by quadrature on one shared grid.

For independent ones, which `own_variance` puts in the place of correlated ones:

    pi_a = integral N(t; u_a, s_a^2) prod_{b != a} Phi((t - u_b)/s_b) dt = integral G(t) d log Phi((t - u_a)/s_a),
    G(t) = prod_b Phi((t - u_b)/s_b)

G is interpolated log-linearly between grid points, so that every cell contributes d log Phi_a times the logarithmic
mean of G, and the probabilities sum to one by construction. The grid is the union of every arm's own quantiles: arms
whose widths differ by orders of magnitude are each resolved at their own scale.
"""

import math
from functools import cache

import numpy as np

from conduit.bandits.policy import Vector

POINTS, FEWEST = 192, 12
"""Grid points of all arms together, and the fewest of each."""
REACH = 6.0
"""Grid points lie within so many standard deviations of an arm; the mass beyond is 1e-9."""
LOW, HIGH, STEPS = -36.0, 9.0, 512

LOG_PHI: Vector = np.array(
    [math.log(0.5 * math.erfc(-(LOW + i / STEPS) / math.sqrt(2))) for i in range(int((HIGH - LOW) * STEPS) + 1)]
)
"""log Phi in steps of 1/512, so that the nearest entry is off by less than 1e-3 wherever a probability is."""


@cache
def quantiles(arms: int) -> Vector:
    """Where, in standard deviations, each of so many arms puts its grid points."""
    return np.linspace(-REACH, REACH, max(POINTS // arms, FEWEST))


def best_probability(u: Vector, s: Vector) -> Vector:
    """(k,) the probability that arm a is the largest of k independent N(u, s^2), to .002.

    An arm that even at its best is behind another at its worst has none, and takes no time.
    """
    if len(u) == 1:
        return np.ones(1)
    u = u - u.max()
    s = np.maximum(s, max(1e-9 * (1.0 - u.min()), 1e-12 * s.max()))
    reach = REACH * s
    rivals = np.flatnonzero(u + reach >= (u - reach).max())
    pi = np.zeros(len(u))
    pi[rivals] = _by_quadrature(u[rivals], s[rivals]) if len(rivals) > 1 else 1.0
    return pi


def _by_quadrature(u: Vector, s: Vector) -> Vector:
    t = np.sort((u[:, None] + np.multiply.outer(s, quantiles(len(u)))).ravel())
    per_step = STEPS / s
    entry = np.multiply.outer(per_step, t) - (per_step * u + (STEPS * LOW - 0.5))[:, None]
    L = LOG_PHI.take(entry.astype(np.intp), mode="clip")
    S = L.sum(axis=0)
    G = np.exp(S)
    mean_G = np.zeros(len(t) + 1)
    np.divide(G[1:] - G[:-1], np.maximum(S[1:] - S[:-1], 1e-12), out=mean_G[1:-1])
    pi = np.maximum(L @ (mean_G[:-1] - mean_G[1:]), 0.0)  # sum over cells of d log Phi_a times mean G, by parts
    return np.asarray(pi / pi.sum())


def with_floor(pi: Vector, eps: float) -> Vector:
    """(1 - eps) pi + eps / k: every arm keeps a known chance, without which no other policy can be evaluated."""
    return np.asarray((1.0 - eps) * pi + eps / len(pi))


def own_variance(covariance: Vector) -> Vector:
    """(k,) variances of independent errors whose differences fit those of `covariance` best in least squares.

    With D_ab = C_aa + C_bb - 2 C_ab, the solution of min sum_{a != b} (v_a + v_b - D_ab)^2 is
    v_a = (sum_b D_ab - V) / (k - 2), V = sum_{a < b} D_ab / (k - 1); kept above half a hundredth of D's mean.
    """
    k, level = len(covariance), covariance.diagonal()
    if k == 1:
        return np.asarray(level)
    row = k * level + (level.sum() - 2.0 * covariance.sum(axis=1))  # sum_b D_ab
    total = row.sum() / 2.0
    own = (row - total / (k - 1)) / (k - 2) if k > 2 else row / 2.0
    return np.asarray(np.maximum(own, max(0.01 * total / (k * (k - 1)), 0.0)))

"""The probability that each of several Gaussians is the largest, by quadrature on one shared grid.

For independent ones, which `own_variance` puts in the place of correlated ones:

    pi_a = integral N(t; u_a, s_a^2) prod_{b != a} Phi((t - u_b)/s_b) dt = integral G(t) d log Phi((t - u_a)/s_a),
    G(t) = prod_b Phi((t - u_b)/s_b)

G is interpolated log-linearly between grid points, so that every cell contributes d log Phi_a times the logarithmic
mean of G, and the probabilities sum to one by construction. The grid is the union of every arm's own quantiles: arms
whose widths differ by orders of magnitude are each resolved at their own scale.
"""

import math

import numpy as np

from conduit.bandits.policy import Vector

POINTS = 256
REACH = 6.0
"""Grid points lie within so many standard deviations of an arm; the mass beyond is 1e-9."""
TABLE_LOW, TABLE_HIGH, TABLE_STEPS = -36.0, 9.0, 64

LOG_PHI: Vector = np.array(
    [
        math.log(0.5 * math.erfc(-(TABLE_LOW + i / TABLE_STEPS) / math.sqrt(2)))
        for i in range(int((TABLE_HIGH - TABLE_LOW) * TABLE_STEPS) + 2)
    ]
)
LOG_PHI_STEP: Vector = np.append(np.diff(LOG_PHI), 0.0)


def log_normal_cdf(z: Vector) -> Vector:
    """log Phi(z), linear between entries of a table (error < 1e-4 relative to Phi), flat outside it."""
    position = (z.clip(TABLE_LOW, TABLE_HIGH) - TABLE_LOW) * TABLE_STEPS
    cell = position.astype(np.intp)
    return np.asarray(LOG_PHI[cell] + (position - cell) * LOG_PHI_STEP[cell])


def best_probability(u: Vector, s: Vector) -> Vector:
    """(k,) the probability that arm a is the largest of k independent N(u, s^2)."""
    if len(u) == 1:
        return np.ones(1)
    u = u - u.max()
    s = np.maximum(s, 1e-9 * (1.0 - u.min()))
    quantiles = np.linspace(-REACH, REACH, max(POINTS // len(u), 16))
    t = np.sort((u[:, None] + s[:, None] * quantiles).ravel())
    L = log_normal_cdf((t - u[:, None]) / s[:, None])
    S = L.sum(axis=0)
    G, dS = np.exp(S), np.diff(S)
    flat = dS < 1e-9
    mean_G = np.where(flat, G[1:], np.diff(G) / np.where(flat, 1.0, dS))
    pi = np.diff(L) @ mean_G
    return np.asarray(pi / pi.sum())


def with_floor(pi: Vector, eps: float) -> Vector:
    """(1 - eps) pi + eps / k: every arm keeps a known chance, without which no other policy can be evaluated."""
    return np.asarray((1.0 - eps) * pi + eps / len(pi))


def own_variance(covariance: Vector) -> Vector:
    """(k,) variances of independent errors whose differences fit those of `covariance` best in least squares.

    With D_ab = C_aa + C_bb - 2 C_ab, the solution of min sum_{a != b} (v_a + v_b - D_ab)^2 is
    v_a = (sum_b D_ab - V) / (k - 2), V = sum_{a < b} D_ab / (k - 1); kept above half a hundredth of D's mean.
    """
    k = len(covariance)
    if k == 1:
        return np.asarray(covariance.diagonal())
    level = covariance.diagonal()
    D = level[:, None] + level - 2.0 * covariance
    row, total = D.sum(axis=1), D.sum() / 2.0
    own = (row - total / (k - 1)) / (k - 2) if k > 2 else row / 2.0
    return np.asarray(np.maximum(own, 0.01 * total / (k * (k - 1))))

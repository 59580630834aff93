"""The exact posterior of the hierarchical linear model when its variances are given.

    y = theta_a' x + e,   e ~ N(0, s2),   theta_a = mu + delta_a,   mu ~ N(m0, T_mu),   delta_a ~ N(0, T)

(Hong et al. 2022, section 4.2.) With T and T_mu diagonal, An = A/s2, bn = b/s2 and
M_a = (An + T^-1)^-1 = T^.5 N_a T^.5, N_a = (I + T^.5 An T^.5)^-1, whose inverse has no eigenvalue below 1:

    An - An M An = T^-.5 (I - N) T^-.5,      I - M An = M T^-1
    P        = T_mu^-1 + sum_a (An - An M An)
    mu^      = P^-1 [T_mu^-1 m0 + sum_a T^-1 M_a bn_a]
    theta^_a = M_a bn_a + M_a T^-1 mu^
    Cov(theta_a, theta_b) = [a = b] M_a + (M_a T^-1) P^-1 (M_b T^-1)'
"""

from dataclasses import dataclass

import numpy as np

from conduit.bandits.policy import Vector


@dataclass(frozen=True, slots=True)
class Solution:
    """Beliefs about k arms in d dimensions."""

    M: Vector
    """(k, d, d)."""
    theta: Vector
    """(k, d)."""
    mu: Vector
    """(d,)."""
    root: Vector
    """(d, d) R with P^-1 = R R'."""
    T: Vector
    """(d,)."""

    def variance_of_mu(self) -> Vector:
        """(d,) the diagonal of P^-1."""
        return np.asarray((self.root**2).sum(axis=1))

    def variance_of_delta(self) -> Vector:
        """(k, d) the diagonal of Cov(delta_a) = M_a + (I - M_a T^-1) P^-1 (I - M_a T^-1)'."""
        shift = (np.eye(len(self.T)) - self.M / self.T) @ self.root
        return np.asarray(self.M.diagonal(axis1=1, axis2=2) + (shift**2).sum(axis=2))

    def joint(self, x: Vector, rows: list[int]) -> tuple[Vector, Vector]:
        """(r,) mean and (r, r) covariance of theta_a' x over the arms in `rows`."""
        m = (self.M.reshape(-1, len(x)) @ x).reshape(-1, len(x))[rows]
        g = (m / self.T) @ self.root
        covariance = g @ g.T
        covariance.flat[:: len(rows) + 1] += m @ x
        return (self.theta @ x)[rows], covariance


def solve(An: Vector, bn: Vector, T: Vector, T_mu: Vector, m0: Vector) -> Solution:
    """The module's equations, for An (k, d, d) and bn (k, d)."""
    identity = np.eye(len(T))
    half, half_mu = np.sqrt(T), np.sqrt(T_mu)
    N = np.linalg.inv(identity + half[:, None] * An * half)
    M = half[:, None] * N * half
    Mb = np.einsum("kij,kj->ki", M, bn)
    S = (identity - N).sum(axis=0) / np.multiply.outer(half, half)
    inner = identity + half_mu[:, None] * (S + S.T) * (0.5 * half_mu)
    root = half_mu[:, None] * inverse_root(inner)
    mu = root @ (root.T @ (m0 / T_mu + (Mb / T).sum(axis=0)))
    return Solution(M, Mb + M @ (mu / T), mu, root, T)


def inverse_root(inner: Vector) -> Vector:
    """(d, d) R with R R' = inner^-1, for a matrix whose eigenvalues are at least 1 but for rounding."""
    try:
        return np.asarray(np.linalg.inv(np.linalg.cholesky(inner)).T)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(inner)
        return np.asarray(vectors / np.sqrt(values.clip(1.0)))


def positive(A: Vector) -> Vector:
    """(k, d, d) sums of squares as they are; where more was retracted than was ever added, without their negative part."""
    d = A.shape[1]
    slack = 1e-9 * (1.0 + np.trace(A, axis1=1, axis2=2).clip(0.0))
    try:
        np.linalg.cholesky(A + slack[:, None, None] * np.eye(d))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(A)
        return np.asarray((vectors * values.clip(0.0)[:, None, :]) @ vectors.swapaxes(1, 2))
    return A

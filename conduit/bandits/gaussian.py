"""The exact posterior of the hierarchical linear model when its variances are given.

    y = theta_a' x + e,   e ~ N(0, s2)
    theta_a = sum_j z_aj mu_j + delta_a,   mu_j ~ N(m0_j, T_mu_j),   delta_a ~ N(0, T)

(Hong et al. 2022, section 4.2; the attributes z_a of an arm, of which the first is 1, as in Gelman & Hill 2006,
section 13.1.) T and T_mu are diagonal. With An = A/s2, bn = b/s2, M_a = (An + T^-1)^-1 = T^.5 N_a T^.5, N_a = (I +
T^.5 An T^.5)^-1, whose inverse has no eigenvalue below 1:

    S_a = An - An M An = T^-.5 (I - N) T^-.5,      I - M An = M T^-1
    P_jl     = [j = l] T_mu_j^-1 + sum_a z_aj z_al S_a
    mu^      = P^-1 [T_mu_j^-1 m0_j + sum_a z_aj T^-1 M_a bn_a]_j
    theta^_a = M_a bn_a + M_a T^-1 sum_j z_aj mu^_j
    Cov(theta_a, theta_b) = [a = b] M_a + (z_a x M_a T^-1) P^-1 (z_b x M_b T^-1)',   x Kronecker's product
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conduit.bandits.policy import Vector

Floats = NDArray[np.floating]
"""In double precision, or narrowed to single."""


@dataclass(frozen=True, slots=True)
class Given:
    """What is given of k arms with r attributes in d dimensions: sums in units of the noise, and the prior."""

    An: Vector
    """(k, d, d)."""
    bn: Vector
    """(k, d)."""
    Z: Vector
    """(k, r)."""
    T: Vector
    """(d,)."""
    T_mu: Vector
    """(r, d)."""
    m0: Vector
    """(r, d)."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Beliefs about the arms."""

    M: Floats
    """(k, d, d)."""
    theta: Vector
    """(k, d)."""
    mu: Vector
    """(r, d)."""
    root: Floats
    """(r d, r d) R with P^-1 = R R'."""
    Z: Floats
    T: Floats

    @property
    def delta(self) -> Vector:
        """(k, d) what sets each arm apart from what its attributes say."""
        return np.asarray(self.theta - self.Z @ self.mu)

    def variance_of_mu(self) -> Vector:
        """(r, d) the diagonal of P^-1."""
        return np.asarray((self.root**2).sum(axis=1)).reshape(self.mu.shape)

    def variance_of_delta(self) -> Vector:
        """(k, d) the diagonal of Cov(delta_a) = M_a + E P^-1 E', E = z_a x (I - M_a T^-1)."""
        r, d = self.mu.shape
        shared = np.tensordot(self.Z, self.root.reshape(r, d, r * d), axes=1)
        shift = (np.eye(d) - self.M / self.T) @ shared
        return np.asarray(self.M.diagonal(axis1=1, axis2=2) + (shift**2).sum(axis=2))

    def narrowed(self) -> "Solution":
        """The same with what `covariance` reads in single precision: it is half as much to read at each request."""
        M, root, Z, T = (array.astype(np.float32) for array in (self.M, self.root, self.Z, self.T))
        return replace(self, M=M, root=root, Z=Z, T=T)

    def covariance(self, x: Vector, rows: NDArray[np.intp]) -> Vector:
        """(n, n) covariance of theta_a' x over the arms in `rows`."""
        x = x.astype(self.M.dtype)
        few = 2 * len(rows) < len(self.M)  # all at once are one product, a few alone are less to read
        m = self.M[rows] @ x if few else (self.M.reshape(-1, len(x)) @ x).reshape(-1, len(x))[rows]
        g = (self.Z[rows][:, :, None] * (m / self.T)[:, None, :]).reshape(len(rows), -1) @ self.root
        covariance = (g @ g.T).astype(np.float64)
        covariance.flat[:: len(rows) + 1] += np.maximum(m @ x, 0.0)  # rounding may find less than none
        return covariance


def solve(given: Given) -> Solution:
    """The module's equations."""
    Z, T, (r, d) = given.Z, given.T, given.T_mu.shape
    identity, half, half_mu = np.eye(d), np.sqrt(T), np.sqrt(given.T_mu).ravel()
    N = inverse(identity + half[:, None] * given.An * half)
    M = half[:, None] * N * half
    Mb = np.einsum("kij,kj->ki", M, given.bn)
    S = (identity - (N + N.swapaxes(1, 2)) / 2) / np.multiply.outer(half, half)
    S_jl = np.einsum("kj,kl,kab->jalb", Z, Z, S, optimize=True).reshape(r * d, r * d)
    root = half_mu[:, None] * inverse_root(np.eye(r * d) + half_mu[:, None] * S_jl * half_mu)
    mu = (root @ (root.T @ (given.m0 / given.T_mu + Z.T @ (Mb / T)).ravel())).reshape(r, d)
    theta = Mb + np.einsum("kij,kj->ki", M, Z @ mu / T)
    return Solution(M, theta, mu, root, Z, T)


def inverse(inner: Vector) -> Vector:
    """(k, d, d) the inverses of matrices whose eigenvalues are at least 1 but for rounding, so that no number in an
    inverse is above 1: where rounding has won, there are."""
    try:
        N = np.asarray(np.linalg.inv(inner))
    except np.linalg.LinAlgError:
        return _floored_inverse(inner)
    return N if N.min() > -2.0 and N.max() < 2.0 else _floored_inverse(inner)


def _floored_inverse(inner: Vector) -> Vector:
    values, vectors = np.linalg.eigh(inner)
    return np.asarray((vectors / values.clip(1.0)[:, None, :]) @ vectors.swapaxes(1, 2))


def inverse_root(inner: Vector) -> Vector:
    """(d, d) R with R R' = inner^-1, for a matrix whose eigenvalues are at least 1 but for rounding."""
    try:
        return np.asarray(np.linalg.inv(np.linalg.cholesky(inner)).T)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(inner)
        return np.asarray(vectors / np.sqrt(values.clip(1.0)))

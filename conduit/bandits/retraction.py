"""Sums from which more was taken back than was ever added: what beliefs may be made of.

Retractions are observations with negative weight, and nothing checks that what they take back was there. Such sums are
no longer those of any data: A may have negative eigenvalues, and b may explain more than sum w y^2.
"""

import numpy as np

from conduit.bandits.policy import Vector


def positive(A: Vector) -> Vector:
    """(k, d, d) sums of squares; where more was retracted than was ever added, without their negative part."""
    try:
        np.linalg.cholesky(A + _slack(A))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(A)
        return np.asarray((vectors * values.clip(0.0)[:, None, :]) @ vectors.swapaxes(1, 2))
    return A


def explained(A: Vector, b: Vector, wyy: Vector) -> Vector:
    """(k, d) b, which for positive A of any data explains no more than there is: b' A^-1 b <= sum w y^2. Where more was
    retracted than was ever added it may say more, and is brought back: along each axis of A, and then as a whole."""
    padded = A + _slack(A)
    share = (b * np.linalg.solve(padded, b[:, :, None])[:, :, 0]).sum(axis=1)
    wild = share > wyy * (1.0 + 1e-6) + 1e-6
    return np.array([_brought_back(*each) if w else each[1] for w, *each in zip(wild, padded, b, wyy, strict=True)])


def _brought_back(A: Vector, b: Vector, wyy: float) -> Vector:
    values, vectors = np.linalg.eigh(A)
    deviation = np.sqrt(values.clip(0.0))
    most = np.sqrt(max(wyy, 0.0))
    inner = np.divide(vectors.T @ b, deviation, out=np.zeros_like(b), where=deviation > 0.0).clip(-most, most)
    inner *= most / max(float(np.linalg.norm(inner)), most, 1e-300)
    return np.asarray(vectors @ (deviation * inner))


def _slack(A: Vector) -> Vector:
    """(k, d, d) what rounding may have taken from sums of squares, on the diagonal."""
    slack = 1e-9 * (1.0 + np.trace(A, axis1=1, axis2=2).clip(0.0))
    return np.asarray(slack[:, None, None] * np.eye(A.shape[1]))

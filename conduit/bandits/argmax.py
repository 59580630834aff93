"""All probability on the largest of k indices; arms that tie share it."""

import numpy as np

from conduit.bandits.policy import Vector


def argmax_probability(index: Vector) -> Vector:
    """(k,) 1 / (their number) for every arm whose index is the largest but for rounding; infinities tie."""
    best = np.isclose(index, index.max(), rtol=1e-9, atol=1e-9)
    return np.asarray(best / best.sum())

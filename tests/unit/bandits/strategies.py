"""Streams of observations for property tests."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

BLOCKS = (3, 2, 1)
DIMENSION = sum(BLOCKS)
ARMS = ("ant", "bee", "cow", "dog")

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """One observation."""

    arm: str
    x: Vector
    y: float
    weight: float
    time_s: float


def context(rng: np.random.Generator) -> Vector:
    """A random x with its intercept."""
    return np.append(rng.normal(size=DIMENSION - 1) / 2.0, 1.0)


def stream(seed: int, n: int) -> list[Seen]:
    """Observations of arms whose qualities differ and depend on x."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(len(ARMS), DIMENSION)) * 0.2
    seen = []
    for t in range(n):
        a, x = int(rng.integers(len(ARMS))), context(rng)
        y = float(np.clip(0.5 + theta[a] @ x + 0.2 * rng.normal(), 0.0, 1.0))
        seen.append(Seen(ARMS[a], x, y, float(rng.uniform(0.1, 2.0)), 60.0 * t))
    return seen


seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(0, 60)

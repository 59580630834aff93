"""Additive sufficient statistics of one arm and one signal, under forward decay.

    A = sum w x x'   (d, d)      b = sum w y x   (d,)      n = sum w,   sum w y,   sum w y^2

with w = weight * exp((time - landmark) / tau): forward decay (Cormode et al. 2009, section 3). Moving the landmark
multiplies every sum by one factor, so the order of observations does not matter, what two processes saw separately adds
up, and an observation folded again with negative weight is gone. The landmark is the latest time of all that was
folded: a function of what was seen and not of its order, at which no weight exceeds that of the observation itself.
"""

import math
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from conduit.bandits.policy import Vector

MAX_X, MAX_Y, MAX_WEIGHT = 1e1, 1e6, 1e3
"""Beyond these a single observation could drown the sums in rounding. What is clipped is retracted alike."""


def time_constant(half_life_s: float) -> float:
    """tau in seconds; infinite for a half-life of 0, with which nothing is forgotten."""
    return half_life_s / math.log(2) if half_life_s else math.inf


def checked(values: Vector, size: int, *, bound: float = math.inf) -> Vector:
    """`values` as (size,) finite floats within the bound; ValueError for any other shape, for NaN and infinity."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (size,) or not np.isfinite(vector).all():
        raise ValueError(f"expected {size} finite numbers, got shape {vector.shape}")
    return vector if bound == math.inf else vector.clip(-bound, bound)


def bounded(value: float, bound: float) -> float:
    """A finite number within the bound; ValueError for NaN and infinity."""
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value}")
    return min(max(float(value), -bound), bound)


@dataclass(slots=True)
class Sums:
    """What is remembered of every observation of one arm; its size does not depend on how many there were."""

    dimension: int
    tau_s: float = math.inf
    landmark_s: float = 0.0
    A: Vector = field(init=False)
    b: Vector = field(init=False)
    moments: Vector = field(init=False)
    """(3,) n, sum w y, sum w y^2."""

    def __post_init__(self) -> None:
        self.A = np.zeros((self.dimension, self.dimension))
        self.b = np.zeros(self.dimension)
        self.moments = np.zeros(3)

    @property
    def n(self) -> float:
        """The sum of weights as of the landmark."""
        return float(self.moments[0])

    def add(self, x: Vector, y: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Fold one observation; a negative weight takes it out again."""
        x, y = checked(x, self.dimension, bound=MAX_X), bounded(y, MAX_Y)
        self.fold(x, y, weight=bounded(weight, MAX_WEIGHT), time_s=bounded(time_s, math.inf))

    def fold(self, x: Vector, y: float, *, weight: float, time_s: float) -> None:
        """The same with what is known to be finite and within the bounds."""
        w = weight * self._growth(time_s)
        self.A += w * np.multiply.outer(x, x)
        self.b += (w * y) * x
        self.moments += (w, w * y, w * y * y)

    def _growth(self, time_s: float) -> float:
        """exp((time - landmark) / tau), after moving the landmark to a later time."""
        if math.isinf(self.tau_s):
            return 1.0
        if time_s > self.landmark_s:
            self.move_landmark(time_s)
        return math.exp((time_s - self.landmark_s) / self.tau_s)

    def age(self, time_s: float) -> float:
        """The factor that brings these sums, kept in weights of the landmark, to weights of a later `time_s`."""
        return math.exp(min((self.landmark_s - time_s) / self.tau_s, 0.0))

    def move_landmark(self, time_s: float) -> None:
        """Count weights from `time_s` on."""
        factor = self.age(time_s)
        self.A *= factor
        self.b *= factor
        self.moments *= factor
        self.landmark_s = time_s

    def merge(self, other: Self) -> None:
        """Add what another process saw, at the later of the two landmarks."""
        if other.dimension != self.dimension or other.tau_s != self.tau_s:
            raise ValueError("only sums of one dimension and one decay add up")
        if other.landmark_s > self.landmark_s:
            self.move_landmark(other.landmark_s)
        factor = other.age(self.landmark_s)
        self.A += factor * other.A
        self.b += factor * other.b
        self.moments += factor * other.moments

    def pack(self) -> Vector:
        """(d(d+1)/2 + d + 4,) upper triangle of A | b | moments | landmark."""
        return np.concatenate([self.A[np.triu_indices(self.dimension)], self.b, self.moments, [self.landmark_s]])

    @staticmethod
    def packed_size(dimension: int) -> int:
        """How many numbers `pack` returns."""
        return dimension * (dimension + 1) // 2 + dimension + 4

    @classmethod
    def unpack(cls, packed: Vector, dimension: int, *, tau_s: float = math.inf) -> Self:
        """The inverse of `pack`; ValueError when it cannot have come from sums of this dimension."""
        triangle = dimension * (dimension + 1) // 2
        values = checked(packed, cls.packed_size(dimension))
        sums = cls(dimension, tau_s=tau_s, landmark_s=float(values[-1]))
        rows, columns = np.triu_indices(dimension)
        sums.A[rows, columns] = sums.A[columns, rows] = values[:triangle]
        sums.b[:] = values[triangle:-4]
        sums.moments[:] = values[-4:-1]
        return sums

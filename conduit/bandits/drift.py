"""Whether an arm has changed, and what to believe of one that has: its latest observations against all before them.

Of residuals r_i = y_i - theta' x_i under the beliefs from everything, for each m up to the size of the window,

    z_m = (mean of the latest m - mean of all before) / sqrt(s2 (1 / m + 1 / n_before))

with sums of weights for m and n. The arm has changed where the largest |z_m| passes a threshold: the generalised
likelihood ratio test for a shift of unknown size at an unknown time, limited to a window (Lai 1995, "Sequential
changepoint detection in quality control and dynamical systems", section 2.3). "Latest" is by time of decision, so that
the window, as the sums, is a function of what was seen and not of the order in which it was read.

Of an arm that has changed at m the level before is forgotten and the slopes are kept, with a share kappa of their
weight: from the sums before are taken their means, A - a a' / n and b - a (sum w y) / n with a = sum w x, which says
nothing of the intercept any more; the latest m are added whole.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from conduit.bandits.policy import Change, Vector
from conduit.bandits.statistics import MAX_Y, checked

SIZE = 128
"""Observations in a window."""
THRESHOLD = 5.0
LEAST_AFTER, LEAST_BEFORE = 8, 16
"""Sums of weights, and observations after, without which nothing is concluded."""
KAPPA = 0.5
NOTHING = 1e-6
"""Less weight than this is what rounding leaves of an observation that was retracted."""

Key = tuple[float, bytes]
"""Time and context of an observation: two that agree in both are one of added weights."""


class Window:
    """The latest observations of one arm and one signal. What was pushed out never comes back: a retraction of it
    changes the sums alone."""

    def __init__(self, dimension: int, size: int = SIZE) -> None:
        self.dimension, self.size = dimension, size
        self._keys: list[Key] = []
        self._sums: dict[Key, Vector] = {}

    def add(self, x: Vector, y: float, *, weight: float, time_s: float) -> None:
        """Finite numbers within the bounds of Sums; a negative weight takes an observation out again, and leaves its
        place in the window taken."""
        key = (time_s, x.tobytes())
        if key in self._sums:
            self._sums[key] += (weight, weight * y)
            return
        if len(self._keys) == self.size:
            if key < self._keys[0]:
                return
            del self._sums[self._keys.pop(0)]
        insort(self._keys, key)
        self._sums[key] = np.array([weight, weight * y])

    def rows(self) -> Vector:
        """(m, 3 + d) time | sum w | sum w y | x, the oldest first; without those of which nothing is left."""
        kept = [key for key in self._keys if abs(self._sums[key][0]) > NOTHING]
        times = np.array([time_s for time_s, _ in kept])
        sums = np.array([self._sums[key] for key in kept]).reshape(-1, 2)
        X = np.frombuffer(b"".join(x for _, x in kept)).reshape(-1, self.dimension)
        return np.column_stack([times, sums, X])

    @classmethod
    def of(cls, rows: Vector, dimension: int, size: int = SIZE) -> Self:
        """The inverse of `rows`, flat or not; ValueError when they cannot have come from a window."""
        width = 3 + dimension
        flat = checked(rows.ravel(), rows.size)
        if flat.size % width or flat.size > size * width:
            raise ValueError(f"expected rows of {width} finite numbers, {size} at most")
        window = cls(dimension, size)
        for row in flat.reshape(-1, width):
            key = (float(row[0]), row[3:].tobytes())
            window._keys.append(key)
            window._sums[key] = row[1:3].copy()
        if window._keys != sorted(window._sums):
            raise ValueError("expected rows in the order of their times")
        return window


@dataclass(frozen=True, slots=True)
class Past:
    """Everything that was seen of one arm, as of one time."""

    A: Vector
    b: Vector
    moments: Vector

    def residual(self, theta: Vector) -> float:
        """Sum of r, for contexts whose last number is 1."""
        return float(self.moments[1] - theta @ self.A[:, -1])

    def variance(self, theta: Vector, s2: float) -> float:
        """Of one outcome about its expectation; at least half the pooled s2, which a lucky run may undercut."""
        rss = self.moments[2] - 2.0 * theta @ self.b + theta @ self.A @ theta
        return max(float(rss) / max(float(self.moments[0]), 1.0), s2 / 2.0, NOTHING**2)


@dataclass(frozen=True, slots=True)
class Latest:
    """A window, with weights as of one time."""

    time_s: Vector
    w: Vector
    y: Vector
    X: Vector

    @classmethod
    def of(cls, rows: Vector, *, now_s: float, tau_s: float) -> Self:
        """Of a window's rows; what was retracted is left out."""
        rows = rows[rows[:, 1] > NOTHING]
        time_s, w = rows[:, 0], rows[:, 1]
        y = (rows[:, 2] / w).clip(-MAX_Y, MAX_Y)
        return cls(time_s, w * np.exp((time_s - now_s) / tau_s), y, rows[:, 3:])

    def begins_later(self) -> NDArray[np.bool_]:
        """(m,) whether the latest 1, 2, ... all came later than the one before them: where times are equal nobody
        knows what was first."""
        return np.append(np.diff(self.time_s)[::-1] > 0.0, np.zeros(min(len(self.time_s), 1), dtype=bool))

    def since(self, m: int) -> Self:
        """The latest m."""
        return type(self)(self.time_s[-m:], self.w[-m:], self.y[-m:], self.X[-m:])


def change(past: Past, latest: Latest, theta: Vector, s2: float, *, threshold: float = THRESHOLD) -> Change | None:
    """Of an arm of which `theta` is believed, with `latest` a part of `past`; None while nothing speaks for one."""
    r = latest.y - latest.X @ theta
    n_after = np.cumsum(latest.w[::-1])
    sum_after = np.cumsum((latest.w * r)[::-1])
    n_before = past.moments[0] - n_after
    many = np.arange(1, len(r) + 1) >= LEAST_AFTER
    enough = many & (n_after >= LEAST_AFTER) & (n_before >= LEAST_BEFORE) & latest.begins_later()
    if not enough.any():
        return None
    n_before = np.where(enough, n_before, 1.0)
    n_after = np.where(enough, n_after, 1.0)
    shift = sum_after / n_after - (past.residual(theta) - sum_after) / n_before
    deviation = np.sqrt(past.variance(theta, s2) * (1.0 / n_after + 1.0 / n_before))
    z = np.where(enough, shift / deviation, 0.0)
    m = int(np.argmax(np.abs(z)))
    if abs(z[m]) < threshold:
        return None
    return Change(float(latest.time_s[-m - 1]), float(shift[m]), float(z[m]), float(n_after[m]))


def renewed(past: Past, latest: Latest, since_s: float) -> Past:
    """What to believe of an arm that has changed at that time."""
    m = len(latest.time_s) - bisect_left(latest.time_s.tolist(), since_s)
    new = latest.since(m)
    wX = new.w[:, None] * new.X
    after = Past(new.X.T @ wX, wX.T @ new.y, np.array([new.w.sum(), new.w @ new.y, new.w @ new.y**2]))
    A, b, moments = past.A - after.A, past.b - after.b, past.moments - after.moments
    n, a = max(float(moments[0]), NOTHING), A[:, -1]
    wyy = max(float(moments[2] - moments[1] ** 2 / n), 0.0)
    values, vectors = np.linalg.eigh(A - np.multiply.outer(a, a) / n)
    values = values.clip(0.0)
    most = np.sqrt(values * wyy)  # Cauchy and Schwarz: rounding and wild retractions may say more
    A, b = (vectors * values) @ vectors.T, vectors @ ((b - a * (moments[1] / n)) @ vectors).clip(-most, most)
    slopes = np.array([max(float(moments[0]), 0.0), 0.0, wyy])
    return Past(after.A + KAPPA * A, after.b + KAPPA * b, after.moments + KAPPA * slopes)

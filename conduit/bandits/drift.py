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

import math
from bisect import bisect_left, insort
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from conduit.bandits.policy import Change, Vector
from conduit.bandits.statistics import MAX_Y, checked

SIZE = 128
"""Observations in a window."""
RESERVE = 512
"""Observations that are remembered, so that what 384 pushed out of the window comes back when they are retracted. Of an
arm and a signal that is .4 MB; who teaches more wrongly before it is noticed costs the memory of a change."""
THRESHOLD = 5.0
LEAST_AFTER, LEAST_BEFORE = 8, 16
"""Sums of weights, and observations after, without which nothing is concluded."""
KAPPA = 0.5
NOTHING = 1e-6
"""Less weight than this is what rounding leaves of an observation that was retracted."""

Key = tuple[float, bytes]
"""Time and context of an observation: two that agree in both are one of added weights."""
NEVER: Key = (-math.inf, b"")
NO_SUMS = (0.0, 0.0)


class Window:
    """The latest observations of one arm and one signal of which weight is left, and a reserve from before them.

    Whatever is retracted is as if it had never been added, and in whatever order both are read, unless more than
    `reserve - size` that were retracted are later than an observation of the window. Then the window may be shorter: it
    begins after the latest that was pushed out of the reserve, of which, as of all before, nothing is remembered.
    """

    def __init__(self, dimension: int, size: int = SIZE, reserve: int = RESERVE) -> None:
        self.dimension, self.size, self.reserve = dimension, size, reserve
        self._keys: list[Key] = []
        self._sums: dict[Key, tuple[float, float]] = {}
        self._gone = NEVER
        """The latest that was pushed out."""

    def add(self, x: Vector, y: float, *, weight: float, time_s: float) -> None:
        """Finite numbers within the bounds of Sums; a negative weight takes an observation out again, and waits for it
        where it comes first."""
        key = (time_s, x.tobytes())
        if key <= self._gone:
            return
        known = self._sums.get(key)
        w, wy = (weight, weight * y) if known is None else (known[0] + weight, known[1] + weight * y)
        if abs(w) <= NOTHING and abs(wy) <= NOTHING:
            self._remove(key)
            return
        self._sums[key] = (w, wy)
        if known is None:
            insort(self._keys, key)
            self._push_out()

    def _remove(self, key: Key) -> None:
        if self._sums.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def _push_out(self) -> None:
        if len(self._keys) > self.reserve:
            self._gone = self._keys.pop(0)
            del self._sums[self._gone]

    def latest(self) -> Vector:
        """(m, 3 + d) time | sum w | sum w y | x of the latest `size` of which weight is left, the oldest first."""
        seen = (key for key in reversed(self._keys) if self._sums[key][0] > NOTHING)
        return self._rows([*islice(seen, self.size)][::-1])

    def rows(self) -> Vector:
        """(m, 3 + d) all that is remembered, in that form: first, with no weight, the latest that was pushed out."""
        gone = [] if self._gone == NEVER else [self._gone]
        return self._rows(gone + self._keys)

    def _rows(self, keys: list[Key]) -> Vector:
        times = np.array([time_s for time_s, _ in keys])
        sums = np.array([self._sums.get(key, NO_SUMS) for key in keys]).reshape(-1, 2)
        X = np.frombuffer(b"".join(x for _, x in keys)).reshape(-1, self.dimension)
        return np.column_stack([times, sums, X])

    @classmethod
    def of(cls, rows: Vector, dimension: int, size: int = SIZE, reserve: int = RESERVE) -> Self:
        """The inverse of `rows`, flat or not; ValueError when they cannot have come from a window."""
        width = 3 + dimension
        flat = checked(rows.ravel(), rows.size)
        if flat.size % width:
            raise ValueError(f"expected rows of {width} finite numbers")
        table = flat.reshape(-1, width)
        keys = [(float(row[0]), row[3:].tobytes()) for row in table]
        if any(one >= other for one, other in pairwise(keys)):
            raise ValueError("expected rows in the order of their times")
        window = cls(dimension, size, reserve)
        if keys and not table[0, 1:3].any():
            window._gone, table = keys.pop(0), table[1:]
        if len(keys) > reserve:
            raise ValueError(f"expected {reserve} rows at most")
        window._keys = keys
        window._sums = {key: (w, wy) for key, (w, wy) in zip(keys, table[:, 1:3].tolist(), strict=True)}
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
        """Of a window's latest rows."""
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

"""Means and ratios of means with percentile bootstrap intervals, resampling whole requests."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conduit.bandits.policy import Vector

LEVEL = 0.9
RESAMPLES = 1000
AT_ONCE = 2_000_000
"""Numbers held at a time, whatever the length of the log."""


@dataclass(frozen=True, slots=True)
class Estimate:
    value: float
    low: float
    high: float


def bootstrap_sums(columns: Vector, *, seed: int) -> Vector:
    """(RESAMPLES, c) sums of (n, c) `columns` over requests that were drawn with replacement."""
    n = len(columns)
    return np.vstack([counts @ columns for counts in _counts(n, np.random.default_rng(seed))])


def _counts(n: int, chance: np.random.Generator) -> Iterator[Vector]:
    """(some, n) how often each request is in each resample."""
    most = max(1, AT_ONCE // n)
    for begin in range(0, RESAMPLES, most):
        rows = min(most, RESAMPLES - begin)
        picks = chance.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(picks.ravel(), minlength=rows * n).reshape(rows, n).astype(float)


def interval(value: float, resampled: Vector, *, unseen: float = 0.0) -> Estimate:
    """Percentiles, widened for a variance that no resample can know: what happens once in a thousand requests is in
    none where it did not happen. Resamples without a value (no weight at all) say nothing.
    """
    known = resampled[~np.isnan(resampled)]
    if not len(known) or np.isinf(unseen):
        return Estimate(value, np.nan, np.nan)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail]) - value
    spread = float(known.var())
    wider = np.sqrt(1.0 + unseen / spread) if spread > 0.0 else 1.0
    return Estimate(value, float(value + wider * low), float(value + wider * high))

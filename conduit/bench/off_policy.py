"""What another policy would have given, from what this one logged: off-policy estimates with intervals.

The other policy is learned along the ledger, in its order, and asked before each outcome is shown to it, so that
nothing is judged by what it has already seen. With its probabilities p, the logged propensity mu, w = p(drawn) / mu
and the forecast m of the same beliefs,

    SNIPS          sum w r / sum w                                       (Swaminathan and Joachims 2015)
    doubly robust  mean of [sum_a p(a) m(a) + w (r - m(drawn))]          (Dudik et al. 2011, section 3)
    effective n    (sum w)^2 / sum w^2                                   (Kish)

Intervals are percentiles of a bootstrap over requests.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conduit.bandits.policy import Vector
from conduit.core.beliefs import Beliefs
from conduit.core.catalogue import Catalogue
from conduit.core.decision import Candidate, Observation
from conduit.core.query import Preferences

Picks = NDArray[np.int64]
"""(resamples, n) which requests a resample is made of."""
LEVEL = 0.9
LEAST_EFFECTIVE = 100.0
"""With fewer effective observations than these nothing is concluded."""
RESAMPLES = 1000
WARM_UP = 50
"""The first requests teach and are not judged: a learner is not known by what it does before it has learned."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One rated answer, as the ledger has it."""

    observation: Observation
    """With quality, and with cost where the price is known."""
    candidates: tuple[str, ...]
    propensity: float
    input_tokens: int


@dataclass(frozen=True, slots=True)
class Estimate:
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one policy. `cost_usd` is None when a price is unknown."""

    requests: int
    effective: float
    quality_snips: Estimate
    quality: Estimate
    """Doubly robust."""
    cost_usd: Estimate | None
    logged_quality: Estimate
    """Of the policy that was serving."""
    logged_cost_usd: Estimate | None

    @property
    def concluded(self) -> bool:
        return self.effective >= LEAST_EFFECTIVE

    @property
    def requests_needed(self) -> int:
        """How many rated requests it would take, at the rate at which they were worth something so far."""
        return int(np.ceil(self.requests * LEAST_EFFECTIVE / max(self.effective, 1.0)))


@dataclass(frozen=True, slots=True)
class Judged:
    """One request under the other policy."""

    weight: float
    expected_quality: float
    """sum_a p(a) m(a)."""
    forecast_quality: float
    """m of the model that was drawn."""
    quality: float
    expected_cost_usd: float
    forecast_cost_usd: float
    cost_usd: float


def evaluate(
    log: Sequence[Logged], *, beliefs: Beliefs, catalogue: Catalogue, preferences: Preferences, seed: int = 0
) -> Verdict:
    """How `beliefs`, that start from nothing, would have fared on `log`. Raises ValueError when `log` is too short."""
    judged = list(_along(log, beliefs, catalogue, preferences))[WARM_UP:]
    if not judged:
        raise ValueError(f"{len(log)} rated requests; more than {WARM_UP} are needed")
    columns = {name: np.array([getattr(j, name) for j in judged]) for name in Judged.__slots__}
    w = columns["weight"]
    picks = np.random.default_rng(seed).integers(len(w), size=(RESAMPLES, len(w)))
    quality, cost = columns["quality"], columns["cost_usd"]
    priced = not np.isnan(columns["expected_cost_usd"] + cost).any()
    return Verdict(
        requests=len(w),
        effective=float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0,
        quality_snips=_ratio(w * quality, w, picks),
        quality=_mean(_doubly_robust(columns, "quality"), picks),
        cost_usd=_mean(_doubly_robust(columns, "cost_usd"), picks) if priced else None,
        logged_quality=_mean(quality, picks),
        logged_cost_usd=_mean(cost, picks) if priced else None,
    )


def _along(log: Iterable[Logged], beliefs: Beliefs, catalogue: Catalogue, preferences: Preferences) -> Iterator[Judged]:
    for entry in log:
        o = entry.observation
        models = [catalogue[name] for name in entry.candidates]
        expected = beliefs.expect(o.context, models, input_tokens=entry.input_tokens, most=None)
        yield _judged(entry, beliefs.consider(o.context, expected, preferences))
        beliefs.fold(o)
        if beliefs.stale:
            beliefs.refresh()


def _judged(entry: Logged, candidates: Sequence[Candidate]) -> Judged:
    o = entry.observation
    drawn = next(c for c in candidates if c.model == o.model)
    return Judged(
        weight=drawn.probability / entry.propensity,
        expected_quality=sum(c.probability * c.quality for c in candidates),
        forecast_quality=drawn.quality,
        quality=o.quality or 0.0,
        expected_cost_usd=sum(c.probability * _or_nan(c.cost_usd) for c in candidates if c.probability > 0),
        forecast_cost_usd=_or_nan(drawn.cost_usd),
        cost_usd=_or_nan(o.cost_usd),
    )


def _or_nan(number: float | None) -> float:
    return np.nan if number is None else number


def _doubly_robust(columns: dict[str, Vector], signal: str) -> Vector:
    correction = columns["weight"] * (columns[signal] - columns[f"forecast_{signal}"])
    return np.asarray(columns[f"expected_{signal}"] + correction)


def _mean(values: Vector, picks: Picks) -> Estimate:
    return _percentiles(float(values.mean()), values[picks].mean(axis=1))


def _ratio(numerators: Vector, denominators: Vector, picks: Picks) -> Estimate:
    total = denominators.sum()
    if total == 0:
        return Estimate(np.nan, np.nan, np.nan)
    sums = denominators[picks].sum(axis=1)
    ratios = numerators[picks].sum(axis=1) / np.where(sums == 0, np.nan, sums)
    return _percentiles(float(numerators.sum() / total), ratios)


def _percentiles(value: float, resampled: Vector) -> Estimate:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(resampled, [tail, 100 - tail])
    return Estimate(value, float(low), float(high))

"""What another policy would have given, from what this one logged: off-policy estimates with intervals.

The other policy is learned along the ledger, in its order, and asked before each outcome is shown to it, so that
nothing is judged by what it has already seen. With its probabilities p, the logged propensity mu, w = p(drawn) / mu
and the forecast m of the same beliefs,

    SNIPS          sum w r / sum w                                       (Swaminathan and Joachims 2015)
    doubly robust  mean of [sum_a p(a) m(a) + w (r - m(drawn))]          (Dudik et al. 2011, section 3)
    effective n    (sum w)^2 / sum w^2 (Kish), or n^2 / sum_i sum_a p(a)^2 / mu(a) where that is less

The second form expects what the first has met: who never drew what the other policy asks for has met no large weight.
Large weights are kept: to leave those to the forecast makes intervals half as wide, and its bias is in none of them.

Concluded is from the doubly robust estimates. Differences to what was served are taken request by request. Intervals
are percentiles of a bootstrap over requests, widened by the draws that should have been there: where the squared
weights come to less than the probabilities foretell, the rest times e^2, the weighted mean square of r - m, is variance
that was not seen.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil, inf

import numpy as np

from conduit.bandits.policy import Vector
from conduit.bench.intervals import Estimate, bootstrap_sums, interval
from conduit.routing.beliefs import Beliefs
from conduit.routing.catalogue import Catalogue
from conduit.routing.choice import weigh
from conduit.routing.decision import Candidate, Observation
from conduit.routing.query import Preferences

LEAST_EFFECTIVE = 100.0
"""With fewer effective observations than these nothing is concluded."""
WARM_UP = 50
"""The first requests teach and are not judged: a learner is not known by what it does before it has learned."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One rated answer, as the ledger has it."""

    observation: Observation
    """With quality, and with cost where the price is known."""
    candidates: Mapping[str, float]
    """Model -> the probability with which it was drawn."""
    input_tokens: int


@dataclass(frozen=True, slots=True)
class Signal:
    """What the other policy would have given of one signal."""

    snips: Estimate
    doubly_robust: Estimate
    served: Estimate
    """What there was instead."""
    difference: Estimate
    """`doubly_robust` less `served`, request by request."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one policy. `cost_usd` is None when a price is unknown."""

    requests: int
    effective: float
    quality: Signal
    cost_usd: Signal | None
    requests_a_day: float | None
    """Rated requests, as they came; None when they came all at once."""

    @property
    def concluded(self) -> bool:
        return self.effective >= LEAST_EFFECTIVE

    @property
    def requests_needed(self) -> int:
        """How many more it would take, at the rate at which they were worth something so far."""
        in_all = ceil(self.requests * LEAST_EFFECTIVE / max(self.effective, 1.0))
        return max(0, in_all - self.requests)

    @property
    def days_needed(self) -> float | None:
        return self.requests_needed / self.requests_a_day if self.requests_a_day else None


@dataclass(frozen=True, slots=True)
class Judged:
    """One request under the other policy."""

    weight: float
    second_moment: float
    """Of the weight: sum_a p(a)^2 / mu(a)."""
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
    judged = list(along(log, beliefs, catalogue, preferences))[WARM_UP:]
    if not judged:
        raise ValueError(f"{len(log)} rated requests; more than {WARM_UP} are needed")
    return conclude(judged, requests_a_day=_rate(log), seed=seed)


def along(log: Iterable[Logged], beliefs: Beliefs, catalogue: Catalogue, preferences: Preferences) -> Iterator[Judged]:
    """Each request as `beliefs` would have it, which then learn what came of it."""
    for entry in log:
        o = entry.observation
        models = [catalogue[name] for name in entry.candidates]
        expected = beliefs.expect(o.context, models, input_tokens=entry.input_tokens, most=None)
        yield _judged(entry, weigh(o.context, expected, preferences, beliefs))
        beliefs.fold(o)
        if beliefs.stale:
            beliefs.refresh()


def conclude(judged: Sequence[Judged], *, requests_a_day: float | None = None, seed: int = 0) -> Verdict:
    columns = {f.name: np.array([getattr(j, f.name) for j in judged]) for f in fields(Judged)}
    return verdict(columns, requests_a_day=requests_a_day, seed=seed)


def verdict(columns: dict[str, Vector], *, requests_a_day: float | None = None, seed: int = 0) -> Verdict:
    """`columns` are those of Judged, (n,) each."""
    w = columns["weight"]
    priced = not np.isnan(columns["expected_cost_usd"] + columns["forecast_cost_usd"] + columns["cost_usd"]).any()
    return Verdict(
        requests=len(w),
        effective=_effective(w, columns["second_moment"]),
        quality=_signal(columns, "quality", seed),
        cost_usd=_signal(columns, "cost_usd", seed) if priced else None,
        requests_a_day=requests_a_day,
    )


def _effective(weight: Vector, second_moment: Vector) -> float:
    if not weight.any():
        return 0.0
    return float(min(weight.sum() ** 2 / (weight**2).sum(), len(weight) ** 2 / second_moment.sum()))


def _rate(log: Sequence[Logged]) -> float | None:
    times = [entry.observation.time_s for entry in log]
    span_s = max(times) - min(times)
    return (len(log) - 1) * 86400.0 / span_s if span_s > 0 else None


def _judged(entry: Logged, candidates: Sequence[Candidate]) -> Judged:
    o = entry.observation
    drawn = next(c for c in candidates if c.model == o.model)
    return Judged(
        weight=drawn.probability / entry.candidates[o.model],
        second_moment=sum(_squared(c.probability, entry.candidates[c.model]) for c in candidates),
        expected_quality=sum(c.probability * c.quality for c in candidates),
        forecast_quality=drawn.quality,
        quality=o.quality or 0.0,
        expected_cost_usd=sum(c.probability * _or_nan(c.cost_usd) for c in candidates if c.probability > 0),
        forecast_cost_usd=_or_nan(drawn.cost_usd),
        cost_usd=_or_nan(o.cost_usd),
    )


def _squared(p: float, mu: float) -> float:
    return 0.0 if p == 0.0 else p * p / mu if mu > 0.0 else inf


def _or_nan(number: float | None) -> float:
    return np.nan if number is None else number


def _signal(columns: dict[str, Vector], name: str, seed: int) -> Signal:
    w, seen = columns["weight"], columns[name]
    expected, surprise = columns[f"expected_{name}"], seen - columns[f"forecast_{name}"]
    robust = expected + w * surprise
    gained = robust - seen
    sums = bootstrap_sums(np.column_stack([robust, seen, gained, w * seen, w]), seed=seed)
    n, total = len(w), float(w.sum())
    snips = float((w * seen).sum() / total) if total else np.nan
    missing = _missing(w, columns["second_moment"])
    error = float((w * surprise**2).sum() / total) if total else 0.0
    distance = float((w * (seen - snips) ** 2).sum() / total) if total else 0.0

    def mean(values: Vector, column: int, unseen: float) -> Estimate:
        return interval(float(values.mean()), sums[:, column] / n, unseen=unseen)

    return Signal(
        snips=interval(snips, sums[:, 3] / np.where(sums[:, 4] == 0.0, np.nan, sums[:, 4]), unseen=missing * distance),
        doubly_robust=mean(robust, 0, missing * error),
        served=mean(seen, 1, 0.0),
        difference=mean(gained, 2, missing * error),
    )


def _missing(weight: Vector, foretold: Vector) -> float:
    """By how much the variance of the mean is less than was to be expected, for errors of square 1."""
    n = len(weight)
    return max(0.0, float(foretold.sum() - (weight**2).sum())) / n**2

"""What was saved against always asking one model: an off-policy estimate from logged propensities."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from conduit.bandits.policy import Vector
from conduit.routing.choice import weigh
from conduit.routing.decision import Record, Status
from conduit.routing.query import Preferences
from conduit.routing.router import Router

LEVEL = 0.9
Z = 1.6449
"""Of the standard normal, for a two-sided interval at LEVEL."""
HEAVIEST = 50.0
"""A draw rarer than one in so many corrects nothing: alone it would outweigh all others."""
LEAST = 30
"""Nothing is concluded from fewer requests."""
ASKED = 200
"""So many contexts say who is believed to be best."""


@dataclass(frozen=True, slots=True)
class Savings:
    """US dollars a request, against always asking `against`."""

    against: str
    value: float
    low: float
    high: float
    level: float
    n: int


@dataclass(frozen=True, slots=True)
class Account:
    """What was saved against the chosen baseline, and against the model that is believed to be the best one."""

    baseline: str
    best: str | None
    """None where there was nothing to ask about."""
    requests: int
    """That could be looked at: routed, answered, and paid at a known price."""
    against_baseline: Savings | None
    """None when there is too little to conclude from, or the price is unknown."""
    against_best: Savings | None


def account(records: Iterable[Record], *, router: Router, baseline: str) -> Account:
    paid = [record for record in records if _is_evidence(record)]
    best = best_model(paid, router=router)
    to_baseline = savings(paid, router=router, baseline=baseline)
    to_best = to_baseline if best in {baseline, None} else savings(paid, router=router, baseline=best or baseline)
    return Account(baseline, best, len(paid), to_baseline, to_best if best is not None else None)


def best_model(records: Sequence[Record], *, router: Router) -> str | None:
    """Who is believed to answer best in the mean over these contexts; of equals, the catalogue's first."""
    models = router.catalogue.models
    step = max(1, len(records) // ASKED)
    contexts = [r.decision.context for r in records[::step] if r.decision.features == router.features.version]
    if not contexts or not models:
        return None
    beliefs, quality = router.beliefs, np.zeros(len(models))
    for x in contexts:
        expected = beliefs.expect(x, models, input_tokens=0, most=None)
        quality += [c.quality for c in weigh(x, expected, Preferences(), beliefs)]
    return models[int(quality.argmax())].name


def savings(records: Iterable[Record], *, router: Router, baseline: str) -> Savings | None:
    """US dollars a request saved against always asking `baseline`; None when there is too little to conclude from.

    The switch estimator (Wang, Agarwal and Dudik 2017, section 4): what the baseline would have cost is forecast
    from today's beliefs, corrected by what it did cost where it was drawn, weighted by one over the probability of
    the draw up to HEAVIEST. The interval adds the sampling error of the mean and the forecast's own doubt, taken as
    common to all requests; it errs on the wide side.
    """
    version = router.features.version
    paid = [r for r in records if _is_evidence(r) and r.decision.features == version]
    model = router.catalogue.known(baseline)
    if len(paid) < LEAST or model is None or model.price is None:
        return None
    forecast, doubt = router.beliefs.costs_usd(
        model, [r.decision.context for r in paid], [_input_tokens(r) for r in paid]
    )
    cost = np.array([_cost_usd(r) for r in paid])
    saved = forecast + _weights(paid, baseline) * (cost - forecast) - cost
    margin = Z * sqrt(float(saved.var(ddof=1)) / len(saved) + float((forecast * doubt).mean()) ** 2)
    mean = float(saved.mean())
    return Savings(baseline, mean, mean - margin, mean + margin, LEVEL, len(saved))


def _is_evidence(record: Record) -> bool:
    """Chosen by the router, answered, and paid at a known price."""
    outcome = record.outcome
    answered = outcome is not None and outcome.status is Status.ANSWERED and outcome.cost_usd is not None
    return record.decision.routed and answered


def _weights(records: Sequence[Record], baseline: str) -> Vector:
    """(n,) one over the propensity where the baseline was drawn and answered; 0 elsewhere, and beyond HEAVIEST."""
    weights = np.zeros(len(records))
    for i, record in enumerate(records):
        drawn = record.decision.model == baseline and record.outcome is not None and record.outcome.model == baseline
        if drawn and record.decision.propensity * HEAVIEST >= 1.0:
            weights[i] = 1.0 / record.decision.propensity
    return weights


def _cost_usd(record: Record) -> float:
    return record.outcome.cost_usd or 0.0 if record.outcome else 0.0


def _input_tokens(record: Record) -> int:
    counted = record.outcome.input_tokens if record.outcome else None
    return record.decision.input_tokens if counted is None else counted

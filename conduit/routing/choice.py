"""The probability with which each model is drawn, from what is forecast to the draw, on one page.

The steps are those of docs/policy.md, which has their equations: forecast, screen, utility, widths, distribution, cap,
draw. What a budget adds is in paced.py.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from conduit.bandits.policy import Menu, Vector
from conduit.routing import paced
from conduit.routing.beliefs import Beliefs
from conduit.routing.catalogue import Model
from conduit.routing.decision import Candidate
from conduit.routing.eligibility import refusal, screen
from conduit.routing.forecast import Expected
from conduit.routing.protocols import Pacing
from conduit.routing.query import Incumbent, Preferences, Query
from conduit.routing.utility import dollars, penalty

NEGLECT = 1.0
"""c of the widths; see docs/decisions/0015."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One draw, and all that it was drawn from."""

    drawn: Candidate
    candidates: Sequence[Candidate]
    """Of the models that could be drawn, in their order in the catalogue."""
    removed: dict[str, str]
    """Model -> why it could not."""
    shadow_price: float


def choose(
    x: Vector,
    query: Query,
    models: Sequence[Model],
    beliefs: Beliefs,
    *,
    pacer: Pacing | None,
    unavailable: Mapping[str, str],
    unaffordable: Mapping[str, str],
    random: np.random.Generator,
) -> Choice:
    """All steps for one request with context `x` (d,). Raises NoEligibleModel, and has drawn nothing then."""
    everyone = forecast(x, query, models, beliefs)
    removed = screened(x, query, everyone, beliefs, unavailable=unavailable, unaffordable=unaffordable)
    eligible = everyone.without(removed) if removed else everyone
    too_dear = paced.too_dear(eligible, pacer, beliefs.reference_cost_usd)
    menu = eligible.without(too_dear) if too_dear else eligible
    price = None if pacer is None else pacer.price
    candidates = weigh(x, menu, query.preferences, beliefs, shadow_price=price, incumbent=query.incumbent)
    if pacer is not None:
        paced.show(pacer, candidates, menu, whole=eligible, reference_cost_usd=beliefs.reference_cost_usd)
    return Choice(draw(candidates, random.random()), candidates, removed | too_dear, price or 0.0)


def forecast(x: Vector, query: Query, models: Sequence[Model], beliefs: Beliefs) -> Expected:
    """What asking each of `models` would cost, and how long it would take."""
    tokens, most = query.estimated_input_tokens, query.max_output_tokens
    return beliefs.expect(x, models, input_tokens=tokens, most=most, incumbent=query.incumbent)


def screened(
    x: Vector,
    query: Query,
    everyone: Expected,
    beliefs: Beliefs,
    *,
    unavailable: Mapping[str, str],
    unaffordable: Mapping[str, str],
) -> dict[str, str]:
    """Model -> the requirement that it does not meet. Raises NoEligibleModel where none is left."""
    quality: dict[str, float] = {}
    if query.requirements.min_quality is not None:
        looked = weigh(x, everyone, query.preferences, beliefs, incumbent=query.incumbent)
        quality = {candidate.model: candidate.quality for candidate in looked}
    removed = screen(
        everyone,
        query,
        quality=quality,
        rated=beliefs.rated,
        unavailable=unavailable,
        unaffordable=unaffordable,
    )
    if len(removed) == len(everyone.models):
        raise refusal(everyone.models, removed, query)
    return removed


def weigh(
    x: Vector,
    expected: Expected,
    preferences: Preferences,
    beliefs: Beliefs,
    *,
    shadow_price: float | None = None,
    incumbent: Incumbent | None = None,
) -> list[Candidate]:
    """Each of the expected models, in the same order, with the quality that is believed, the utility that follows, and
    the probability with which it is to be drawn. A `shadow_price` of None: there is no budget."""
    names = [model.name for model in expected.models]
    costs = dollars(expected.cost_usd, beliefs.reference_cost_usd)
    penalties = penalty(
        preferences,
        cost_usd=costs,
        latency_s=expected.latency_s,
        reference_cost_usd=beliefs.reference_cost_usd,
        shadow_price=shadow_price or 0.0,
    )
    if incumbent is not None and incumbent.model in names:
        penalties = penalties + preferences.quality * incumbent.stickiness
        penalties[names.index(incumbent.model)] -= preferences.quality * incumbent.stickiness
    menu = Menu(names, penalties, preferences.quality, costs, widths(names, beliefs, budget=shadow_price is not None))
    d = beliefs.policy.distribution(x, menu)
    probability = cap(names, d.probability, beliefs)
    utility = menu.quality_weight * d.mean - menu.penalty
    columns = (names, probability.tolist(), utility.tolist(), d.mean.tolist(), d.width.tolist())
    return list(map(Candidate, *columns, _known(expected.cost_usd), _known(expected.latency_s)))


def widths(names: Sequence[str], beliefs: Beliefs, *, budget: bool) -> Vector:
    """(k,) by how much the doubt about each is widened: newcomers', and without a budget that of the neglected.

    The latter by sqrt(1 + c log+(n / (k n_a))), n ratings in all and n_a of each, after MOSS (Audibert and Bubeck
    2009). A prior that expects models to differ little is cheap under a budget, and may be far from the truth: a model
    that is seldom asked is doubted more as others are asked on, until it has shown what it can do.
    """
    doubt = beliefs.newcomers.doubt(names, beliefs.seen)
    if budget:
        return doubt
    fair = sum(beliefs.rated.values()) / len(names)
    shares = [fair / max(beliefs.rated.get(name, 0.0), 0.5) for name in names]
    neglect = [math.sqrt(1.0 + NEGLECT * math.log(share)) if share > 1.0 else 1.0 for share in shares]
    return np.asarray(doubt * np.array(neglect))


def cap(names: Sequence[str], probability: Vector, beliefs: Beliefs) -> Vector:
    """(k,) no newcomer above its share; a fixed policy has been told what to do."""
    return probability if beliefs.fixed else beliefs.newcomers.capped(names, probability, beliefs.seen)


def draw(candidates: Sequence[Candidate], place: float) -> Candidate:
    """The one in whose stretch of [0, 1) `place` lies."""
    edges = list(accumulate(c.probability for c in candidates))
    return candidates[min(bisect_right(edges, place * edges[-1]), len(candidates) - 1)]


def _known(numbers: Vector) -> list[float | None]:
    return [None if math.isnan(number) else number for number in numbers.tolist()]

"""Hard requirements: who is removed before anything is scored, and because of what."""

from collections.abc import Mapping, Sequence
from math import isnan
from types import MappingProxyType
from typing import NamedTuple

from conduit.routing.catalogue import Model
from conduit.routing.errors import ContextLengthExceeded, NoEligibleModel
from conduit.routing.forecast import Expected
from conduit.routing.query import Query, Requirements

NOTHING = Requirements()
NOBODY: Mapping[str, str] = MappingProxyType({})

WINDOW = "context_window: "
KINDS = DENY, ALLOW, NEEDS = ("deny: ", "allow: ", "needs: ")
"""How reasons begin: of a prompt's length, and of what no other prompt would change."""

RATED_ENOUGH = 20.0
"""`min_quality` is sure of a model after so many of its answers were rated; of others it goes by what is believed, and
only where somebody of whom it is sure is good enough: else doubt is for learning."""


def screen(
    everyone: Expected,
    query: Query,
    *,
    quality: Mapping[str, float],
    rated: Mapping[str, float],
    unavailable: Mapping[str, str],
    unaffordable: Mapping[str, str] = NOBODY,
) -> dict[str, str]:
    """Model -> why it cannot be asked. Models that are unhealthy come back when nobody else is left.

    `quality` is needed where the query has a `min_quality`.
    """
    models, removed = everyone.models, {}
    tokens = query.estimated_input_tokens + (query.max_output_tokens or 0)
    demanding = query.requirements != NOTHING
    judged = _judged(quality, rated, query.requirements) if query.requirements.min_quality is not None else {}
    for i, model in enumerate(models):
        reason = _by_kind(model, query.requirements) if demanding else None
        reason = reason or _by_length(model, tokens)
        if reason is None and demanding:
            seen = Seen(float(everyone.cost_usd[i]), float(everyone.latency_s[i]), judged.get(model.name))
            reason = _unmet(seen, query.requirements)
        reason = reason or unaffordable.get(model.name)
        if reason is not None:
            removed[model.name] = reason
    sick = {m.name: unavailable[m.name] for m in models if m.name in unavailable and m.name not in removed}
    if len(removed) + len(sick) < len(models):
        removed |= sick
    return removed | _not_preferred(models, query.requirements, removed)


class Seen(NamedTuple):
    """What is forecast of one model."""

    cost_usd: float
    latency_s: float
    quality: float | None
    """None while it is not to be judged by it."""


def _judged(
    quality: Mapping[str, float], rated: Mapping[str, float], requirements: Requirements
) -> Mapping[str, float]:
    """Who is judged by `min_quality`, and as what: everybody, where one of whom it is sure, and who may be asked by
    name, is as good as is needed; else those of whom it is sure."""
    sure = {name: q for name, q in quality.items() if rated.get(name, 0.0) >= RATED_ENOUGH}
    asked = {name for name in sure if name not in requirements.deny and name in (requirements.allow or sure)}
    suffices = any(sure[name] >= (requirements.min_quality or 0.0) for name in asked)
    return quality if suffices else sure


def refusal(models: Sequence[Model], removed: Mapping[str, str], query: Query) -> NoEligibleModel:
    """What to raise where all are removed: whether a shorter prompt would have had a model is told apart."""
    short = [m for m in models if removed[m.name].startswith(WINDOW)]
    others = [m for m in models if not removed[m.name].startswith((WINDOW, *KINDS))]
    if others or not short:
        return NoEligibleModel(removed)
    window = max(m.context_window or 0 for m in short)
    asked, answer = query.estimated_input_tokens, query.max_output_tokens or 0
    return ContextLengthExceeded(removed, window=window, asked=asked, answer=answer)


def _by_length(model: Model, tokens: int) -> str | None:
    if model.context_window is None or tokens <= model.context_window:
        return None
    return f"{WINDOW}{tokens} tokens needed, {model.context_window} there"


def _by_kind(model: Model, requirements: Requirements) -> str | None:
    """What no other prompt would change."""
    return _by_name(model, requirements) or _by_ability(model, requirements)


def _unmet(seen: Seen, requirements: Requirements) -> str | None:
    """The first of the other requirements that a model does not meet."""
    return (
        _by_cost(seen.cost_usd, requirements)
        or _by_latency(seen.latency_s, requirements)
        or _by_quality(seen.quality, requirements)
    )


def _by_name(model: Model, requirements: Requirements) -> str | None:
    if model.name in requirements.deny:
        return f"{DENY}listed"
    if requirements.allow and model.name not in requirements.allow:
        return f"{ALLOW}not listed"
    return None


def _by_ability(model: Model, requirements: Requirements) -> str | None:
    missing = sorted(requirements.needs - model.abilities) if model.abilities is not None else []
    return f"{NEEDS}no {' and no '.join(missing)}" if missing else None


def _by_cost(cost_usd: float, requirements: Requirements) -> str | None:
    if requirements.max_cost_usd is None:
        return None
    if isnan(cost_usd):
        return "max_cost: price unknown"
    if cost_usd > requirements.max_cost_usd:
        return f"max_cost: {cost_usd:.3g} USD expected, {requirements.max_cost_usd:.3g} allowed"
    return None


def _by_latency(latency_s: float, requirements: Requirements) -> str | None:
    bound = requirements.max_latency_s
    if bound is None or isnan(latency_s) or latency_s <= bound:
        return None
    return f"max_latency: {latency_s:.2f} s expected, {bound:.2f} allowed"


def _by_quality(quality: float | None, requirements: Requirements) -> str | None:
    bound = requirements.min_quality
    if bound is None or quality is None or quality >= bound:
        return None
    return f"min_quality: {quality:.2f} expected, {bound:.2f} needed"


def _not_preferred(models: Sequence[Model], requirements: Requirements, removed: Mapping[str, str]) -> dict[str, str]:
    """A preference for a provider yields when none of its models is left."""
    left = [m for m in models if m.name not in removed]
    wanted = requirements.preferred_provider
    if wanted is None or all(m.provider != wanted for m in left):
        return {}
    return {m.name: f"preferred_provider: not {wanted}" for m in left if m.provider != wanted}

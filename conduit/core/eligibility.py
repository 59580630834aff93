"""Hard requirements: who is removed before anything is scored, and because of what."""

from collections.abc import Mapping, Sequence

from conduit.core.catalogue import Model
from conduit.core.decision import Candidate
from conduit.core.query import Query, Requirements

RATED_ENOUGH = 20.0
"""`min_quality` removes a model only after so many of its answers were rated: doubt is for learning."""


def screen(
    models: Sequence[Model],
    query: Query,
    *,
    forecast: Mapping[str, Candidate],
    rated: Mapping[str, float],
    unavailable: Mapping[str, str],
) -> dict[str, str]:
    """Model -> why it cannot be asked. Models that are unhealthy come back when nobody else is left."""
    removed = {}
    for model in models:
        reason = unmet(model, query, forecast[model.name], rated.get(model.name, 0.0))
        if reason:
            removed[model.name] = reason
    sick = {m.name: unavailable[m.name] for m in models if m.name in unavailable and m.name not in removed}
    if len(removed) + len(sick) < len(models):
        removed |= sick
    return removed | _not_preferred(models, query.requirements, removed)


def unmet(model: Model, query: Query, forecast: Candidate, rated: float) -> str | None:
    """The first requirement that `model` does not meet."""
    requirements = query.requirements
    return (
        _by_name(model, requirements)
        or _by_ability(model, query)
        or _by_cost(forecast, requirements)
        or _by_latency(forecast, requirements)
        or _by_quality(forecast, requirements, rated)
    )


def _by_name(model: Model, requirements: Requirements) -> str | None:
    if model.name in requirements.deny:
        return "deny: listed"
    if requirements.allow and model.name not in requirements.allow:
        return "allow: not listed"
    return None


def _by_ability(model: Model, query: Query) -> str | None:
    tokens = query.estimated_input_tokens + (query.max_output_tokens or 0)
    if model.context_window is not None and tokens > model.context_window:
        return f"context_window: {tokens} tokens needed, {model.context_window} there"
    missing = sorted(query.requirements.needs - model.abilities) if model.abilities is not None else []
    return f"needs: no {' and no '.join(missing)}" if missing else None


def _by_cost(forecast: Candidate, requirements: Requirements) -> str | None:
    if requirements.max_cost_usd is None:
        return None
    if forecast.cost_usd is None:
        return "max_cost: price unknown"
    if forecast.cost_usd > requirements.max_cost_usd:
        return f"max_cost: {forecast.cost_usd:.3g} USD expected, {requirements.max_cost_usd:.3g} allowed"
    return None


def _by_latency(forecast: Candidate, requirements: Requirements) -> str | None:
    bound, expected = requirements.max_latency_s, forecast.latency_s
    if bound is None or expected is None or expected <= bound:
        return None
    return f"max_latency: {expected:.2f} s expected, {bound:.2f} allowed"


def _by_quality(forecast: Candidate, requirements: Requirements, rated: float) -> str | None:
    bound = requirements.min_quality
    if bound is None or rated < RATED_ENOUGH or forecast.quality >= bound:
        return None
    return f"min_quality: {forecast.quality:.2f} expected, {bound:.2f} needed"


def _not_preferred(models: Sequence[Model], requirements: Requirements, removed: Mapping[str, str]) -> dict[str, str]:
    """A preference for a provider yields when none of its models is left."""
    left = [m for m in models if m.name not in removed]
    wanted = requirements.preferred_provider
    if wanted is None or all(m.provider != wanted for m in left):
        return {}
    return {m.name: f"preferred_provider: not {wanted}" for m in left if m.provider != wanted}

"""Values -> what clients see: shapes and headers of answers."""

from collections.abc import Container, Mapping
from dataclasses import asdict
from typing import Any

from conduit.bandits.policy import Change
from conduit.core.aliases import Aliases
from conduit.core.judgement import said_weight
from conduit.core.request_state import RequestState
from conduit.core.storage import ROUNDING, Place, Totals
from conduit.gateway.judge.judge import Judge
from conduit.gateway.request.answers import Completion
from conduit.gateway.request.cache import Look
from conduit.gateway.stats.refreshing import Figure
from conduit.routing.catalogue import AUTO, Catalogue
from conduit.routing.decision import Decision, Feedback, Outcome, Record
from conduit.routing.savings import LEAST, Account, Savings

MOST_OTHERS, OTHER = 50, "other"
CAPPED = "recorded, but it teaches less than it could: all weight that one key gives one model in an hour is spent"


def models_view(catalogue: Catalogue, created_s: float, aliases: Aliases) -> dict[str, Any]:
    names = [AUTO, *(m.name for m in catalogue), *(alias for alias in aliases if alias not in catalogue)]
    data = [model_view(catalogue, name, created_s, aliases) for name in names]
    return {"object": "list", "data": data, "models": names, "default_model": AUTO}


def model_view(catalogue: Catalogue, name: str, created_s: float, aliases: Aliases) -> dict[str, Any] | None:
    """None when it is nobody's name. An alias goes before a model, as it does where one is asked."""
    if name not in aliases and name != AUTO and name not in catalogue:
        return None
    target = aliases.get(name, name)
    owner = catalogue[target].provider if target in catalogue else "conduit"
    view = {"id": name, "object": "model", "created": int(created_s), "owned_by": owner}
    return {**view, "alias_of": target} if name in aliases else view


def decision_headers(decision: Decision, *, model: str) -> dict[str, str]:
    """What is known of an answer before its last byte."""
    chosen = decision.chosen
    headers = {
        "x-conduit-decision": decision.id,
        "x-conduit-model": model,
        "x-conduit-propensity": f"{decision.propensity:.6f}",
    }
    if chosen.cost_usd is not None:
        headers["x-conduit-estimated-cost-usd"] = f"{chosen.cost_usd:.8f}"
    if decision.shadow_price > 0.0:
        headers["x-conduit-shadow-price"] = f"{decision.shadow_price:.6g}"
    return headers


def cache_headers(look: Look, state: RequestState) -> dict[str, str]:
    if look.degraded:
        state.degrade("cache")
    return {"x-conduit-cache": look.found} if look.found else {}


def outcome_headers(done: Completion, state: RequestState) -> dict[str, str]:
    outcome = done.outcome
    headers = decision_headers(done.decision, model=outcome.model) | cache_headers(done.look, state)
    if outcome.cost_usd is not None:
        headers["x-conduit-cost-usd"] = f"{outcome.cost_usd:.8f}"
    if len(outcome.attempts) > 1:
        headers["x-conduit-attempts"] = str(len(outcome.attempts))
    if done.kept is not Place.LEDGER:
        state.degrade("ledger" if done.kept is None else "spool")
    return headers


def decision_view(decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "object": "decision",
        "created": decision.time_s,
        "model": decision.model,
        "propensity": decision.propensity,
        "why": decision.why,
        "alternatives": decision.alternatives,
        "candidates": [c._asdict() for c in decision.candidates],
        "removed": decision.removed,
        "policy": decision.policy,
        "routed": decision.routed,
        "features": decision.features,
        "domain": decision.domain,
        "input_tokens": decision.input_tokens,
        "shadow_price": decision.shadow_price,
        "user_id": decision.user_id,
        "session_id": decision.session_id,
        "request_id": decision.request_id,
    }


def record_view(record: Record, *, hashes: bool) -> dict[str, Any]:
    """`hashes`: of prompts, for admins. Whoever sees those of his own guesses can try whether others asked the same."""
    outcome, feedback = record.outcome, record.feedback
    return {
        **decision_view(record.decision),
        **_remembered(record.decision, hashes=hashes),
        "outcome": None if outcome is None else _without_id(asdict(outcome)),
        "feedback": None if feedback is None or not feedback.signals else _without_id(asdict(feedback)),
    }


def _remembered(decision: Decision, *, hashes: bool) -> dict[str, str]:
    """Of the prompt, what is kept."""
    hashed = {} if decision.prompt_hash is None or not hashes else {"prompt_hash": decision.prompt_hash.hex()}
    return hashed if decision.prompt is None else {**hashed, "prompt": decision.prompt}


def _without_id(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in {"decision_id", "key_id"}}


def complete_view(decision: Decision, outcome: Outcome, *, content: str, query_id: str) -> dict[str, Any]:
    return {
        "id": decision.id,
        "query_id": query_id,
        "model": outcome.model,
        "data": {"content": content},
        "metadata": {
            "cost": outcome.cost_usd,
            "latency": outcome.latency_s,
            "tokens": {"input": outcome.input_tokens, "output": outcome.output_tokens},
            "routing_confidence": decision.propensity,
            "reasoning": decision.why,
            "attempts": [asdict(a) for a in outcome.attempts],
            "response_id": outcome.response_id,
        },
    }


def feedback_view(feedback: Feedback) -> dict[str, Any]:
    return {
        "id": feedback.id,
        "response_id": feedback.decision_id,
        "quality": feedback.quality,
        "revision": feedback.revision,
        "weight": said_weight(feedback),
        "taught_weight": feedback.weight,
        "message": CAPPED if is_capped(feedback) else "recorded",
    }


def is_capped(feedback: Feedback) -> bool:
    """Whether it teaches with less weight than it has."""
    return feedback.weight < said_weight(feedback) - ROUNDING


def stats_view(
    summed: Figure[Totals],
    account: Figure[Account],
    changes: Mapping[tuple[str, str], Change],
    *,
    known: Container[str],
    set_aside: int,
) -> dict[str, Any]:
    totals = summed.value
    ended = totals.answered + totals.failed
    return {
        "total_queries": totals.decisions,
        "total_cost": totals.cost_usd,
        "unpriced": totals.unpriced,
        "cached": totals.cached,
        "avg_latency": totals.latency_s,
        "model_distribution": distribution(totals.by_model, known),
        "quality_metrics": {
            "avg_quality": totals.quality,
            "rated": totals.rated,
            "success_rate": totals.answered / ended if ended else None,
        },
        "age_s": summed.age_s,
        "set_aside": set_aside,
        "savings": account_view(account),
        "drift": [
            {"model": model, "signal": signal, "since": found.since_s, "shift": found.shift, "z": found.z}
            for (model, signal), found in sorted(changes.items())
        ],
    }


def distribution(by_model: Mapping[str, int], known: Container[str]) -> dict[str, int]:
    """Models of the catalogue by name, and of others, which may have left it or be a caller's own words, those that
    answered most."""
    others = sorted((name for name in by_model if name not in known), key=by_model.__getitem__, reverse=True)
    rest = frozenset(others[MOST_OTHERS:])
    shown = {name: answers for name, answers in by_model.items() if name not in rest}
    if rest:
        shown[OTHER] = shown.get(OTHER, 0) + sum(by_model[name] for name in rest)
    return shown


def account_view(figure: Figure[Account]) -> Mapping[str, Any]:
    """Against the baseline, and within it against the best model."""
    account = figure.value
    return {
        **savings_view(account.baseline, account.against_baseline, account.requests),
        "best": savings_view(account.best, account.against_best, account.requests),
        "age_s": figure.age_s,
    }


def savings_view(against: str | None, savings: Savings | None, requests: int) -> Mapping[str, Any]:
    if savings is None:
        why = f"too few priced answers to conclude ({requests}; at least {LEAST}), or a price is unknown"
        return {"against": against, "usd_per_request": None, "why": why}
    return {
        "against": against,
        "usd_per_request": savings.value,
        "interval": [savings.low, savings.high],
        "level": savings.level,
        "requests": savings.n,
    }


def judge_view(judge: Judge, spent_usd: float) -> dict[str, Any]:
    terms = judge.terms
    return {
        "model": judge.model,
        "share": terms.share,
        "spent_today_usd": spent_usd,
        "budget_usd_per_day": terms.usd_per_day,
    }

"""Entries to rows and back, exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Table

from conduit.bandits.policy import Vector
from conduit.core.storage import Entry
from conduit.routing.decision import Attempt, Candidate, Decision, Feedback, Lesson, Observation, Outcome, Status
from conduit.stores.sql.tables import decisions, feedback, observations, outcomes

Row = dict[str, object]
Rows = list[tuple[Table, Row]]

JSON = frozenset({"candidates", "removed", "attempts", "signals", "lessons"})
"""Columns that hold JSON as text."""
MOST_JSON, MOST_PROMPT, MOST_WORDS, MOST_LABEL = 1 << 20, 1_000_000, 4000, 500
"""Characters. Whatever the caller, the provider or a file says, no more of it is kept."""
MOST_ERROR = 500

LESSON = ("quality", "weight", "rival", "preference")
ATTEMPT = ("model", "latency_s", "error", "counts")


def row(entry: Entry) -> tuple[Table, Row]:
    """Where an entry is kept, and as what."""
    match entry:
        case Decision():
            return decisions, _decision(entry)
        case Outcome():
            return outcomes, _outcome(entry)
        case Feedback():
            return feedback, _feedback(entry)
        case Observation():
            return observations, _observation(entry)


def text(value: str, most: int | None = None) -> str:
    """PostgreSQL keeps no NUL, and UTF-8 no half of a surrogate pair; neither means anything in a name. At `most` so
    many characters of it."""
    value = value[:most]
    if value.isascii():
        return value.replace("\0", "\ufffd")
    return value.replace("\0", "\ufffd").encode(errors="replace").decode()


# ------------------------------------------------------------------ there


def _decision(decision: Decision) -> Row:
    return {
        "id": text(decision.id),
        "time_s": decision.time_s,
        "model": text(decision.model, MOST_LABEL),
        "propensity": decision.propensity,
        "candidates": _candidates(decision),
        "removed": _removed(decision.removed),
        "why": text(decision.why, MOST_WORDS),
        "policy": decision.policy,
        "routed": decision.routed,
        "context": decision.context.astype("<f4").tobytes(),
        "features": decision.features,
        "domain": decision.domain,
        "input_tokens": decision.input_tokens,
        "shadow_price": decision.shadow_price,
        "key_id": _text_or_none(decision.key_id),
        "user_id": _text_or_none(decision.user_id),
        "session_id": _text_or_none(decision.session_id),
        "prompt_hash": decision.prompt_hash,
        "prompt": _text_or_none(decision.prompt, MOST_PROMPT),
        "request_id": _text_or_none(decision.request_id),
    }


def _outcome(outcome: Outcome) -> Row:
    return {
        "decision_id": text(outcome.decision_id),
        "time_s": outcome.time_s,
        "model": text(outcome.model, MOST_LABEL),
        "status": outcome.status.value,
        "attempts": _columns([_short(attempt) for attempt in outcome.attempts], ATTEMPT),
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
        "measured": outcome.measured,
        "cost_usd": outcome.cost_usd,
        "latency_s": outcome.latency_s,
        "first_byte_s": outcome.first_byte_s,
        "response_id": _name_or_none(outcome.response_id),
    }


def _feedback(given: Feedback) -> Row:
    return {
        "id": text(given.id),
        "decision_id": text(given.decision_id),
        "revision": given.revision,
        "time_s": given.time_s,
        "quality": given.quality,
        "signals": _json(given.signals),
        "model": _text_or_none(given.model),
        "key_id": _text_or_none(given.key_id),
        "weight": given.weight,
        "lessons": _columns(given.lessons, LESSON),
    }


def _observation(observation: Observation) -> Row:
    return {
        "decision_id": text(observation.decision_id),
        "model": text(observation.model, MOST_LABEL),
        "time_s": observation.time_s,
        "weight": observation.weight,
        "quality": observation.quality,
        "output_tokens": observation.output_tokens,
        "latency_s": observation.latency_s,
        "cost_usd": observation.cost_usd,
        "rival": _text_or_none(observation.rival),
        "preference": observation.preference,
    }


def _text_or_none(value: str | None, most: int = MOST_LABEL) -> str | None:
    return None if value is None else text(value, most)


def _name_or_none(value: str | None) -> str | None:
    """A part of a name is another's, and nobody could ask for it."""
    return None if value is None or len(value) > MOST_LABEL else text(value)


def _short(attempt: Attempt) -> Attempt:
    error = attempt.error or ""
    return attempt if len(error) <= MOST_ERROR else replace(attempt, error=error[:MOST_ERROR])


def _candidates(decision: Decision) -> str:
    """All of them, or as many of the best as there is room for, and who was drawn."""
    kept: Sequence[Candidate] = decision.candidates
    while len(found := _columns(kept, Candidate._fields)) > MOST_JSON:
        best = kept[: len(kept) // 2]
        drawn = [c for c in kept if c.model == decision.model and c not in best]
        kept = (*best, *drawn) if len(best) + len(drawn) < len(kept) else drawn[:0]
    return found


def _removed(removed: Mapping[str, str]) -> str:
    kept = dict(removed)
    while len(found := _json(kept)) > MOST_JSON:
        kept = dict(islice(kept.items(), len(kept) // 2))
    return found


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _columns(values: Sequence[object], fields: Sequence[str]) -> str:
    """Values by field, so that a name is written once and a later field is read as its default in older rows."""
    return _json({field: [getattr(value, field) for value in values] for field in fields})


# ------------------------------------------------------------------ and back


def decision(row: Sequence[Any]) -> Decision:
    """Of the columns of `decisions`."""
    id_, time_s, model, propensity, candidates, removed, why, policy, routed, blob, *rest = row
    return Decision(
        id_,
        time_s,
        model,
        propensity,
        tuple(Candidate(**c) for c in _values(candidates)),
        orjson.loads(removed),
        why,
        policy,
        routed,
        context(blob),
        *rest,
    )


def outcome(row: Sequence[Any]) -> Outcome:
    """Of the columns of `outcomes`."""
    decision_id, time_s, model, status, attempts, *rest = row
    return Outcome(decision_id, time_s, model, Status(status), tuple(Attempt(**a) for a in _values(attempts)), *rest)


def given(row: Sequence[Any]) -> Feedback:
    """Of the columns of `feedback`. A row of before lessons were kept taught its quality, with the weight 1."""
    id_, decision_id, revision, time_s, quality, signals, model, key_id, weight, lessons = row
    said = orjson.loads(signals)
    if lessons is None and model is None:
        return Feedback(id_, decision_id, revision, time_s, quality, said)
    taught = _lessons(lessons) if lessons is not None else (Lesson(quality, weight),)
    return Feedback(id_, decision_id, revision, time_s, quality, said, model, key_id, weight, taught)


def _lessons(columns: str) -> tuple[Lesson, ...]:
    return tuple(Lesson(**lesson) for lesson in _values(columns))


def observation(row: Sequence[Any]) -> tuple[int, Observation]:
    """Of the columns of `observations`, and of the context and features of its decision."""
    position, decision_id, model, *rest, blob, features = row
    return position, Observation(decision_id, model, context(blob), features, *rest)


def context(blob: bytes) -> Vector:
    """Raises ValueError and TypeError."""
    if len(blob) % 4:
        raise ValueError("context: must be numbers of four bytes each")
    return np.frombuffer(blob, dtype="<f4").astype(np.float64)


def _values(columns: str) -> list[Mapping[str, Any]]:
    by_field: dict[str, list[Any]] = orjson.loads(columns)
    return [dict(zip(by_field, values, strict=True)) for values in zip(*by_field.values(), strict=True)]

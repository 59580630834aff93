"""Rows as they are found, whoever wrote them: no value is read beyond its bound, and what cannot be right is marked.

SQLite keeps in a column whatever it is given, and both databases take what `psql` and `sqlite3` write. None of that may
stop a page, a start or the fold.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, LargeBinary, Table, func, literal_column, null, type_coerce
from sqlalchemy.types import NullType

from conduit.bandits.policy import Vector
from conduit.core.storage import UNREADABLE, Unreadable
from conduit.core.validation import DIMENSIONS
from conduit.routing.checks import Invalid, check_context, check_number, check_number_or_none
from conduit.routing.decision import Decision, Feedback, Observation, Outcome
from conduit.stores.sql import rows
from conduit.stores.sql.rows import JSON, MOST_JSON, MOST_LABEL, MOST_PROMPT, MOST_WORDS
from conduit.stores.sql.tables import TEXT

INFINITY = float("inf")
EMPTY = b""
"""What SQLite cuts out of an empty blob is null; the context of embeddings is one."""
MOST_BLOB = 1 << 16
"""Bytes: a context of 16,000 numbers."""
WRONG = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
IDS = frozenset({"id", "decision_id"})
"""By these one goes on from a row: they are read as they are."""


@cache
def columns(table: Table, *, without: frozenset[str] = frozenset()) -> Sequence[ColumnElement[Any]]:
    """All of `table`, in their order; in the place of those `without` which it goes is null."""
    return [null().label(c.name) if c.name in without else column(c) for c in table.columns]


def column(found: Any) -> ColumnElement[Any]:
    """Its value up to its bound, and as the driver gives it: SQLAlchemy would stumble over what has another type."""
    value: ColumnElement[Any] = found
    if isinstance(found.type, LargeBinary):
        value = func.substr(found, 1, literal_column(str(MOST_BLOB)))
    elif found.type is TEXT and found.name not in IDS:
        value = func.substr(found, 1, literal_column(str(_most(found.name))))
    return type_coerce(value, NullType()).label(found.name)


def _most(name: str) -> int:
    return {"prompt": MOST_PROMPT, "why": MOST_WORDS}.get(name, MOST_JSON if name in JSON else MOST_LABEL)


# ------------------------------------------------------------------ entries


def decision(row: Sequence[Any]) -> Decision:
    """Of `columns(decisions)`. One that cannot be read is what is left of it, made by no features."""
    try:
        return _decision(row)
    except WRONG as error:
        return _remains(row, error.field if isinstance(error, Invalid) else "row")


def _decision(row: Sequence[Any]) -> Decision:
    id_, time_s, model, propensity, candidates, removed, why, policy, routed, blob, features, domain, *rest = row
    tokens, shadow_price, key_id, user_id, session_id, prompt_hash, prompt, request_id = rest
    found = rows.decision(
        (
            *(_text(id_), _number("time_s", time_s), _text(model), propensity, _text(candidates), _text(removed)),
            *(_text(why), _text(policy), bool(routed), EMPTY if blob is None else blob, _text(features), _text(domain)),
            *(int(tokens), _number("shadow_price", shadow_price)),
            *map(_text_or_none, (key_id, user_id, session_id)),
            *(
                prompt_hash if isinstance(prompt_hash, bytes) else None,
                _text_or_none(prompt),
                _text_or_none(request_id),
            ),
        )
    )
    check_number("propensity", found.propensity, 0.0, 1.0)
    if not isinstance(found.removed, dict) or not found.propensity:
        raise Invalid("propensity" if not found.propensity else "removed", "cannot be")
    check_context(found.context, DIMENSIONS.get(found.features, len(found.context)))
    return found


def _remains(row: Sequence[Any], field: str) -> Decision:
    id_, time_s, model, *_ = row
    return Decision(
        id=_text(id_),
        time_s=float(time_s) if isinstance(time_s, float) and abs(time_s) < INFINITY else 0.0,
        model=_text(model),
        propensity=1.0,
        candidates=(),
        removed={},
        why=f"this row cannot be read: its {field} cannot be right",
        policy=UNREADABLE,
        routed=False,
        context=np.zeros(0),
        features=UNREADABLE,
        domain=UNREADABLE,
        input_tokens=0,
        key_id=_text_or_none(row[14]),
    )


def outcome(row: Sequence[Any]) -> Outcome | None:
    """Of `columns(outcomes)`; None where it cannot be read."""
    id_, time_s, model, status, attempts, tokens_in, tokens_out, measured, cost_usd, latency_s, first_s, answer = row
    try:
        for name, value in (
            ("input_tokens", tokens_in),
            ("output_tokens", tokens_out),
            ("cost_usd", cost_usd),
            ("first_byte_s", first_s),
        ):
            check_number_or_none(name, value, -INFINITY, INFINITY)
        counted = (
            tokens_in,
            tokens_out,
            bool(measured),
            cost_usd,
            _number("latency_s", latency_s),
            first_s,
            _text_or_none(answer),
        )
        ended = (_text(id_), _number("time_s", time_s), _text(model), _text(status), _text(attempts), *counted)
        return rows.outcome(ended)
    except WRONG:
        return None


def given(row: Sequence[Any]) -> Feedback | None:
    """Of `columns(feedback)`; None where it cannot be read."""
    id_, decision_id, revision, time_s, quality, signals, model, key_id, weight, lessons = row
    try:
        said = _text(signals), _text_or_none(model), _text_or_none(key_id), weight, _text_or_none(lessons)
        check_number("quality", quality, 0.0, 1.0)
        check_number("weight", weight, 0.0, INFINITY)
        moment = int(revision), _number("time_s", time_s), quality
        found = rows.given((_text(id_), _text(decision_id), *moment, *said))
    except WRONG:
        return None
    return found if isinstance(found.signals, dict) else None


def observation(row: Sequence[Any]) -> tuple[int, Observation | Unreadable]:
    """Of the columns of `observations`, and of the context and features of its decision."""
    position, decision_id, model, *numbers, rival, preference, blob, features = row
    try:
        context = rows.context(blob)
    except WRONG:
        return position, Unreadable(_text(decision_id), "context")
    return position, observed((decision_id, model, *numbers, rival, preference), context, features)


def observed(row: Sequence[Any], context: Vector, features: Any) -> Observation | Unreadable:
    """Of the columns of `observations` but the first."""
    decision_id, model, time_s, weight, quality, output_tokens, latency_s, cost_usd, rival, preference = row
    optional = {
        "quality": quality,
        "output_tokens": output_tokens,
        "latency_s": latency_s,
        "cost_usd": cost_usd,
        "preference": preference,
    }
    wrong = [name for name, value in optional.items() if not isinstance(value, int | float | None)]
    wrong += [n for n, value in (("time_s", time_s), ("weight", weight)) if not isinstance(value, int | float)]
    texts = {"decision_id": decision_id, "model": model, "features": features, "rival": "" if rival is None else rival}
    wrong += [name for name, value in texts.items() if not isinstance(value, str)]
    if wrong:
        return Unreadable(_text(decision_id), wrong[0])
    return Observation(decision_id, model, context, features, time_s, weight, rival=rival, **optional)


# ------------------------------------------------------------------ one value


def _number(field: str, value: Any) -> float:
    check_number(field, value, -INFINITY, INFINITY)
    return float(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)

"""Answers that are kept for who asks the same again: which may be, and under a name from which nobody reads the
request."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b, shake_256

import numpy as np
import orjson

from conduit.routing.query import Query

USUAL_TEMPERATURE = 1.0
"""Of a request that names none, as OpenAI's API has it."""
ACTING = ("tools", "functions", "web_search_options", "store")
"""Fields of a body whose answer may depend on more than the request, or has effects elsewhere."""
NONCE_BYTES = 16
MARK_BYTES = 32


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """What a model answered, whole; of a stream all its frames without the last ``[DONE]``."""

    model: str
    decision_id: str
    """Of the request that was answered first."""
    response_id: str | None
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one request's answer. Neither part tells anything of the request but to who has it already."""

    name: str
    secret: bytes = field(repr=False)
    """With which the answer is sealed: only who sends the same request under the same key can open it."""


def cacheable(body: Mapping[str, object], *, most_temperature: float) -> bool:
    """Whether one answer is as good as another of the same request."""
    temperature = body.get("temperature")
    temperature = USUAL_TEMPERATURE if temperature is None else temperature
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        return False
    return (
        temperature <= most_temperature
        and body.get("n") in {None, 1}
        and not any(body.get(name) for name in ACTING)
        and not _calls_tools(body.get("messages"))
    )


def _calls_tools(messages: object) -> bool:
    said = messages if isinstance(messages, list) else []
    return any(m.get("role") in {"tool", "function"} or m.get("tool_calls") for m in said if isinstance(m, dict))


def slot_of(query: Query, body: Mapping[str, object], *, model: str | None, stream: bool) -> Slot:
    """The same for the same caller's same request, in whatever order its fields stand."""
    wanted, must = query.preferences, query.requirements
    terms = [
        [wanted.quality, wanted.cost, wanted.latency],
        [must.max_cost_usd, must.max_latency_s, must.min_quality, must.preferred_provider],
        [sorted(names) for names in (must.needs, must.allow, must.deny)],
    ]
    whole = orjson.dumps([query.key_id, model, stream, terms, dict(body)], option=orjson.OPT_SORT_KEYS)
    return Slot(_digest(whole, b"conduit name").hex(), _digest(whole, b"conduit seal"))


def _digest(text: bytes, purpose: bytes) -> bytes:
    return blake2b(text, digest_size=32, person=purpose).digest()


# ------------------------------------------------------------------ sealed


def sealed(answer: CachedAnswer, slot: Slot, nonce: bytes) -> bytes:
    """Nonce, mark, and the answer under a keystream of SHAKE-256. The `nonce` must be new each time."""
    about = orjson.dumps([answer.model, answer.decision_id, answer.response_id])
    hidden = _hidden(about + b"\n" + answer.body, slot.secret, nonce)
    return nonce + _mark(hidden, slot.secret, nonce) + hidden


def opened(blob: bytes, slot: Slot) -> CachedAnswer | None:
    """None when it is not what was sealed there."""
    nonce, mark, hidden = blob[:NONCE_BYTES], blob[NONCE_BYTES:][:MARK_BYTES], blob[NONCE_BYTES + MARK_BYTES :]
    if not hmac.compare_digest(mark, _mark(hidden, slot.secret, nonce)):
        return None
    about, _, body = _hidden(hidden, slot.secret, nonce).partition(b"\n")
    model, decision_id, response_id = orjson.loads(about)
    return CachedAnswer(model, decision_id, response_id, body)


def _hidden(text: bytes, secret: bytes, nonce: bytes) -> bytes:
    """Its own inverse."""
    stream = shake_256(b"hide" + secret + nonce).digest(len(text))
    return (np.frombuffer(text, np.uint8) ^ np.frombuffer(stream, np.uint8)).tobytes()


def _mark(hidden: bytes, secret: bytes, nonce: bytes) -> bytes:
    return blake2b(nonce + hidden, digest_size=MARK_BYTES, key=secret).digest()

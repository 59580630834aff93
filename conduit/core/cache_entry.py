"""Answers that are kept for who asks the same again: which may be, and under a name from which nobody reads the
request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

import orjson

from conduit.routing.query import Query

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

USUAL_TEMPERATURE = 1.0
"""Of a request that names none, as OpenAI's API has it."""
ACTING = ("tools", "functions", "web_search_options", "store")
"""Fields of a body whose answer may depend on more than the request, or has effects elsewhere."""
VERSION = b"\x02"
"""Before the second, answers were sealed otherwise: such are not found, and asked for again."""
NONCE_BYTES = 12


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
    """Version, nonce, and the answer under AES-256-GCM (NIST SP 800-38D), bound to its slot's name. The `nonce` must be
    new each time: a slot's secret seals as many answers as its request has had, far below 2^32."""
    about = orjson.dumps([answer.model, answer.decision_id, answer.response_id])
    return VERSION + nonce + _cipher(slot).encrypt(nonce, about + b"\n" + answer.body, _bound(slot))


def opened(blob: bytes, slot: Slot) -> CachedAnswer | None:
    """None when it is not what was sealed there, or was by another version of Conduit."""
    from cryptography.exceptions import InvalidTag

    nonce, hidden = blob[1:][:NONCE_BYTES], blob[1 + NONCE_BYTES :]
    if blob[:1] != VERSION or len(nonce) < NONCE_BYTES:
        return None
    try:
        about, _, body = _cipher(slot).decrypt(nonce, hidden, _bound(slot)).partition(b"\n")
    except InvalidTag:
        return None
    model, decision_id, response_id = orjson.loads(about)
    return CachedAnswer(model, decision_id, response_id, body)


def _cipher(slot: Slot) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(slot.secret)


def _bound(slot: Slot) -> bytes:
    """What is authenticated with the answer: moved under another name, it opens no more."""
    return VERSION + slot.name.encode()

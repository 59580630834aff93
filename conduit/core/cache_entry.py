"""An entry of the answer cache: which answers may be one, and the name and the key that the request itself gives it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import orjson

from conduit.routing.query import Query

USUAL_TEMPERATURE = 1.0
"""Of a request that names none, as OpenAI's API has it."""
ACTING = ("tools", "functions", "web_search_options", "store")
"""Fields of a body whose answer may depend on more than the request, or has effects elsewhere."""


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
    """The cipher's key: only who sends the same request under the same key can open the answer. See sealing.py."""


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

"""What a model does not take: remembered for a while, so that no request of the kind goes there in vain.

A provider's 400 may be the caller's own mistake, or mean that this model knows no tools, no images or not this
parameter. It is taken for the latter only where another model answered the same request.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson

from conduit.core.errors import UpstreamRejected
from conduit.gateway.request.breaker import MOST_KEPT, Health, Scope, Terms, kind_of
from conduit.gateway.request.exchange import Ask
from conduit.routing.protocols import Clock

TERMS = Terms(threshold=3, rest_s=60.0, longest_s=3600.0)
ORDINARY = frozenset(
    {"model", "messages", "stream", "stream_options", "user", "metadata", "store", "safety_identifier"}
)
PARAMETERS = frozenset(
    [
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "service_tier",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "verbosity",
        "web_search_options",
    ]
)
"""What may be named where others read it; a parameter of the caller's own is `another parameter`."""
OTHER = "another parameter"
OF_THE_CONTENT = ("context_length", "content_filter", "content_policy", "invalid_prompt", "string_above_max_length")
"""In a provider's code: this very prompt was refused, and no kind of request."""


@dataclass(slots=True)
class Rejections:
    """`announce` is told of a model and a kind of request when the model is first left alone."""

    clock: Clock
    announce: Callable[[str, str], None]
    terms: Terms = TERMS
    _health: dict[tuple[str, Scope], Health] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether anything is remembered: mostly nothing is, and no request need be looked at."""
        return bool(self._health)

    def unavailable(self, ask: Ask) -> Mapping[str, str]:
        """Model -> what of this request it does not take."""
        now_s, scopes = self.clock.elapsed_s(), set(_scopes(ask))
        return {
            model: f"rejects {scope.kind}: {health.failures} times in a row while others answered"
            for (model, scope), health in self._health.items()
            if scope in scopes and health.closed_until_s > now_s
        }

    def asked(self, model: str, ask: Ask) -> None:
        for scope in _scopes(ask):
            if (health := self._health.get((model, scope))) is not None:
                health.asked(self.clock.elapsed_s(), self.terms)

    def accepted(self, model: str, ask: Ask) -> None:
        for scope in _scopes(ask):
            self._health.pop((model, scope), None)

    def rejected(self, model: str, error: UpstreamRejected, ask: Ask) -> None:
        """To be told when another model has answered the same."""
        mark = mark_of(error, ask)
        if mark is None:
            return
        now_s = self.clock.elapsed_s()
        if len(self._health) >= MOST_KEPT:
            self._health = {key: health for key, health in self._health.items() if health.closed_until_s > now_s}
        health = self._health.setdefault((model, Scope(_caller(ask), mark)), Health())
        if health.failed(now_s, self.terms) and health.failures == self.terms.threshold:
            self.announce(model, mark)


def mark_of(error: UpstreamRejected, ask: Ask) -> str | None:
    """The parameter that the provider names, else the whole kind. None where it was this very prompt."""
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return None
    said = _said(error.body)
    if any(word in str(said.get(name, "")) for name in ("code", "type") for word in OF_THE_CONTENT):
        return None
    param, named = re.split(r"[.\[]", str(said.get("param") or ""))[0], _parameters(ask.body)
    return param if param in named else _kind(ask, named)


def _scopes(ask: Ask) -> Iterator[Scope]:
    """All that a model may not take of a request: its whole kind, or one of its parameters."""
    named = _parameters(ask.body)
    return (Scope(_caller(ask), mark) for mark in (_kind(ask, named), *named))


def _caller(ask: Ask) -> str:
    return ask.query.key_id or ""


def _parameters(body: Mapping[str, object]) -> list[str]:
    return sorted({name if name in PARAMETERS else OTHER for name in body if name not in ORDINARY})


def _kind(ask: Ask, parameters: Collection[str]) -> str:
    parts = {*ask.query.requirements.needs, *parameters}
    return f"requests with {kind_of(parts)}" if parts else "plain requests"


def _said(body: bytes) -> Mapping[str, object]:
    try:
        error = orjson.loads(body).get("error")
    except (orjson.JSONDecodeError, AttributeError):
        return {}
    return error if isinstance(error, dict) else {}

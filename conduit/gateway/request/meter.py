"""What an answer used: read from what the provider sent, estimated where it sent nothing or nothing to be believed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from conduit.gateway.request.generated import weight_of
from conduit.gateway.request.usage import NOTHING, Usage, tier_of, usage_of
from conduit.routing.catalogue import Model, Price
from conduit.routing.query import CHARACTERS_PER_TOKEN, estimate_tokens

MOST_TOKENS = 2_000_000
"""No window is wider that is not declared so; a count above it would be believed as dollars."""
MOST_TIMES = 100.0
"""What a provider says it has charged is believed if it is not so many times more or less than its list prices come to,
or, since searches and tools cost beside tokens, not above UNUSUAL_USD."""
UNUSUAL_USD = 10.0
LONGEST_TOKEN = 128
"""Characters of the longest tokens that tokenisers have, which are blanks and lines."""


class Used(NamedTuple):
    """By one answer, as far as it came."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    """Of the input, those that the provider had in its cache."""
    written_tokens: int = 0
    """Of the input, those that it put there."""
    tier: str | None = None
    cost_usd: float | None = None
    """As the provider says."""
    measured: bool = True
    """Whether the provider counted, and is believed."""
    doubt: str | None = None
    """What it said that cannot be."""


@dataclass(slots=True)
class Meter:
    """Reads one answer, whole or frame by frame."""

    input_estimate: int
    response_id: str | None = None
    answers: bool = True
    """Whether tokens come out: embeddings have none."""
    _told: Usage = NOTHING
    _tier: str | None = None
    _weight: int = 0
    """Of everything that was generated."""
    _weight_told: int = 0
    """Of what was generated when the provider last told its count."""

    def read(self, data: Mapping[str, object]) -> None:
        """One JSON object of the answer."""
        identity = data.get("id")
        if self.response_id is None and isinstance(identity, str) and identity.isascii():
            self.response_id = identity[:200]
        self._weight += weight_of(data.get("choices"))
        if "service_tier" in data:
            self._tier = tier_of(data) or self._tier
        told = usage_of(data)
        if told is not None:
            self._told = told if self._told is NOTHING else self._told.then(told)
            if told.output_tokens is not None:
                self._weight_told = self._weight

    @property
    def told(self) -> bool:
        """Whether the provider has told how much it generated, all that is here included."""
        return self._told.output_tokens is not None and self._weight == self._weight_told

    def used(self, *, window: int | None = None, choices: int = 1) -> Used:
        """By a model with this context window, for so many answers to one prompt."""
        most = MOST_TOKENS if window is None else 2 * window  # what is declared may be half of what there is
        told = self._told
        asked, answered = told.input_tokens, told.output_tokens if self.answers else 0
        doubts = []
        if asked is not None and not 0 < asked <= most:
            doubts, asked = [f"{asked} tokens in"], None
        if answered is not None and not self._plausible(answered, most * choices):
            doubts, answered = [*doubts, f"{answered} tokens out"], None
        measured = asked is not None and answered is not None
        asked = self.input_estimate if asked is None else asked
        return Used(
            asked,
            self._estimate if answered is None else answered + self._since,
            min(told.cached_tokens or 0, asked),
            min(told.written_tokens or 0, asked),
            self._tier,
            None if doubts else told.cost_usd,
            measured,
            " and ".join(doubts) or None,
        )

    def _plausible(self, tokens: int, most: int) -> bool:
        """Whether what is here can have been so many: more, where the model has reasoned in silence."""
        return self._weight_told <= tokens * LONGEST_TOKEN and tokens <= most

    @property
    def _estimate(self) -> int:
        return estimate_tokens(self._weight)

    @property
    def _since(self) -> int:
        """Generated after the count was told, as in a stream that tells it as it goes and is left."""
        return (self._weight - self._weight_told) // CHARACTERS_PER_TOKEN


def cost_usd(price: Price | None, used: Used) -> float | None:
    """What the provider says it has charged, where that can be; else by its list prices; None where none are known."""
    ours = None
    if price is not None:
        tokens = (used.input_tokens, used.output_tokens, used.cached_tokens)
        ours = price.cost_usd(*tokens, written_tokens=used.written_tokens, tier=used.tier)
    said, most = used.cost_usd, max(UNUSUAL_USD, MOST_TIMES * (ours or 0.0))
    return said if said is not None and (ours or 0.0) / MOST_TIMES < said <= most else ours


def doubted(model: Model, doubt: str) -> str:
    """For the operator."""
    return f"{model.name} says that it used {doubt}: that cannot be, and an estimate stands for it"


def text_of(data: Mapping[str, object]) -> str:
    """The first choice's message as text that can be sent on; empty when it is something else (a tool call, say)."""
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""

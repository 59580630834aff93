"""What is asked: the text, what an answer must satisfy, and what the caller cares about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from conduit.routing.errors import InvalidRequest

CHARACTERS_PER_TOKEN = 4
"""A tokeniser on the event loop would cost more than the whole decision; the actual count comes with the answer."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """How much quality, cost and speed weigh against each other.

    `cost` is what one typical request at the dearest model's price is worth in quality (0..1); `latency`
    is what ten seconds of waiting are worth.
    """

    quality: float = 1.0
    cost: float = 0.5
    latency: float = 0.05

    def __post_init__(self) -> None:
        for name in ("quality", "cost", "latency"):
            weight = getattr(self, name)
            if not (isfinite(weight) and 0 <= weight <= 1000):
                raise InvalidRequest(
                    f"preferences.{name} must lie between 0 and 1000, not {weight}", param=f"preferences.{name}"
                )
        if self.quality + self.cost + self.latency == 0:
            raise InvalidRequest("preferences: at least one weight must be above 0", param="preferences")

    @classmethod
    def preset(cls, name: str) -> "Preferences":
        """Raises InvalidRequest for a name that is not in PRESETS."""
        if name not in PRESETS:
            raise InvalidRequest(f"preferences: {name!r} is not one of {', '.join(PRESETS)}", param="preferences")
        return PRESETS[name]

    @classmethod
    def named(cls, said: str) -> "Preferences":
        """A preset, or weights as `quality=1,cost=2,latency=0.1`, of which those left out are 1, 0 and 0. Raises
        InvalidRequest."""
        if "=" not in said:
            return cls.preset(said)
        try:
            weights = {name.strip(): float(number) for name, number in (pair.split("=") for pair in said.split(","))}
            return cls(**{"quality": 1.0, "cost": 0.0, "latency": 0.0, **weights})
        except (ValueError, TypeError):  # what is no number, and what is no weight
            told = f"preferences: write {said!r} as quality=1,cost=2,latency=0.1"
            raise InvalidRequest(told, param="preferences") from None


PRESETS: Mapping[str, Preferences] = {
    "balanced": Preferences(),
    "quality": Preferences(quality=1.0, cost=0.05, latency=0.0),
    "cost": Preferences(quality=1.0, cost=2.0, latency=0.02),
    "speed": Preferences(quality=1.0, cost=0.2, latency=0.5),
}


@dataclass(frozen=True, slots=True)
class Requirements:
    """What an answer must satisfy. Whoever cannot is removed before anything is scored."""

    needs: frozenset[str] = frozenset()
    """Abilities, a subset of catalogue.ABILITIES."""
    max_cost_usd: float | None = None
    max_latency_s: float | None = None
    min_quality: float | None = None
    preferred_provider: str | None = None
    """Others are asked only when this provider has no eligible model."""
    allow: frozenset[str] = frozenset()
    """When not empty, only these models."""
    deny: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name, top in (("max_cost_usd", None), ("max_latency_s", None), ("min_quality", 1.0)):
            bound = getattr(self, name)
            if bound is None:
                continue
            if not (isfinite(bound) and bound >= 0 and (top is None or bound <= top)):
                upper = "" if top is None else f" and at most {top:g}"
                raise InvalidRequest(f"{name} must be a finite number of at least 0{upper}, not {bound}", param=name)


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The model that gave a session's last answer, and what leaving it would lose."""

    model: str
    cached_tokens: int = 0
    """Of the conversation so far, as far as its provider may still have them at hand."""
    stickiness: float = 0.0
    """In quality: what a switch must gain beside the dollars of those tokens, for answers of one hand."""


@dataclass(frozen=True, slots=True)
class Query:
    """One request as the router sees it."""

    text: str
    """What the features read: the prompt, or the last thing the user said."""
    input_tokens: int = 0
    """Of the whole request, estimated; 0 is estimated from `text`."""
    max_output_tokens: int | None = None
    requirements: Requirements = field(default_factory=Requirements)
    preferences: Preferences = field(default_factory=Preferences)
    key_id: str | None = None
    key_name: str = ""
    """Whose account pays; the id says whose decision it is. Empty where no key is asked for."""
    user_id: str | None = None
    session_id: str | None = None
    """The conversation that this request goes on with; None for a single prompt."""
    incumbent: Incumbent | None = None
    """None: nobody has answered in this session yet, or nothing is made of it."""
    request_id: str | None = None
    """The caller's own x-request-id, by which feedback may name the answer."""

    @property
    def estimated_input_tokens(self) -> int:
        return self.input_tokens or estimate_tokens(weigh(self.text))


def estimate_tokens(characters: int) -> int:
    return 1 + characters // CHARACTERS_PER_TOKEN


def weigh(text: str) -> int:
    """`text` in characters of plain English, of which CHARACTERS_PER_TOKEN make a token: a Cyrillic letter weighs as
    two and a quarter, a Chinese character as three and a half, most emoji as nearly five."""
    if text.isascii():
        return len(text)
    beyond = len(text.encode("utf-8", "surrogatepass")) - len(text)
    return len(text) + beyond * 5 // 4

"""What clients send and get, beside OpenAI's own shapes, which pass through: the only place where input is judged."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from conduit.core.keys import Limits
from conduit.routing.query import Preferences, Requirements

Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=200)]


def _whole(value: object) -> object:
    """To JSON Schema 5.0 is an integer, and to some clients all numbers are floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
Count = Annotated[Whole, Field(ge=1, le=2**31 - 1)]
_INPUT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Constraints(BaseModel):
    """Hard requirements: a model that cannot meet them is not asked."""

    model_config = _INPUT

    max_cost: Annotated[Finite, Field(gt=0)] | None = Field(default=None, description="US dollars for this answer.")
    max_latency: Annotated[Finite, Field(gt=0)] | None = Field(
        default=None, description="Seconds to the end of the answer."
    )
    min_quality: Annotated[Finite, Field(ge=0, le=1)] | None = None
    preferred_provider: str | None = Field(default=None, max_length=200)
    allow: Names = []
    deny: Names = []

    def requirements(self, needs: frozenset[str] = frozenset()) -> Requirements:
        return Requirements(
            needs=needs,
            max_cost_usd=self.max_cost,
            max_latency_s=self.max_latency,
            min_quality=self.min_quality,
            preferred_provider=self.preferred_provider,
            allow=frozenset(self.allow),
            deny=frozenset(self.deny),
        )


class Weights(BaseModel):
    """Explicit preferences: how much quality, cost and latency weigh."""

    model_config = _INPUT

    quality: Annotated[Finite, Field(ge=0, le=1000)] = 1.0
    cost: Annotated[Finite, Field(ge=0, le=1000)] = 0.0
    latency: Annotated[Finite, Field(ge=0, le=1000)] = 0.0


Preset = Literal["balanced", "quality", "cost", "speed"]


class Extension(BaseModel):
    """The field `conduit` of a chat body (`extra_body` in OpenAI's client): for us, and not sent on."""

    model_config = _INPUT

    constraints: Constraints | None = None
    preferences: Preset | Weights | None = None
    session_id: Name | None = Field(None, description="The conversation that this request goes on with.")

    def required(self, needs: frozenset[str] = frozenset()) -> Requirements:
        return (self.constraints or Constraints()).requirements(needs)

    def wanted(self, default: Preferences) -> Preferences:
        match self.preferences:
            case None:
                return default
            case str(name):
                return Preferences.preset(name)
            case weights:
                return Preferences(weights.quality, weights.cost, weights.latency)


class ChatExtension(Extension):
    """The same of requests that are answered."""

    cache: Annotated[bool, Field(strict=True)] = Field(
        True, description="false: neither from the cache, nor into it, where there is one (CACHE_ENABLED)."
    )


class RouteIn(Extension):
    """Body of /v1/route."""

    prompt: str = Field(min_length=1, json_schema_extra={"pattern": r"\S"})
    user_id: str | None = Field(None, max_length=200)
    context: dict[str, Any] = Field({}, description="The caller's own; kept nowhere, sent nowhere.")

    @field_validator("prompt")
    @classmethod
    def _not_blank(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("must not be blank")
        return prompt


class CompleteIn(RouteIn):
    """Body of /v1/complete."""

    result_type: Literal["text", "json"] = "text"
    cache: Annotated[bool, Field(strict=True)] = Field(True, description="As in the field `conduit` of a chat body.")


def _one_at_least(schema: dict[str, Any]) -> None:
    """For the document; the gateway itself is told so by conduit.core.judgement, which knows who says what."""
    signals = set(schema["properties"]) - {"response_id", "tie", "comments"}
    schema["anyOf"] = [
        {"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in sorted(signals)
    ]


class FeedbackIn(BaseModel):
    """Body of /v1/feedback: at least one of the signals."""

    model_config = _INPUT | ConfigDict(json_schema_extra=_one_at_least)

    response_id: str = Field(min_length=1, max_length=200)
    quality_score: Annotated[Finite, Field(ge=0, le=1)] | None = None
    user_rating: Annotated[Whole, Field(ge=1, le=5)] | None = None
    thumbs: Literal["up", "down"] | None = None
    task_success: Annotated[bool, Field(strict=True)] | None = None
    met_expectations: Annotated[bool, Field(strict=True)] | None = None
    regenerated: Annotated[bool, Field(strict=True)] | None = Field(
        None, description="The user asked for another answer to the same."
    )
    preferred_over: Name | None = Field(None, description="Another response_id, whose answer was the lesser.")
    tie: Annotated[bool, Field(strict=True)] | None = Field(
        None, description="With preferred_over: the two answers were equally good."
    )
    comments: str | None = Field(None, max_length=5000)

    def signals(self) -> dict[str, object]:
        return self.model_dump(exclude={"response_id"}, exclude_none=True)


class LimitsIn(BaseModel):
    """What is left out is as the gateway's settings say."""

    model_config = _INPUT

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent: Count | None = None

    def limits(self) -> Limits:
        return Limits(self.requests_per_minute, self.tokens_per_minute, self.concurrent)


class KeyIn(BaseModel):
    """A key to be made."""

    model_config = _INPUT

    name: Name
    scopes: Annotated[list[Name], Field(max_length=20)] | None = None
    expires_in_s: Finite | None = None
    limits: LimitsIn = LimitsIn()


class RotateIn(BaseModel):
    """How long the old secret stays good."""

    model_config = _INPUT

    overlap_s: Finite = 86400.0

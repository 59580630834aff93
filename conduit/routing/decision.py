"""What happened, as values that never change: a decision, its outcome, feedback, and what follows for learning."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from conduit.bandits.policy import Vector

EMBEDDINGS = "embeddings"
"""The domain of decisions that were none: the caller named the model, and no text was looked at."""


class Candidate(NamedTuple):
    """One model that could have been chosen, as it looked when the choice was made."""

    model: str
    probability: float
    utility: float
    quality: float
    quality_sd: float
    """As far as the draw took doubt into account."""
    cost_usd: float | None
    """Expected; None where the price is unknown."""
    latency_s: float | None
    """Expected; None while nothing has been seen of it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice: who was chosen with which probability, among whom, and why."""

    id: str
    time_s: float
    """Unix seconds."""
    model: str
    propensity: float
    """The probability with which `model` was drawn."""
    candidates: tuple[Candidate, ...]
    """Everyone who was eligible, the best expected utility first."""
    removed: dict[str, str]
    """Model -> the requirement that removed it."""
    why: str
    policy: str
    routed: bool
    """False when the caller named the model: then nothing was chosen, and nothing can be evaluated off-policy."""
    context: Vector
    """(d,) what the policy saw."""
    features: str
    """The version of the features that made `context`."""
    domain: str
    input_tokens: int
    """Estimated before the call."""
    shadow_price: float = 0.0
    """Utility per US dollar, from the budget."""
    key_id: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    """The conversation that it belongs to, as the caller names it."""
    prompt_hash: bytes | None = None
    """Of the prompt, under the deployment's own key: equal for equal prompts."""
    prompt: str | None = field(default=None, repr=False)
    """Its text, where it is kept; read only by who looks for this very decision."""
    request_id: str | None = None
    """The caller's own x-request-id; not unique."""

    @property
    def chosen(self) -> Candidate:
        return next(c for c in self.candidates if c.model == self.model)

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Who would be asked next, in order."""
        return tuple(c.model for c in self.candidates if c.model != self.model)

    def observation(
        self,
        *,
        quality: float | None = None,
        output_tokens: float | None = None,
        latency_s: float | None = None,
        cost_usd: float | None = None,
    ) -> "Observation":
        """What `Router.learn` takes: the signals that were seen of the chosen model; None for those that were not."""
        return Observation(
            decision_id=self.id,
            model=self.model,
            context=self.context,
            features=self.features,
            time_s=self.time_s,
            quality=quality,
            output_tokens=output_tokens,
            latency_s=latency_s,
            cost_usd=cost_usd,
        )


class Status(StrEnum):
    """How a call ended."""

    ANSWERED = "answered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """The client went away."""
    CACHED = "cached"
    """No model was asked: the answer was given before."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One model that was asked."""

    model: str
    latency_s: float
    error: str | None = None
    """None for the one that answered; never the provider's own text, which may quote the prompt."""
    counts: bool = False
    """Whether the failure is the model's own and therefore its quality 0."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a decision."""

    decision_id: str
    time_s: float
    model: str
    """Who answered, or who was asked last."""
    status: Status
    attempts: tuple[Attempt, ...]
    input_tokens: int | None = None
    output_tokens: int | None = None
    measured: bool = True
    """False when the provider sent no token counts and ours are estimates."""
    cost_usd: float | None = None
    latency_s: float = 0.0
    """From the call to the end of the answer."""
    first_byte_s: float | None = None
    response_id: str | None = None
    """The provider's own id of the answer, by which feedback may name it too."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one judgement teaches of the model that gave the answer."""

    quality: float
    weight: float
    rival: str | None = None
    """The model that it was compared with; None for a rating."""
    preference: float | None = None
    """1 when its answer was preferred to the rival's, 0 for a tie, -1 when the rival's was."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody said of an answer. A later revision replaces an earlier one."""

    id: str
    decision_id: str
    revision: int
    """1, 2, 3 ... per decision; unique, so that two writers cannot both be next."""
    time_s: float
    quality: float
    """0..1, what the signals below come to."""
    signals: dict[str, object] = field(default_factory=dict)
    """As they were given by everybody up to now, comments included; empty when all was withdrawn."""
    model: str | None = None
    """Whom it teaches; None where there was no answer to judge. A later revision takes it back from there."""
    key_id: str | None = None
    """Whose decision it judges: to whom its weight is counted."""
    weight: float = 0.0
    """With which it teaches in all, after the cap."""
    lessons: tuple[Lesson, ...] = ()
    """What it taught, to the last bit, so that it can be taken back whatever the weights are by then."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one event teaches of one model. The only thing that beliefs are made of."""

    decision_id: str
    model: str
    context: Vector
    features: str
    """The version of the features that made `context`; a router of another version passes it over."""
    time_s: float
    """Of the decision: by it the observation decays, so that the order of reading does not matter."""
    weight: float = 1.0
    """Negative retracts."""
    quality: float | None = None
    output_tokens: float | None = None
    latency_s: float | None = None
    cost_usd: float | None = None
    """Spent; feeds the pacer, not the forecast."""
    rival: str | None = None
    """Set on either side of a comparison: the other model."""
    preference: float | None = None
    """See Lesson. Who can compare learns this, everybody else learns `quality`."""


@dataclass(frozen=True, slots=True)
class Record:
    """All that the ledger knows of one decision."""

    decision: Decision
    outcome: Outcome | None
    feedback: Feedback | None
    """The latest revision."""

"""What the gateway announces. Logs, metrics and traces listen; nothing here knows of them."""

from dataclasses import dataclass
from typing import NamedTuple

from conduit.routing.decision import Decision, Feedback, Outcome


class Arrived(NamedTuple):
    """A request has come, and will be told of once more when it is `Served`."""

    method: str
    path: str
    """As the caller wrote it."""
    request_id: str
    traceparent: str = ""
    tracestate: str = ""
    """The caller's headers of W3C Trace Context; empty if there are none."""


@dataclass(frozen=True, slots=True)
class Began:
    """A part of a request: route, choose, feedback. What is announced until it has `Ended` lies within."""

    step: str


@dataclass(frozen=True, slots=True)
class Ended:
    step: str
    failed: str | None = None
    """The type of what was raised."""


class Served(NamedTuple):
    """A request has been answered, or refused, or left by its caller."""

    method: str
    route: str
    """The path as it is declared, `{id}` and all; "other" for one that is not."""
    status: int
    code: str | None
    """Of the error that was answered."""
    duration_s: float
    away_s: float | None
    """Of which it waited for models and for the reader; None where no model was asked."""
    key_id: str | None = None
    degraded: tuple[str, ...] = ()
    """What its answer says worked less well than it should, and no `Degraded` has told."""


@dataclass(frozen=True, slots=True)
class Decided:
    decision: Decision


@dataclass(frozen=True, slots=True)
class Settled:
    """An answer ended, well or badly."""

    decision: Decision
    outcome: Outcome
    away_s: float = 0.0
    """Seconds that the models and the reader took, and not the gateway."""


@dataclass(frozen=True, slots=True)
class FeedbackGiven:
    feedback: Feedback
    repeated: bool
    """The same thing was said before: nothing was written."""
    source: str = "caller"
    kinds: tuple[str, ...] = ()
    """Names of the signals that were given now; none for the other side of a comparison."""


@dataclass(frozen=True, slots=True)
class FeedbackCapped:
    """A key has given a model all the weight that it may within an hour. Told once an hour of each."""

    key_id: str | None
    model: str
    weight: float
    """The cap."""


@dataclass(frozen=True, slots=True)
class Capped:
    """A request was refused because a hard cap leaves too little for it."""

    account: str
    period: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The judge has scored an answer of `model`."""

    decision_id: str
    model: str
    judge: str
    score: float
    """0..1."""
    cost_usd: float


@dataclass(frozen=True, slots=True)
class NotJudged:
    """An answer was drawn for the judge, and got no verdict. `why` is a few stable words."""

    decision_id: str
    why: str
    times: int
    """So often it was this, on this day (UTC) and in this process."""


@dataclass(frozen=True, slots=True)
class Followed:
    """The follower has read what it found in the ledger."""

    position: int
    """Of the last observation folded."""
    caught_up: bool
    """Whether all that there was is folded."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row of the ledger is no observation that can be folded: it teaches nothing, and all others do."""

    position: int
    decision_id: str
    """As the row has it."""
    field: str
    """Which of its values cannot be right: one of a few names."""
    times: int
    """So often it was one, in all."""


@dataclass(frozen=True, slots=True)
class Drifted:
    """A model is no longer what it was. Each worker tells it once."""

    model: str
    signal: str
    """quality, tokens or latency."""
    since_s: float
    """Time of the first decision after."""
    shift: float
    """How much more there is of the signal since; of tokens and latency the logarithm."""


@dataclass(frozen=True, slots=True)
class SnapshotRefused:
    """Beliefs could not be formed from a snapshot, which is kept; they are rebuilt from an older one or the ledger."""

    position: int
    """Of the ledger, at which it was taken."""
    why: str
    """corrupt, version, policy, features, half-life or future."""


@dataclass(frozen=True, slots=True)
class FeaturesChanged:
    """A start has met observations that other features made."""

    version: str
    """Of the features now."""
    replayed: int
    """Of these, those whose contexts were computed anew from the texts of their decisions."""
    lost: int
    """Those without a text: what they taught says nothing any more."""


@dataclass(frozen=True, slots=True)
class CacheAsked:
    """An answer was looked for in a cache."""

    hit: bool


@dataclass(frozen=True, slots=True)
class Degraded:
    """Something works less well than it should. `what` is a stable name, `why` holds no text of a caller's."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class ModelsListed:
    """A provider that was asked again for its models has others than before, or answers again."""

    provider: str
    arrived: tuple[str, ...]
    left: tuple[str, ...]


Event = (
    Arrived
    | Served
    | Began
    | Ended
    | Decided
    | Settled
    | FeedbackGiven
    | FeedbackCapped
    | Capped
    | Judged
    | NotJudged
    | Followed
    | SetAside
    | Drifted
    | SnapshotRefused
    | FeaturesChanged
    | CacheAsked
    | Degraded
    | ModelsListed
)


def nobody(_event: Event, /) -> None:
    """Listens to nothing."""

"""What the gateway announces. Logs, metrics and traces listen; nothing here knows of them."""

from dataclasses import dataclass

from conduit.core.decision import Decision, Feedback, Outcome


@dataclass(frozen=True, slots=True)
class Decided:
    decision: Decision


@dataclass(frozen=True, slots=True)
class Settled:
    """An answer ended, well or badly."""

    decision: Decision
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class FeedbackGiven:
    feedback: Feedback
    repeated: bool
    """The same thing was said before: nothing was written."""


@dataclass(frozen=True, slots=True)
class FeedbackCapped:
    """A key has given a model all the weight that it may within an hour. Told once an hour of each."""

    key_id: str | None
    model: str
    weight: float
    """The cap."""


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
class Degraded:
    """Something works less well than it should. `what` is a stable name, `why` holds no text of a caller's."""

    what: str
    why: str


Event = Decided | Settled | FeedbackGiven | FeedbackCapped | Judged | NotJudged | Degraded

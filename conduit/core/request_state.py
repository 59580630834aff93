"""What is known of one request while it runs: one object that the outermost layer makes and hands on.

What counts (limits of tokens) reads it, and so does what tells (the access line, headers): neither reads the other.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from conduit.core.keys import Key
from conduit.routing.decision import Decision, Outcome

SCOPE = "conduit"
"""Its one key in an ASGI scope."""


class Allotment(Protocol):
    """What a caller with a limit of tokens may still take."""

    @property
    def unsaid(self) -> int:
        """Tokens that stand for an answer whose length the caller does not limit."""

    async def set_aside(self, tokens: int) -> None:
        """Raises where they do not fit any more."""


@dataclass(slots=True)
class TokenUsage:
    """Of the models' tokens, all that the request took."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(slots=True)
class RequestState:
    """Grows while the request runs. Holds no prompt and no secret but the caller's own headers."""

    id: str = ""
    headers: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """As they were sent, of each name the last."""
    key: Key | None = None
    """None where no key is asked for."""
    usage: TokenUsage = field(default_factory=TokenUsage)
    decision: Decision | None = None
    outcome: Outcome | None = None
    rated: str | None = None
    """Of feedback: the decision that it is about."""
    away_s: float | None = None
    """As in events.Served."""
    code: str | None = None
    """Of the error that is answered."""
    degraded: dict[str, bool] = field(default_factory=dict)
    """What works less well than it should, in its order -> whether an event has counted it already."""
    trace_id: str | None = None
    """Where it is traced."""
    status: int = 0
    """Of the answer; 0 while it has not begun."""
    answer_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Of any answer to this request, refusals too."""
    replayed: bool = False
    """Whether it was answered before (Idempotency-Key)."""
    promised: bool = False
    """Whether its whole answer is stored for a caller that sends it again, and so is awaited when the caller leaves."""
    attempt: AbstractAsyncContextManager[None] | None = None
    """Around the check of its key, where failures are throttled."""
    allotment: Allotment | None = None
    """Where the caller has a limit of tokens."""

    def degrade(self, what: str, *, counted: bool = False) -> None:
        """`what` is a stable name, as in events.Degraded."""
        self.degraded[what] = counted or self.degraded.get(what, False)

    def settle(self, outcome: Outcome, away_s: float) -> None:
        """An answer ended, well or badly."""
        self.outcome, usage = outcome, self.usage
        self.away_s = (self.away_s or 0.0) + away_s
        usage.input_tokens += outcome.input_tokens or 0
        usage.output_tokens += outcome.output_tokens or 0


def state_of(scope: Mapping[str, Any]) -> RequestState:
    state: RequestState = scope[SCOPE]
    return state
